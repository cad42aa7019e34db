"""Supervised U-Net of asymmetric convolutions with dual attention (after Wen et al., 2025).

Asymmetric convolutions: Ding et al., ACNet, ICCV 2019. Dual attention: Fu et al., CVPR 2019.
It learns from tumour masks, to be compared with, and is never built in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers, ops

from gliomart_training.layers import brain_output, convolution, upsample
from gliomart_training.network import Network
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Marked
from gliomart_training.supervised import lesion_output, losses_of_masks

if TYPE_CHECKING:
    from keras import KerasTensor

# Filters from 1/8 of the resolution to 1/32; attention is paid at 1/16.
_FILTERS, _ATTENTIVE = (64, 96, 128), 96


def attentive_segmenter(size: int, channels: int) -> keras.Model:
    """Build it, in the shape of the denoising network."""
    image = keras.Input((size, size, channels), name="image")
    x = convolution(image, 32, kernel=8, strides=4)
    skips = [x := _asymmetric(_asymmetric(x, 32), 32)]
    for filters in _FILTERS:
        x = _asymmetric(layers.AveragePooling2D(2)(x), filters)
        skips.append(x := _asymmetric(x, filters))
    for skip in reversed(skips[:-1]):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.Add()([upsample(x), layers.Conv2D(filters, 1)(skip)])
        if filters == _ATTENTIVE:
            x = _dual_attention(x)
        x = _asymmetric(_asymmetric(x, filters), filters)
    outputs = {"lesion": lesion_output(x), "brain": brain_output(x, 4)}
    return keras.Model(image, outputs, name="acda")


def _asymmetric(x: KerasTensor, filters: int) -> KerasTensor:
    return layers.ReLU()(AsymmetricConvolution(filters)(x))


def _dual_attention(x: KerasTensor) -> KerasTensor:
    """Add what is seen at like places, and what is seen in like channels."""
    filters = x.shape[-1]
    query, key = (layers.Conv2D(filters // 8, 1)(x) for _ in range(2))
    places = AttentionToPlaces()([query, key, layers.Conv2D(filters, 1)(x)])
    return layers.Add()([x, Weighted()(places), Weighted()(AttentionToChannels()(x))])


@keras.saving.register_keras_serializable("gliomart")
class AsymmetricConvolution(layers.Layer):
    """Convolve by a square of 3×3, a row and a column, normalise each, and add them.

    Outside training that is one convolution, by the sum of all three; an exported graph holds
    nothing else.
    """

    def __init__(self, filters: int, **options: object) -> None:
        super().__init__(**options)
        self.filters = filters
        self.convolutions = [
            layers.Conv2D(
                filters, kernel, padding="same", use_bias=False, kernel_initializer=_a_third()
            )
            for kernel in ((3, 3), (1, 3), (3, 1))
        ]
        self.normalisations = [layers.BatchNormalization(momentum=0.95) for _ in range(3)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: D102
        for each in self.convolutions:
            each.build(input_shape)
        for each in self.normalisations:
            each.build((*input_shape[:-1], self.filters))

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:  # noqa: D102
        branches = zip(self.convolutions, self.normalisations, strict=True)
        if training:
            return sum(
                normalise(convolve(inputs), training=True) for convolve, normalise in branches
            )
        kernel, bias = 0.0, 0.0
        for convolve, normalise in branches:
            scale = normalise.gamma * ops.rsqrt(normalise.moving_variance + normalise.epsilon)
            height, width = convolve.kernel_size
            around = ((1 - height // 2,) * 2, (1 - width // 2,) * 2, (0, 0), (0, 0))
            kernel += ops.pad(convolve.kernel * scale, around)
            bias += normalise.beta - normalise.moving_mean * scale
        return ops.conv(inputs, kernel, padding="same") + ops.reshape(bias, (1, 1, 1, -1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, object]:  # noqa: D102
        return {**super().get_config(), "filters": self.filters}


def _a_third() -> keras.Initializer:
    """Draw weights as He et al. (2015) do, with the variance shared by three branches."""
    return keras.initializers.VarianceScaling(2 / 3, "fan_in", "truncated_normal")


@keras.saving.register_keras_serializable("gliomart")
class AttentionToPlaces(layers.Layer):
    """Mean of values (N, H, W, C) over all places, by how alike query and key (N, H, W, D) are."""

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:  # noqa: D102
        query, key, value = (_places(each) for each in inputs)
        alike = ops.matmul(query / query.shape[2] ** 0.5, ops.transpose(key, (0, 2, 1)))
        attended = ops.matmul(ops.softmax(alike, axis=-1), value)
        return ops.reshape(attended, (-1, *inputs[-1].shape[1:]))

    def compute_output_shape(  # noqa: D102
        self, input_shape: list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        return input_shape[-1]


@keras.saving.register_keras_serializable("gliomart")
class AttentionToChannels(layers.Layer):
    """Mean over all channels of (N, H, W, C), for each of them, by how alike they are.

    Products are means over places, so that they do not grow with the image.
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        places = _places(inputs)
        alike = ops.matmul(ops.transpose(places, (0, 2, 1)), places / places.shape[1])
        attended = ops.matmul(places, ops.transpose(ops.softmax(alike, axis=-1), (0, 2, 1)))
        return ops.reshape(attended, (-1, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return input_shape


@keras.saving.register_keras_serializable("gliomart")
class Weighted(layers.Layer):
    """Multiply by one weight, which begins at 0: attention comes in as it is learned."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: D102
        del input_shape
        self.weight = self.add_weight(shape=(1, 1, 1, 1), initializer="zeros", name="weight")

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        return self.weight * inputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        return input_shape


def _places(x: KerasTensor) -> KerasTensor:
    """Rearrange (N, H, W, C) into (N, H W, C)."""
    _, height, width, depth = x.shape
    return ops.reshape(x, (-1, height * width, depth))


NETWORK = Network(
    build=attentive_segmenter,
    recipe=Recipe(network="acda", corruption="none", brain_weight=0.1, residual=Marked()),
    losses=losses_of_masks,
    outputs=frozenset({"lesion"}),
    supervised=True,
)
