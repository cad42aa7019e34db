"""From all patients' outcomes to figures with intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gliomart_training.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    BEST_DICE,
    Levels,
    sensitivity_at,
)
from gliomart_training.evaluation.outcomes import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gliomart_training.evaluation.documents import Contents, Judged, PatientRow, SeriesPart
    from gliomart_training.evaluation.metrics import Figure, Resamples
    from gliomart_training.evaluation.outcomes import Kind, PatientOutcome, SliceOutcome

_Counted = TypeVar("_Counted")

_PIXEL_FIGURES = {"pixel_average_precision": AVERAGE_PRECISION, "best_dice_oracle": BEST_DICE}
_SLICE_FIGURES = {
    "slice_auroc": AUROC,
    "slice_average_precision": AVERAGE_PRECISION,
    "sensitivity_at_90_specificity": sensitivity_at(0.90),
    "sensitivity_at_95_specificity": sensitivity_at(0.95),
}


@dataclass(frozen=True)
class Cohort:
    """All patients' outcomes, and the resamples that intervals come from.

    Wherever slices of a kind are asked for, tumour slices are all there are, refused ones
    included, and the others are the analysed ones.
    """

    patients: Sequence[PatientOutcome]
    resamples: Resamples

    def ranking(self, column: str) -> dict[str, Figure]:
        """Figures of how a column ranks pixels and slices, whatever the threshold."""
        pixels, slices = self.pixels(column), self.slices(column)
        return {
            name: self.resamples.rank(pixels, figure) for name, figure in _PIXEL_FIGURES.items()
        } | {name: self.resamples.rank(slices, figure) for name, figure in _SLICE_FIGURES.items()}

    def ranking_of(self, third: int, column: str) -> dict[str, Figure]:
        """Figures of how a column ranks what is in one third of the patients' height."""
        pixels, slices = self.pixels(column, third), self.slices(column, third)
        return {
            "pixel_average_precision": self.resamples.rank(pixels, AVERAGE_PRECISION),
            "slice_auroc": self.resamples.rank(slices, AUROC),
        }

    def thresholded(self) -> dict[str, Figure]:
        """Figures of the model at its own frozen thresholds."""
        every_slice = [list(patient.slices) for patient in self.patients]
        tumour = self._of("tumour")
        outlined = [[s.outlines for s in slices if s.outlines] for slices in tumour]
        return {
            "dice": self._ratio(
                every_slice,
                lambda s: 2 * s.found,
                lambda s: 2 * s.found + s.false + s.missed,
            ),
            "dice_per_tumour_slice": self._ratio(tumour, lambda s: s.dice),
            "boundary_f1": self._ratio(tumour, lambda s: s.outlines.f1 if s.outlines else 0),
            "hausdorff_95_px": self._ratio(outlined, lambda o: o.hausdorff_95_px),
            "tumour_slices_outlined": self._ratio(tumour, lambda s: s.outlines is not None),
            "flag_sensitivity": self.flagged("tumour"),
        }

    def flagged(self, kind: Kind, third: int | None = None) -> Figure:
        """Fraction of the slices of a kind that the model flags."""
        return self._ratio(self._of(kind, third), lambda s: s.flagged)

    def series(self) -> dict[str, Figure]:
        """Verdicts on whole series, and on what of them is tumour-free."""
        return {
            "sensitivity": self._fraction_of_judged(
                [p.flagged if p.has_tumour else None for p in self.patients]
            ),
            "false_alarm": self._fraction_of_judged([p.false_alarm for p in self.patients]),
        }

    def verdicts(self) -> SeriesPart:
        """Describe the verdicts on series, and count those with one and without."""
        with_tumour = [p.flagged is not None for p in self.patients if p.has_tumour]
        tumour_free = [p.false_alarm is not None for p in self.patients]
        series = self.series()

        def count(*, judged: bool) -> Judged:
            return {
                "with_tumour": with_tumour.count(judged),
                "tumour_free": tumour_free.count(judged),
            }

        return {
            "sensitivity": series["sensitivity"].described(),
            "false_alarm": series["false_alarm"].described(),
            "judged": count(judged=True),
            "not_judged": count(judged=False),
        }

    def count(self, kind: Kind, third: int | None = None) -> int:
        """Count the slices of a kind."""
        return sum(map(len, self._of(kind, third)))

    def contents(self) -> Contents:
        """Count what was there, and tell how frequent tumours are in it."""
        slices = list(chain.from_iterable(patient.slices for patient in self.patients))
        refused = sum((patient.refused for patient in self.patients), Counter[str]())
        tumour, tumour_free = self.count("tumour"), self.count("tumour-free")
        analysed = sum(s.analysed for s in slices)
        return {
            "counts": {
                "patients": len(self.patients),
                "patients_with_tumour": sum(patient.has_tumour for patient in self.patients),
                "slices": analysed + refused.total(),
                "analysed": analysed,
                "refused": dict(sorted(refused.items())),
                "tumour_slices": tumour,
                "refused_tumour_slices": sum(s.kind == "tumour" and not s.analysed for s in slices),
                "tumour_free_slices": tumour_free,
                "beside_tumour_slices": self.count("beside tumour"),
            },
            "base_rates": {
                "pixels": sum(s.found + s.missed for s in slices) / sum(s.pixels for s in slices),
                "slices": tumour / (tumour + tumour_free),
            },
        }

    def rows(self) -> list[PatientRow]:
        """Describe every patient, for paired comparisons of models."""
        precision = {name: self._average_precision_of_each(name) for name in COLUMNS}
        return [
            {
                "patient": patient.id,
                "slices": len(patient.slices),
                "tumour_slices": sum(s.kind == "tumour" for s in patient.slices),
                "analysed": sum(s.analysed for s in patient.slices),
                "refused": patient.refused.total(),
                "tumour_pixels": sum(s.found + s.missed for s in patient.slices),
                "dice": _pooled_dice(patient.slices) if patient.has_tumour else None,
                "pixel_average_precision": {name: precision[name][number] for name in COLUMNS},
                "score": patient.score,
                "flagged": patient.flagged,
                "false_alarm": patient.false_alarm,
            }
            for number, patient in enumerate(self.patients)
        ]

    def pixels(self, column: str, third: int | None = None) -> Levels:
        """Count pixels by what a column scores them, of one third or of all."""
        counted = [patient.pixels[column] for patient in self.patients]
        return Levels.of_pixels(
            np.stack([thirds.sum(0) if third is None else thirds[third] for thirds in counted])
        )

    def slices(self, column: str, third: int | None = None) -> Levels:
        """Count tumour and tumour-free slices likewise."""
        both = zip(self._of("tumour", third), self._of("tumour-free", third), strict=True)
        return Levels.of_patients(
            [
                [(s.scores[column], s.kind == "tumour") for s in (*tumour, *tumour_free)]
                for tumour, tumour_free in both
            ]
        )

    def _of(self, kind: Kind, third: int | None = None) -> list[list[SliceOutcome]]:
        """Collect slices of a kind, patient by patient."""
        return [
            [
                s
                for s in patient.slices
                if s.kind == kind and (s.analysed or kind == "tumour") and third in (None, s.third)
            ]
            for patient in self.patients
        ]

    def _ratio(
        self,
        slices: list[list[_Counted]],
        part: Callable[[_Counted], float],
        whole: Callable[[_Counted], float] = lambda _: 1,
    ) -> Figure:
        return self.resamples.ratio(
            [sum(map(part, of_patient)) for of_patient in slices],
            [sum(map(whole, of_patient)) for of_patient in slices],
        )

    def _fraction_of_judged(self, flags: Sequence[bool | None]) -> Figure:
        return self.resamples.ratio(
            [flag is True for flag in flags], [flag is not None for flag in flags]
        )

    def _average_precision_of_each(self, column: str) -> list[float | None]:
        pixels = self.pixels(column)
        values = AVERAGE_PRECISION.of_counts(pixels.positives, pixels.negatives)
        return [round(value, 6) if np.isfinite(value) else None for value in values.tolist()]


def _pooled_dice(slices: Sequence[SliceOutcome]) -> float:
    found = 2 * sum(s.found for s in slices)
    return round(found / (found + sum(s.false + s.missed for s in slices)), 6)
