"""Convolutional autoencoder with a bottleneck and no skip connections.

Trained by structural similarity beside the squared error (Bergmann et al., VISAPP 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers, ops

from gliomart_training.healthy import HEALTHY, with_healthy_residual
from gliomart_training.layers import DepthToSpace, brain_output, convolution, upsample
from gliomart_training.network import Loss, Network, on_cells, usual_losses
from gliomart_training.recipe import Recipe
from gliomart_training.residual import ScaledResidual
from gliomart_training.similarity import structural_similarity

if TYPE_CHECKING:
    from keras import KerasTensor

    from gliomart_training.network import Learning

# The network works on cells of this many pixels a side.
_CELL = 2
# What is brighter than the usual brain is not seen, so that bright lesions cannot pass into what is
# expected.
_SEEN_UP_TO = 0.4
# What is brighter than healthy brain is expected to be this bright: fat would otherwise take up
# most of the squared error.
_EXPECTED_UP_TO = 0.65
_DISSIMILARITY_WEIGHT = 0.05


def convolutional_autoencoder(size: int, channels: int) -> keras.Model:
    """Build it.

    It works at half the image's resolution. Four stride-2 stages lead to a latent of (size/32)² ×
    16 values, a sixty-fourth of the input's pixels at one channel, that lie where they came from;
    the decoder mirrors them. What does not fit through is lost. Brightness above the usual brain's
    is cut off at the input: how bright healthy brain is expected to be follows from what is darker.
    """
    image = keras.Input((size, size, channels), name="image")
    x = layers.ReLU(max_value=_SEEN_UP_TO)(layers.AveragePooling2D(_CELL)(image))
    for filters in (16, 32, 64, 96):
        x = convolution(x, filters, strides=2)
    x = layers.Conv2D(16, 1, name="latent")(convolution(x, 96))
    x = convolution(x, 96)
    for filters in (64, 32, 24):
        x = convolution(upsample(x), filters)
    # Four values per position and channel, dealt out to a 2×2 block.
    subpixels = layers.Conv2D(4 * channels, 3, padding="same", name="subpixels")(x)
    reconstruction = layers.UpSampling2D(_CELL, interpolation="bilinear", name="reconstruction")(
        DepthToSpace()(subpixels)
    )
    outputs = {"reconstruction": reconstruction, "brain": brain_output(x, 2 * _CELL)}
    return keras.Model(image, outputs, name="cae")


def similarity_losses(recipe: Recipe) -> dict[str, Loss]:
    """Squared error and structural dissimilarity of the reconstruction, beside the usual brain."""
    reconstruction = Loss(on_cells(_dissimilarity, recipe.cell), 1.0)
    return usual_losses(recipe) | {"reconstruction": reconstruction}


def _dissimilarity(truth: KerasTensor, output: KerasTensor) -> KerasTensor:
    truth = ops.minimum(truth, _EXPECTED_UP_TO)
    squared = ops.mean((truth - output) ** 2, axis=(1, 2, 3))
    similar = ops.mean(structural_similarity(truth, output), axis=(1, 2, 3))
    return squared + _DISSIMILARITY_WEIGHT * (1 - similar)


def _settle(trained: keras.Model, learning: Learning) -> keras.Model:
    """Tell from the decoder's last features what healthy images leave."""
    return with_healthy_residual(trained, trained.get_layer("subpixels").input, learning)


NETWORK = Network(
    build=convolutional_autoencoder,
    recipe=Recipe(
        network="cae",
        corruption="none",
        learning_rate=3e-3,
        cell=_CELL,
        residual=ScaledResidual(),
    ),
    losses=similarity_losses,
    outputs=frozenset({HEALTHY}),
    settle=_settle,
)
