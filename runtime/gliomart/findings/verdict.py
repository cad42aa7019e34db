"""Many slices of one series, one verdict."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gliomart.findings.familiar import BRAIN_NOT_FOUND
from gliomart.findings.judges import judges_of
from gliomart.findings.results import Verdict
from gliomart.findings.scoring import flag, p_value, series_score
from gliomart.findings.structures import coverage_without_sections
from gliomart.image.slices import Concern, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.findings.results import CompanionResult, SliceResult
    from gliomart.findings.structures import SectionScore, StructureVerdict
    from gliomart.model.card import ModelCard


def verdict_on(scores: Sequence[float], card: ModelCard, false_alarm_rate: float) -> Verdict | None:
    """Judge a series by the scores of its slices; None where there are none."""
    if not scores or card.calibration is None:
        return None
    healthy = card.calibration.series_scores
    score = series_score(scores, card.scoring.series_top)
    p = p_value(score, healthy)
    return Verdict(score, p, flagged=flag(p, healthy, false_alarm_rate))


def lost_brain(missed: Sequence[str], analysed: int) -> tuple[Concern, ...]:
    """Tell how much of a series was lost because its brain was not found.

    Parameters
    ----------
    missed
        Codes of why slices were not analysed.
    analysed
        Number of those that were.
    """
    lost = list(missed).count(BRAIN_NOT_FOUND)
    if not lost:
        return ()
    reason = (
        f"in {lost} of {lost + analysed} slices that show a head the model does not find the"
        f" brain: {lost / (lost + analysed):.0%} of the series were not analysed"
    )
    return (Concern(BRAIN_NOT_FOUND, reason),)


@dataclass
class SeriesTally:
    """What the verdict on a series is made of; it grows by a few bytes with every slice.

    Attributes
    ----------
    scores
        Of the slices that were analysed.
    sections
        What they show of each structure that is judged, by its name.
    missed
        Codes of why others were not.
    placed
        It is known of every slice that was analysed how it lies in the patient.
    concerns, notes
        Of all slices, each once.
    companions
        What became of the series that were to be seen beside it, as every slice tells.
    """

    scores: list[float] = field(default_factory=list)
    sections: defaultdict[str, list[SectionScore]] = field(
        default_factory=lambda: defaultdict(list)
    )
    missed: list[str] = field(default_factory=list)
    placed: bool = True
    concerns: dict[Concern, None] = field(default_factory=dict)
    notes: dict[Concern, None] = field(default_factory=dict)
    companions: tuple[CompanionResult, ...] = ()

    def add(self, item: SliceResult | Refusal) -> None:
        """Count one slice, or what takes its place."""
        if isinstance(item, Refusal):
            self.missed.append(item.code)
            return
        self.scores.append(item.score)
        self.placed &= item.slice.plane is not None
        self.concerns |= dict.fromkeys(item.concerns)
        self.notes |= dict.fromkeys(item.notes)
        self.companions = item.companions
        for name, finding in item.structures.items():
            if finding.part is not None:
                self.sections[name].append(finding.part)

    @property
    def told(self) -> tuple[Concern, ...]:
        """All notes, and how much was lost because its brain was not found."""
        return (*self.notes, *lost_brain(self.missed, len(self.scores)))

    def verdict(self, card: ModelCard, false_alarm_rate: float) -> Verdict | None:
        """Judge the series by the scores of its slices; None where none was analysed."""
        return verdict_on(self.scores, card, false_alarm_rate)

    def structures(self, card: ModelCard, false_alarm_rate: float) -> dict[str, StructureVerdict]:
        """Judge every structure that the card's judges look for, by its name."""
        found = {}
        for judge in judges_of(card):
            name = judge.structure.name
            found[name] = (
                judge.judge_series(self.sections[name], false_alarm_rate)
                if self.sections[name]
                else coverage_without_sections(
                    judge.structure,
                    analysed=len(self.scores),
                    placed=self.placed,
                    missed=self.missed,
                )
            )
        return found
