"""U-Net that removes what does not belong (Kascenas et al., MIDL 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from gliomart_training.layers import brain_output, convolution, upsample
from gliomart_training.network import Network
from gliomart_training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras import KerasTensor


def denoising_unet(
    size: int, channels: int, *, at_the_bottom: Callable[[KerasTensor], KerasTensor] = lambda x: x
) -> keras.Model:
    """Build it.

    It predicts a correction that is added to its input (residual learning, Zhang et al., IEEE TIP
    2017): healthy detail passes as it is, and nothing has to be learned to draw it again. The
    correction is smooth by nature, so everything happens at a quarter of the resolution and below.
    ``at_the_bottom`` goes between encoder and decoder, at 1/32 of the resolution.
    """
    image = keras.Input((size, size, channels), name="image")
    x = unet(image, at_the_bottom)
    correction = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(x)
    reconstruction = layers.Add(name="reconstruction")([image, upsample(correction, 4)])
    outputs = {"reconstruction": reconstruction, "brain": brain_output(x, 4)}
    return keras.Model(image, outputs, name="dae")


def unet(
    image: KerasTensor, at_the_bottom: Callable[[KerasTensor], KerasTensor] = lambda x: x
) -> KerasTensor:
    """Make features (N, size / 4, size / 4, 32) of an image.

    The stem sees patches of 8×8 pixels. Skips are added, not concatenated, after a 1×1 projection.
    """
    x = convolution(image, 32, kernel=8, strides=4)
    skips = [x := convolution(convolution(x, 32), 32)]
    for filters in (64, 96, 128):
        x = convolution(layers.AveragePooling2D(2)(x), filters)
        skips.append(x := convolution(x, filters))
    x = at_the_bottom(x)
    for skip in reversed(skips[:-1]):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.Add()([upsample(x), layers.Conv2D(filters, 1)(skip)])
        x = convolution(convolution(x, filters), filters)
    return x


NETWORK = Network(build=denoising_unet, recipe=Recipe(network="dae"))
