"""Anomalous regions of neighbouring slices, put together into lesions.

Regions are found slice by slice. Two of them belong together where neighbouring slices show them
in one place, which is to say where they share a pixel.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Lesion:
    """A connected anomalous part of a stack of slices.

    Attributes
    ----------
    number
        Its label, from 1, highest peak first.
    slices
        Indices of the slices that show it.
    pixels
        Number of its pixels in each of these slices.
    centres
        Their mean place in each of these slices: (row, column), in pixels.
    peak
        Highest value of the anomaly map inside.
    """

    number: int
    slices: tuple[int, ...]
    pixels: tuple[int, ...]
    centres: tuple[tuple[float, float], ...]
    peak: float


def connect(
    masks: Sequence[NDArray[np.bool_]],
    maps: Sequence[NDArray[np.float32]],
    adjacent: Sequence[bool],
) -> tuple[NDArray[np.uint16], tuple[Lesion, ...]]:
    """Put the regions of a stack of slices together.

    Parameters
    ----------
    masks, maps
        (H, W) each, in anatomical order: what is anomalous, and how much.
    adjacent
        Whether each slice but the first follows the one before without a gap.

    Returns
    -------
    labels, lesions
        uint16 (slices, H, W), 0 where nothing is anomalous, and the lesions by their labels.
    """
    parts = [_Parts.of(mask, amount) for mask, amount in zip(masks, maps, strict=True)]
    roots = _joined(parts, masks, adjacent)
    peaks: dict[int, float] = {}
    for root, peak in zip(roots, chain.from_iterable(p.peaks for p in parts), strict=True):
        peaks[root] = max(peak, peaks.get(root, peak))
    numbers = {
        root: n
        for n, root in enumerate(sorted(peaks, key=peaks.__getitem__, reverse=True), start=1)
    }
    labels = np.zeros((len(parts), *masks[0].shape), np.uint16)
    slices = defaultdict(list)
    upcoming = iter(roots)
    for index, part in enumerate(parts):
        here = [numbers[root] for root in islice(upcoming, len(part.peaks))]
        labels[index] = np.array([0, *here], np.uint16)[part.labels]
        for number in set(here):
            slices[number].append(index)
    return labels, tuple(
        _measure(number, labels, slices[number], peaks[root]) for root, number in numbers.items()
    )


@dataclass(frozen=True)
class _Parts:
    """The 8-connected parts of one slice: uint16 (H, W), labels from 1, and the peak of each."""

    labels: NDArray[np.uint16]
    peaks: list[float]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], anomaly_map: NDArray[np.float32]) -> _Parts:
        count, found = cv2.connectedComponents(
            mask.view(np.uint8), connectivity=8, ltype=cv2.CV_16U
        )
        labels = np.asarray(found, np.uint16)
        peaks = np.full(count, -np.inf)
        np.maximum.at(peaks, labels[mask], anomaly_map[mask])
        return cls(labels, peaks[1:].tolist())


def _joined(
    parts: Sequence[_Parts], masks: Sequence[NDArray[np.bool_]], adjacent: Sequence[bool]
) -> list[int]:
    """Tell of every part of every slice, in order, the one that stands for its lesion."""
    firsts = [0, *accumulate(len(part.peaks) for part in parts)]
    above = list(range(firsts[-1]))  # a forest of parts that belong together (union-find)

    def root(part: int) -> int:
        while above[part] != part:
            above[part] = above[above[part]]
            part = above[part]
        return part

    for index, touches in enumerate(adjacent, start=1):
        if touches:
            shared = masks[index - 1] & masks[index]
            pairs = np.stack([p.labels[shared] for p in parts[index - 1 : index + 1]], axis=1)
            for one, other in np.unique(pairs, axis=0).tolist():
                above[root(firsts[index - 1] + one - 1)] = root(firsts[index] + other - 1)
    return [root(part) for part in range(len(above))]


def _measure(number: int, labels: NDArray[np.uint16], slices: Sequence[int], peak: float) -> Lesion:
    places = [np.nonzero(labels[index] == number) for index in slices]
    return Lesion(
        number,
        tuple(slices),
        tuple(len(rows) for rows, _ in places),
        tuple((float(rows.mean()), float(columns.mean())) for rows, columns in places),
        peak,
    )
