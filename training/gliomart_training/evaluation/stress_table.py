"""An evaluation under stress as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart_training.evaluation.text_table import aligned, figure_cell, heading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gliomart_training.evaluation.documents import StressEvaluation

_LABELS = {
    "false_alarms": "false alarms",
    "flag_sensitivity": "sensitivity of the flag",
    "pixel_average_precision": "pixel AP",
    "dice": "Dice",
    "slice_auroc": "slice AUROC",
    "series_false_alarms": "false alarms, series",
}


def table(result: StressEvaluation) -> str:
    """Lay out what :func:`gliomart_training.evaluation.stresses.evaluate` returns."""
    sections = (heading, _rows, _notes)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def _rows(result: StressEvaluation) -> Iterator[str]:
    rows = [["", *_LABELS.values(), "analysed"]]
    for row in result["rows"]:
        cells = [figure_cell(row["figures"][name]) for name in _LABELS]
        rows.append([row["name"], *cells, str(row["analysed"])])
    yield from aligned(rows)


def _notes(result: StressEvaluation) -> Iterator[str]:
    counts = result["dataset"]["counts"]
    yield (
        f"nominal false alarms {result['nominal']:g}; {counts['tumour_slices']} tumour and"
        f" {counts['tumour_free_slices']} tumour-free slices of {counts['patients']} patients"
    )
    usual = result["rows"][0]["refused"]
    yield f"refused as scanned: {_codes(usual)}"
    for row in result["rows"]:
        if row["refused"] != usual:
            yield f"refused, {row['name']}: {_codes(row['refused'])}"
    yield f"{result['seconds']:.0f} s"


def _codes(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in refused.items()) or "none"
