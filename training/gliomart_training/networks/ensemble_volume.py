"""The mean of several networks that see slabs, of one slice by itself or of several together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart_training.network import Bases, Network
from gliomart_training.networks.dae_across import untrained
from gliomart_training.networks.dae_volume import SLAB, volume_unet
from gliomart_training.networks.ensemble import mean_of, of_bases
from gliomart_training.recipe import Recipe
from gliomart_training.residual import AcrossSlices

if TYPE_CHECKING:
    import keras


def untrained_members(size: int, channels: int) -> keras.Model:
    """Build members that know nothing, in the place of those that runs bring."""
    members = [volume_unet(size, channels), untrained(size, channels)]
    return mean_of(members, "reconstruction", "ensemble-volume")


NETWORK = Network(
    build=untrained_members,
    recipe=Recipe(network="ensemble-volume", residual=AcrossSlices()),
    losses=lambda _: {},
    layers=frozenset({"Average"}),
    bases=Bases("member", 2, 16),
    settle=of_bases,
    slab=SLAB,
)
