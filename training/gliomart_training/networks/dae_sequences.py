"""The default network on several sequences of one examination: FLAIR, and T1 where there is some.

What is missing is 0 everywhere. Trained with sequences left out at random, it does without them.
"""

from __future__ import annotations

import keras

from gliomart_training.network import Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe


def sequences_unet(size: int, channels: int) -> keras.Model:
    """Build it: the default network with further channels."""
    default = denoising_unet(size, channels)
    return keras.Model(default.input, default.output, name="dae-sequences")


NETWORK = Network(
    build=sequences_unet,
    recipe=Recipe(network="dae-sequences"),
    companions=("T1", "T1C"),
)
