"""Evaluations of data sets as tables with a row for each: for people, and for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from gliomart.outputs.table import as_text
from gliomart_training.evaluation.text_table import aligned, figure_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gliomart_training.evaluation.documents import (
        Evaluation,
        FigureEntry,
        Figures,
        SeveralEvaluation,
        Total,
    )

TOTAL = "all patients"
_RANKINGS = {
    "pixel_average_precision": "pixel AP",
    "dice": "Dice at the threshold",
    "slice_auroc": "slice AUROC",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
}
_VERDICTS = {
    "flag_sensitivity": "sensitivity of the flag",
    "false_alarms": "false alarms, slices",
    "series_sensitivity": "sensitivity, series",
    "series_false_alarms": "false alarms, series",
}


def table(result: SeveralEvaluation) -> str:
    """Lay out what :func:`gliomart_training.evaluation.several.evaluate` returns."""
    sections = (_heading, _counts, _rankings, _verdicts, _notes)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def to_csv(results: Mapping[str, Evaluation], total: Total | None) -> str:
    """Write a row for each data set, and one of all patients where there is a total.

    A figure has three columns: its value and the ends of its interval, empty where it is not
    measured.
    """
    names = [*next(iter(results.values()))["method"]]
    names += [name for name in _VERDICTS if name not in names]
    counts = ("patients", "patients_with_tumour", "slices", "analysed", "tumour_slices",
              "tumour_free_slices")  # fmt: skip
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ("dataset", "split", *counts, *columns), restval="")
    writer.writeheader()
    for name, result in results.items():
        data = result["dataset"]
        head = {"dataset": as_text(name), "split": as_text(data["split"] or "")}
        cells = _cells(result["method"] | _of_verdicts(result))
        writer.writerow(head | {each: data["counts"][each] for each in counts} | cells)  # type: ignore[literal-required]
    if total is not None:
        writer.writerow({"dataset": TOTAL} | total["counts"] | _cells(total["figures"]))
    return stream.getvalue()


def _cells(figures: Figures) -> dict[str, float | str]:
    cells: dict[str, float | str] = {}
    for name, figure in figures.items():
        low, high = figure["interval"] or (None, None)
        for end, value in (("", figure["value"]), ("_low", low), ("_high", high)):
            cells[f"{name}{end}"] = "" if value is None else value
    return cells


def _of_verdicts(result: Evaluation) -> dict[str, FigureEntry]:
    return {
        "flag_sensitivity": result["method"]["flag_sensitivity"],
        "false_alarms": result["false_alarm"]["realised"],
        "series_sensitivity": result["series"]["sensitivity"],
        "series_false_alarms": result["series"]["false_alarm"],
    }


def _heading(result: SeveralEvaluation) -> Iterator[str]:
    model = result["model"]
    yield f"{model['name']} {model['version']} ({str(model['sha256'])[:12]}), by data set"
    yield (
        f"{result['provider']['effective']}, gliomart {result['software']['version']}; 95 %"
        f" intervals from {result['bootstrap']['resamples']} resamples of each one's patients"
    )


def _counts(result: SeveralEvaluation) -> Iterator[str]:
    names = ("patients", "slices", "analysed", "tumour_slices", "tumour_free_slices")
    rows = [["", "split", *(name.replace("_", " ") for name in names)]]
    for name, of in result["datasets"].items():
        counts: Mapping[str, object] = of["dataset"]["counts"]
        rows.append([name, of["dataset"]["split"] or "-", *(str(counts[each]) for each in names)])
    yield from aligned(rows)


def _rankings(result: SeveralEvaluation) -> Iterator[str]:
    rows = [["", *_RANKINGS.values()]]
    for name, of in result["datasets"].items():
        rows.append([name, *(figure_cell(of["method"].get(each)) for each in _RANKINGS)])
    yield from aligned(rows)


def _verdicts(result: SeveralEvaluation) -> Iterator[str]:
    rows = [["", *_VERDICTS.values()]]
    every = {name: _of_verdicts(of) for name, of in result["datasets"].items()}
    for name, figures in (*every.items(), (TOTAL, result["total"]["figures"])):
        rows.append([name, *(figure_cell(figures[each]) for each in _VERDICTS)])
    yield from aligned(rows)


def _notes(result: SeveralEvaluation) -> Iterator[str]:
    nominal = next(iter(result["datasets"].values()))["false_alarm"]["nominal"]
    yield f"nominal false alarms {nominal:g}; each data set's own figures are as of it alone"
    yield f"{result['seconds']:.0f} s"
