"""The default network, slice by slice, with an anomaly map that goes on across slices.

Nothing is trained for it: it is the network of a ``dae`` run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from gliomart.model.contents import Slab
from gliomart_training.layers import SlicesApart, SlicesTogether
from gliomart_training.network import Bases, Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe
from gliomart_training.residual import AcrossSlices

if TYPE_CHECKING:
    from gliomart_training.network import Learning

SLAB = Slab(seen=10, given=10)


def untrained(size: int, channels: int) -> keras.Model:
    """Build it upon a network that knows nothing, in the place of the one that a run brings."""
    return slice_by_slice(denoising_unet(size, channels))


def slice_by_slice(base: keras.Model) -> keras.Model:
    """Let a network of one slice see every slice of a slab."""
    image = keras.Input((SLAB.seen, *base.input_shape[1:]), name="image")
    given = base(SlicesApart()(image))
    outputs = {
        name: SlicesTogether(SLAB.given, name=name)(given[name])
        for name in ("reconstruction", "brain")
    }
    return keras.Model(image, outputs, name="dae-across")


def _upon_base(network: keras.Model, learning: Learning) -> keras.Model:
    del network
    (base,) = learning.bases
    return slice_by_slice(base.network)


NETWORK = Network(
    build=untrained,
    recipe=Recipe(network="dae-across", residual=AcrossSlices()),
    losses=lambda _: {},
    bases=Bases("encoder", 1, 1),
    settle=_upon_base,
    slab=SLAB,
)
