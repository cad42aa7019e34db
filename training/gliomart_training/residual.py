"""From an image and its reconstruction to the anomaly map, inside the exported graph.

Only ``keras.ops``, so that any ONNX host gets the same map as the training code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops


@dataclass(frozen=True)
class Residual:
    """How a residual becomes an anomaly map; in units of the normalised image (brain at 0.4).

    The positive residual (FLAIR lesions are bright) counts in the brain, where the image is
    brighter than normal brain: a soft step, ``sigmoid((value - at) / width)``. What the whole
    brain of a slice shares is no lesion but its scan's brightness, and is taken off first: the mean
    residual in the brain, every pixel counting by no more than a limit, so that a large lesion
    does not take itself off.

    Attributes
    ----------
    bright_at, bright_width
        Step of the image's own brightness.
    common_limit
        What a pixel counts by, at most, in the residual that the brain shares.
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    bright_at: float = 0.46
    bright_width: float = 0.04
    common_limit: float = 0.02
    smoothing_px: float = 2.0


def anomaly_map(image: Any, reconstruction: Any, brain: Any, residual: Residual) -> Any:  # noqa: ANN401
    """Compute the map (N, H, W, 1) of tensors (N, H, W, C); the first channel counts.

    ``brain`` (N, H, W, 1) in [0, 1] says where the map counts.
    """
    seen, expected = image[..., :1], reconstruction[..., :1]
    bright = ops.sigmoid((seen - residual.bright_at) / residual.bright_width)
    limit = residual.common_limit
    counted = ops.clip(seen - expected, -limit, limit) * brain
    shared = _sum(counted) / (_sum(brain) + 1.0)
    return _smooth(ops.relu(seen - expected - shared) * bright * brain, residual.smoothing_px)


def _sum(image: Any) -> Any:  # noqa: ANN401
    return ops.sum(image, axis=(1, 2), keepdims=True)


def _smooth(image: Any, sigma: float) -> Any:  # noqa: ANN401
    """Gaussian, one direction after the other."""
    radius = round(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        image = ops.conv(image, weights.reshape(shape), padding="same")
    return image
