"""Calibration: what tumour-free slices of unseen patients score, through the runtime itself.

A model for each fold runs on the patients that its fold held out; all their scores together
calibrate the final model (cross-conformal prediction, Vovk 2015). Two assumptions stay unproven:
that the final model, trained on more patients, scores new ones like the folds' models do, and that
a series without its tumour slices scores like a healthy one, which has more slices.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.findings.calibration import (
    SMALLEST_LIMIT,
    PatientScores,
    SectionValues,
    SeriesScores,
    calibrated,
    calibrated_pons,
)
from gliomart.findings.pons import sum_of_signs
from gliomart.model.contents import Calibration, JudgeCard, PonsCalibration, Scales, Signs
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart_training.dataset import Patient

FALSE_ALARM_RATE = 0.05
# A pixel of a tumour-free slice lies above the pixel threshold this often. Chosen on patients
# held out of training, for the Dice it leads to; no tumour label enters the threshold itself.
PIXEL_FALSE_ALARM_RATE = 0.001
# A pixel of a tumour-free pons lies above the pons' own threshold this often.
PONS_PIXEL_FALSE_ALARM_RATE = 0.05

# Lets a detector run before anything is known about scores.
UNCALIBRATED = Calibration(
    false_alarm_rate=FALSE_ALARM_RATE,
    pixel_false_alarm_rate=PIXEL_FALSE_ALARM_RATE,
    pixel_threshold=1e9,
    display_limit=1e9,
    slice_scores=(),
    series_scores=(),
    single_scores=None,
    patients=0,
    method="none",
)
UNCALIBRATED_PONS = PonsCalibration(
    near_radii=1.3,
    far_radii=3.0,
    level_quantile=0.75,
    smoothing_px=1.5,
    top_fraction=0.25,
    border_px=4.0,
    medians=Signs(0.0, 0.0, 0.0, 0.0),
    spreads=Signs(1.0, 1.0, 1.0, 1.0),
    # What the anomaly map sees as well counts half: the sum is there for what it does not see.
    weights=Signs(brightness=0.5, size=1.0, unevenness=0.5, crowding=1.0),
    scales=None,
    pixel_threshold=1e9,
    pixel_false_alarm_rate=PONS_PIXEL_FALSE_ALARM_RATE,
    series_top=2,
    slice_scores=(),
    series_scores=(),
)
UNCALIBRATED_JUDGES = (JudgeCard("pons", minimum_area_px=300.0, rules=UNCALIBRATED_PONS),)


def score(model: Path, patients: Sequence[Patient]) -> list[PatientScores]:
    """Run a model file on patients; whole series are analysed, their tumour-free slices count."""
    detector = Detector(model, provider="cpu")
    return [_score(patient, detector) for patient in patients]


def _score(patient: Patient, detector: Detector) -> PatientScores:
    results = results_of_examples(patient, detector.detect_series(patient.slices))
    pairs = zip(patient.examples, results, strict=True)
    analysed = [(r, None) for example, r in pairs if example.tumour_free and r is not None]
    scores = SeriesScores.of(analysed, detector.card)
    return () if scores is None else (scores,)


def calibrate(folds: Sequence[Sequence[PatientScores]]) -> Calibration:
    """Calibrate on what the folds' models score in their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice could be analysed.
    """
    method = (
        f"every patient held out once, by {len(folds)} networks trained on the others"
        if len(folds) > 1
        else "patients held out of training"
    )
    return calibrated(UNCALIBRATED, list(chain.from_iterable(folds)), method=method)


def calibrate_pons(folds: Sequence[Sequence[PatientScores]]) -> PonsCalibration:
    """Calibrate on what the folds' models score in the pons of their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice shows the pons.
    """
    patients = list(chain.from_iterable(folds))
    shown = [section for patient in patients for part in patient for section in part.sections]
    if not shown:
        raise DatasetError("no tumour-free slice of a held-out patient shows the pons")
    signs = np.array([astuple(each.signs) for each in shown])
    medians = np.median(signs, axis=0)
    spreads = [max(_upwards(values), SMALLEST_LIMIT) for values in (signs - medians).T]
    rules = replace(UNCALIBRATED_PONS, medians=Signs(*medians.tolist()), spreads=Signs(*spreads))
    return calibrated_pons(replace(rules, scales=_scales(shown, rules)), patients)


def _scales(shown: Sequence[SectionValues], rules: PonsCalibration) -> Scales:
    """Find what each test exceeds in as many tumour-free sections as may be flagged."""
    tests = [(sum_of_signs(each.signs, rules), each.anomaly) for each in shown]
    scales = np.quantile(tests, 1 - FALSE_ALARM_RATE, axis=0)
    return Scales(*np.maximum(scales, SMALLEST_LIMIT).tolist())


def _upwards(values: NDArray[np.float64]) -> float:
    """Deviation from 0 of what is above it.

    How small the sections at the ends of a pons are says nothing about how large one may be.
    """
    above = values[values > 0]
    return float(np.sqrt(np.mean(above**2))) if len(above) else 0.0
