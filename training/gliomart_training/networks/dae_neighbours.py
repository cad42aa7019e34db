"""The denoising U-Net on three neighbouring slices: those beside one are further channels of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.model.contents import Slab
from gliomart_training.network import Network
from gliomart_training.networks.dae_volume import slab_unet
from gliomart_training.recipe import Recipe
from gliomart_training.residual import AcrossSlices

if TYPE_CHECKING:
    import keras

SLAB = Slab(seen=12, given=10)


def neighbours_unet(size: int, channels: int) -> keras.Model:
    """Build it."""
    return slab_unet(size, channels, SLAB, levels=(0,), name="dae-neighbours")


NETWORK = Network(
    build=neighbours_unet,
    recipe=Recipe(
        network="dae-neighbours", epochs=20, batch_size=3, heads=24, residual=AcrossSlices()
    ),
    slab=SLAB,
)
