"""Regions of neighbouring slices that belong together: lesions in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Touching, by faces, edges and corners, in a slice and between slices: as regions are in a slice.
_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Lesion:
    """Connected voxels.

    Attributes
    ----------
    mask
        bool (slices, rows, columns) of the whole stack.
    first, last
        Slices in which it begins and ends.
    """

    mask: NDArray[np.bool_]
    first: int
    last: int


def connected(stack: NDArray[np.bool_]) -> list[Lesion]:
    """Find the 26-connected parts of a stack of masks (slices, rows, columns), largest first."""
    labelled = [cv2.connectedComponents(plane.view(np.uint8), connectivity=8) for plane in stack]
    # Every region of every slice has a number of its own; those that touch share a root.
    starts = np.cumsum([0, *(count - 1 for count, _ in labelled)])
    roots = list(range(int(starts[-1])))

    def root_of(number: int) -> int:
        while roots[number] != number:
            roots[number] = number = roots[roots[number]]
        return number

    for below in range(len(stack) - 1):
        for one, other in _touching(labelled[below][1], labelled[below + 1][1]):
            here, above = root_of(starts[below] + one - 1), root_of(starts[below + 1] + other - 1)
            roots[max(here, above)] = min(here, above)
    lesions: dict[int, NDArray[np.bool_]] = {}
    for number, (count, labels) in enumerate(labelled):
        for label in range(1, count):
            mask = lesions.setdefault(root_of(starts[number] + label - 1), np.zeros_like(stack))
            mask[number] |= labels == label
    found = sorted(lesions.values(), key=np.count_nonzero, reverse=True)
    return [_lesion(mask) for mask in found]


def _touching(below: NDArray[Any], above: NDArray[Any]) -> Sequence[tuple[int, int]]:
    """Pairs of labels of two neighbouring slices that touch."""
    pairs = set()
    for label in range(1, int(below.max()) + 1):
        near = cv2.dilate((below == label).astype(np.uint8), _NEIGHBOURHOOD) > 0
        pairs |= {(label, int(other)) for other in np.unique(above[near]) if other}
    return sorted(pairs)


def _lesion(mask: NDArray[np.bool_]) -> Lesion:
    (slices,) = np.nonzero(mask.any(axis=(1, 2)))
    return Lesion(mask, int(slices[0]), int(slices[-1]))
