"""What brightness alone finds: maps and scores that a model has to beat.

None of them has learned anything. A model whose map is smoothed is to be compared with
brightness that is smoothed alike: on FLAIR that is the strongest of the three by far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gliomart.findings.scoring import likely_brain, slice_score, to_source
from gliomart.image.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard

# Standard deviation, in pixels of the model's grid, for models whose card does not say how they
# smooth their own maps. Never chosen by looking at tumours.
SMOOTHING_PX = 2.0


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


def raw_intensity(result: SliceResult, card: ModelCard) -> Scored:
    """Take the source's pixels as they are, and the mean of the brightest as the score."""
    return Scored(result.slice.pixels, slice_score(result.slice.pixels, card.scoring))


def equalised_intensity(result: SliceResult, card: ModelCard) -> Scored:
    """Rank the brain's pixels within their slice.

    Every slice has the same ranks, so their highest say nothing about the slice. What differs is
    whether the bright pixels lie together: the score is that of :func:`smoothed_intensity`.
    """
    ranks, smoothed = _ranks(result, card)
    return Scored(_on_source(ranks, result), slice_score(smoothed, card.scoring))


def smoothed_intensity(result: SliceResult, card: ModelCard) -> Scored:
    """Rank the brain's pixels within their slice, then smooth as the anomaly maps are."""
    _, smoothed = _ranks(result, card)
    return Scored(_on_source(smoothed, result), slice_score(smoothed, card.scoring))


BASELINES: dict[str, Callable[[SliceResult, ModelCard], Scored]] = {
    "raw intensity": raw_intensity,
    "equalised intensity": equalised_intensity,
    "equalised and smoothed": smoothed_intensity,
}
# The one that a model is set against, figure by figure.
STRONGEST = "equalised and smoothed"


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
    residual = cast("Mapping[str, float]", card.network.get("residual", {}))
    smoothing = residual.get("smoothing_px", SMOOTHING_PX)
    smoothed = cv2.GaussianBlur(ranks, (0, 0), smoothing).astype(np.float32, copy=False)
    return ranks, smoothed


def _on_source(image: NDArray[np.float32], result: SliceResult) -> NDArray[np.float32]:
    height, width = result.slice.pixels.shape
    return to_source(image, result.normalisation.box, (height, width))[0]
