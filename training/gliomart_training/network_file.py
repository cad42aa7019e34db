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
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gliomart.errors import ModelError, ModelNotFoundError, TrainingError
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.printable import said
from gliomart_training import networks  # noqa: F401  # Keras then knows its layers

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAYERS = frozenset((
    "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Conv2D", "InputLayer",
    "LayerNormalization", "MultiHeadAttention", "ReLU", "Reshape", "UpSampling2D",
))  # fmt: skip
_OTHERS = re.compile(
    r"keras\.initializers\..*|keras(\.\w+)*\.DTypePolicy|keras(\.src\.models\.functional)?\."
    r"Functional|keras\.src\.ops\.numpy\.GetItem|gliomart_training\.networks\.DepthToSpace"
    r"|None\.__\w+__"
)
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# A network for a scanner is megabytes; what is larger is something else.
_LARGEST, _LARGEST_CONFIG = 1 << 30, 16 << 20


def load(file: Path) -> keras.Model:
    """Read a network.

    Raises
    ------
    ModelNotFoundError
        There is none.
    ModelError
        It is not one that ``gliomart train`` wrote, or not whole.
    """
    if not file.is_file():
        what = "a folder, not a network" if file.is_dir() else "no such network"
        raise ModelNotFoundError(f"{file}: {what}; gliomart train makes one")
    _check(file)
    try:
        network: keras.Model = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what its layers do
        raise ModelError(f"{file}: cannot be read as a network ({said(error)})") from error
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


def _check(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if set(sizes) != _MEMBERS or sum(sizes.values()) > _LARGEST:
                raise ModelError(f"{file}: is no network that gliomart train wrote")
            if sizes["config.json"] > _LARGEST_CONFIG:
                raise ModelError(f"{file}: is no network that gliomart train wrote")
            config = json.loads(archive.read("config.json"))
            kinds = set(_kinds(config))
    except (OSError, ValueError, RecursionError, NotImplementedError, zipfile.BadZipFile) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file}: is no .keras file, or a broken one ({said(error)})") from error
    for module, name in sorted(kinds):
        ours = module == "keras.layers" and name in _LAYERS
        if not (ours or _OTHERS.fullmatch(f"{module}.{name}")):
            what = said(ModelError(f"{module}.{name}")).partition(": ")[2]
            raise ModelError(f"{file}: holds {what}, which no network of gliomart train does")


def _kinds(part: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Find the classes that a configuration names, wherever in it."""
    if isinstance(part, dict):
        if "class_name" in part:
            yield str(part.get("module")), str(part["class_name"])
        for value in part.values():
            yield from _kinds(value)
    elif isinstance(part, list):
        for value in part:
            yield from _kinds(value)
