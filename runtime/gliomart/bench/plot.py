"""A report as a picture: where a slice's time goes, and how other engines compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.host import extras
from gliomart.outputs.figures import as_png, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from gliomart.bench.report import Comparison, EngineTimes, Report

# Okabe and Ito's colours, told apart with every kind of colour vision.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"
_MARKS = {"1": ("o", _BLUE), "2": ("D", _VERMILION)}


def plot(report: Report) -> bytes:
    """Draw a report; what was not measured is left out.

    Returns
    -------
    The content of a PNG file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    """
    comparison = report.get("comparison")
    engines = _names(comparison) if comparison else []
    with extras.needed("drawing a plot", "bench", "matplotlib"):
        figure = new_figure(9, 3.0 + 0.44 * len(engines))
    heights = [len(report["ms"]) + 1, 1.5 * len(engines) + 2] if comparison else [1]
    rows = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    _stages(rows[0], report)
    if comparison:
        _ratios(rows[1], comparison, engines)
    machine, model = report["machine"], report["model"]
    figure.suptitle(
        f"{model['name']} ({model['precision']}), {machine['processor']}, {machine['cores']} cores",
        fontsize=11,
    )
    return as_png(figure, dpi=120)


def _stages(axes: Axes, report: Report) -> None:
    rows = list(report["ms"].items())
    places = range(len(rows))
    p50 = [values["p50"] for _, values in rows]
    p95 = [values["p95"] for _, values in rows]
    axes.barh(places, p50, color=_BLUE, height=0.62, label="p50")
    axes.hlines(places, p50, p95, color=_GREY, linewidth=2, label="to p95")
    axes.plot(p95, places, "|", color=_GREY, markersize=10, markeredgewidth=2)
    for place, middle, high in zip(places, p50, p95, strict=True):
        axes.annotate(
            f"{middle:.1f}", (high, place), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [{"slice": "sum"}.get(name, name) for name, _ in rows])
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlim(left=0)
    height, width = report["study"]["pixels"]
    axes.set_xlabel(f"milliseconds per slice of {height} × {width}, one after the other")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.3))
    _bare(axes)


def _ratios(axes: Axes, comparison: Comparison, names: Sequence[str]) -> None:
    counts = list(comparison["by_threads"])
    for number, count in enumerate(counts):
        mark, colour = _MARKS.get(count, ("s", _GREY))
        shift = 0.36 * (number - (len(counts) - 1) / 2)
        engines = comparison["by_threads"][count]["engines"]
        for each in engines[1:]:
            ratio = each["ratio"]
            place = names.index(_name(each)) + shift
            axes.hlines(place, ratio["p5"], ratio["p95"], color=colour, linewidth=2)
            axes.plot(ratio["p50"], place, mark, color=colour, markersize=6)
            axes.text(
                1.01, place, f"{ratio['p50']:.2f}", color=colour, size=9, va="center",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        label = f"{count} thread{'s' if count != '1' else ''}"
        axes.plot([], [], mark, color=colour, label=label)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.7), max(high * 1.15, 1.4))
    axes.set_xlabel(
        "time by that of gliomart (1: as fast; right: slower), median and 5-95 % of rounds"
    )
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=len(counts))
    _bare(axes)


def _names(comparison: Comparison) -> list[str]:
    """Every engine but gliomart's own, in the order of the fewest threads."""
    listed = [
        _name(engine)
        for measured in comparison["by_threads"].values()
        for engine in measured["engines"][1:]
    ]
    return list(dict.fromkeys(listed))


def _name(engine: EngineTimes) -> str:
    return f"{engine['name']}, {engine['precision']}"


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
