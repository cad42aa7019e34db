"""What tells patches of healthy images from patches with lesions put in, by features of a network.

No image is reconstructed. Features are compared patch by patch, as PaDiM (Defard et al., 2021) and
PatchCore (Roth et al., CVPR 2022) do. To a distance from healthy patches, edges and vessels count
as much as lesions; so what departs is told by what lesions change that are put into the healthy
images (as CutPaste does, Li et al., CVPR 2021). No tumour and no mask is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers

from gliomart.errors import TrainingError
from gliomart.image.preprocess import stack_channels
from gliomart_training.batches import Variation
from gliomart_training.corruption import bright_lesions
from gliomart_training.sigmoid import sigmoid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keras import KerasTensor
    from numpy.typing import NDArray

    from gliomart_training.network import Learning

    Values = NDArray[np.float32]

# Healthy images that lesions are put into, and patches of each, of either kind.
_IMAGES, _PATCHES = 400, 40
# A patch with less of a lesion is healthy, one with more of it is not; others are left out.
_HEALTHY, _LESION = 0.02, 0.6
# Rounds of Newton's method, and the weight of the regression's penalty, in patches.
_ROUNDS, _PENALTY = 12, 2.5
_AT_ONCE = 16
_TOLD_BY = "told_by_{}"


def departure(scales: Sequence[KerasTensor], factor: int) -> KerasTensor:
    """Make the output ``departure`` (N, size, size, 1) in [0, 1]: how likely a lesion is.

    What tells it is set by :func:`tell_apart`.

    Parameters
    ----------
    scales
        Features (N, size / factor, size / factor, any), and coarser ones by powers of two.
    factor
        How much finer the image is than the first of them.
    """
    # By names of their own: a network read from a file brings the names it was given once.
    side = scales[0].shape[1]
    parts = []
    for number, scale in enumerate(scales):
        patches = layers.AveragePooling2D(3, 1, padding="same", name=f"patches_{number}")(scale)
        told = layers.Conv2D(1, 1, trainable=False, name=_TOLD_BY.format(number))(patches)
        parts.append(_enlarged(told, side // scale.shape[1], f"told_{number}"))
    likely = layers.Activation("sigmoid", name="likely")(layers.Add(name="told")(parts))
    return _enlarged(likely, factor, "departure")


def _enlarged(x: KerasTensor, factor: int, name: str) -> KerasTensor:
    return layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)


def tell_apart(network: keras.Model, learning: Learning, directions: int | None = None) -> None:
    """Set what tells the output ``departure``, by lesions put into images that are learned from.

    A logistic regression on features of patches, or on so many directions in which healthy patches
    differ most (their singular value decomposition). The same images and the same seed give the
    same.

    Raises
    ------
    TrainingError
        The images show too little of the brain.
    """
    told_by = [layer for layer in network.layers if layer.name.startswith(_TOLD_BY.format(""))]
    told_by.sort(key=lambda layer: layer.name)
    parts, lesion = _patches(network, told_by, learning)
    if lesion.all() or not lesion.any():
        raise TrainingError("too little brain is shown to tell lesions from healthy patches")
    patches = np.concatenate(parts, axis=1)
    mean, spread = patches.mean(axis=0), patches.std(axis=0) + np.float32(1e-3)
    standard = (patches - mean) / spread
    if directions is None:
        weights, bias = _regression(standard, lesion)
    else:
        most = np.linalg.svd(standard[~lesion], full_matrices=False)[2][:directions].T
        within, bias = _regression(standard @ most, lesion)
        weights = most @ within
    weights /= spread
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    for layer, kernel in zip(told_by, np.split(weights, ends), strict=True):
        first = layer is told_by[0]
        offset = bias - mean @ weights if first else 0.0
        layer.set_weights([kernel.reshape(1, 1, -1, 1), np.full(1, offset, np.float32)])


def _patches(
    network: keras.Model, told_by: Sequence[layers.Layer], learning: Learning
) -> tuple[list[Values], NDArray[np.bool_]]:
    """Take features of patches (N, any), of every scale, and whether each has a lesion (N,)."""
    side = told_by[0].input.shape[1]
    at_one_side = {
        layer.name: _enlarged(layer.input, side // layer.input.shape[1], f"at_one_side_{number}")
        for number, layer in enumerate(told_by)
    }
    features = keras.Model(network.input, at_one_side)
    random = np.random.default_rng(learning.recipe.seed)
    parts: list[list[Values]] = [[] for _ in told_by]
    lesion = []
    for images, brains, lesions in _with_lesions(learning, random):
        given = features.predict_on_batch(images)
        brain, marked = _coarse(brains, side) > 0.5, _coarse(lesions, side)  # noqa: PLR2004
        for kind, where in ((False, marked < _HEALTHY), (True, marked > _LESION)):
            places = np.argwhere(brain & where)
            count = min(_PATCHES * len(images), len(places))
            chosen = tuple(places[random.choice(len(places), count, replace=False)].T)
            for layer, part in zip(told_by, parts, strict=True):
                part.append(given[layer.name][chosen])
            lesion.append(np.full(count, kind))
    return [np.concatenate(part) for part in parts], np.concatenate(lesion)


def _with_lesions(
    learning: Learning, random: np.random.Generator
) -> Iterator[tuple[Values, Values, Values]]:
    """Vary images as a training does and put lesions into them.

    Batches (B, size, size, C), their brains and their lesions (B, size, size) in [0, 1].
    """
    spec, images, variation = learning.spec, learning.images.thinned(_IMAGES), Variation()
    for start in range(0, len(images), _AT_ONCE):
        batch = np.s_[start : start + _AT_ONCE]
        seen, brains, lesions = [], [], []
        for plain, inside in zip(images.plain[batch], images.brain[batch], strict=True):
            image, brain = variation.apply(
                plain, inside.astype(np.float32), spec.brain_level, random
            )
            changed, where = bright_lesions(image, brain, random)
            seen.append(stack_channels(changed, spec))
            brains.append(brain)
            lesions.append(where.astype(np.float32))
        yield np.stack(seen), np.stack(brains), np.stack(lesions)


def _coarse(planes: Values, side: int) -> Values:
    """Take means (B, side, side) over cells of (B, size, size)."""
    count, size, _ = planes.shape
    cell = size // side
    means: Values = planes.reshape(count, side, cell, side, cell).mean(axis=(2, 4))
    return means


def _regression(patches: Values, lesion: NDArray[np.bool_]) -> tuple[Values, np.float32]:
    """Fit weights and a constant of a logistic regression, by Newton's method."""
    rows = np.column_stack([patches, np.ones(len(patches))]).astype(np.float64)
    penalty = _PENALTY * np.eye(rows.shape[1])
    weights = np.zeros(rows.shape[1])
    for _ in range(_ROUNDS):
        likely = sigmoid(rows @ weights)
        slope = rows.T @ (likely - lesion) + penalty @ weights
        curvature = (rows * (likely * (1 - likely))[:, np.newaxis]).T @ rows + penalty
        weights -= np.linalg.solve(curvature, slope)
    found = weights.astype(np.float32)
    return found[:-1], found[-1]
