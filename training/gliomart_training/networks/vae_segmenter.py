"""Encoder-decoder segmentation regularised by a variational branch (Myronenko, BrainLes 2018).

In two dimensions. It learns from tumour masks, to be compared with, and is never built in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers, ops

from gliomart_training.layers import brain_output, convolution, upsample
from gliomart_training.network import Loss, Network, on_cells
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Marked
from gliomart_training.supervised import lesion_output, losses_of_masks

if TYPE_CHECKING:
    from keras import KerasTensor

    from gliomart_training.network import Learning

# Filters and residual blocks of the encoder, from a quarter of the resolution to 1/32.
_STAGES = ((32, 1), (64, 1), (96, 2), (128, 2))
_LATENT = 16
# Of the branch's two losses, beside the Dice loss, as published.
_REDRAWN_WEIGHT, _DIVERGENCE_WEIGHT = 0.1, 0.1


def variational_segmenter(size: int, channels: int) -> keras.Model:
    """Build it, with the branch that draws its input anew from the bottom of the encoder.

    The latent keeps its places, 16 values at each 1/32 of the resolution, where the published one
    has 128 for a whole volume: the same weights then fit images of every size. Batches are
    normalised, not groups: a window's statistics are not those of a whole image.
    """
    image = keras.Input((size, size, channels), name="image")
    x = convolution(image, _STAGES[0][0], kernel=8, strides=4)
    skips: list[KerasTensor] = []
    for filters, blocks in _STAGES:
        if skips:
            x = convolution(x, filters, strides=2)
        for _ in range(blocks):
            x = _residual_block(x)
        skips.append(x)
    redrawn = _variational_branch(x, channels)
    for skip in reversed(skips[:-1]):
        x = layers.Add()([upsample(layers.Conv2D(skip.shape[-1], 1)(x)), skip])
        x = _residual_block(x)
    outputs = {"lesion": lesion_output(x), "brain": brain_output(x, 4), "redrawn": redrawn}
    return keras.Model(image, outputs, name="vae-segmenter")


def _residual_block(x: KerasTensor) -> KerasTensor:
    filters = x.shape[-1]
    return layers.Add()([x, convolution(convolution(x, filters), filters)])


def _variational_branch(x: KerasTensor, channels: int) -> KerasTensor:
    x = Drawn()(layers.Conv2D(2 * _LATENT, 1)(x))
    for filters in (96, 64, 32):
        x = convolution(upsample(x), filters)
    x = layers.Conv2D(channels, 3, padding="same")(x)
    return layers.Activation("linear", name="redrawn")(upsample(x, 4))


@keras.saving.register_keras_serializable("gliomart")
class Drawn(layers.Layer):
    """Draw a latent (N, H, W, C) from the means and logarithms of variances (N, H, W, 2 C).

    Its Kullback-Leibler divergence from a standard normal one, the mean of all values, is added to
    the losses (Kingma and Welling, 2014). Outside training it is the mean.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.random = keras.random.SeedGenerator()

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:  # noqa: D102
        mean, log_variance = ops.split(inputs, 2, axis=-1)
        divergence = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        self.add_loss(_DIVERGENCE_WEIGHT * 0.5 * ops.mean(divergence))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self.random)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        depth = input_shape[-1]
        assert depth is not None  # noqa: S101
        return (*input_shape[:-1], depth // 2)


def _losses(recipe: Recipe) -> dict[str, Loss]:
    redrawn = on_cells(keras.losses.mean_squared_error, recipe.cell)
    return losses_of_masks(recipe) | {"redrawn": Loss(redrawn, _REDRAWN_WEIGHT, "reconstruction")}


def _without_branch(trained: keras.Model, learning: Learning) -> keras.Model:
    """Leave out the branch: it is there for training."""
    del learning
    kept = {name: trained.output[name] for name in ("lesion", "brain")}
    (image,) = trained.inputs
    return keras.Model(image, kept, name=trained.name)


NETWORK = Network(
    build=variational_segmenter,
    recipe=Recipe(network="vae-segmenter", corruption="none", brain_weight=0.1, residual=Marked()),
    losses=_losses,
    outputs=frozenset({"lesion", "redrawn"}),
    supervised=True,
    settle=_without_branch,
)
