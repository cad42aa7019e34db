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

    The positive residual (FLAIR lesions are bright) counts where the image is brighter than
    normal brain, and less where the network itself expects brightness: what ought to be fat
    cannot be called bright. Both are soft steps, ``sigmoid((value - at) / width)``.

    Attributes
    ----------
    bright_at, bright_width
        Step of the image's own brightness.
    fat_at, fat_width
        Step of the reconstruction's brightness, downwards.
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    bright_at: float = 0.45
    bright_width: float = 0.04
    fat_at: float = 0.68
    fat_width: float = 0.05
    smoothing_px: float = 3.0


def anomaly_map(image: Any, reconstruction: Any, residual: Residual) -> Any:  # noqa: ANN401
    """Compute the map (N, H, W, 1) of tensors (N, H, W, C); the first channel counts."""
    seen, expected = image[..., :1], reconstruction[..., :1]
    bright = ops.sigmoid((seen - residual.bright_at) / residual.bright_width)
    fat = ops.sigmoid((expected - residual.fat_at) / residual.fat_width)
    return _smooth(ops.relu(seen - expected) * bright * (1.0 - fat), residual.smoothing_px)


def _smooth(image: Any, sigma: float) -> Any:  # noqa: ANN401
    """Gaussian, one direction after the other."""
    radius = round(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        image = ops.conv(image, weights.reshape(shape), padding="same")
    return image
