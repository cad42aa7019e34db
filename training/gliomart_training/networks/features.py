"""How far features of another run's network depart from those of healthy patches.

A method without a reconstruction; features resist the shift between hospitals better (Frotscher et
al., 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from gliomart.errors import UsageError
from gliomart_training.network import Bases, Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.patches import departure, tell_apart
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Departure

if TYPE_CHECKING:
    from keras import KerasTensor

    from gliomart_training.network import Learning

# How much coarser than the image the features are that are looked at.
_STRIDE = 4


def departing_features(size: int, channels: int) -> keras.Model:
    """Build it on a network that knows nothing, in the place of the one that a run brings."""
    return _on(denoising_unet(size, channels))


def _on(encoder: keras.Model) -> keras.Model:
    outputs = {
        "departure": departure(_features(encoder), _STRIDE),
        "brain": encoder.output["brain"],
    }
    return keras.Model(encoder.input, outputs, name="features")


def _features(encoder: keras.Model) -> list[KerasTensor]:
    """Find the features that are last at the stride before anything is enlarged, and last of all.

    The first see a small patch, the others its surroundings as well.
    """
    (_, size, _, _) = encoder.input_shape
    kinds = [type(layer) for layer in encoder.layers]
    before = encoder.layers[: kinds.index(layers.UpSampling2D)]
    early, all_of_them = (
        [
            layer.output
            for layer in some
            if isinstance(layer, layers.ReLU) and layer.output.shape[1] * _STRIDE == size
        ]
        for some in (before, encoder.layers)
    )
    if not early:
        raise UsageError(
            f"{encoder.name} has no features at 1/{_STRIDE} of the image's resolution to look at"
        )
    return [early[-1], all_of_them[-1]]


def _telling(untrained: keras.Model, learning: Learning) -> keras.Model:
    del untrained
    (base,) = learning.bases
    network = _on(base.network)
    tell_apart(network, learning)
    return network


NETWORK = Network(
    build=departing_features,
    recipe=Recipe(network="features", residual=Departure()),
    losses=lambda _: {},
    outputs=frozenset({"departure"}),
    bases=Bases("encoder", 1, 1),
    settle=_telling,
)
