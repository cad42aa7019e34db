"""Whether a site's scans score as the scans do that a model was calibrated on.

One statistic a patient, the mean p-value of the patient's slices: it is one half on average where
a site is like the calibration, lower where its slices score higher. Student's t-test holds the
patients' mean to one half, with the variance of a mean over the calibration's own patients added,
since their scores are a sample as well. It is two-sided, at the level of 5 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError
from gliomart.findings.scoring import p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.model.contents import Calibration
    from gliomart.site.calibration import SitePatient

LEVEL = 0.05
_EXPECTED = 0.5
_STEPS = 20_000


@dataclass(frozen=True)
class PatientCheck:
    """How one patient's slices score.

    Attributes
    ----------
    source
        As of :class:`gliomart.site.calibration.SitePatient`.
    score
        Highest score of a series.
    slices
        Number of them.
    flagged
        Share of them that the model's own calibration flags.
    p_value
        Mean of theirs.
    """

    source: str
    score: float
    slices: int
    flagged: float
    p_value: float


@dataclass(frozen=True)
class SiteCheck:
    """How a site's scans score beside those of a model's own calibration.

    Attributes
    ----------
    patients
        One by one, the highest score first.
    flagged
        Share of all slices that the model's own calibration flags.
    p_value
        Mean over patients of their mean p-value; 0.5 where the site is like the calibration.
    chance
        How often patients like those of the calibration would be as far from it, or further.
    """

    patients: tuple[PatientCheck, ...]
    flagged: float
    p_value: float
    chance: float

    @property
    def differs(self) -> bool:
        """``chance`` is at most 5 %."""
        return self.chance <= LEVEL


def check(patients: Sequence[SitePatient], calibration: Calibration) -> SiteCheck:
    """Hold a site's scans to a model's own calibration.

    Raises
    ------
    DatasetError
        There is one patient only.
    """
    if len(patients) < 2:  # noqa: PLR2004  # which have no spread
        raise DatasetError(f"too few patients: {len(patients)}; a site is told from two on")
    rate, rows = calibration.false_alarm_rate, []
    for patient in patients:
        scores = chain.from_iterable(series.slices for series in patient.scores)
        ps = np.array([p_value(score, calibration.slice_scores) for score in scores])
        flagged, mean = float(np.mean(ps <= rate)), float(ps.mean())
        rows.append(PatientCheck(patient.source, patient.highest, len(ps), flagged, mean))
    means = np.array([row.p_value for row in rows])
    slices = sum(row.slices for row in rows)
    return SiteCheck(
        patients=tuple(sorted(rows, key=lambda row: row.score, reverse=True)),
        flagged=sum(row.flagged * row.slices for row in rows) / slices,
        p_value=float(means.mean()),
        chance=_chance(means, calibration.patients),
    )


def _chance(means: np.ndarray[tuple[int], np.dtype[np.float64]], reference: int) -> float:
    count = len(means)
    deviation = float(means.std(ddof=1)) * math.sqrt(1 / count + 1 / max(reference, 1))
    distance = abs(float(means.mean()) - _EXPECTED)
    if deviation == 0:
        return float(distance == 0)
    return students_t(distance / deviation, count - 1)


def students_t(t: float, freedom: int) -> float:
    """Give the two-sided tail of Student's t-distribution beyond ``t`` >= 0.

    By quadrature after t = sqrt(freedom) tan(angle): the density is then a power of the cosine.
    """
    first = math.atan(t / math.sqrt(freedom))
    width = (math.pi / 2 - first) / _STEPS
    middles = first + width * (np.arange(_STEPS) + 0.5)
    tail = width * np.sum(np.cos(middles) ** (freedom - 1))
    half = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    return min(1.0, 2 * math.exp(half) / math.sqrt(math.pi) * float(tail))
