"""What a network declares of itself: how it is built, what its outputs are held to, its recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import keras
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras import KerasTensor

    from gliomart_training.recipe import Recipe


class Loss(NamedTuple):
    """What an output is held to: a function of truth and output, and its weight in the sum."""

    function: Callable[[KerasTensor, KerasTensor], KerasTensor]
    weight: float


def usual_losses(recipe: Recipe) -> dict[str, Loss]:
    """Squared error of the reconstruction and cross-entropy of the brain, cell by cell."""
    return {
        "reconstruction": Loss(on_cells(keras.losses.mean_squared_error, recipe.cell), 1.0),
        "brain": Loss(on_cells(keras.losses.binary_crossentropy, recipe.cell), recipe.brain_weight),
    }


def on_cells(
    loss: Callable[[KerasTensor, KerasTensor], KerasTensor], cell: int
) -> Callable[[KerasTensor, KerasTensor], KerasTensor]:
    """Take a loss between means over cells of so many pixels a side."""

    def mean_of_cells(truth: KerasTensor, output: KerasTensor) -> KerasTensor:
        coarse = (ops.average_pool(values, cell) for values in (truth, output))
        return loss(*coarse)

    return mean_of_cells


@dataclass(frozen=True)
class Network:
    """A kind of network, with all that training and export have to know of it.

    Attributes
    ----------
    build
        From the side of an image, a multiple of 32, and its channels to an untrained network. It
        takes ``image`` (N, size, size, channels) and gives a dictionary with ``reconstruction``, of
        the same shape, and ``brain`` (N, size, size, 1) in [0, 1], the probability that a pixel
        lies in the brain. The same weights fit every size.
    recipe
        How it is trained unless the command says otherwise; it names the corruption and the
        residual.
    losses
        Of a recipe: what each output is held to, by name. ``batches`` brings the truth for
        ``reconstruction`` and ``brain``; an output without a loss is not trained by itself.
    layers
        Kinds of Keras' own layers that it is made of beyond those in ``network_file.LAYERS``. A
        network with others is not read from its file.
    """

    build: Callable[[int, int], keras.Model]
    recipe: Recipe
    losses: Callable[[Recipe], dict[str, Loss]] = field(default=usual_losses)
    layers: frozenset[str] = frozenset()
