"""One network of the default's size that learns what several others reconstruct, on average.

Distillation (Hinton et al., 2015): its teachers see the same corrupted images, and their mean is
what its reconstruction is held to, in place of the images before they were corrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from gliomart_training.network import Bases, Network, usual_losses
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart_training.batches import Teacher
    from gliomart_training.network import Learning, Loss

_TAUGHT = "taught"


def pupil(size: int, channels: int) -> keras.Model:
    """Build it: the default network."""
    default = denoising_unet(size, channels)
    return keras.Model(default.input, default.output, name="distilled")


def _losses(recipe: Recipe) -> dict[str, Loss]:
    usual = usual_losses(recipe)
    return usual | {"reconstruction": usual["reconstruction"]._replace(truth=_TAUGHT)}


def _taught(learning: Learning, side: int) -> Teacher:
    teachers = [base.at(side) for base in learning.bases]

    def mean_of_teachers(seen: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        told = [teacher.predict_on_batch(seen)["reconstruction"] for teacher in teachers]
        return {_TAUGHT: np.mean(told, axis=0, dtype=np.float32)}

    return mean_of_teachers


NETWORK = Network(
    build=pupil,
    recipe=Recipe(network="distilled"),
    losses=_losses,
    bases=Bases("teacher", 1, 16),
    taught=_taught,
)
