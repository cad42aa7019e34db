"""Figures of merit, with intervals from resampling patients.

All figures are computed from counts that are kept per patient, so that a resample of patients is
a weighted sum of counts: no map is kept. scikit-learn computes
the figures that rank scores; for the resamples, thousands of times, NumPy repeats their
definitions on counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

    from gliomart_training.evaluation.documents import BootstrapEntry, FigureEntry, Figures

Values = NDArray[np.float64]

# A bin is a float32 without the last bits of its mantissa: 1024 bins to every doubling, over 32
# doublings from 2**-16, resolve a thousandth of any score, whatever the scale of its map.
_DROPPED_BITS = 13
_LOWEST = int(np.float32(2.0**-16).view(np.int32)) >> _DROPPED_BITS
BINS = 32 * 1024

INTERVAL = (2.5, 97.5)
# Resamples are summed in parts of about this many numbers, to stay near the processor.
_NUMBERS_AT_ONCE = 2**20
# Keeps a rate that is just at its limit on the right side of it: 1 - 0.9 is below 0.1.
_ROUNDING = 1e-9


def histogram(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Count the pixels of a map by class and score.

    Parameters
    ----------
    scores
        float32 (H, W); what is below 2**-16 counts as 0, what is negative too.
    positive
        bool (H, W).

    Returns
    -------
    NDArray
        uint32 (2, BINS), negatives first. Scores that share a bin differ by less than a thousandth
        of themselves; an average precision or a best Dice moves by less than .001.
    """
    bits = np.ascontiguousarray(scores).view(np.int32) >> _DROPPED_BITS
    bins = np.clip(bits - _LOWEST + 1, 0, BINS - 1) + BINS * positive
    return np.bincount(bins.ravel(), minlength=2 * BINS).reshape(2, BINS).astype(np.uint32)


def _lowest_score_of_each_bin() -> Values:
    bits = (np.arange(BINS, dtype=np.int32) + (_LOWEST - 1)) << _DROPPED_BITS
    scores = bits.view(np.float32).astype(np.float64)
    scores[0] = 0
    return scores


@dataclass(frozen=True)
class Levels:
    """How many positives and negatives each patient has at every distinct score.

    Attributes
    ----------
    scores
        float64 (levels,), falling.
    positives, negatives
        float64 (patients, levels): whole numbers, as floats for the sake of fast products.
    """

    scores: Values
    positives: Values
    negatives: Values

    @classmethod
    def of_pixels(cls, histograms: NDArray[np.uint32]) -> Levels:
        """Take what :func:`histogram` counted, (patients, 2, BINS)."""
        occupied = np.flatnonzero(histograms.any(axis=(0, 1)))[::-1]
        counts = histograms[:, :, occupied].astype(np.float64)
        return cls(_lowest_score_of_each_bin()[occupied], counts[:, 1], counts[:, 0])

    @classmethod
    def of_slices(
        cls,
        scores: Values,
        positive: NDArray[np.bool_],
        patient: NDArray[np.intp],
        patients: int,
    ) -> Levels:
        """Take single scores, exactly.

        Parameters
        ----------
        scores, positive, patient
            (N,) each: float64, bool, and whose they are, in [0, patients).
        patients
            How many there are, those without a score included.
        """
        negated, level = np.unique(-scores, return_inverse=True)
        counts = np.zeros((2, patients, len(negated)))
        np.add.at(counts, (positive.astype(np.intp), patient, level), 1)
        return cls(-negated, counts[1], counts[0])

    @classmethod
    def of_patients(cls, scored: Sequence[Sequence[tuple[float, bool]]]) -> Levels:
        """Take single scores likewise: each with whether it is a positive's, by patient."""
        rows = [(s, positive, n) for n, each in enumerate(scored) for s, positive in each]
        scores, positives, patients = np.array(rows, np.float64).reshape(-1, 3).T
        return cls.of_slices(scores, positives > 0, patients.astype(np.intp), len(scored))


@dataclass(frozen=True)
class Ranking:
    """A figure for how scores rank positives against negatives.

    Attributes
    ----------
    measure
        With scikit-learn: of labels, scores, and ``sample_weight``.
    of_counts
        The same of positives and negatives, float64 (..., levels) each, by falling score; NaN
        where it is undefined.
    """

    measure: Callable[..., float]
    of_counts: Callable[[Values, Values], Values]


def _average_precision(positives: Values, negatives: Values) -> Values:
    found, false = positives.cumsum(-1), negatives.cumsum(-1)
    precision = found / np.maximum(found + false, 1)
    return _fraction((positives * precision).sum(-1), found[..., -1])


def _auroc(positives: Values, negatives: Values) -> Values:
    found = positives.cumsum(-1)
    above = (negatives * (found - positives / 2)).sum(-1)
    return _fraction(above, found[..., -1] * negatives.sum(-1))


def _best_dice(positives: Values, negatives: Values) -> Values:
    found, false = positives.cumsum(-1), negatives.cumsum(-1)
    everything = found[..., -1:]
    dice = _fraction(2 * found, found + false + everything).max(-1)
    return np.where(everything[..., 0] > 0, dice, np.nan)


def _measured_best_dice(labels: ArrayLike, scores: ArrayLike, sample_weight: ArrayLike) -> float:
    precision, recall, _ = precision_recall_curve(labels, scores, sample_weight=sample_weight)
    # Dice is F1; adding the smallest float turns 0/0 into 0.
    return float((2 * precision * recall / (precision + recall + np.finfo(float).tiny)).max())


def sensitivity_at(specificity: float) -> Ranking:
    """Highest sensitivity at which negatives are still left alone at the given rate."""
    allowed = 1 - specificity + _ROUNDING

    def measure(labels: ArrayLike, scores: ArrayLike, sample_weight: ArrayLike) -> float:
        false, found, _ = roc_curve(
            labels, scores, sample_weight=sample_weight, drop_intermediate=False
        )
        return float(found[false <= allowed].max())

    def of_counts(positives: Values, negatives: Values) -> Values:
        found, false = positives.cumsum(-1), negatives.cumsum(-1)
        within = np.where(false <= allowed * false[..., -1:], found, 0).max(-1)
        return _fraction(within, np.where(false[..., -1] > 0, found[..., -1], 0))

    return Ranking(measure, of_counts)


AVERAGE_PRECISION = Ranking(average_precision_score, _average_precision)
AUROC = Ranking(roc_auc_score, _auroc)
BEST_DICE = Ranking(_measured_best_dice, _best_dice)


def _fraction(part: Values, whole: Values) -> Values:
    undefined = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole > 0))


@dataclass(frozen=True)
class Figure:
    """A figure of all patients, and of every resample of them.

    Attributes
    ----------
    value
        NaN where there is nothing to measure it on.
    resampled
        float64 (resamples,), NaN likewise.
    """

    value: float
    resampled: Values

    def __sub__(self, other: Figure) -> Figure:
        """Pair two figures of the same resamples: what differs between patients cancels out."""
        return Figure(self.value - other.value, self.resampled - other.resampled)

    def described(self) -> FigureEntry:
        """Describe it as JSON values, with its interval; None where it is undefined."""
        if not np.isfinite(self.value):
            return {"value": None, "interval": None}
        defined = self.resampled[np.isfinite(self.resampled)]
        interval = np.percentile(defined, INTERVAL).round(6).tolist() if len(defined) else None
        return {"value": round(float(self.value), 6), "interval": interval}


def described(figures: Mapping[str, Figure]) -> Figures:
    """Describe figures as JSON values."""
    return {name: figure.described() for name, figure in figures.items()}


@dataclass(frozen=True)
class Bootstrap:
    """How often patients are resampled, and what the resamples are drawn by."""

    resamples: int = 1000
    seed: int = 0

    def draw(self, patients: int) -> Resamples:
        """Draw the resamples of so many patients."""
        return Resamples.draw(patients, self.resamples, self.seed)

    def described(self) -> BootstrapEntry:
        """Describe it as JSON values."""
        return {"unit": "patients", "resamples": self.resamples, "seed": self.seed, "level": 0.95}


@dataclass(frozen=True)
class Resamples:
    """Patients drawn with replacement, many times (Efron's bootstrap).

    Attributes
    ----------
    weights
        float64 (resamples, patients): how often each patient is in each resample.
    """

    weights: Values

    @classmethod
    def draw(cls, patients: int, count: int, seed: int) -> Resamples:
        """Draw ``count`` resamples of as many patients as there are."""
        even = np.full(patients, 1 / patients)
        drawn = np.random.default_rng(seed).multinomial(patients, even, size=count)
        return cls(drawn.astype(np.float64))

    def rank(self, levels: Levels, ranking: Ranking) -> Figure:
        """Measure a ranking on all patients and on every resample."""
        positives, negatives = levels.positives.sum(0), levels.negatives.sum(0)
        if not positives.any() or not negatives.any():
            return Figure(np.nan, np.full(len(self.weights), np.nan))
        value = ranking.measure(
            np.repeat((1, 0), len(levels.scores)),
            np.tile(levels.scores, 2),
            sample_weight=np.concatenate([positives, negatives]),
        )
        resampled = [
            ranking.of_counts(weights @ levels.positives, weights @ levels.negatives)
            for weights in self._in_parts(len(levels.scores))
        ]
        return Figure(value, np.concatenate(resampled))

    def ratio(self, parts: ArrayLike, wholes: ArrayLike) -> Figure:
        """Divide one sum over patients by another, (patients,) each."""
        part, whole = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
        value = _fraction(part.sum(), whole.sum())
        return Figure(float(value), _fraction(self.weights @ part, self.weights @ whole))

    def _in_parts(self, levels: int) -> Iterator[Values]:
        rows = max(1, _NUMBERS_AT_ONCE // levels)
        for start in range(0, len(self.weights), rows):
            yield self.weights[start : start + rows]
