"""Many slices of one series, one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart.findings.scoring import p_value, series_score, smallest_p_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.model.card import ModelCard


@dataclass(frozen=True)
class Verdict:
    """What a series as a whole shows.

    Attributes
    ----------
    score
        Mean of the highest slice scores.
    p_value
        Against whole tumour-free series: a flag per slice at 5 % would mark most normal ones.
    flagged
        ``p_value <= false_alarm_rate``; None where the model was calibrated on too few patients
        to tell at this rate.
    """

    score: float
    p_value: float
    flagged: bool | None


def judge(
    slice_scores: Sequence[float], card: ModelCard, false_alarm_rate: float
) -> Verdict | None:
    """Judge a series by the scores of its slices; None for one of which none was analysed."""
    if not slice_scores or card.calibration is None:
        return None
    healthy = card.calibration.series_scores
    score = series_score(slice_scores, card.scoring)
    p = p_value(score, healthy)
    resolvable = smallest_p_value(healthy) <= false_alarm_rate
    return Verdict(score, p, flagged=p <= false_alarm_rate if resolvable else None)
