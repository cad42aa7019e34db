"""From what tumour-free slices score to the thresholds of a model.

Patients are the units: slices of one patient are not independent. All that is asked of them is that
the next tumour-free patient could have been any of them (exchangeability), but for so many of them
as may not be tumour-free.

Let k of n patients at most be ill, nobody knows which. Left out of the calibration are as many of
the *lowest* scores as k patients have at most. Then the p-value of a new score is no smaller than
the one against n - k tumour-free patients alone, which is valid (Vovk et al. 2005): of the scores
that are kept, at least as many are as high as it, and there are no more of them in all. So a
tumour-free score is flagged no more often than promised, whoever the k are and whatever they score.

The price is sensitivity: flags are rarer by the factor 1 - k/n where nobody is ill, and much rarer
where the k score high, since their scores then take the place of the highest tumour-free ones.
Without further knowledge there is no other way: the same scores could be those of n tumour-free
patients. Knowledge there is where somebody looks at those who score highest and leaves out who is
ill (Bashari, Sesia and Romano, ICML 2025, who also show that contamination makes rarer flags).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gliomart.equality import ByContent
from gliomart.errors import DatasetError
from gliomart.findings.pons import score_in_row, section_score
from gliomart.findings.scoring import series_score
from gliomart.findings.structures import score_of_sections
from gliomart.model.contents import PONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import Calibration, PonsCalibration, Signs

# The colour scale of heat maps ends at this multiple of the pixel threshold.
_DISPLAY_RANGE = 6.0
SMALLEST_LIMIT = 1e-3
# A series keeps so many times the pixels that may lie above a threshold, the highest.
_KEPT_PIXELS = 20
# So many scores tell p-values well enough; more would only make a file larger.
_MOST_SCORES = 20_000
_DIGITS = 7


@dataclass(frozen=True, eq=False)
class SectionValues(ByContent):
    """What a section of the pons shows.

    Attributes
    ----------
    number
        Of its slice among those of the series, analysed or not.
    signs, anomaly
        As the judge of the pons sees them.
    pixels
        float32 (N,): the anomaly map in it.
    """

    number: int
    signs: Signs
    anomaly: float
    pixels: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SeriesScores(ByContent):
    """What the tumour-free slices of one series score; it is small, whatever the series is.

    Attributes
    ----------
    slices, singles
        Scores of slices in their series, and of slices by themselves.
    score
        Of all these slices taken together.
    highest
        float32 (N,): the highest values of their anomaly maps, above 0.
    pixels
        Number of all pixels of these maps.
    sections, single_sections
        Of the pons, where the model knows it: in slices in their series, and by themselves.
    """

    slices: tuple[float, ...]
    singles: tuple[float, ...]
    score: float
    highest: NDArray[np.float32]
    pixels: int
    sections: tuple[SectionValues, ...]
    single_sections: tuple[SectionValues, ...]

    @classmethod
    def of(
        cls, results: Iterable[tuple[int, SliceResult, SliceResult | None]], card: ModelCard
    ) -> SeriesScores | None:
        """Take from analysed slices of a series what calibrates; None where there are none.

        Parameters
        ----------
        results
            Slices that count as tumour-free, each with its number among those of the series,
            analysed or not, and with what comes of it by itself, None where nothing does; one is
            held at a time.
        card
            Of the model that analysed them.
        """
        slices, singles, maps, pixels = [], [], [], 0
        sections: list[SectionValues] = []
        single_sections: list[SectionValues] = []
        for number, result, alone in results:
            slices.append(result.score)
            sections += _section(number, result)
            if alone is not None:
                singles.append(alone.score)
                single_sections += _section(number, alone)
            maps.append(result.anomaly_map[result.anomaly_map > 0])
            pixels += result.anomaly_map.size
        if not slices:
            return None
        assert card.calibration is not None  # noqa: S101  # no detector is made of a card without
        most = math.ceil(_KEPT_PIXELS * card.calibration.pixel_false_alarm_rate * pixels)
        return cls(
            slices=tuple(slices),
            singles=tuple(singles),
            score=series_score(slices, card.scoring.series_top),
            highest=_highest(_joined(maps), most),
            pixels=pixels,
            sections=tuple(sections),
            single_sections=tuple(single_sections),
        )


def _section(number: int, result: SliceResult) -> list[SectionValues]:
    """Take what a slice shows of the pons, if it does."""
    found = result.structures.get(PONS)
    section = found.section if found else None
    if not (found and section and section.signs and section.anomaly is not None):
        return []
    values = result.anomaly_map[found.mask]
    return [SectionValues(number, section.signs, section.anomaly, values)]


# All series of one patient: those of one visit, of several visits, or copies of one series.
PatientScores: TypeAlias = tuple[SeriesScores, ...]


def calibrated(
    known: Calibration,
    patients: Sequence[PatientScores],
    *,
    method: str,
    contaminated: float = 0.0,
) -> Calibration:
    """Set the thresholds of slices, series and pixels by what tumour-free patients score.

    Parameters
    ----------
    known
        The rates that are promised stand in it; the rest is replaced.
    patients
        Nobody whom the network that scored them has seen.
    method
        How the scores were obtained, in words.
    contaminated
        Share of the patients, in [0, 1), that may not be tumour-free; what is promised holds
        whoever they are (see this module's description).

    Raises
    ------
    DatasetError
        There is not one slice.
    """
    patients = [patient for patient in patients if patient]
    if not patients:
        raise DatasetError("not one tumour-free slice of a held-out patient could be analysed")
    threshold = _exceeded(
        _joined([series.highest for patient in patients for series in patient]),
        known.pixel_false_alarm_rate,
        _without_most([sum(s.pixels for s in patient) for patient in patients], contaminated),
    )
    singles = [[x for s in each for x in s.singles] for each in patients]
    return replace(
        known,
        pixel_threshold=threshold,
        display_limit=max(_DISPLAY_RANGE * threshold, SMALLEST_LIMIT),
        slice_scores=kept([[x for s in each for x in s.slices] for each in patients], contaminated),
        series_scores=kept([[s.score for s in each] for each in patients], contaminated),
        single_scores=kept(singles, contaminated) if any(singles) else None,
        patients=len(patients),
        method=method,
    )


def calibrated_pons(
    known: PonsCalibration, patients: Sequence[PatientScores], *, contaminated: float = 0.0
) -> PonsCalibration:
    """Set the thresholds of the pons likewise; how a section is scored stays as it is known.

    Raises
    ------
    DatasetError
        Not one slice shows the pons.
    """
    found = [[series.sections for series in each if series.sections] for each in patients]
    shown = [series for series in found if series]
    if not shown:
        raise DatasetError("no tumour-free slice of a held-out patient shows the pons")
    scores = [[_own_scores(sections, known) for sections in patient] for patient in shown]
    in_series = [[_in_series(own, known) for own in patient] for patient in scores]
    pixels = [[each.pixels for part in patient for each in part] for patient in shown]
    singles = [
        [x for series in each for x in _own_scores(series.single_sections, known).values()]
        for each in patients
    ]
    return replace(
        known,
        pixel_threshold=_exceeded(
            _joined(list(chain.from_iterable(pixels))),
            known.pixel_false_alarm_rate,
            _without_most([sum(map(len, each)) for each in pixels], contaminated),
        ),
        slice_scores=kept([list(chain.from_iterable(each)) for each in in_series], contaminated),
        series_scores=kept(
            [
                [_of_series(*part, known) for part in zip(scores, sections, strict=True)]
                for scores, sections in zip(in_series, shown, strict=True)
            ],
            contaminated,
        ),
        single_scores=kept(singles, contaminated) if any(singles) else None,
    )


def _own_scores(sections: Sequence[SectionValues], rules: PonsCalibration) -> dict[int, float]:
    """Score the sections of a series by themselves, by the numbers of their slices."""
    return {each.number: section_score(each.signs, each.anomaly, rules) for each in sections}


def _of_series(
    scores: Sequence[float], sections: Sequence[SectionValues], rules: PonsCalibration
) -> float:
    pairs = zip(scores, (len(each.pixels) for each in sections), strict=True)
    return score_of_sections(pairs, rules.series_top, rules.series_least_area)


def _in_series(own: Mapping[int, float], rules: PonsCalibration) -> list[float]:
    """Score them with those beside them."""
    reach = len(rules.neighbours) // 2
    rows = (range(number - reach, number + reach + 1) for number in own)
    return [score_in_row([own.get(number) for number in row], rules) for row in rows]


def kept(by_patient: Sequence[Sequence[float]], contaminated: float = 0.0) -> tuple[float, ...]:
    """Choose the scores that calibrate: rising, without the lowest that ill patients may stand for.

    Of very many, every so manieth is taken, from the highest on: p-values are then rounded up.
    """
    scores = sorted(chain.from_iterable(by_patient), reverse=True)
    most = _without_most([len(each) for each in by_patient], contaminated)
    step = max(1, math.ceil(most / _MOST_SCORES))
    return tuple(round(score, _DIGITS) for score in reversed(scores[: most - most % step : step]))


def ill_at_most(patients: int, contaminated: float) -> int:
    """Count who of so many may be ill, where no more than this share is."""
    return math.floor(contaminated * patients + 1e-9)  # .29 of 100 are 28.999999999999996


def _without_most(counts: Sequence[int], contaminated: float) -> int:
    """Add up counts, but those of the patients who may be ill: the largest, as nobody knows."""
    return sum(sorted(counts)[: len(counts) - ill_at_most(len(counts), contaminated)])


def _exceeded(values: NDArray[np.float32], rate: float, count: int) -> float:
    """Find what this share of so many values exceed, of which the highest are given."""
    above = round(rate * count)
    return float(np.partition(values, -above - 1)[-above - 1]) if len(values) > above else 0.0


def _highest(values: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    return np.partition(values, -most)[-most:] if len(values) > most else values


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([np.empty(0, np.float32), *parts])
