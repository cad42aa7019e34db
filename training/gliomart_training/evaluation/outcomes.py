"""What a model and the baselines find in one patient, next to what is known.

Maps are counted and let go of as soon as a patient is done; what stays is small.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gliomart.findings.verdict import verdict_on
from gliomart_training.evaluation.baselines import BASELINES, Scored, of_series
from gliomart_training.evaluation.boundary import compare_outlines
from gliomart_training.evaluation.metrics import BINS, histogram
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.detector import Detector
    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard
    from gliomart_training.dataset import Example, Patient
    from gliomart_training.evaluation.boundary import Outlines

Kind = Literal["tumour", "beside tumour", "tumour-free"]

MODEL = "model"
COLUMNS = (MODEL, *BASELINES)
THIRDS = ("lowest third", "middle third", "upper third")
# Slice scores are not negative: a slice that was refused ranks below every other.
_REFUSED = -1.0


@dataclass(frozen=True)
class SliceOutcome:
    """One slice: what it is, and how it was judged.

    Attributes
    ----------
    kind
        Marked as tumour; unmarked but within three slices of a mark; or further away.
    third
        Index into ``THIRDS``, by the slice's place among all of its patient's.
    analysed
        False where the runtime refused it; nothing is found in it then, by any method.
    flagged
        The model's verdict.
    scores
        Of every column.
    found, false, missed
        Pixels in both of the model's mask and the true one, in the first or second only.
    pixels
        Of the slice.
    outlines
        Of the model's mask and the true one; None where either marks nothing.
    """

    kind: Kind
    third: int
    analysed: bool
    flagged: bool
    scores: dict[str, float]
    found: int
    false: int
    missed: int
    pixels: int
    outlines: Outlines | None

    @property
    def dice(self) -> float:
        """Overlap of the model's mask and the true one; of slices where there is a true one."""
        return 2 * self.found / (2 * self.found + self.false + self.missed)


@dataclass(frozen=True)
class PatientOutcome:
    """One patient.

    Attributes
    ----------
    id
        As in the dataset.
    slices
        All that could be read, in order.
    refused
        Codes of all slices that were not analysed, those that could not be read included.
    pixels
        For every column uint32 (thirds, 2, BINS), see :func:`.metrics.histogram`.
    has_tumour
        A slice is marked.
    score
        Of the whole series; None where no slice was analysed.
    flagged
        Verdict on the whole series; None where the model's calibration cannot tell. A series of
        which nothing was analysed is not flagged.
    false_alarm
        Verdict on the tumour-free slices as if they were the series; None as above, and where
        none was analysed.
    """

    id: str
    slices: tuple[SliceOutcome, ...]
    refused: Counter[str]
    pixels: dict[str, NDArray[np.uint32]]
    has_tumour: bool
    score: float | None
    flagged: bool | None
    false_alarm: bool | None


def observe(
    patient: Patient, detector: Detector, columns: Sequence[str] = COLUMNS
) -> PatientOutcome:
    """Run the model, and those of the baselines that are among the columns, over one patient."""
    result = detector.detect_series(patient.slices, patient.beside(detector.card))
    pixels = {name: np.zeros((len(THIRDS), 2, BINS), np.uint32) for name in columns}
    slices = []
    results = results_of_examples(patient, result)
    of_columns = {name: _column(name, results, detector.card) for name in columns}
    thirds = _thirds(patient)
    for number, (example, found) in enumerate(zip(patient.examples, results, strict=True)):
        truth, third = example.truth(), thirds[number]
        scores = {name: of[number] or _missed(truth) for name, of in of_columns.items()}
        for name, scored in scores.items():
            pixels[name][third] += histogram(scored.map, truth)
        mask = found.mask if found else np.zeros_like(truth)
        slices.append(
            SliceOutcome(
                kind=_kind(example, truth),
                third=third,
                analysed=found is not None,
                flagged=found is not None and found.flagged,
                scores={name: scored.score for name, scored in scores.items()},
                found=int((mask & truth).sum()),
                false=int((mask & ~truth).sum()),
                missed=int((truth & ~mask).sum()),
                pixels=truth.size,
                outlines=compare_outlines(mask, truth),
            )
        )
    without_tumour = verdict_on(
        [s.scores[MODEL] for s in slices if s.analysed and s.kind == "tumour-free"],
        detector.card,
        detector.settings.false_alarm_rate,
    )
    return PatientOutcome(
        id=patient.id,
        slices=tuple(slices),
        refused=Counter(item.code for item in (*patient.refused, *result.not_analysed)),
        pixels=pixels,
        has_tumour=any(s.kind == "tumour" for s in slices),
        score=result.verdict.score if result.verdict else None,
        flagged=result.verdict.flagged if result.verdict else False,
        false_alarm=without_tumour.flagged if without_tumour else None,
    )


def _column(
    name: str, results: Sequence[SliceResult | None], card: ModelCard
) -> list[Scored | None]:
    """Look at a series by the model or a baseline; None stands for refused slices."""
    if name != MODEL:
        return of_series(name, results, card)
    return [None if found is None else Scored(found.anomaly_map, found.score) for found in results]


def _missed(truth: NDArray[np.bool_]) -> Scored:
    return Scored(np.zeros(truth.shape, np.float32), _REFUSED)


def _kind(example: Example, truth: NDArray[np.bool_]) -> Kind:
    if truth.any():
        return "tumour"
    return "tumour-free" if example.tumour_free else "beside tumour"


def _thirds(patient: Patient) -> list[int]:
    """Tell for every readable slice which third of the patient's slices it is in.

    Slices that could not be read are counted in where names tell their place.
    """
    readable = [(e.slice.source, e.slice.frame or 0) for e in patient.examples]
    unreadable = [(r.source, r.frame or 0) for r in patient.refused]
    ordered = readable
    if readable == sorted(readable):
        ordered = sorted(readable + unreadable)
    place = {name: number for number, name in enumerate(ordered)}
    return [len(THIRDS) * place[name] // len(ordered) for name in readable]
