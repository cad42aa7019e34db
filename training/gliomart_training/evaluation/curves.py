"""Figures that are curves, with the band that resampled patients leave around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart_training.evaluation.metrics import INTERVAL, Values

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomart_training.evaluation.metrics import Levels, Resamples

_SHARES = np.linspace(0, 1, 201)
# Dice is drawn at thresholds in this range, as multiples of the one in use.
_THRESHOLDS = np.geomspace(0.1, 20, 201)


@dataclass(frozen=True)
class Curve:
    """A curve of all patients, and where the middle 95 % of all resamples lie.

    Attributes
    ----------
    x, y
        float64 (points,).
    low, high
        float64 (points,).
    """

    x: Values
    y: Values
    low: Values
    high: Values


def precision_recall(levels: Levels, resamples: Resamples) -> Curve:
    """Precision at the highest threshold that reaches a recall."""

    def precision(positives: Values, negatives: Values) -> Values:
        found, false = positives.cumsum(), negatives.cumsum()
        place = np.searchsorted(found, _SHARES * found[-1])
        return found[place] / np.maximum(found[place] + false[place], 1)

    return _curve(_SHARES, levels, resamples, precision)


def roc(levels: Levels, resamples: Resamples) -> Curve:
    """Sensitivity at the lowest threshold that raises no more than a share of false alarms."""

    def sensitivity(positives: Values, negatives: Values) -> Values:
        return _up_to(negatives.cumsum(), _SHARES * negatives.sum(), positives) / positives.sum()

    return _curve(_SHARES, levels, resamples, sensitivity)


def dice_by_threshold(levels: Levels, resamples: Resamples, used: float) -> Curve:
    """Dice of all pixels together at thresholds around the one that is used."""
    thresholds = used * _THRESHOLDS

    def dice(positives: Values, negatives: Values) -> Values:
        found = _up_to(-levels.scores, -thresholds, positives)
        false = _up_to(-levels.scores, -thresholds, negatives)
        return 2 * found / (found + false + positives.sum())

    return _curve(thresholds, levels, resamples, dice)


def _up_to(rising: Values, limits: Values, counts: Values) -> Values:
    """Sum the counts of those levels at which what rises is not above each limit."""
    sums = np.concatenate([[0.0], counts.cumsum()])
    return np.asarray(sums[np.searchsorted(rising, limits, side="right")])


def _curve(
    x: Values,
    levels: Levels,
    resamples: Resamples,
    of_counts: Callable[[Values, Values], Values],
) -> Curve:
    def measured(weights: Values) -> Values:
        positives, negatives = weights @ levels.positives, weights @ levels.negatives
        if not positives.any() or not negatives.any():
            return np.full(len(x), np.nan)
        return of_counts(positives, negatives)

    y = measured(np.ones(len(levels.positives)))
    low, high = np.nanpercentile([y, *map(measured, resamples.weights)], INTERVAL, axis=0)
    return Curve(x, y, low, high)
