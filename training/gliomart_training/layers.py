"""Layers that several networks are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from keras import KerasTensor


def convolution(x: KerasTensor, filters: int, *, kernel: int = 3, strides: int = 1) -> KerasTensor:
    """Convolve, normalise and rectify."""
    x = layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal")(x)
    # Training does not leave the identity without normalisation. An exported graph has it folded
    # into the convolutions.
    x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.ReLU()(x)


def upsample(x: KerasTensor, factor: int = 2) -> KerasTensor:
    """Enlarge bilinearly."""
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def brain_output(x: KerasTensor, factor: int) -> KerasTensor:
    """Make the output ``brain`` of the last features, ``factor`` times coarser than the image."""
    logits = layers.Conv2D(1, 3, padding="same")(x)
    return layers.Activation("sigmoid", name="brain")(upsample(logits, factor))


@keras.saving.register_keras_serializable("gliomart")
class DepthToSpace(layers.Layer):
    """Rearrange (N, H, W, 4 C) into (N, 2 H, 2 W, C) (Shi et al., CVPR 2016)."""

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        _, height, width, depth = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, depth // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, depth // 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        batch, height, width, depth = input_shape
        assert height is not None and width is not None and depth is not None  # noqa: PT018, S101
        return (batch, 2 * height, 2 * width, depth // 4)
