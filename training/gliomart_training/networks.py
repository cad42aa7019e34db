"""The networks, by name. Only ``keras`` and ``keras.ops``: they train on any Keras backend.

To add one, write a function ``(size, channels) -> keras.Model`` and name it in ``NETWORKS``.
Convolutions with a 1×1 kernel and stride 2 are avoided (their gradient corrupts memory on some
TensorFlow builds), and upsampling is bilinear (it exports to one ONNX node).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable


# Filters of the half-resolution layers, which are the costly ones.
_UNNORMALISED = 16


def convolutional_autoencoder(size: int, channels: int) -> keras.Model:
    """Convolutional autoencoder with a bottleneck and no skip connections.

    Five stride-2 stages lead to a latent of (size/32)² × 32 values, an eighth of the input's
    pixels at one channel; the decoder mirrors them. What does not fit through is lost: healthy
    texture as well as lesions.
    """
    image = keras.Input((size, size, channels), name="image")
    x = image
    for filters in (16, 32, 64, 96, 128):
        x = _convolution(x, filters, strides=2)
    x = layers.Conv2D(32, 1, name="latent")(x)
    for filters in (96, 64, 32, 16):
        x = _convolution(_upsample(x), filters)
    return keras.Model(image, _reconstruct(x, channels), name="cae")


def denoising_unet(size: int, channels: int) -> keras.Model:
    """U-Net that removes what does not belong (Kascenas et al., MIDL 2022).

    It predicts a correction that is added to its input (residual learning, Zhang et al., IEEE TIP
    2017): healthy detail passes as it is, and nothing has to be learned to draw it again. A
    stride-2 stem keeps full resolution cheap; skips are added, not concatenated, after a 1×1
    projection, and the correction, smooth by nature, is made at half resolution.
    """
    image = keras.Input((size, size, channels), name="image")
    x = _convolution(image, 16, kernel=5, strides=2)
    skips = []
    for filters in (16, 32, 64):
        x = _convolution(x, filters)
        skips.append(x)
        x = _convolution(layers.AveragePooling2D(2)(x), filters * 2)
    x = _convolution(x, 128)
    x = _convolution(x, 128)
    for skip in reversed(skips):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.Add()([_upsample(x), layers.Conv2D(filters, 1)(skip)])
        x = _convolution(x, filters)
        if filters > _UNNORMALISED:
            x = _convolution(x, filters)
    correction = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(x)
    reconstruction = layers.Add(name="reconstruction")([image, _upsample(correction)])
    return keras.Model(image, reconstruction, name="dae")


NETWORKS: dict[str, Callable[[int, int], keras.Model]] = {
    "cae": convolutional_autoencoder,
    "dae": denoising_unet,
}


def _convolution(x: Any, filters: int, *, kernel: int = 3, strides: int = 1) -> Any:  # noqa: ANN401
    x = layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal")(x)
    # Training diverges without normalisation; the widest maps train half as fast with it and do
    # not need it. An exported graph has it folded into the convolutions.
    if filters > _UNNORMALISED:
        x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.LeakyReLU(0.1)(x)


def _upsample(x: Any) -> Any:  # noqa: ANN401
    return layers.UpSampling2D(interpolation="bilinear")(x)


def _reconstruct(x: Any, channels: int) -> Any:  # noqa: ANN401
    """From half resolution to the image: four values per position, dealt out to a 2×2 block."""
    x = layers.Conv2D(4 * channels, 3, padding="same", name="subpixels")(x)
    return DepthToSpace(name="reconstruction")(x)


@keras.saving.register_keras_serializable("gliomart")
class DepthToSpace(layers.Layer):
    """Rearrange (N, H, W, 4 C) into (N, 2 H, 2 W, C) (Shi et al., CVPR 2016)."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401, D102
        _, height, width, depth = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, depth // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, depth // 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        batch, height, width, depth = input_shape
        assert height is not None and width is not None and depth is not None  # noqa: PT018, S101
        return (batch, 2 * height, 2 * width, depth // 4)
