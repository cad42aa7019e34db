"""Calibration: what tumour-free slices of unseen patients score, through the runtime itself.

A model for each fold runs on the patients that its fold held out; all their scores together
calibrate the final model (cross-conformal prediction, Vovk 2015). The final model has seen more
patients than any of them, so its scores on new ones are, if anything, lower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.card import Calibration
from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.scoring import series_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart_training.dataset import Patient

FALSE_ALARM_RATE = 0.05
# A pixel of a tumour-free slice lies above the pixel threshold this often. Chosen on patients
# held out of training, for the Dice it leads to; no tumour label enters the threshold itself.
PIXEL_FALSE_ALARM_RATE = 0.0025
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


def calibrate(folds: Iterable[tuple[Path, Sequence[Patient]]]) -> Calibration:
    """Run each fold's model file on its held-out patients.

    Parameters
    ----------
    folds
        Model files, each with the patients that its network never saw. The whole series is
        analysed, as at the scanner; its tumour-free slices count.

    Raises
    ------
    DatasetError
        Not one tumour-free slice could be analysed.
    """
    slice_scores: list[float] = []
    series_scores: list[float] = []
    positive: list[NDArray[np.float32]] = []
    pixels = 0
    fold_count = 0
    for model, patients in folds:
        fold_count += 1
        detector = Detector(model, provider="cpu")
        for patient in patients:
            tumour_free = {id(e.slice) for e in patient.examples if e.tumour_free}
            result = detector.detect_series(patient.slices)
            analysed = [r for r in result.slices if id(r.slice) in tumour_free]
            if not analysed:
                continue
            scores = [r.score for r in analysed]
            slice_scores += scores
            series_scores.append(series_score(scores, detector.card.scoring))
            for r in analysed:
                pixels += r.anomaly_map.size
                positive.append(r.anomaly_map[r.anomaly_map > 0])
    if not slice_scores:
        raise DatasetError("no tumour-free slice of a held-out patient to calibrate on")
    threshold = _threshold(np.concatenate(positive), pixels)
    return Calibration(
        false_alarm_rate=FALSE_ALARM_RATE,
        pixel_false_alarm_rate=PIXEL_FALSE_ALARM_RATE,
        pixel_threshold=threshold,
        display_limit=max(_DISPLAY_RANGE * threshold, _SMALLEST_LIMIT),
        slice_scores=tuple(round(score, 7) for score in sorted(slice_scores)),
        series_scores=tuple(round(score, 7) for score in sorted(series_scores)),
        patients=len(series_scores),
        method=f"every patient held out once, by {fold_count} networks trained on the others"
        if fold_count > 1
        else "patients held out of training",
    )


def _threshold(positive: NDArray[np.float32], pixels: int) -> float:
    """Value that ``PIXEL_FALSE_ALARM_RATE`` of all pixels exceed, given the positive ones."""
    count = round(PIXEL_FALSE_ALARM_RATE * pixels)
    return float(np.partition(positive, -count - 1)[-count - 1]) if len(positive) > count else 0.0
