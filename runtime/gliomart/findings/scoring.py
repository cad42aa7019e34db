"""From an anomaly map to a mask, regions, a score and its p-value.

The embedding of a model file in another language has to repeat what is here and in
``image.normalisation``, ``shading`` and ``preprocess``; all parameters are in the model's card.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from gliomart.image.grid import uncrop
from gliomart.image.head import inside_skull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.geometry import ImagePlane
    from gliomart.image.grid import Box
    from gliomart.model.contents import Scalp, Scoring

_LIKELY = 0.5
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Region:
    """A connected anomalous region in source pixels.

    Attributes
    ----------
    box
        (x0, y0, x1, y1): left, upper, and one past the right and lower edge.
    area_px, area_mm2
        Size; in mm² where the spacing is known.
    centroid
        Mean (x, y) of its pixels.
    centroid_lps_mm
        The same in the patient, where it is known how the image lies (DICOM PS3.3 C.7.6.2.1.1).
    peak
        Highest value of the anomaly map inside.
    """

    box: tuple[int, int, int, int]
    area_px: int
    area_mm2: float | None
    centroid: tuple[float, float]
    centroid_lps_mm: tuple[float, ...] | None
    peak: float


def without_scalp(
    anomaly_map: NDArray[np.float32], head: NDArray[np.bool_], scalp: Scalp | None
) -> NDArray[np.float32]:
    """Zero a map (size, size) outside the head and in its scalp; itself where there is no rule."""
    if scalp is None:
        return anomaly_map
    inside = inside_skull(head, scalp.thickness_px, scalp.dome_px)
    return np.where(inside, anomaly_map, np.float32(0))


def averaged(
    maps: Sequence[NDArray[np.float32] | None], weights: Sequence[float]
) -> NDArray[np.float32]:
    """Average the maps (size, size) of slices in a row by their weights, as far as they are there.

    As many maps as weights; at least one is there.
    """
    there = _shares(maps, weights)
    result = np.zeros_like(there[0][1])
    for share, values in there:
        result += np.float32(share) * values
    return result


def averaged_score(scores: Sequence[float | None], weights: Sequence[float]) -> float:
    """Average scores of slices in a row likewise."""
    return sum(share * score for share, score in _shares(scores, weights))


def _shares(row: Sequence[_Value | None], weights: Sequence[float]) -> list[tuple[float, _Value]]:
    """Give what is there, each with its part of the weights, which add up to 1."""
    there = [(w, value) for w, value in zip(weights, row, strict=True) if value is not None]
    whole = sum(weight for weight, _ in there)
    return [(weight / whole, value) for weight, value in there]


def slice_score(anomaly_map: NDArray[np.float32], scoring: Scoring) -> float:
    """Mean of the highest pixels of a map (size, size); higher is more anomalous."""
    count = max(1, round(scoring.top_fraction * anomaly_map.size))
    highest = anomaly_map[anomaly_map > 0]  # a map is 0 nearly everywhere, which adds nothing
    if len(highest) > count:
        highest = np.partition(highest, -count)[-count:]
    return float(highest.sum() / count)


def series_score(scores: Sequence[float], top: int) -> float:
    """Mean of the ``top`` highest scores of a series."""
    return float(np.mean(sorted(scores, reverse=True)[:top]))


def p_value(score: float, healthy: Sequence[float]) -> float:
    """Conformal p-value of a score against rising healthy scores (Vovk et al. 2005).

    The probability, in (0, 1], that an exchangeable healthy example scores at least as high.
    """
    at_least = len(healthy) - bisect_left(healthy, score)
    return (1 + at_least) / (len(healthy) + 1)


def smallest_p_value(healthy: Sequence[float]) -> float:
    """Return the p-value that nothing can go below: the resolution of a calibration."""
    return 1 / (len(healthy) + 1)


def highest_unflagged(healthy: Sequence[float], false_alarm_rate: float) -> float | None:
    """Give the score above which one is flagged; None where so few healthy scores cannot tell.

    Parameters
    ----------
    healthy
        Rising.
    false_alarm_rate
        In (0, 1).
    """
    above = math.floor(false_alarm_rate * (len(healthy) + 1) + 1e-9) - 1
    return healthy[-above - 1] if 0 <= above < len(healthy) else None


def flag(p: float, healthy: Sequence[float], false_alarm_rate: float) -> bool | None:
    """Flag a p-value; None where so few healthy scores cannot tell at this rate."""
    return p <= false_alarm_rate if smallest_p_value(healthy) <= false_alarm_rate else None


def likely_brain(brain: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where brain is likelier than not, bool (size, size); everywhere where no model tells."""
    return np.ones(shape, bool) if brain is None else brain > _LIKELY


def find_regions(
    anomaly_map: NDArray[np.float32],
    threshold: float,
    minimum_area_px: float,
    spacing: tuple[float, float] | None,
    plane: ImagePlane | None = None,
) -> tuple[NDArray[np.bool_], tuple[Region, ...]]:
    """Threshold a map on the source grid and keep what is large enough.

    Parameters
    ----------
    anomaly_map
        float32 (H, W).
    threshold
        What lies above belongs to a region.
    minimum_area_px
        Smallest region, in source pixels.
    spacing
        Of (rows, columns) in mm.
    plane
        How the image lies in the patient.

    Returns
    -------
    mask, regions
        bool (H, W), and the regions (8-connected), highest peak first.
    """
    above = (anomaly_map > threshold).astype(np.uint8)
    mask = np.zeros(above.shape, bool)
    if np.count_nonzero(above) < max(minimum_area_px, 1):  # most slices: no need to look for parts
        return mask, ()
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(above, connectivity=8)
    regions = []
    for label, (x, y, width, height, area) in enumerate(stats.tolist()):
        if label == 0 or area < minimum_area_px:
            continue
        window = np.s_[y : y + height, x : x + width]
        part = labels[window] == label
        mask[window] |= part
        regions.append(
            Region(
                box=(x, y, x + width, y + height),
                area_px=area,
                area_mm2=area * spacing[0] * spacing[1] if spacing else None,
                centroid=(float(centroids[label, 0]), float(centroids[label, 1])),
                centroid_lps_mm=tuple(plane.to_patient(centroids[label : label + 1])[0].tolist())
                if plane
                else None,
                peak=float(anomaly_map[window][part].max()),
            )
        )
    regions.sort(key=lambda region: region.peak, reverse=True)
    return mask, tuple(regions)


def to_source(
    anomaly_map: NDArray[np.float32], box: Box, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], float]:
    """Bring a map onto the source grid, with source pixels per model pixel."""
    return uncrop(anomaly_map, box, shape), box.width * box.height / anomaly_map.size
