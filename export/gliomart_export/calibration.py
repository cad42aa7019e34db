"""Calibration: what tumour-free slices of unseen patients score, through the runtime itself.

A model for each fold runs on the patients that its fold held out; all their scores together
calibrate the final model (cross-conformal prediction, Vovk 2015). Two assumptions stay unproven:
that the final model, trained on more patients, scores new ones like the folds' models do, and that
a series without its tumour slices scores like a healthy one, which has more slices.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.findings.pons import section_score
from gliomart.findings.scoring import series_score
from gliomart.model.contents import Calibration, JudgeCard, PonsCalibration, Signs
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
# The colour scale of heat maps ends at this multiple of the pixel threshold.
_DISPLAY_RANGE = 6.0
_SMALLEST_LIMIT = 1e-3

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
    pixel_threshold=1e9,
    pixel_false_alarm_rate=PONS_PIXEL_FALSE_ALARM_RATE,
    series_top=2,
    slice_scores=(),
    series_scores=(),
)
UNCALIBRATED_JUDGES = (JudgeCard("pons", minimum_area_px=300.0, rules=UNCALIBRATED_PONS),)


@dataclass(frozen=True)
class Scores:
    """Scores of tumour-free slices by models whose networks never saw their patients.

    Attributes
    ----------
    slices, series
        Scores of slices, and of every patient's slices taken together.
    positive, pixels
        Anomaly-map values above 0, and the number of all pixels.
    sections
        Signs of the pons, patient by patient; patients without one are left out.
    pons_pixels
        Anomaly-map values in the pons.
    """

    slices: tuple[float, ...]
    series: tuple[float, ...]
    positive: NDArray[np.float32]
    pixels: int
    sections: tuple[tuple[Signs, ...], ...]
    pons_pixels: NDArray[np.float32]

    @classmethod
    def together(cls, parts: Sequence[Scores]) -> Scores:
        """Pool the scores of patients, or of folds."""
        return cls(
            slices=tuple(score for part in parts for score in part.slices),
            series=tuple(score for part in parts for score in part.series),
            positive=_joined([part.positive for part in parts]),
            pixels=sum(part.pixels for part in parts),
            sections=tuple(sections for part in parts for sections in part.sections),
            pons_pixels=_joined([part.pons_pixels for part in parts]),
        )


def score(model: Path, patients: Sequence[Patient]) -> Scores:
    """Run a model file on patients; whole series are analysed, their tumour-free slices count."""
    detector = Detector(model, provider="cpu")
    return Scores.together([_score(patient, detector) for patient in patients])


def _score(patient: Patient, detector: Detector) -> Scores:
    results = results_of_examples(patient, detector.detect_series(patient.slices))
    pairs = zip(patient.examples, results, strict=True)
    analysed = [r for example, r in pairs if example.tumour_free and r is not None]
    scores = tuple(result.score for result in analysed)
    shown = [
        (r.pons.section.signs, r.anomaly_map[r.pons.mask])
        for r in analysed
        if r.pons and r.pons.section and r.pons.section.signs
    ]
    maps = [result.anomaly_map for result in analysed]
    return Scores(
        slices=scores,
        series=(series_score(scores, detector.card.scoring.series_top),) if scores else (),
        positive=_joined([values[values > 0] for values in maps]),
        pixels=sum(values.size for values in maps),
        sections=(tuple(signs for signs, _ in shown),) if shown else (),
        pons_pixels=_joined([values for _, values in shown]),
    )


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([np.empty(0, np.float32), *parts])


def calibrate(folds: Sequence[Scores]) -> Calibration:
    """Calibrate on what the folds' models score in their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice could be analysed.
    """
    pooled = Scores.together(folds)
    if not pooled.slices:
        raise DatasetError("not one tumour-free slice of a held-out patient could be analysed")
    threshold = _threshold(pooled.positive, pooled.pixels)
    return Calibration(
        false_alarm_rate=FALSE_ALARM_RATE,
        pixel_false_alarm_rate=PIXEL_FALSE_ALARM_RATE,
        pixel_threshold=threshold,
        display_limit=max(_DISPLAY_RANGE * threshold, _SMALLEST_LIMIT),
        slice_scores=tuple(round(score, 7) for score in sorted(pooled.slices)),
        series_scores=tuple(round(score, 7) for score in sorted(pooled.series)),
        single_scores=None,
        patients=len(pooled.series),
        method=f"every patient held out once, by {len(folds)} networks trained on the others"
        if len(folds) > 1
        else "patients held out of training",
    )


def calibrate_pons(folds: Sequence[Scores]) -> PonsCalibration:
    """Calibrate on what the folds' models score in the pons of their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice shows the pons.
    """
    pooled = Scores.together(folds)
    patients = pooled.sections
    if not patients:
        raise DatasetError("no tumour-free slice of a held-out patient shows the pons")
    signs = np.array([astuple(shown) for sections in patients for shown in sections])
    medians = np.median(signs, axis=0)
    spreads = [max(_upwards(values), _SMALLEST_LIMIT) for values in (signs - medians).T]
    rules = replace(
        UNCALIBRATED_PONS,
        medians=Signs(*medians.tolist()),
        spreads=Signs(*spreads),
        pixel_threshold=float(np.quantile(pooled.pons_pixels, 1 - PONS_PIXEL_FALSE_ALARM_RATE)),
    )
    scores = [[section_score(shown, rules) for shown in sections] for sections in patients]
    return replace(
        rules,
        slice_scores=tuple(sorted(round(score, 6) for s in scores for score in s)),
        series_scores=tuple(sorted(round(series_score(s, rules.series_top), 6) for s in scores)),
    )


def _upwards(values: NDArray[np.float64]) -> float:
    """Deviation from 0 of what is above it.

    How small the sections at the ends of a pons are says nothing about how large one may be.
    """
    above = values[values > 0]
    return float(np.sqrt(np.mean(above**2))) if len(above) else 0.0


def _threshold(positive: NDArray[np.float32], pixels: int) -> float:
    """Value that ``PIXEL_FALSE_ALARM_RATE`` of all pixels exceed, given the positive ones."""
    count = round(PIXEL_FALSE_ALARM_RATE * pixels)
    return float(np.partition(positive, -count - 1)[-count - 1]) if len(positive) > count else 0.0
