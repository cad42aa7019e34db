"""What brightness alone finds: maps and scores that a model has to beat.

None of them has learned anything. A model whose map is smoothed is to be compared with
brightness that is smoothed alike: on FLAIR that is the strongest of the three by far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from gliomart.findings.scoring import averaged, likely_brain, slice_score, to_source
from gliomart.image.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard

# Standard deviation, in pixels of the model's grid, for models whose card does not say how they
# smooth their own maps, or that do not: a coarse map is smooth already, and what it is set against
# should not be weaker for it. Never chosen by looking at tumours.
SMOOTHING_PX = 1.5


@dataclass(frozen=True)
class Scored:
    """The map and the score of one slice by some method.

    Attributes
    ----------
    map
        float32 (H, W) on the source's grid, not negative.
    score
        Of the slice; higher is more anomalous.
    """

    map: NDArray[np.float32]
    score: float


class Maps(NamedTuple):
    """What a baseline makes of one slice.

    Attributes
    ----------
    shown
        float32 (H, W) on the source's grid, not negative.
    counted
        The map that the slice is scored by, float32 on whatever grid.
    """

    shown: NDArray[np.float32]
    counted: NDArray[np.float32]


def raw_intensity(result: SliceResult, card: ModelCard) -> Maps:
    """Take the source's pixels as they are."""
    del card
    return Maps(result.slice.pixels, result.slice.pixels)


def equalised_intensity(result: SliceResult, card: ModelCard) -> Maps:
    """Rank the brain's pixels within their slice.

    Every slice has the same ranks, so their highest say nothing about the slice. What differs is
    whether the bright pixels lie together: it is scored by the map of :func:`smoothed_intensity`.
    """
    ranks, smoothed = _ranks(result, card)
    return Maps(_on_source(ranks, result), smoothed)


def smoothed_intensity(result: SliceResult, card: ModelCard) -> Maps:
    """Rank the brain's pixels within their slice, then smooth."""
    _, smoothed = _ranks(result, card)
    return Maps(_on_source(smoothed, result), smoothed)


BASELINES: dict[str, Callable[[SliceResult, ModelCard], Maps]] = {
    "raw intensity": raw_intensity,
    "equalised intensity": equalised_intensity,
    "equalised and smoothed": smoothed_intensity,
}
# The one that a model is set against, figure by figure.
STRONGEST = "equalised and smoothed"


def of_series(
    name: str, results: Sequence[SliceResult | None], card: ModelCard
) -> list[Scored | None]:
    """Look at a series by a baseline, its slices scored with their neighbours as the model's are.

    Parameters
    ----------
    name
        One of :data:`BASELINES`.
    results
        What the model says of the slices, in order; None where one was refused.
    card
        Of the model.
    """
    maps = [None if result is None else BASELINES[name](result, card) for result in results]
    boxes = [None if result is None else result.normalisation.box for result in results]
    weights = card.scoring.neighbours
    reach = len(weights) // 2

    def beside(own: int, other: int) -> NDArray[np.float32] | None:
        """Give the map of a slice that lies on the same grid as its neighbour's."""
        there = 0 <= other < len(maps) and boxes[other] == boxes[own]
        found = maps[other] if there else None
        return None if found is None else found.counted

    scored: list[Scored | None] = []
    for number, own in enumerate(maps):
        if own is None:
            scored.append(None)
            continue
        window = [beside(number, other) for other in range(number - reach, number + reach + 1)]
        counted = averaged(window, weights) if weights else own.counted
        scored.append(Scored(own.shown, slice_score(counted, card.scoring)))
    return scored


def _ranks(result: SliceResult, card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Equalise the histogram of what the model takes for brain; plain and smoothed.

    Both float32 (size, size) in [0, 1]: the fraction of the slice's brain that is not brighter,
    0 outside of it.
    """
    plain = prepare(result.slice, result.normalisation, card.preprocessing).plain
    brain = likely_brain(result.brain, plain.shape)
    values = plain[brain]
    ranks = np.zeros_like(plain)
    ranks[brain] = np.searchsorted(np.sort(values), values, side="right") / max(len(values), 1)
    smoothed = cv2.GaussianBlur(ranks, (0, 0), SMOOTHING_PX).astype(np.float32, copy=False)
    return ranks, smoothed


def _on_source(image: NDArray[np.float32], result: SliceResult) -> NDArray[np.float32]:
    height, width = result.slice.pixels.shape
    return to_source(image, result.normalisation.box, (height, width))[0]
