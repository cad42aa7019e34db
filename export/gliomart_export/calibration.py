"""Calibration: what tumour-free slices of unseen patients score, through the runtime itself.

A model for each fold runs on the patients that its fold held out; all their scores together
calibrate the final model (cross-conformal prediction, Vovk 2015). Three assumptions stay unproven:
that the final model, trained on more patients, scores new ones like the folds' models do; that
a series without its tumour slices scores like a healthy one, which has more slices; and that
scanners differ as :mod:`gliomart_training.stress` has it.

Every patient is scored as scanned, and again as scanners that are drawn would have shown it; the
leading sequence by itself, whatever stands beside it. All these scores count alike: with two
scanners, what is promised is the rate over a third of scans as at the training hospital and two
thirds as elsewhere. Copies make no more patients: a series is judged by copies only where there are
patients enough to judge it without.
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
from gliomart.findings.scoring import smallest_p_value
from gliomart.model.contents import (
    SLICE,
    VOLUME,
    Calibration,
    JudgeCard,
    PonsCalibration,
    Scales,
    Signs,
)
from gliomart.site.calibration import alone
from gliomart_training.patients import results_of_examples
from gliomart_training.stress import at_drawn_scanner

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

# A slice of a series is scored by its map and those of the slices next to it, and a section of the
# pons by its score and theirs: a lesion goes on in them, and noise does not.
# A model of slabs sees more of them; both were chosen on held-out training patients.
NEIGHBOURS = {SLICE: (0.25, 0.5, 0.25), VOLUME: (0.1, 0.2, 0.4, 0.2, 0.1)}
# A pons has few sections: one that a lesion ends beside must not lose it.
PONS_NEIGHBOURS = (0.15, 0.7, 0.15)
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
    # A lesion elsewhere in the slice is no reason to expect more of the pons.
    elsewhere_fraction=0.95,
    elsewhere_least=0.001,
    medians=Signs(0.0, 0.0, 0.0, 0.0),
    spreads=Signs(1.0, 1.0, 1.0, 1.0),
    # What the anomaly map sees as well counts less: the sum is there for what it does not see.
    weights=Signs(brightness=0.75, size=1.0, unevenness=0.75, crowding=1.0),
    scales=None,
    pixel_threshold=1e9,
    pixel_false_alarm_rate=PONS_PIXEL_FALSE_ALARM_RATE,
    series_top=2,
    # At the ends of a pons the map is uneven: there, a few series decided the threshold of all.
    series_least_area=0.6,
    neighbours=PONS_NEIGHBOURS,
    slice_scores=(),
    series_scores=(),
    single_scores=None,
)
UNCALIBRATED_JUDGES = (JudgeCard("pons", minimum_area_px=300.0, rules=UNCALIBRATED_PONS),)


def score(model: Path, patients: Sequence[Patient], scanners: int) -> list[PatientScores]:
    """Run a model file on patients; whole series are analysed, their tumour-free slices count.

    Returns
    -------
    Of every patient the scores of the series as scanned, then those at so many drawn scanners; none
    of a patient of whom nothing could be analysed as scanned.
    """
    detector = Detector(model, provider="cpu")
    return [_score(patient, detector, scanners) for patient in patients]


def _score(patient: Patient, detector: Detector, scanners: int) -> PatientScores:
    as_scanned = _score_series(patient, detector)
    if as_scanned is None:
        return ()
    drawn = (
        _score_series(at_drawn_scanner(patient, f"calibration {number}"), detector)
        for number in range(1, scanners + 1)
    )
    return (as_scanned, *(scores for scores in drawn if scores is not None))


def _score_series(patient: Patient, detector: Detector) -> SeriesScores | None:
    results = results_of_examples(patient, detector.detect_series(patient.slices))
    analysed = (
        (number, result, alone(result, detector))
        for number, (example, result) in enumerate(zip(patient.examples, results, strict=True))
        if example.tumour_free and result is not None
    )
    return SeriesScores.of(analysed, detector.card)


def calibrate(folds: Sequence[Sequence[PatientScores]]) -> Calibration:
    """Calibrate on what the folds' models score in their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice could be analysed.
    """
    patients = list(chain.from_iterable(folds))
    found = calibrated(UNCALIBRATED, patients, method=_method(folds))
    without = calibrated(UNCALIBRATED, _as_scanned(patients), method=found.method)
    return replace(found, series_scores=_of_series(found, without))


def _method(folds: Sequence[Sequence[PatientScores]]) -> str:
    """Say who was scored, by whom, and how: patients as scanned and at drawn scanners."""
    most = max((len(patient) for fold in folds for patient in fold), default=0)
    held_out = (
        f"every patient held out once, by {len(folds)} networks trained on the others"
        if len(folds) > 1
        else "patients held out of training"
    )
    if most <= 1:
        return held_out
    return f"{held_out}; each as scanned and at {most - 1} drawn scanners, all scores alike"


def _as_scanned(patients: Sequence[PatientScores]) -> list[PatientScores]:
    """Leave out what was scored at drawn scanners."""
    return [patient[:1] for patient in patients]


def _of_series(
    found: Calibration | PonsCalibration, as_scanned: Calibration | PonsCalibration
) -> tuple[float, ...]:
    """Take the series at drawn scanners in only where those as scanned suffice for a verdict."""
    few = smallest_p_value(as_scanned.series_scores) > FALSE_ALARM_RATE
    return as_scanned.series_scores if few else found.series_scores


def calibrate_pons(folds: Sequence[Sequence[PatientScores]]) -> PonsCalibration:
    """Calibrate on what the folds' models score in the pons of their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice shows the pons.
    """
    patients = list(chain.from_iterable(folds))
    as_scanned = _as_scanned(patients)
    shown = _sections(as_scanned)
    if not shown:
        raise DatasetError("no tumour-free slice of a held-out patient shows the pons")
    signs = np.array([astuple(each.signs) for each in shown])
    medians = np.median(signs, axis=0)
    spreads = [max(_upwards(values), SMALLEST_LIMIT) for values in (signs - medians).T]
    rules = replace(UNCALIBRATED_PONS, medians=Signs(*medians.tolist()), spreads=Signs(*spreads))
    rules = replace(rules, scales=_scales(_sections(patients), rules))
    found, without = calibrated_pons(rules, patients), calibrated_pons(rules, as_scanned)
    return replace(found, series_scores=_of_series(found, without))


def _sections(patients: Sequence[PatientScores]) -> list[SectionValues]:
    return [section for patient in patients for series in patient for section in series.sections]


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
