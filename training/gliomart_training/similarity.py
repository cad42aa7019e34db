"""Structural similarity of images (Wang et al., IEEE TIP 2004), in what every backend has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras import ops

if TYPE_CHECKING:
    from keras import KerasTensor

# As published, for values in [0, 1]: means and variances below these do not count.
_MEANS, _VARIANCES = 0.01**2, 0.03**2


def structural_similarity(one: KerasTensor, other: KerasTensor, window: int = 7) -> KerasTensor:
    """Compare images (N, H, W, C) in [0, 1] channel by channel.

    Statistics are of square windows that lie in the image, every pixel counting alike.

    Returns
    -------
    (N, H - window + 1, W - window + 1, C), at most 1, which is equality.
    """
    mean, other_mean = _means(one, window), _means(other, window)
    variance = _means(one * one, window) - mean * mean
    other_variance = _means(other * other, window) - other_mean * other_mean
    covariance = _means(one * other, window) - mean * other_mean
    brightness = (2 * mean * other_mean + _MEANS) / (mean**2 + other_mean**2 + _MEANS)
    structure = (2 * covariance + _VARIANCES) / (variance + other_variance + _VARIANCES)
    return brightness * structure


def _means(images: KerasTensor, window: int) -> KerasTensor:
    return ops.average_pool(images, window, 1, padding="valid")
