"""An evaluation of the pons as a table and as a plot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from gliomart_training.evaluation.pons import MODEL
from gliomart_training.evaluation.report import aligned, figure_cell, heading

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCATION = {
    "centre_within_6_px": "centre within 6 px",
    "dice": "Dice with the marked pons",
    "visible_auroc": "pons told from no pons, AUROC",
    "visible_where_marked": "found where it is marked",
    "visible_where_clear": "found where there is none",
}


def table(result: dict[str, Any]) -> str:
    """Lay out what :func:`gliomart_training.evaluation.pons.evaluate` returns."""
    sections = (heading, _location, _lesions, _notes)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def _location(result: dict[str, Any]) -> Iterator[str]:
    rows = [[label, figure_cell(result["location"][name])] for name, label in _LOCATION.items()]
    untouched = result["untouched"]
    nominal = f"nominal {untouched['nominal']:g}"
    for name, label in (("flagged", "slices"), ("series_flagged", "series")):
        rows.append([f"false alarms, {label} ({nominal})", figure_cell(untouched[name])])
    yield from aligned(rows)


def _lesions(result: dict[str, Any]) -> Iterator[str]:
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


def _notes(result: dict[str, Any]) -> Iterator[str]:
    counts = result["dataset"]["counts"]
    yield (
        f"{counts['marked_slices']} slices of {counts['patients_with_pons']} patients with the pons"
        f" marked, {counts['clear_slices']} without pons"
    )
    yield "Simulated lesions in tumour-free slices: this is not the sensitivity to any disease."
    yield f"{result['seconds']:.0f} s"


def plot(result: dict[str, Any]) -> bytes:
    """Plot how well lesions are told from untouched slices, by size and kind; PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    rows = result["rows"]
    baselines = [name for name in rows[0]["columns"] if name != MODEL]
    signals = sorted({row["signal"] for row in rows if row["arm"] == "swollen and bright"})
    curves = [
        (f"swollen, +{signal:.0%}", f"C{number}", "-", MODEL, "swollen and bright", signal)
        for number, signal in enumerate(signals)
    ]
    bright = next(row["signal"] for row in rows if row["arm"] == "bright")
    curves.append((f"not swollen, +{bright:.0%}", "C1", "--", MODEL, "bright", bright))
    curves += [
        (f"{name}, swollen, +{bright:.0%}", "0.6", style, name, "swollen and bright", bright)
        for name, style in zip(baselines, ("-", ":"), strict=True)
    ]
    for label, colour, style, column, arm, signal in curves:
        chosen = [row for row in rows if row["arm"] == arm and row["signal"] == signal]
        shares = [100 * row["fraction"] for row in chosen]
        _curve(left, shares, chosen, column, label=label, colour=colour, style=style)
    left.set(xlabel="share of the pons, %", ylabel="AUROC, lesion against untouched")
    swollen = [row for row in rows if row["arm"] == "swollen"]
    widths = [row["expansion"] for row in swollen]
    label = "swollen, not bright"
    _curve(right, widths, swollen, MODEL, label=label, colour="C4", style="-")
    for name, style in zip(baselines, ("-", ":"), strict=True):
        _curve(right, widths, swollen, name, label=name, colour="0.6", style=style)
    right.set(xlabel="width of the pons, times normal")
    for axes in (left, right):
        axes.axhline(0.5, color="0.8", linewidth=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    left.set_ylim(0.3, 1.01)
    figure.suptitle("Simulated pontine lesions in real tumour-free slices; bands: 95 % intervals")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120)
    return stream.getvalue()


def _curve(
    axes: Any,  # noqa: ANN401
    x: list[float],
    rows: list[dict[str, Any]],
    column: str,
    *,
    label: str,
    colour: str,
    style: str,
) -> None:
    figures = [row["columns"][column]["auroc"] for row in rows]
    axes.plot(x, [f["value"] for f in figures], style, color=colour, marker="o", ms=3, label=label)
    if column == MODEL and all(f["interval"] for f in figures):
        low, high = zip(*(f["interval"] for f in figures), strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
