"""How bright a slice's brain is, and how evenly: what changes with a scanner and its protocol.

All is measured in the brain alone, as ratios of brightness, which do not depend on its scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.image.grid import uncrop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.image.shading import Field

_LIKELY = 0.5
# Fewer pixels of brain, as at its vertex and base, tell little of it.
_LEAST_BRAIN_PX = 1000
# What is darker, as a fraction of the brain's median in the series, counts as this.
_DARKEST = 0.05
# Differences to which neither brightness nor a slope adds, and how much they multiply the standard
# deviation of independent noise by (Immerkaer 1996).
_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_GAIN = 6.0
# Median of the absolute value of a normal variable, by its standard deviation.
_MEDIAN = 0.6745
# The brain's border, with its own edge, is left out of what is said of noise.
_BORDER = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class Photometry:
    """What is measured of a slice's brightness, whatever is found in it.

    Attributes
    ----------
    shading
        How unevenly it is lit: root mean square of the natural logarithm of the field that was
        found, 0 being the middle of the series; None where the model undoes none.
    contrast
        Of grey against white matter: the natural logarithm of brightness at the third quartile by
        that at the first.
    range
        Likewise of the 95th percentile by the 5th.
    noise
        Standard deviation from pixel to pixel, by the brain's median brightness. It falls with
        smoothing, and with the resolution where pixels are interpolated.
    """

    shading: float | None
    contrast: float
    range: float
    noise: float


def photometry_of(result: SliceResult) -> Photometry | None:
    """Measure a slice; None where too little of a brain is in it, or no model says what is brain.

    References
    ----------
    Immerkaer, *Fast noise variance estimation*, Computer Vision and Image Understanding 1996; the
    median takes the place of the mean, to which edges add.
    """
    if result.brain is None:
        return None
    norm, pixels = result.normalisation, result.slice.pixels
    height, width = pixels.shape
    brain = uncrop(result.brain, norm.box, (height, width)) > _LIKELY
    left, top, width, height = cv2.boundingRect(brain.view(np.uint8))
    window = np.s_[top : top + height, left : left + width]
    brain = brain[window]
    if np.count_nonzero(brain) < _LEAST_BRAIN_PX:
        return None
    shown = (pixels[window] - np.float32(norm.black)) / np.float32(norm.brain - norm.black)
    levels = np.percentile(shown[brain], (5, 25, 75, 95))
    low, first, third, high = np.log(np.maximum(levels, _DARKEST)).tolist()
    inside = cv2.erode(brain.view(np.uint8), _BORDER) > 0
    differences = np.abs(cv2.filter2D(shown, -1, _DIFFERENCES))[inside]
    noise = float(np.median(differences)) / (_GAIN * _MEDIAN) if len(differences) else 0.0
    return Photometry(
        shading=None if norm.field is None else _strength(norm.field, result.brain),
        contrast=third - first,
        range=high - low,
        noise=noise,
    )


def _strength(field: Field, brain: NDArray[np.float32]) -> float:
    """Root mean square of a slice's field (1, side, side) in its brain (size, size)."""
    (log,) = field.log
    inside = cv2.resize(brain, log.shape[::-1], interpolation=cv2.INTER_AREA) > _LIKELY
    return float(np.sqrt(np.mean(log[inside] ** 2))) if inside.any() else 0.0
