"""The control of every reconstruction: brain at its usual brightness, wherever the image shows it.

The residual of it is brightness alone, so that whatever a recipe adds to thresholding is told by
the difference. It is looked at through the residual of the run that it is built on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import initializers, layers

from gliomart_training.healthy import HEALTHY, with_healthy_residual
from gliomart_training.network import Network
from gliomart_training.recipe import Recipe
from gliomart_training.residual import ScaledResidual

if TYPE_CHECKING:
    from gliomart_training.network import Learning

# Cells of this many pixels a side are told to be brain where they are brighter than this, softly:
# what stands in for a localiser.
_CELL, _BRIGHT, _SLOPE = 4, 0.2, 20.0


def constant_reconstruction(size: int, channels: int) -> keras.Model:
    """Build it; nothing of it is trained."""
    image = keras.Input((size, size, channels), name="image")
    level = layers.Conv2D(
        channels, 1, kernel_initializer="zeros", trainable=False, name="reconstruction"
    )
    step = layers.Conv2D(
        1,
        1,
        kernel_initializer=initializers.Constant(_SLOPE / channels),
        bias_initializer=initializers.Constant(-_SLOPE * _BRIGHT),
        trainable=False,
    )
    coarse = step(layers.AveragePooling2D(_CELL)(image))
    enlarged = layers.UpSampling2D(_CELL, interpolation="bilinear")(coarse)
    brain = layers.Activation("sigmoid", name="brain")(enlarged)
    return keras.Model(image, {"reconstruction": level(image), "brain": brain}, name="constant")


def _settle(untrained: keras.Model, learning: Learning) -> keras.Model:
    """Reconstruct the brain's level, and tell what healthy images leave: the same everywhere."""
    level = untrained.get_layer("reconstruction")
    kernel, bias = level.get_weights()
    level.set_weights([kernel, np.full_like(bias, learning.spec.brain_level)])
    coarse = layers.AveragePooling2D(_CELL, name="level")(level.output)
    return with_healthy_residual(untrained, coarse, learning)


NETWORK = Network(
    build=constant_reconstruction,
    recipe=Recipe(network="constant", corruption="none", residual=ScaledResidual()),
    losses=lambda _: {},
    outputs=frozenset({HEALTHY}),
    settle=_settle,
    residual_of_base=True,
)
