"""``.keras`` files: whole or not there, and read without running anything that they bring.

Keras imports the classes that a file names and calls them (CVE-2025-1550), so that a file is looked
at before: only the kinds of layer that the networks here are made of are let through.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from gliomart.errors import ModelError, ModelNotFoundError, TrainingError
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.printable import printable, said
from gliomart_training.networks import every_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart.image.steps import Preprocessing
    from gliomart_training.network import Network

LAYERS = frozenset((
    "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Conv2D", "InputLayer",
    "LayerNormalization", "MultiHeadAttention", "ReLU", "Reshape", "UpSampling2D",
))  # fmt: skip
_OTHERS = re.compile(
    r"keras\.initializers\..*|keras(\.\w+)*\.DTypePolicy|keras(\.src\.models\.functional)?\."
    r"Functional|keras\.src\.ops\.numpy\.GetItem|None\.__\w+__"
)
# Modules that layers of our own are, and once were, defined in.
_OURS = re.compile(r"gliomart_training\.(layers|networks(\.\w+)?)")
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# A network for a scanner is megabytes; what is larger is something else.
_LARGEST, _LARGEST_CONFIG = 1 << 30, 16 << 20
_LONGEST = 100


def load(file: Path, spec: Preprocessing) -> keras.Model:
    """Read a network for images as a preprocessing makes them.

    Raises
    ------
    ModelNotFoundError
        There is none.
    ModelError
        It is not one that ``gliomart train`` wrote, or not whole, or is one for other images.
    """
    if not file.is_file():
        what = "a folder, not a network" if file.is_dir() else "no such network"
        raise ModelNotFoundError(f"{file}: {what}; gliomart train makes one")
    _check(file)
    try:
        network: keras.Model = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what its layers do
        raise ModelError(f"{file}: cannot be read as a network ({said(error)})") from error
    if not _fits(network, spec):
        raise ModelError(f"{file}: is no network for the images that its run's record describes")
    check_finite(network, f"{file}: is the network of a training that diverged")
    return network


def save(network: keras.Model, file: Path) -> None:
    """Write a network.

    Raises
    ------
    OutputError
        It cannot be written; nothing of it is left.
    """
    with output_errors(file), tempfile.TemporaryDirectory(dir=file.parent) as folder:
        whole = Path(folder) / "network.keras"
        try:
            network.save(whole)
        except RuntimeError as error:  # of HDF5, where the disk is full
            raise OSError(said(error)) from error
        copy(whole, file)


def copy(file: Path, to: Path) -> None:
    """Copy a file, so that the copy is whole or not there.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_atomically(to, file.read_bytes())


def check_finite(network: keras.Model, reason: str) -> None:
    """See that all weights are numbers.

    Raises
    ------
    TrainingError
        They are not, for this reason.
    """
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise TrainingError(reason)


def _fits(network: keras.Model, spec: Preprocessing) -> bool:
    """Tell whether a network takes and gives what one of ``networks`` does."""
    if not isinstance(network.output, dict):
        return False
    shapes = {name: tuple(output.shape) for name, output in network.output.items()}
    return any(
        _fits_declared(network.input_shape, dict(shapes), each, spec)
        for each in every_network().values()
    )


def _fits_declared(
    image: tuple[int | None, ...],
    outputs: dict[str, tuple[int | None, ...]],
    declared: Network,
    spec: Preprocessing,
) -> bool:
    depth = declared.depth(spec)
    if image != (None, *declared.input_shape(spec.size, depth)):
        return False
    given = () if declared.slab is None else (declared.slab.given,)
    one = (None, *given, spec.size, spec.size, 1)
    known = {"reconstruction": (*one[:-1], depth), "brain": one, "pons": one}
    further = [outputs.pop(name) for name in declared.outputs & outputs.keys()]
    return (
        "brain" in outputs
        and outputs.items() <= known.items()
        and all(shape[:-1] == one[:-1] for shape in further)
    )


def _check(file: Path) -> None:
    """See that a file names no class but those that the networks here are made of."""
    try:
        config = _config(file)
        kinds = set(_kinds(config))
    except Exception as error:  # archives and JSON are broken in many ways
        raise ModelError(f"{file}: is no .keras file, or a broken one ({said(error)})") from error
    if config is None:
        raise ModelError(f"{file}: is no network that gliomart train wrote")
    for module, name in sorted(kinds):
        if not _let_through(module, name):
            what = printable(f"{module}.{name}"[:_LONGEST])
            raise ModelError(f"{file}: holds {what}, which no network of gliomart train does")


def _let_through(module: str, name: str) -> bool:
    """Tell whether Keras may import and call what a file names."""
    declared = every_network().values()  # imported, so that Keras knows their layers
    if module == "keras.layers":
        return name in LAYERS or any(name in network.layers for network in declared)
    if _OURS.fullmatch(module):
        return keras.saving.get_registered_object(f"gliomart>{name}") is not None
    return _OTHERS.fullmatch(f"{module}.{name}") is not None


def _config(file: Path) -> object:
    """Read what a file says of its network; None where it holds more than a network does."""
    with zipfile.ZipFile(file) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if set(sizes) != _MEMBERS or len(sizes) != len(archive.infolist()):
            return None
        if sum(sizes.values()) > _LARGEST or sizes["config.json"] > _LARGEST_CONFIG:
            return None
        return json.loads(archive.read("config.json"))


def _kinds(part: object) -> Iterator[tuple[str, str]]:
    """Find the classes that a configuration names, wherever in it."""
    if isinstance(part, dict):
        if "class_name" in part:
            yield str(part.get("module")), str(part["class_name"])
        for value in part.values():
            yield from _kinds(value)
    elif isinstance(part, list):
        for value in part:
            yield from _kinds(value)
