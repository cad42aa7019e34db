"""Calibration: what tumour-free slices of unseen patients score, through the runtime itself.

A model for each fold runs on the patients that its fold held out; all their scores together
calibrate the final model (cross-conformal prediction, Vovk 2015). Two assumptions stay unproven:
that the final model, trained on more patients, scores new ones like the folds' models do, and that
a series without its tumour slices scores like a healthy one, which has more slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.card import Calibration
from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.scoring import series_score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart_training.dataset import Patient

FALSE_ALARM_RATE = 0.05
# A pixel of a tumour-free slice lies above the pixel threshold this often. Chosen on patients
# held out of training, for the Dice it leads to; no tumour label enters the threshold itself.
PIXEL_FALSE_ALARM_RATE = 0.001
# The colour scale of heat maps ends at this multiple of the pixel threshold.
_DISPLAY_RANGE = 6.0
_SMALLEST_LIMIT = 1e-3

# Lets a detector run before anything is known about scores.
UNCALIBRATED = Calibration(
    false_alarm_rate=FALSE_ALARM_RATE,
    pixel_false_alarm_rate=PIXEL_FALSE_ALARM_RATE,
    pixel_threshold=1e9,
    display_limit=1e9,
    slice_scores=(),
    series_scores=(),
    patients=0,
    method="none",
)


@dataclass(frozen=True)
class Scores:
    """What one fold's model makes of the tumour-free slices that its network never saw.

    Attributes
    ----------
    slices, series
        Scores of slices, and of every patient's slices taken together.
    positive, pixels
        Anomaly-map values above 0, and the number of all pixels.
    """

    slices: tuple[float, ...]
    series: tuple[float, ...]
    positive: NDArray[np.float32]
    pixels: int


def score(model: Path, patients: Sequence[Patient]) -> Scores:
    """Run a model file on patients; whole series are analysed, their tumour-free slices count."""
    detector = Detector(model, provider="cpu")
    slices: list[float] = []
    series: list[float] = []
    positive = [np.empty(0, np.float32)]
    pixels = 0
    for patient in patients:
        tumour_free = {id(e.slice) for e in patient.examples if e.tumour_free}
        result = detector.detect_series(patient.slices)
        analysed = [r for r in result.slices if id(r.slice) in tumour_free]
        if analysed:
            scores = [r.score for r in analysed]
            slices += scores
            series.append(series_score(scores, detector.card.scoring))
            pixels += sum(r.anomaly_map.size for r in analysed)
            positive += [r.anomaly_map[r.anomaly_map > 0] for r in analysed]
    return Scores(tuple(slices), tuple(series), np.concatenate(positive), pixels)


def calibrate(folds: Sequence[Scores]) -> Calibration:
    """Pool what the folds' models made of their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice could be analysed.
    """
    slices = sorted(score for fold in folds for score in fold.slices)
    series = sorted(score for fold in folds for score in fold.series)
    if not slices:
        raise DatasetError("no tumour-free slice of a held-out patient to calibrate on")
    positive = np.concatenate([fold.positive for fold in folds])
    threshold = _threshold(positive, sum(fold.pixels for fold in folds))
    return Calibration(
        false_alarm_rate=FALSE_ALARM_RATE,
        pixel_false_alarm_rate=PIXEL_FALSE_ALARM_RATE,
        pixel_threshold=threshold,
        display_limit=max(_DISPLAY_RANGE * threshold, _SMALLEST_LIMIT),
        slice_scores=tuple(round(score, 7) for score in slices),
        series_scores=tuple(round(score, 7) for score in series),
        patients=len(series),
        method=f"every patient held out once, by {len(folds)} networks trained on the others"
        if len(folds) > 1
        else "patients held out of training",
    )


def _threshold(positive: NDArray[np.float32], pixels: int) -> float:
    """Value that ``PIXEL_FALSE_ALARM_RATE`` of all pixels exceed, given the positive ones."""
    count = round(PIXEL_FALSE_ALARM_RATE * pixels)
    return float(np.partition(positive, -count - 1)[-count - 1]) if len(positive) > count else 0.0
