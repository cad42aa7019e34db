"""What a network leaves unexplained of healthy images: the measure of what is anomalous.

A residual means little by itself: healthy cortex leaves more of it than white matter. So the usual
residual of healthy images, and how far it scatters, are told from features of the network, and the
anomaly map counts in units of them (:class:`.residual.ScaledResidual`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops

from gliomart.image.preprocess import stack_channels

if TYPE_CHECKING:
    from keras import KerasTensor
    from numpy.typing import NDArray

    from gliomart_training.network import Learning

# Output with two channels, (N, size, size, 2): mean and spread of the residual of healthy images.
HEALTHY = "healthy"
# Images that they are learned from at most, evenly spaced, and at once.
_IMAGES, _AT_ONCE = 300, 16
# A cell of the features' grid counts where the brain is at least this fraction of it.
_IN_BRAIN = 0.25
# Weight of the ridge, in samples: features that are constant or repeat each other do no harm.
_RIDGE = 1.0


def with_healthy_residual(
    trained: keras.Model, features: KerasTensor, learning: Learning
) -> keras.Model:
    """Give a network the output ``healthy``, learned from tumour-free images by least squares.

    Mean and mean absolute deviation of the residual of the first channel are linear in the
    features, cell by cell; nothing is told from where in the image a cell lies.

    Parameters
    ----------
    trained
        Gives ``reconstruction``; it stays as it is.
    features
        A tensor of it, (N, size / k, size / k, F).
    learning
        Whose images are learned from.
    """
    (_, size, _, _), (_, side, _, _) = trained.input_shape, features.shape
    factor = size // side
    seen = keras.Model(trained.input, [features, trained.output["reconstruction"]])
    rows, residuals = _samples(seen, factor, learning)
    mean = _least_squares(rows, residuals)
    spread = _least_squares(rows, np.abs(residuals - rows @ mean))
    told = layers.Conv2D(2, 1, name="healthy_coarse")
    coarse = told(features)
    weights = np.stack([mean, spread], axis=-1)
    told.set_weights([weights[np.newaxis, np.newaxis, :-1], weights[-1]])
    enlarged = layers.UpSampling2D(factor, interpolation="bilinear", name=HEALTHY)(coarse)
    return keras.Model(trained.input, {**trained.output, HEALTHY: enlarged}, name=trained.name)


def _samples(
    seen: keras.Model, factor: int, learning: Learning
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Take all cells in the brain: (N, F + 1) features and a one, (N,) residuals."""
    images = learning.images.thinned(_IMAGES)
    rows, residuals = [], []
    for start in range(0, len(images), _AT_ONCE):
        part = np.s_[start : start + _AT_ONCE]
        stacked = np.stack([stack_channels(plain, learning.spec) for plain in images.plain[part]])
        features, reconstruction = seen.predict_on_batch(stacked)
        residual = _pooled(stacked[..., :1] - reconstruction[..., :1], factor)
        brain = images.brain[part, :, :, np.newaxis].astype(np.float32)
        inside = _pooled(brain, factor) >= _IN_BRAIN
        rows.append(features[inside])
        residuals.append(residual[inside])
    found = np.concatenate(rows)
    ones = np.ones((len(found), 1), np.float32)
    return np.concatenate([found, ones], axis=1), np.concatenate(residuals)


def _pooled(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average cells of ``factor`` pixels a side; (N, size, size, 1) to (N, side, side)."""
    pooled = ops.convert_to_numpy(ops.average_pool(images, factor))
    return np.asarray(pooled[..., 0], np.float32)


def _least_squares(rows: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Solve for weights (F + 1,) by ridge regression; the last, of the ones, is not shrunk."""
    ridge = np.diag([_RIDGE] * (rows.shape[1] - 1) + [0.0])
    wide = rows.astype(np.float64)
    solved = np.linalg.lstsq(wide.T @ wide + ridge, wide.T @ values, rcond=None)
    return np.asarray(solved[0], np.float32)
