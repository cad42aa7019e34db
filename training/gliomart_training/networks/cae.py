"""Convolutional autoencoder with a bottleneck and no skip connections."""

from __future__ import annotations

import keras
from keras import layers

from gliomart_training.layers import DepthToSpace, brain_output, convolution, upsample
from gliomart_training.network import Network
from gliomart_training.recipe import Recipe


def convolutional_autoencoder(size: int, channels: int) -> keras.Model:
    """Build it.

    Five stride-2 stages lead to a latent of (size/32)² × 32 values, an eighth of the input's
    pixels at one channel; the decoder mirrors them. What does not fit through is lost: healthy
    texture as well as lesions.
    """
    image = keras.Input((size, size, channels), name="image")
    x = image
    for filters in (16, 32, 64, 96, 128):
        x = convolution(x, filters, strides=2)
    x = layers.Conv2D(32, 1, name="latent")(x)
    for filters in (96, 64, 32, 16):
        x = convolution(upsample(x), filters)
    # Four values per position and channel, dealt out to a 2×2 block.
    subpixels = layers.Conv2D(4 * channels, 3, padding="same", name="subpixels")(x)
    reconstruction = DepthToSpace(name="reconstruction")(subpixels)
    outputs = {"reconstruction": reconstruction, "brain": brain_output(x, 2)}
    return keras.Model(image, outputs, name="cae")


NETWORK = Network(
    build=convolutional_autoencoder,
    recipe=Recipe(network="cae", corruption="none", cell=1),
)
