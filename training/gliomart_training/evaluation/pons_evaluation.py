"""How well the pons is found, and simulated gliomas in it.

Lesions are put into the marked slices of real patients, none of which shows a tumour of its own
(:mod:`..pontine`), and each series is run whole with them in place. What comes out is a statement
about simulated lesions in these patients' slices, not about the sensitivity to any disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from gliomart.errors import DatasetError
from gliomart.model.contents import PONS
from gliomart_training.evaluation.lesions import ROWS
from gliomart_training.evaluation.metrics import AUROC, Levels, described, sensitivity_at
from gliomart_training.evaluation.pons_outcomes import COLUMNS, HIGH, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gliomart_training.evaluation.documents import (
        Figures,
        LesionRow,
        PonsContents,
        PonsEvaluation,
    )
    from gliomart_training.evaluation.lesions import Row
    from gliomart_training.evaluation.metrics import Bootstrap, Figure, Resamples
    from gliomart_training.evaluation.panel import Candidate
    from gliomart_training.evaluation.pons_outcomes import PonsOutcome, SectionOutcome

SCHEMA = 1
# A centre this near, in pixels of the source, is found.
NEAR_PX = 6.0

PROTOCOL = {
    "location": "Slices in which somebody marked the pons as an ellipse; centre and Dice in pixels"
    f" of the source. Found: the centre is within {NEAR_PX:g} pixels. Slices without pons: above"
    f" {HIGH:g} of a patient's slices, and more than a tenth of them below the lowest mark.",
    "lesions": "Implanted into all marked slices of a patient, one lesion per patient and row, and"
    " the whole series is run with them in place; slices that nobody marked stay as they are,"
    " though the pons may go on in them. Untouched: the same slices as they are.",
    "rows": "Swollen and bright: the pons grows to 1.1 times its width, larger lesions further, up"
    " to 1.6. Bright: nothing moves. Swollen: nothing brightens. Soft: of a second simulator, in"
    " which a lesion grows through tissue without a border and nothing moves.",
    "figures": "AUROC and sensitivity set the slices with a lesion against the untouched ones, all"
    " patients together; a slice whose pons is not found ranks below all others. Dice is that of"
    " what is marked as anomalous in the pons and of the lesion in the pons as it is.",
    "baselines": "In the pons that the model finds: mean intensity over that of the brain behind it"
    " (cerebellum), and mean rank among the slice's brain.",
    "intervals": "95 % percentile intervals from resampling patients with replacement.",
}


_Counted = TypeVar("_Counted")


def evaluate(candidate: Candidate, bootstrap: Bootstrap) -> PonsEvaluation:
    """Measure a model on the marked pons of a dataset.

    Raises
    ------
    DatasetError
        The pons is nowhere marked, or the model does not know the pons.
    """
    started = perf_counter()
    panel = candidate.panel()
    if not any(example.pons for patient in panel.patients for example in patient.examples):
        raise DatasetError(f"{candidate.directory}: no pons.csv marks the pons in it")
    for _, detector in panel.pairs:
        if not detector.card.has_output(PONS):
            raise DatasetError(f"{panel.settings.model_name}: was not trained to find the pons")
        if detector.card.rules_of(PONS) is None:
            raise DatasetError(f"{panel.settings.model_name}: finds the pons and does not judge it")
    outcomes = [observe(patient, detector, ROWS) for patient, detector in panel.progress()]
    figures = PonsFigures(outcomes, bootstrap.draw(len(outcomes)))
    return {
        "schema": SCHEMA,
        **panel.provenance(),
        "dataset": panel.pons_dataset(_contents(outcomes)),
        "protocol": PROTOCOL,
        "location": figures.location(),
        "untouched": {
            "flagged": figures.fraction(figures.untouched, lambda s: s.flagged).described(),
            "series_flagged": figures.series_flagged(0).described(),
            "nominal": panel.settings.false_alarm_rate,
        },
        "rows": [figures.row(row, number) for number, row in enumerate(ROWS)],
        "bootstrap": bootstrap.described(),
        "seconds": round(perf_counter() - started, 1),
    }


def _contents(outcomes: Sequence[PonsOutcome]) -> PonsContents:
    return {
        "counts": {
            "patients": len(outcomes),
            "patients_with_pons": sum(bool(patient.untouched) for patient in outcomes),
            "marked_slices": sum(len(patient.untouched) for patient in outcomes),
            "clear_slices": sum(len(patient.clear) for patient in outcomes),
        }
    }


@dataclass(frozen=True)
class PonsFigures:
    """All patients' outcomes as figures, and the resamples that intervals come from."""

    patients: Sequence[PonsOutcome]
    resamples: Resamples

    @property
    def untouched(self) -> list[list[SectionOutcome]]:
        """Marked slices as they are, patient by patient."""
        return [patient.untouched for patient in self.patients]

    def location(self) -> Figures:
        """Tell how well the pons is found."""
        clear = [patient.clear for patient in self.patients]
        seen = [
            [(p.pixels, True) for p in patient.marked] + [(p.pixels, False) for p in patient.clear]
            for patient in self.patients
        ]
        return described(
            {
                "centre_within_6_px": self.fraction(self.untouched, _centred),
                "dice": self.fraction(self.untouched, lambda s: s.dice),
                "visible_auroc": self.resamples.rank(Levels.of_patients(seen), AUROC),
                "visible_where_marked": self.fraction(self.untouched, lambda s: s.visible),
                "visible_where_clear": self.fraction(clear, lambda p: p.visible),
            }
        )

    def row(self, row: Row, number: int) -> LesionRow:
        """Tell how one kind of lesion is found; ``number`` is its place among the rows."""
        lesions = [patient.lesions[number] if patient.lesions else [] for patient in self.patients]
        with_mask = [[s for s in ill if s.lesion_dice is not None] for ill in lesions]
        return {
            "name": row.name,
            "arm": row.arm,
            "fraction": row.fraction,
            "signal": row.signal,
            "expansion": row.expansion,
            "slices": sum(map(len, lesions)),
            "columns": {column: self._ranking(lesions, column) for column in COLUMNS},
            "dice": self.fraction(with_mask, lambda s: s.lesion_dice or 0.0).described(),
            "flagged": self.fraction(lesions, lambda s: s.flagged).described(),
            "series_flagged": self.series_flagged(number + 1).described(),
            "visible": self.fraction(lesions, lambda s: s.visible).described(),
            "centre_within_6_px": self.fraction(lesions, _centred).described(),
        }

    def series_flagged(self, number: int) -> Figure:
        """Fraction of the series with a marked pons that are flagged, untouched (0) or of a row."""
        flags = [p.series[number : number + 1] if p.untouched else [] for p in self.patients]
        return self.fraction(flags, float)

    def fraction(
        self, counted: Sequence[Sequence[_Counted]], part: Callable[[_Counted], float]
    ) -> Figure:
        """Mean of a part of what is counted, given patient by patient."""
        parts = [sum(map(part, of_patient)) for of_patient in counted]
        return self.resamples.ratio(parts, [len(of_patient) for of_patient in counted])

    def _ranking(self, lesions: Sequence[Sequence[SectionOutcome]], column: str) -> Figures:
        """Set the scores of slices with a lesion against those of the untouched ones."""
        levels = Levels.of_patients(
            [
                [(section.scores[column], True) for section in ill]
                + [(section.scores[column], False) for section in well]
                for ill, well in zip(lesions, self.untouched, strict=True)
            ]
        )
        return described(
            {
                "auroc": self.resamples.rank(levels, AUROC),
                "sensitivity_at_95_specificity": self.resamples.rank(levels, sensitivity_at(0.95)),
            }
        )


def _centred(section: SectionOutcome) -> bool:
    return section.centre_px <= NEAR_PX
