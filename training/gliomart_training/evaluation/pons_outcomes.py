"""What a model and baselines find of the pons of one patient, next to what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.findings.scoring import likely_brain
from gliomart.image.preprocess import prepare
from gliomart.model.contents import PONS
from gliomart_training.evaluation.lesions import with_lesions
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.detector import Detector
    from gliomart.findings.results import SeriesResult, SliceResult
    from gliomart.model.card import ModelCard
    from gliomart_training.evaluation.lesions import Row
    from gliomart_training.patients import Patient

MODEL = "model"

# Above this share of a patient's slices there is no pons.
HIGH = 0.6
# A slice in which no pons is found ranks below every other; finite, as scikit-learn wants it.
_NOT_FOUND = -1e9


def relative_to_cerebellum(result: SliceResult, card: ModelCard) -> float:
    """Mean intensity of the pons over that of the brain behind it."""
    plain, pons, brain = _planes(result, card)
    rows, columns = np.nonzero(pons)
    behind = brain & ~pons
    behind[: rows.max() + (rows.max() - rows.min()) // 2] = False
    side = columns.max() - columns.min()
    behind[:, : max(columns.min() - side, 0)] = behind[:, columns.max() + side :] = False
    return float(plain[pons].mean() / plain[behind].mean()) if behind.any() else _NOT_FOUND


def rank_in_brain(result: SliceResult, card: ModelCard) -> float:
    """Mean, over the pons, of the fraction of the slice's brain that is not brighter."""
    plain, pons, brain = _planes(result, card)
    values = np.sort(plain[brain])
    return float(np.searchsorted(values, plain[pons], side="right").mean() / max(len(values), 1))


BASELINES: dict[str, Callable[[SliceResult, ModelCard], float]] = {
    "relative to cerebellum": relative_to_cerebellum,
    "rank in the brain": rank_in_brain,
}
COLUMNS = (MODEL, *BASELINES)


@dataclass(frozen=True)
class Truth:
    """What is known of the pons of a slice.

    Attributes
    ----------
    pons
        bool (H, W): where it is.
    lesion
        bool (H, W): where in it a lesion is; None in an untouched slice.
    """

    pons: NDArray[np.bool_]
    lesion: NDArray[np.bool_] | None = None

    def lesion_dice(self, found: NDArray[np.bool_]) -> float | None:
        """Overlap of what is found with the lesion; None where there is none, or only swelling."""
        if self.lesion is None or not self.lesion.any():
            return None
        return _dice(found, self.lesion)


@dataclass(frozen=True)
class SectionOutcome:
    """What is found of the pons of one marked slice, compared with what is known of it.

    Attributes
    ----------
    visible, flagged
        What the model says.
    scores
        Of every column.
    lesion_dice
        Overlap of the anomalous part of the pons with the lesion in it; None without a lesion.
    centre_px, dice
        Distance of the centres, and overlap, of the pons found and the true one.
    """

    visible: bool
    flagged: bool
    scores: dict[str, float]
    lesion_dice: float | None
    centre_px: float
    dice: float

    @classmethod
    def nothing(cls, truth: Truth) -> SectionOutcome:
        """Of a slice that was refused, or in which no pons was found."""
        return cls(
            visible=False,
            flagged=False,
            scores=dict.fromkeys(COLUMNS, _NOT_FOUND),
            lesion_dice=truth.lesion_dice(np.zeros_like(truth.pons)),
            centre_px=np.inf,
            dice=0.0,
        )

    @classmethod
    def of(cls, result: SliceResult | None, truth: Truth, card: ModelCard) -> SectionOutcome:
        """Compare a result with what is known; None stands for a refused slice."""
        pons = result.pons if result else None
        if result is None or pons is None or not pons.visible:
            return cls.nothing(truth)
        rules = card.rules_of(PONS)
        assert rules is not None and pons.score is not None  # noqa: S101, PT018
        anomalous = pons.mask & (result.anomaly_map > rules.pixel_threshold)
        baselines = {name: baseline(result, card) for name, baseline in BASELINES.items()}
        return cls(
            visible=True,
            flagged=pons.flagged is True,
            scores={MODEL: pons.score, **baselines},
            lesion_dice=truth.lesion_dice(anomalous),
            centre_px=float(np.linalg.norm(_centre(pons.mask) - _centre(truth.pons))),
            dice=_dice(pons.mask, truth.pons),
        )


@dataclass(frozen=True)
class Presence:
    """How much pons a model sees in a slice, in pixels of its grid, and whether that is enough."""

    pixels: float
    visible: bool

    @classmethod
    def of(cls, result: SliceResult) -> Presence:
        """Take it from a result of a model that looks for the pons."""
        assert result.pons is not None  # noqa: S101
        return cls(float(result.pons.probability.sum()), result.pons.visible)


@dataclass(frozen=True)
class PonsOutcome:
    """One patient: marked slices untouched and with every kind of lesion, and slices without pons.

    Attributes
    ----------
    untouched
        Marked slices as they are.
    lesions
        For every row, the same slices with its lesion; empty where nothing is marked.
    marked, clear
        What is seen in the untouched marked slices, and in slices without pons.
    series
        For every row, the flag on the pons of the series; first of the untouched one.
    """

    untouched: list[SectionOutcome]
    lesions: list[list[SectionOutcome]]
    marked: list[Presence]
    clear: list[Presence]
    series: list[bool]


def observe(patient: Patient, detector: Detector, rows: Sequence[Row]) -> PonsOutcome:
    """Run a patient untouched, and with every kind of lesion."""
    marks = {n: e.pons for n, e in enumerate(patient.examples) if e.pons is not None}
    shapes = {n: patient.examples[n].slice.pixels.shape for n in marks}
    as_it_is = {n: Truth(ellipse.mask(shapes[n])) for n, ellipse in marks.items()}
    result = detector.detect_series(patient.slices)
    lesions, series = [], [_flagged(result)]
    for row in rows if marks else ():
        slices, implanted = with_lesions(patient, row)
        with_lesion = detector.detect_series(slices)
        truths = {n: Truth(i.pons, i.lesion & i.pons) for n, i in implanted.items()}
        lesions.append(compared(patient, with_lesion, truths, detector.card))
        series.append(_flagged(with_lesion))
    results = results_of_examples(patient, result)

    def presence(numbers: Iterable[int]) -> list[Presence]:
        return [Presence.of(found) for n in numbers if (found := results[n]) is not None]

    return PonsOutcome(
        untouched=compared(patient, result, as_it_is, detector.card),
        lesions=lesions,
        marked=presence(marks),
        clear=presence(_without_pons(patient)),
        series=series,
    )


def compared(
    patient: Patient, result: SeriesResult, truths: Mapping[int, Truth], card: ModelCard
) -> list[SectionOutcome]:
    """Compare slices with what is known of them, by the patient's slice number."""
    results = results_of_examples(patient, result)
    return [SectionOutcome.of(results[n], truth, card) for n, truth in truths.items()]


def _without_pons(patient: Patient) -> list[int]:
    """Numbers of the slices that surely do not show the pons: high ones, and those below it."""
    count = len(patient.examples)
    marked = [n for n, example in enumerate(patient.examples) if example.pons is not None]
    clear = patient.clear_of_pons()
    below = [n for n in range(count) if clear[n] and n < min(marked)]
    return below + [n for n in range(count) if n > HIGH * (count - 1)]


def _flagged(result: SeriesResult) -> bool:
    return result.pons is not None and result.pons.flagged is True


def _planes(
    result: SliceResult, card: ModelCard
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    assert result.pons is not None and result.pons.section is not None  # noqa: S101, PT018
    plain = prepare(result.slice, result.normalisation, card.preprocessing).plain
    return plain, result.pons.section.mask, likely_brain(result.brain, plain.shape)


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(np.argwhere(mask).mean(axis=0))


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))
