"""The mean of several networks of other runs: of one recipe with several seeds, or of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from gliomart_training.network import Bases, Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras import KerasTensor

    from gliomart_training.network import Learning


def untrained_members(size: int, channels: int) -> keras.Model:
    """Build two members that know nothing, in the place of those that a run brings."""
    members = [denoising_unet(size, channels) for _ in range(2)]
    return mean_of(members, "reconstruction", "ensemble")


def mean_of(members: Sequence[keras.Model], output: str, name: str) -> keras.Model:
    """Take the mean of an output that all members have, and of their ``brain``.

    Of members that see slabs, the one that sees most slices says what all are given.
    """
    image = keras.Input(max(member.input_shape[1:] for member in members), name="image")
    given = [
        # By names of their own: members of one recipe are called alike.
        keras.Model(
            member.input,
            {kind: member.output[kind] for kind in (output, "brain")},
            name=f"member_{number}",
        )(_part(image, member))
        for number, member in enumerate(members, start=1)
    ]
    means = {
        kind: layers.Average(name=kind)([each[kind] for each in given])
        for kind in (output, "brain")
    }
    return keras.Model(image, means, name=name)


def _part(image: KerasTensor, member: keras.Model) -> KerasTensor:
    """Take what a member sees: all, or the middle of a slab."""
    spare = (image.shape[1] - member.input_shape[1]) // 2
    return image[:, spare:-spare] if spare else image


def of_bases(
    untrained: keras.Model, learning: Learning, output: str = "reconstruction"
) -> keras.Model:
    """Take the mean of an output of the bases, under the name of the untrained network."""
    members = [base.network for base in learning.bases]
    return mean_of(members, output, untrained.name)


NETWORK = Network(
    build=untrained_members,
    recipe=Recipe(network="ensemble"),
    losses=lambda _: {},
    layers=frozenset({"Average"}),
    bases=Bases("member", 2, 16),
    settle=of_bases,
)
