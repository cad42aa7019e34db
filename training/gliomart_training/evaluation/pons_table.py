"""An evaluation of the pons as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart_training.evaluation.pons_outcomes import MODEL
from gliomart_training.evaluation.text_table import aligned, figure_cell, heading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart_training.evaluation.documents import PonsEvaluation

_LOCATION = {
    "centre_within_6_px": "centre within 6 px",
    "dice": "Dice with the marked pons",
    "visible_auroc": "pons told from no pons, AUROC",
    "visible_where_marked": "found where it is marked",
    "visible_where_clear": "found where there is none",
}


def table(result: PonsEvaluation) -> str:
    """Lay out what :func:`gliomart_training.evaluation.pons_evaluation.evaluate` returns."""
    sections = (heading, _location, _lesions, _notes)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def _location(result: PonsEvaluation) -> Iterator[str]:
    rows = [[label, figure_cell(result["location"][name])] for name, label in _LOCATION.items()]
    untouched = result["untouched"]
    nominal = f"nominal {untouched['nominal']:g}"
    rows += [
        [f"false alarms, slices ({nominal})", figure_cell(untouched["flagged"])],
        [f"false alarms, series ({nominal})", figure_cell(untouched["series_flagged"])],
    ]
    yield from aligned(rows)


def _lesions(result: PonsEvaluation) -> Iterator[str]:
    baselines = [name for name in result["rows"][0]["columns"] if name != MODEL]
    head = ["lesion", "AUROC", "sensitivity at 95 %", "Dice", "flagged", "series flagged"]
    rows = [[*head, *(f"AUROC {name}" for name in baselines)]]
    for row in result["rows"]:
        model = row["columns"][MODEL]
        rows.append(
            [
                row["name"],
                figure_cell(model["auroc"]),
                figure_cell(model["sensitivity_at_95_specificity"]),
                *(figure_cell(row[name]) for name in ("dice", "flagged", "series_flagged")),
                *(figure_cell(row["columns"][name]["auroc"]) for name in baselines),
            ]
        )
    yield from aligned(rows)


def _notes(result: PonsEvaluation) -> Iterator[str]:
    counts = result["dataset"]["counts"]
    yield (
        f"{counts['marked_slices']} slices of {counts['patients_with_pons']} patients with the pons"
        f" marked, {counts['clear_slices']} without pons"
    )
    yield "Simulated lesions in tumour-free slices: this is not the sensitivity to any disease."
    yield f"{result['seconds']:.0f} s"
