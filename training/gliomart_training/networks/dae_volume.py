"""The denoising U-Net over a series: a slab of slices at a time, anisotropic.

Slices are thick, so that pixels are pooled first, each slice by itself; a slice is compared with
those beside it where pixels are as wide as slices are thick, on an eighth and a sixteenth of the
resolution (Çiçek et al., *3D U-Net*, MICCAI 2016; Isensee et al., Nature Methods 2021, on
anisotropic spacing). A lesion goes on through its neighbours, and is to be removed from all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from gliomart.model.contents import Slab
from gliomart_training.layers import (
    BesideNeighbours,
    MiddleSlices,
    SlicesApart,
    SlicesTogether,
    brain_logits,
    convolution,
    upsample,
)
from gliomart_training.network import Network
from gliomart_training.recipe import Recipe
from gliomart_training.residual import AcrossSlices

if TYPE_CHECKING:
    from collections.abc import Container

    from keras import KerasTensor

# Each level at which neighbours are seen takes one slice off either end.
SLAB = Slab(seen=14, given=10)
_FILTERS = (64, 96, 128)


def volume_unet(size: int, channels: int) -> keras.Model:
    """Build it: neighbours are seen on an eighth and a sixteenth of the resolution."""
    return slab_unet(size, channels, SLAB, levels=(1, 2), name="dae-volume")


def slab_unet(
    size: int, channels: int, slab: Slab, *, levels: Container[int], name: str
) -> keras.Model:
    """Build a denoising U-Net (:func:`.dae.denoising_unet`) that sees neighbours at some levels.

    Level 0 is the image itself, and each further one is half as fine as the one before; as many of
    them as there are slices of context.
    """
    image = keras.Input((slab.seen, size, size, channels), name="image")
    apart = SlicesApart()(image)
    x = _features(apart, slab, levels)
    correction = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(x)
    middle = MiddleSlices(slab.seen, slab.given)(apart)
    corrected = layers.Add()([middle, upsample(correction, 4)])
    brain = layers.Activation("sigmoid")(upsample(brain_logits(x), 4))
    outputs = {
        "reconstruction": SlicesTogether(slab.given, name="reconstruction")(corrected),
        "brain": SlicesTogether(slab.given, name="brain")(brain),
    }
    return keras.Model(image, outputs, name=name)


def _features(x: KerasTensor, slab: Slab, levels: Container[int]) -> KerasTensor:
    """Make features (N · given, size / 4, size / 4, 32) of slices (N · seen, size, size, C)."""
    depth = slab.seen
    if 0 in levels:
        x, depth = BesideNeighbours(depth)(x), depth - 2
    x = convolution(x, 32, kernel=8, strides=4)
    skips = [(x := convolution(convolution(x, 32), 32), depth)]
    for level, filters in enumerate(_FILTERS, start=1):
        x = layers.AveragePooling2D(2)(x)
        if level in levels:
            x, depth = BesideNeighbours(depth)(x), depth - 2
        x = convolution(x, filters)
        skips.append((x := convolution(x, filters), depth))
    for skip, slices in reversed(skips[:-1]):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        beside = layers.Conv2D(filters, 1)(MiddleSlices(slices, slab.given)(skip))
        x = layers.Add()([upsample(x), beside])
        x = convolution(convolution(x, filters), filters)
    return x


NETWORK = Network(
    build=volume_unet,
    recipe=Recipe(network="dae-volume", epochs=20, batch_size=3, heads=24, residual=AcrossSlices()),
    slab=SLAB,
)
