"""What networks that learn from tumour masks share; they are there to be compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers, ops

from gliomart_training.layers import DepthToSpace
from gliomart_training.network import Loss, on_cells

if TYPE_CHECKING:
    from keras import KerasTensor

    from gliomart_training.recipe import Recipe


def lesion_output(x: KerasTensor) -> KerasTensor:
    """Make the output ``lesion`` of features at a quarter of the image's resolution.

    Every position has a value for each of its 4×4 pixels, so that borders may run between them.
    """
    logits = layers.Conv2D(16, 3, padding="same")(x)
    pixels = DepthToSpace()(DepthToSpace()(logits))
    return layers.Activation("sigmoid", name="lesion")(pixels)


def losses_of_masks(recipe: Recipe) -> dict[str, Loss]:
    """Soft Dice and cross-entropy of the lesion, and cross-entropy of the brain, cell by cell."""
    brain = on_cells(keras.losses.binary_crossentropy, recipe.cell)
    return {"lesion": Loss(dice_and_cross_entropy, 1.0), "brain": Loss(brain, recipe.brain_weight)}


def dice_and_cross_entropy(truth: KerasTensor, output: KerasTensor) -> KerasTensor:
    """Add soft Dice loss and mean cross-entropy of probabilities (N, H, W, 1).

    Dice is taken of the whole batch: of a window that shows no tumour it would say nothing
    (Milletari et al., V-Net, 2016).
    """
    shared, all_marked = ops.sum(truth * output), ops.sum(truth) + ops.sum(output)
    dice = (2 * shared + 1) / (all_marked + 1)
    return 1 - dice + ops.mean(keras.losses.binary_crossentropy(truth, output))
