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


# A pixel of a tumour-free pons lies above the pons' own threshold this often.
PONS_PIXEL_FALSE_ALARM_RATE = 0.05

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
PONS_JUDGE = JudgeCard("pons", minimum_area_px=300.0, rules=UNCALIBRATED_PONS)


@dataclass(frozen=True)
class Scores:
    """What one fold's model makes of the tumour-free slices that its network never saw.

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


def score(model: Path, patients: Sequence[Patient]) -> Scores:
    """Run a model file on patients; whole series are analysed, their tumour-free slices count."""
    detector = Detector(model, provider="cpu")
    slices: list[float] = []
    series: list[float] = []
    positive = [np.empty(0, np.float32)]
    pixels = 0
    sections: list[tuple[Signs, ...]] = []
    in_pons = [np.empty(0, np.float32)]
    for patient in patients:
        examples = [(e.slice, e.tumour_free) for e in patient.examples]
        tumour_free = {(shown.source, shown.frame) for shown, free in examples if free}
        result = detector.detect_series(patient.slices)
        analysed = [r for r in result.slices if (r.slice.source, r.slice.frame) in tumour_free]
        if analysed:
            scores = [r.score for r in analysed]
            slices += scores
            series.append(series_score(scores, detector.card.scoring.series_top))
            pixels += sum(r.anomaly_map.size for r in analysed)
            positive += [r.anomaly_map[r.anomaly_map > 0] for r in analysed]
        shown = [r for r in analysed if r.pons and r.pons.visible]
        if shown:
            found = [r.pons.section for r in shown if r.pons]
            sections.append(tuple(s.signs for s in found if s and s.signs))
            in_pons += [r.anomaly_map[r.pons.mask] for r in shown if r.pons]
    return Scores(
        tuple(slices),
        tuple(series),
        np.concatenate(positive),
        pixels,
        tuple(sections),
        np.concatenate(in_pons),
    )


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
        raise DatasetError("not one tumour-free slice of a held-out patient could be analysed")
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


def calibrate_pons(folds: Sequence[Scores]) -> PonsCalibration:
    """Pool what the folds' models made of the pons of their held-out patients.

    Raises
    ------
    DatasetError
        Not one tumour-free slice shows the pons.
    """
    patients = [sections for fold in folds for sections in fold.sections]
    if not patients:
        raise DatasetError("no tumour-free slice of a held-out patient shows the pons")
    signs = np.array([astuple(shown) for sections in patients for shown in sections])
    medians = np.median(signs, axis=0)
    spreads = [max(_upwards(values), _SMALLEST_LIMIT) for values in (signs - medians).T]
    pixels = np.concatenate([fold.pons_pixels for fold in folds])
    rules = replace(
        UNCALIBRATED_PONS,
        medians=Signs(*medians.tolist()),
        spreads=Signs(*spreads),
        pixel_threshold=float(np.quantile(pixels, 1 - PONS_PIXEL_FALSE_ALARM_RATE)),
    )
    scores = [[section_score(signs, rules) for signs in sections] for sections in patients]
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
