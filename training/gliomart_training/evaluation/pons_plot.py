"""An evaluation of the pons as a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.outputs.figures import as_png, new_figure
from gliomart_training.evaluation.pons_outcomes import BASELINES, MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from gliomart_training.evaluation.documents import LesionRow, PonsEvaluation

_BASELINE_STYLES = dict(zip(BASELINES, ("-", ":"), strict=True))


@dataclass(frozen=True)
class _Style:
    """How a column's AUROC is drawn."""

    label: str
    column: str = MODEL
    colour: str = "0.6"
    line: str = "-"


def plot(result: PonsEvaluation) -> bytes:
    """Plot how well lesions are told from untouched slices, by size and kind; PNG."""
    figure = new_figure(11, 4.2)
    left, right = figure.subplots(1, 2, sharey=True)
    _by_size(left, result["rows"])
    _by_width(right, result["rows"])
    for axes in (left, right):
        axes.axhline(0.5, color="0.8", linewidth=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    left.set_ylim(0.3, 1.01)
    figure.suptitle("Simulated pontine lesions in real tumour-free slices; bands: 95 % intervals")
    return as_png(figure, dpi=120)


def _by_size(axes: Axes, rows: Sequence[LesionRow]) -> None:
    signals = sorted({row["signal"] for row in rows if row["arm"] == "swollen and bright"})
    bright = next(row["signal"] for row in rows if row["arm"] == "bright")
    curves = [
        (_Style(f"swollen, +{signal:.0%}", colour=f"C{n}"), "swollen and bright", signal)
        for n, signal in enumerate(signals)
    ]
    not_swollen = _Style(f"not swollen, +{bright:.0%}", colour="C1", line="--")
    curves.append((not_swollen, "bright", bright))
    soft = sorted({row["signal"] for row in rows if row["arm"] == "soft"})
    curves += [
        (_Style(f"soft, +{signal:.0%}", colour=f"C{4 + n}", line="-."), "soft", signal)
        for n, signal in enumerate(soft)
    ]
    curves += [
        (_Style(f"{name}, swollen, +{bright:.0%}", name, line=line), "swollen and bright", bright)
        for name, line in _BASELINE_STYLES.items()
    ]
    for style, arm, signal in curves:
        chosen = [row for row in rows if row["arm"] == arm and row["signal"] == signal]
        _curve(axes, [100 * row["fraction"] for row in chosen], chosen, style)
    axes.set(xlabel="share of the pons, %", ylabel="AUROC, lesion against untouched")


def _by_width(axes: Axes, rows: Sequence[LesionRow]) -> None:
    swollen = [row for row in rows if row["arm"] == "swollen"]
    widths = [row["expansion"] or 1.0 for row in swollen]
    _curve(axes, widths, swollen, _Style("swollen, not bright", colour="C7"))
    for name, line in _BASELINE_STYLES.items():
        _curve(axes, widths, swollen, _Style(name, name, line=line))
    axes.set(xlabel="width of the pons, times normal")


def _curve(axes: Axes, x: Sequence[float], rows: Sequence[LesionRow], style: _Style) -> None:
    figures = [row["columns"][style.column]["auroc"] for row in rows]
    values = [np.nan if f["value"] is None else f["value"] for f in figures]
    axes.plot(x, values, style.line, color=style.colour, marker="o", ms=3, label=style.label)
    intervals = [figure["interval"] for figure in figures]
    if style.column == MODEL and all(intervals):
        low, high = zip(*filter(None, intervals), strict=True)
        axes.fill_between(x, low, high, color=style.colour, alpha=0.12, linewidth=0)
