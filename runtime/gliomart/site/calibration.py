"""A model's thresholds, set by a site's own scans: the same weights, another card.

How a slice, a series and a section of the pons are scored stays as it is; what scores are held
against becomes the site's. What a site has too few patients for stays the model's own, by name.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from gliomart._version import __version__
from gliomart.errors import DatasetError, InputRefusedError
from gliomart.findings.calibration import SeriesScores, calibrated, calibrated_pons, ill_at_most
from gliomart.image.slices import Refusal
from gliomart.model.contents import SiteCalibration
from gliomart.site.scans import by_patient, scanners_of, sequences_of, suited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gliomart.detector import Detector
    from gliomart.findings.calibration import PatientScores
    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import CalibratedScanner, Calibration, JudgeCard
    from gliomart.sources import Inventory

    # Told how many slices are done, and of how many as far as headers tell.
    Progress = Callable[[int, int], None]

# Fewer patients calibrate nothing: false alarms on others would scatter by more than what is
# promised. A verdict on a series rests on one score a patient, and takes more of them.
LEAST_PATIENTS, LEAST_FOR_SERIES = 20, 40
# Where more patients than this may be ill, nothing tells them from the others.
MOST_CONTAMINATED = 0.5


@dataclass(frozen=True)
class SitePatient:
    """One patient of a site.

    Attributes
    ----------
    source
        What results call the first of the patient's series.
    scores
        Of the patient's series.
    """

    source: str
    scores: PatientScores

    @property
    def highest(self) -> float:
        """The highest score of a series."""
        return max(series.score for series in self.scores)


@dataclass(frozen=True)
class SiteScores:
    """What the scans of a site score.

    Attributes
    ----------
    patients
        Those of whom a slice was analysed.
    scanners, sequences
        Of their series, as far as headers or names say.
    left_out
        How many slices or files were not analysed, by the code of the reason.
    """

    patients: tuple[SitePatient, ...]
    scanners: tuple[CalibratedScanner, ...]
    sequences: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def scores(self) -> list[PatientScores]:
        """Patient by patient."""
        return [patient.scores for patient in self.patients]


def measure(
    detector: Detector, inventory: Inventory, progress: Progress | None = None, *, least: int = 1
) -> SiteScores:
    """Analyse all series of an inventory, and keep of each patient what calibrates.

    Parameters
    ----------
    detector, inventory
        The model, and the scans.
    progress
        Told after every slice.
    least
        Fewer patients are refused before anything is analysed.

    Raises
    ------
    DatasetError
        They are of too few patients or of several sequences, or nothing could be analysed.
    """
    # Thresholds are those of series by themselves: what may stand beside one only takes away.
    series = list(inventory.series)
    if any(image.required for image in detector.card.images[1:]):
        series = list(detector.arrange(series))
    suitable = suited(series, detector.card)
    sequences = sequences_of(suitable)
    if suitable:
        check_number(len(by_patient(suitable)), least)
    left_out = Counter(refusal.code for refusal in inventory.refused)
    reasons = [f"{r.source}: {r.reason}" for r in inventory.refused[:1]]
    done = _Count(sum(len(file.planes) for each in series for file in each.files), progress)
    found: list[SeriesScores | None] = []
    with closing(detector.stream_each(series)) as streams:
        for items in streams:
            with closing(items):
                taken = _analysed(done.each(items), detector, left_out, reasons)
                found.append(_whole(SeriesScores.of(taken, detector.card), detector, left_out))
    scores = {id(s): own for s, own in zip(series, found, strict=True) if own is not None}
    if not scores:
        such = f", such as {reasons[0]}" if reasons else ""
        raise DatasetError(f"not one slice could be analysed{such}")
    used = [each for each in series if id(each) in scores]
    return SiteScores(
        tuple(
            SitePatient(own[0].source, tuple(scores[id(each)] for each in own))
            for own in by_patient(used)
        ),
        scanners_of(used),
        sequences,
        left_out,
    )


def _whole(
    scores: SeriesScores | None, detector: Detector, left_out: Counter[str]
) -> SeriesScores | None:
    """Leave out a series of fewer slices than its score is the mean of: it is a part of one."""
    if scores is None or len(scores.slices) >= detector.card.scoring.series_top:
        return scores
    left_out["part-of-a-series"] += len(scores.slices)
    return None


def check_number(patients: int, least: int = LEAST_PATIENTS) -> None:
    """Refuse too few patients.

    Raises
    ------
    DatasetError
        There are fewer than that.
    """
    if patients < least:
        raise DatasetError(
            f"too few patients: {patients}, and {LEAST_PATIENTS} are needed to calibrate slices,"
            f" {LEAST_FOR_SERIES} to calibrate series"
        )


def _analysed(
    items: Iterable[SliceResult | Refusal],
    detector: Detector,
    left_out: Counter[str],
    reasons: list[str],
) -> Iterator[tuple[int, SliceResult, SliceResult | None]]:
    """Take the slices that were analysed, numbered, each with what comes of it by itself.

    The others are counted.
    """
    for number, item in enumerate(items):
        if isinstance(item, Refusal):
            left_out[item.code] += 1
            reasons.append(f"{item.source}: {item.reason}")
        else:
            yield number, item, alone(item, detector)


def alone(result: SliceResult, detector: Detector) -> SliceResult | None:
    """Analyse a slice of a series by itself; None where that cannot be."""
    try:
        return detector.detect(result.slice)
    except InputRefusedError:
        return None


@dataclass
class _Count:
    """Slices that are done."""

    total: int
    tell: Progress | None
    done: int = 0

    def each(self, items: Iterable[SliceResult | Refusal]) -> Iterator[SliceResult | Refusal]:
        for item in items:
            yield item
            self.done += 1
            if self.tell is not None:
                self.tell(self.done, max(self.done, self.total))


def models_own(card: ModelCard) -> tuple[Calibration, tuple[JudgeCard, ...]]:
    """Give a model's own calibration and judges, be it calibrated by a site or not."""
    if card.site is not None:
        return card.site.model_calibration, card.site.model_judges
    assert card.calibration is not None  # noqa: S101  # no detector is made of a card without
    return card.calibration, card.judges


def site_card(
    card: ModelCard, sha256: str, site: SiteScores, *, contaminated: float = 0.0
) -> ModelCard:
    """Calibrate a model on the scans of a site.

    Parameters
    ----------
    card, sha256
        Of the model that the scans were scored with. If a site calibrated it, that is undone.
    site
        What its scans score.
    contaminated
        Share of the patients, in [0, 0.5), who may not be tumour-free; see
        :mod:`gliomart.findings.calibration` for what is then promised, and at what price.

    Raises
    ------
    DatasetError
        There are fewer than 20 patients.
    """
    count = len(site.patients)
    check_number(count)
    own, judges = models_own(card)
    new = calibrated(own, site.scores, method=_method(contaminated), contaminated=contaminated)
    kept = []
    if count < LEAST_FOR_SERIES:
        new = replace(new, series_scores=own.series_scores)
        kept.append("series")
    fitted = []
    for judge in judges:
        changed, left = _judge(judge, site.scores, contaminated)
        fitted.append(changed)
        kept += left
    every_series = list(chain.from_iterable(site.scores))
    about = SiteCalibration(
        date=datetime.now(UTC).date().isoformat(),
        software=__version__,
        patients=count,
        series=len(every_series),
        slices=sum(len(series.slices) for series in every_series),
        scanners=site.scanners,
        sequences=site.sequences,
        contaminated=contaminated,
        kept=tuple(kept),
        model_sha256=card.site.model_sha256 if card.site else sha256,
        model_calibration=own,
        model_judges=judges,
    )
    return replace(card, calibration=new, judges=tuple(fitted), site=about)


def to_be_looked_at(site: SiteScores, contaminated: float) -> list[SitePatient]:
    """Find twice as many patients as may be ill: those who score highest, the highest first.

    Whoever of them is ill costs sensitivity as long as the scans are among those that calibrate.
    """
    ranked = sorted(site.patients, key=lambda patient: patient.highest, reverse=True)
    return ranked[: 2 * ill_at_most(len(ranked), contaminated)]


def _judge(
    judge: JudgeCard, scores: Sequence[PatientScores], contaminated: float
) -> tuple[JudgeCard, list[str]]:
    """Calibrate a judge; and name the levels that there are too few patients for."""
    if judge.rules is None:
        return judge, []
    patients = sum(any(series.sections for series in patient) for patient in scores)
    if patients < LEAST_PATIENTS:
        return judge, [judge.name, f"{judge.name} series"]
    rules = calibrated_pons(judge.rules, scores, contaminated=contaminated)
    if patients >= LEAST_FOR_SERIES:
        return replace(judge, rules=rules), []
    rules = replace(rules, series_scores=judge.rules.series_scores)
    return replace(judge, rules=rules), [f"{judge.name} series"]


def _method(contaminated: float) -> str:
    if not contaminated:
        return "this site's own scans"
    return (
        f"this site's own scans, of whose patients {contaminated:.3g} may be ill: as many of the"
        " lowest scores as they may have are left out"
    )
