"""The mean of several networks of other runs that tumour masks taught; to be compared with.

As Wen et al. (2025) combine theirs. It saw what its members saw.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gliomart_training.network import Bases, Network
from gliomart_training.networks.ensemble import mean_of, of_bases
from gliomart_training.networks.unet import segmenting_unet
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Marked

if TYPE_CHECKING:
    import keras


def untrained_segmenters(size: int, channels: int) -> keras.Model:
    """Build two members that know nothing, in the place of those that a run brings."""
    members = [segmenting_unet(size, channels) for _ in range(2)]
    return mean_of(members, "lesion", "segmenter_ensemble")


NETWORK = Network(
    build=untrained_segmenters,
    recipe=Recipe(network="segmenter-ensemble", residual=Marked()),
    losses=lambda _: {},
    layers=frozenset({"Average"}),
    outputs=frozenset({"lesion"}),
    bases=Bases("member", 2, 16, gives="lesion"),
    settle=partial(of_bases, output="lesion"),
)
