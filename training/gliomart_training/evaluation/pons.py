"""How well the pons is found, and simulated gliomas in it.

Lesions are put into the marked slices of real patients, none of which shows a tumour of its own
(:mod:`..pontine`), and each series is run whole with them in place. What comes out is a statement
about simulated lesions in these patients' slices, not about the sensitivity to any disease.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.errors import DatasetError
from gliomart.findings.scoring import likely_brain
from gliomart.image.preprocess import prepare
from gliomart_training.evaluation.evaluation import resampling
from gliomart_training.evaluation.lesions import ROWS, with_lesions
from gliomart_training.evaluation.metrics import (
    AUROC,
    Levels,
    Resamples,
    described,
    sensitivity_at,
)
from gliomart_training.evaluation.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.detector import Detector
    from gliomart.findings.results import SeriesResult, SliceResult
    from gliomart.model.card import ModelCard
    from gliomart.providers import Requested
    from gliomart_training.dataset import Patient
    from gliomart_training.evaluation.lesions import Row
    from gliomart_training.evaluation.metrics import Figure

SCHEMA = 1
MODEL = "model"

# A centre this near, in pixels of the source, is found.
NEAR_PX = 6.0
# Above this share of a patient's slices there is no pons.
_HIGH = 0.6
# A slice in which no pons is found ranks below every other; finite, as scikit-learn wants it.
_NOT_FOUND = -1e9

PROTOCOL = {
    "location": "Slices in which somebody marked the pons as an ellipse; centre and Dice in pixels"
    f" of the source. Found: the centre is within {NEAR_PX:g} pixels. Slices without pons: above"
    f" {_HIGH:g} of a patient's slices, and more than a tenth of them below the lowest mark.",
    "lesions": "Implanted into all marked slices of a patient, one lesion per patient and row, and"
    " the whole series is run with them in place. Untouched: the same slices as they are.",
    "rows": "Swollen and bright: the pons grows to 1.1 times its width, larger lesions further, up"
    " to 1.6. Bright: nothing moves. Swollen: nothing brightens.",
    "figures": "AUROC and sensitivity set the slices with a lesion against the untouched ones, all"
    " patients together; a slice whose pons is not found ranks below all others. Dice is that of"
    " what is marked as anomalous in the pons and of the lesion in the pons as it is.",
    "baselines": "In the pons that the model finds: mean intensity over that of the brain behind it"
    " (cerebellum), and mean rank among the slice's brain.",
    "intervals": "95 % percentile intervals from resampling patients with replacement.",
}


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
class Found:
    """What is made of the pons of one slice, and what is known of it.

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


@dataclass(frozen=True)
class Look:
    """One patient: marked slices untouched and with every kind of lesion, and slices without pons.

    Attributes
    ----------
    untouched
        Marked slices as they are.
    lesions
        For every row, the same slices with its lesion.
    clear
        Of slices without pons: how much of it the model sees there, in pixels of its grid, and
        whether it takes that for a pons.
    marked
        The same of the untouched marked slices.
    series
        For every row, the flag on the pons of the series; first of the untouched one.
    """

    untouched: list[Found]
    lesions: list[list[Found]]
    marked: list[tuple[float, bool]]
    clear: list[tuple[float, bool]]
    series: list[bool]


def evaluate(
    directory: Path,
    model: Path | None,
    *,
    split: str | None,
    provider: Requested,
    bootstrap: int,
    seed: int,
    held_out: Path | None = None,
) -> dict[str, Any]:
    """Measure a model on the marked pons of a dataset; arguments as of ``evaluation.evaluate``.

    Raises
    ------
    DatasetError
        The pons is nowhere marked, or the model does not know the pons.
    """
    started = perf_counter()
    panel = Panel.of(directory, model=model, held_out=held_out, split=split, provider=provider)
    if not any(example.pons for patient in panel.patients for example in patient.examples):
        raise DatasetError(f"{directory}: no pons.csv marks the pons in it")
    if any(detector.card.rules_of("pons") is None for _, detector in panel.looks):
        raise DatasetError(f"{panel.settings.model_name}: was not trained to find the pons")
    bar = tqdm(panel.looks, desc="evaluate", unit="patient", disable=not is_terminal(sys.stderr))
    looks = [look(patient, detector) for patient, detector in bar]
    resamples = Resamples.draw(len(looks), bootstrap, seed)
    return {
        "schema": SCHEMA,
        **panel.described(
            {
                "counts": {
                    "patients": len(looks),
                    "patients_with_pons": sum(bool(one.untouched) for one in looks),
                    "marked_slices": sum(len(one.untouched) for one in looks),
                    "clear_slices": sum(len(one.clear) for one in looks),
                }
            }
        ),
        "protocol": PROTOCOL,
        "location": described(_location(looks, resamples)),
        "untouched": {
            "flagged": _ratio(resamples, [one.untouched for one in looks], lambda f: f.flagged),
            "series_flagged": _series(resamples, looks, 0),
            "nominal": panel.settings.false_alarm_rate,
        },
        "rows": [_row(row, number, looks, resamples) for number, row in enumerate(ROWS)],
        "bootstrap": resampling(bootstrap, seed),
        "seconds": round(perf_counter() - started, 1),
    }


def look(patient: Patient, detector: Detector) -> Look:
    """Run a patient untouched, and with every kind of lesion."""
    marks = {n: e.pons for n, e in enumerate(patient.examples) if e.pons is not None}
    result = detector.detect_series(patient.slices)
    shapes = {n: patient.examples[n].slice.pixels.shape for n in marks}
    untouched = {n: (ellipse.mask(shapes[n]), None) for n, ellipse in marks.items()}
    lesions, series = [], [_flagged(result)]
    for row in ROWS if marks else ():
        slices, implanted = with_lesions(patient, row)
        with_lesion = detector.detect_series(slices)
        truths = {n: (i.pons, i.lesion & i.pons) for n, i in implanted.items()}
        lesions.append(list(_found(patient, with_lesion, truths, detector.card)))
        series.append(_flagged(with_lesion))
    seen = _by_place(result)
    places = [(e.slice.source, e.slice.frame) for e in patient.examples]
    clear = [n for n in _without_pons(patient) if places[n] in seen]
    return Look(
        untouched=list(_found(patient, result, untouched, detector.card)),
        lesions=lesions,
        marked=[_presence(seen[places[n]]) for n in marks if places[n] in seen],
        clear=[_presence(seen[places[n]]) for n in clear],
        series=series,
    )


def _found(
    patient: Patient,
    result: SeriesResult,
    truths: Mapping[int, tuple[NDArray[np.bool_], NDArray[np.bool_] | None]],
    card: ModelCard,
) -> Iterator[Found]:
    """Compare slices with the true pons and the lesion in it, by the patient's slice number."""
    seen = _by_place(result)
    for number, (truth, lesion) in truths.items():
        source = patient.examples[number].slice
        slice_result = seen.get((source.source, source.frame))
        pons = slice_result.pons if slice_result else None
        if slice_result is None or pons is None or not pons.visible:
            nothing = None if lesion is None or not lesion.any() else 0.0
            yield Found(
                visible=False,
                flagged=False,
                scores=dict.fromkeys(COLUMNS, _NOT_FOUND),
                lesion_dice=nothing,
                centre_px=np.inf,
                dice=0.0,
            )
            continue
        rules = card.rules_of("pons")
        assert rules is not None and pons.score is not None  # noqa: S101, PT018
        anomalous = pons.mask & (slice_result.anomaly_map > rules.pixel_threshold)
        yield Found(
            visible=True,
            flagged=pons.flagged is True,
            scores={MODEL: pons.score}
            | {name: baseline(slice_result, card) for name, baseline in BASELINES.items()},
            lesion_dice=_dice(anomalous, lesion) if lesion is not None and lesion.any() else None,
            centre_px=float(np.linalg.norm(_centre(pons.mask) - _centre(truth))),
            dice=_dice(pons.mask, truth),
        )


def _by_place(result: SeriesResult) -> dict[tuple[str, int | None], SliceResult]:
    return {(r.slice.source, r.slice.frame): r for r in result.slices}


def _without_pons(patient: Patient) -> list[int]:
    """Numbers of the slices that surely do not show the pons: high ones, and those below it."""
    count = len(patient.examples)
    marked = [n for n, example in enumerate(patient.examples) if example.pons is not None]
    clear = patient.clear_of_pons()
    below = [n for n in range(count) if clear[n] and n < min(marked)]
    return below + [n for n in range(count) if n > _HIGH * (count - 1)]


def _presence(result: SliceResult) -> tuple[float, bool]:
    assert result.pons is not None  # noqa: S101  # the model knows the pons
    return float(result.pons.probability.sum()), result.pons.visible


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


def _location(looks: Sequence[Look], resamples: Resamples) -> dict[str, Figure]:
    untouched = [one.untouched for one in looks]
    marked = [[(presence, True) for presence, _ in one.marked] for one in looks]
    clear = [[(presence, False) for presence, _ in one.clear] for one in looks]
    scored = [[*some, *others] for some, others in zip(marked, clear, strict=True)]
    return {
        "centre_within_6_px": _over(resamples, untouched, lambda f: f.centre_px <= NEAR_PX),
        "dice": _over(resamples, untouched, lambda f: f.dice),
        "visible_auroc": resamples.rank(_levels(scored), AUROC),
        "visible_where_marked": _over(resamples, untouched, lambda f: f.visible),
        "visible_where_clear": _over(resamples, [one.clear for one in looks], lambda c: c[1]),
    }


def _row(row: Row, number: int, looks: Sequence[Look], resamples: Resamples) -> dict[str, Any]:
    lesions = [one.lesions[number] if one.lesions else [] for one in looks]
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        levels = _levels(
            [
                [(f.scores[column], True) for f in ill]
                + [(f.scores[column], False) for f in one.untouched]
                for ill, one in zip(lesions, looks, strict=True)
            ]
        )
        columns[column] = described(
            {
                "auroc": resamples.rank(levels, AUROC),
                "sensitivity_at_95_specificity": resamples.rank(levels, sensitivity_at(0.95)),
            }
        )
    with_mask = [[f for f in ill if f.lesion_dice is not None] for ill in lesions]
    return {
        "name": row.name,
        "arm": row.arm,
        "fraction": row.fraction,
        "signal": row.signal,
        "expansion": row.expansion,
        "slices": sum(map(len, lesions)),
        "columns": columns,
        "dice": _ratio(resamples, with_mask, lambda f: f.lesion_dice or 0.0),
        "flagged": _ratio(resamples, lesions, lambda f: f.flagged),
        "series_flagged": _series(resamples, looks, number + 1),
        "visible": _ratio(resamples, lesions, lambda f: f.visible),
        "centre_within_6_px": _ratio(resamples, lesions, lambda f: f.centre_px <= NEAR_PX),
    }


def _levels(scored: Sequence[Sequence[tuple[float, bool]]]) -> Levels:
    """Take scores and classes, patient by patient."""
    table = [(s, positive, p) for p, ones in enumerate(scored) for s, positive in ones]
    scores, positive, patient = np.array(table, np.float64).reshape(-1, 3).T
    return Levels.of_slices(scores, positive > 0, patient.astype(np.intp), len(scored))


def _over(
    resamples: Resamples, found: Sequence[Sequence[Any]], part: Callable[[Any], float]
) -> Figure:
    return resamples.ratio([sum(map(part, ones)) for ones in found], [len(ones) for ones in found])


def _ratio(
    resamples: Resamples, found: Sequence[Sequence[Any]], part: Callable[[Any], float]
) -> dict[str, Any]:
    return _over(resamples, found, part).described()


def _series(resamples: Resamples, looks: Iterable[Look], number: int) -> dict[str, Any]:
    flags = [one.series[number : number + 1] if one.untouched else [] for one in looks]
    return _ratio(resamples, flags, float)
