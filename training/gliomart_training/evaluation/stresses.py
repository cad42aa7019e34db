"""A model measured on what other scanners would have made of the same heads."""

from __future__ import annotations

from dataclasses import fields
from time import perf_counter
from typing import TYPE_CHECKING

from gliomart_training.evaluation.evaluation import PROTOCOL
from gliomart_training.evaluation.metrics import AUROC, AVERAGE_PRECISION, described
from gliomart_training.evaluation.outcomes import MODEL
from gliomart_training.stress import BETWEEN_SLICES, MODERATE, Stress, at_drawn_scanner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gliomart_training.evaluation.cohort import Cohort
    from gliomart_training.evaluation.documents import StressEvaluation, StressRow
    from gliomart_training.evaluation.metrics import Bootstrap, Figure
    from gliomart_training.evaluation.panel import Candidate
    from gliomart_training.patients import Patient

SCHEMA = 1
AS_SCANNED, DRAWN = "as scanned", "drawn scanners"
_PROTOCOL = {name: PROTOCOL[name] for name in ("grid", "negatives", "intervals", "binning")} | {
    "stress": "Each row changes all series in one way, of moderate strength (half of what is drawn"
    " at most), or between slices as far as it goes; the last draws a scanner for every patient."
    " The head and its brightness are sought anew in what is changed.",
}


def evaluate(candidate: Candidate, bootstrap: Bootstrap) -> StressEvaluation:
    """Run a model over a dataset as it is, and under every stress.

    Parameters
    ----------
    candidate
        What is to be evaluated on what.
    bootstrap
        How patients are resampled for intervals; alike for every row.

    Returns
    -------
    JSON values.

    Raises
    ------
    DatasetError
        There is no tumour mask, or no tumour-free slice, to evaluate against.
    """
    started = perf_counter()
    panel = candidate.panel()
    panel.check()
    resamples = bootstrap.draw(len(panel.pairs))
    rows: list[StressRow] = []
    as_scanned: dict[str, Figure] = {}
    contents = None
    for name, changes, change in _stresses():
        cohort = panel.observe_changed(change, resamples, name)
        figures = _figures(cohort)
        as_scanned = as_scanned or figures
        found = cohort.contents()
        contents, counts = contents or found, found["counts"]
        rows.append(
            {
                "name": name,
                "changes": changes,
                "analysed": counts["analysed"],
                "refused": counts["refused"],
                "figures": described(figures),
                "less_as_scanned": described({n: figures[n] - as_scanned[n] for n in figures}),
            }
        )
    assert contents is not None  # noqa: S101  # the first row is of the series as scanned
    return {
        "schema": SCHEMA,
        **panel.provenance(),
        "dataset": panel.dataset(contents),
        "protocol": _PROTOCOL,
        "nominal": panel.settings.false_alarm_rate,
        "rows": rows,
        "bootstrap": bootstrap.described(),
        "seconds": round(perf_counter() - started, 1),
    }


def _stresses() -> Iterator[tuple[str, dict[str, float | bool], Callable[[Patient], Patient]]]:
    """Name every row, the fields that it sets, and what it does to a patient."""
    yield AS_SCANNED, {}, lambda patient: patient
    for name, stress in (MODERATE | BETWEEN_SLICES).items():
        yield name, _changes(stress), stress.apply
    yield DRAWN, {}, lambda patient: at_drawn_scanner(patient, "evaluated")


def _changes(stress: Stress) -> dict[str, float | bool]:
    given = {field.name: getattr(stress, field.name) for field in fields(stress)}
    return {name: value for name, value in given.items() if value != getattr(Stress(), name)}


def _figures(cohort: Cohort) -> dict[str, Figure]:
    at_thresholds = cohort.thresholded()
    return {
        "false_alarms": cohort.flagged("tumour-free"),
        "flag_sensitivity": at_thresholds["flag_sensitivity"],
        "dice": at_thresholds["dice"],
        "pixel_average_precision": cohort.resamples.rank(cohort.pixels(MODEL), AVERAGE_PRECISION),
        "slice_auroc": cohort.resamples.rank(cohort.slices(MODEL), AUROC),
        "series_false_alarms": cohort.series()["false_alarm"],
    }
