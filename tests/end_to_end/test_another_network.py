"""A network that is added in one file trains, exports and infers like those that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import processes
from samples import marked_scans

pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from gliomart import Detector
from gliomart_training.record import read_record

# With layers, losses, a corruption and a residual of its own.
NETWORK = """
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from gliomart_training.corruption import CORRUPTIONS
from gliomart_training.layers import brain_output
from gliomart_training.network import Loss, Network
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Residual


@keras.saving.register_keras_serializable("gliomart")
class Halved(layers.Layer):
    def call(self, inputs):
        return 0.5 * inputs


def build(size, channels):
    image = keras.Input((size, size, channels), name="image")
    x = layers.SpatialDropout2D(0.1)(layers.Conv2D(16, 8, 4, padding="same")(image))
    x = layers.UpSampling2D(4, interpolation="bilinear")(layers.Conv2D(channels, 1)(x))
    reconstruction = layers.Add(name="reconstruction")([image, Halved()(x)])
    coarse = layers.Conv2D(8, 8, 4, padding="same")(image)
    outputs = {"reconstruction": reconstruction, "brain": brain_output(coarse, 4)}
    return keras.Model(image, outputs, name="linear")


def stripes(image, brain, random):
    striped = image.copy()
    striped[random.integers(8)::8] *= 1.2
    return np.clip(striped, 0, 1), image


def losses(recipe):
    return {"reconstruction": Loss(keras.losses.mean_absolute_error, 2.0),
            "brain": Loss(keras.losses.mean_squared_error, recipe.brain_weight)}


@dataclass(frozen=True)
class Doubled(Residual):
    times: float = 2.0

    def anomaly_map(self, image, outputs):
        return np.float32(self.times) * super().anomaly_map(image, outputs)


CORRUPTIONS["stripes"] = stripes
NETWORK = Network(
    build=build,
    recipe=Recipe(network="linear-one", corruption="stripes", residual=Doubled(smoothing_px=1.0)),
    losses=losses,
    layers=frozenset({"SpatialDropout2D"}),
)
"""
COMMAND = """
import sys
from functools import partial
from gliomart_training import networks
networks.__path__.append(sys.argv.pop(1))
from gliomart_training import commands
commands.Preprocessing = partial(commands.Preprocessing, size=64)
from gliomart.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
def test_a_network_is_added_in_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "networks"
    folder.mkdir()
    (folder / "linear_one.py").write_text(NETWORK)
    scans = marked_scans(tmp_path / "scans")
    keras_file, model = tmp_path / "own.keras", tmp_path / "own.onnx"
    short = ("--network", "linear-one", "--epochs", 1, "--folds", 1)
    images = scans / "images"
    for arguments in (
        ("train", scans, "--out", keras_file, *short),
        ("export", keras_file, model, "--precision", "int8"),
        ("infer", images, "--model", model, "--out", tmp_path / "out"),
    ):
        processes.run(COMMAND, folder, *arguments, env=processes.searched())
    recipe = read_record(tmp_path / "own.run")["recipe"]
    assert recipe["corruption"] == "stripes"
    assert recipe["residual"]["times"] == 2
    network = Detector(model, provider="cpu").card.network
    assert (network["name"], network["residual"]["smoothing_px"]) == ("linear-one", 1)
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["slices"]) == 30
