"""An evaluation as plots, and as a gallery of what the model outlines best and worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.outputs.figures import as_png, new_figure
from gliomart.outputs.folder import write_atomically
from gliomart_training.evaluation.curves import dice_by_threshold, precision_recall, roc
from gliomart_training.evaluation.gallery import gallery
from gliomart_training.evaluation.outcomes import COLUMNS, MODEL
from gliomart_training.evaluation.text_table import figure_cell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gliomart.detector import Detector
    from gliomart_training.evaluation.cohort import Cohort
    from gliomart_training.evaluation.curves import Curve
    from gliomart_training.evaluation.documents import Evaluation
    from gliomart_training.evaluation.panel import Panel

CURVES, SCORES, DICE, GALLERY = "curves.png", "scores.png", "dice.png", "gallery.png"
_KINDS = {"tumour-free": "C0", "beside tumour": "C1", "tumour": "C3"}
# Scores have 7 digits after the point.
_LOWEST = 1e-6
_STYLES = dict(zip(COLUMNS, ("-", ":", "--", "-."), strict=True))


def draw(panel: Panel, cohort: Cohort, result: Evaluation, folder: Path) -> None:
    """Write all plots of an evaluation into a folder.

    Parameters
    ----------
    panel, cohort
        Who was analysed, and what came out.
    result
        The figures, as :func:`gliomart_training.evaluation.evaluation.evaluate` returns them.
    folder
        Made where it is missing; plots in it are replaced.
    """
    figures = {
        CURVES: _curves(cohort, result),
        SCORES: _scores(panel, cohort),
        DICE: _dice(panel, cohort, result),
        GALLERY: gallery(panel, cohort),
    }
    for name, figure in figures.items():
        write_atomically(folder / name, as_png(figure, dpi=110))


def _curves(cohort: Cohort, result: Evaluation) -> Figure:
    figure = new_figure(15, 6)
    columns = {MODEL: result["method"], **result["baselines"]}
    kinds = (
        ("pixels", "AP", "pixel_average_precision", cohort.pixels, precision_recall),
        ("slices", "AP", "slice_average_precision", cohort.slices, precision_recall),
        ("slices", "AUROC", "slice_auroc", cohort.slices, roc),
    )
    panels = figure.subplots(1, len(kinds))
    for axes, (what, short, name, levels_of, curve_of) in zip(panels, kinds, strict=True):
        for number, column in enumerate(COLUMNS):
            curve = curve_of(levels_of(column), cohort.resamples)
            label = f"{column}, {short} {figure_cell(columns[column][name])}"
            _draw_curve(axes, curve, label, f"C{number}", column)
        names = ("false alarms", "sensitivity") if curve_of is roc else ("recall", "precision")
        axes.set(xlim=(0, 1), ylim=(0, 1.01), title=what)
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    _titled(figure, cohort)
    return figure


def _draw_curve(axes: Axes, curve: Curve, label: str, colour: str, column: str) -> None:
    axes.plot(curve.x, curve.y, _STYLES[column], color=colour, label=label)
    if column == MODEL:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
    axes.grid(alpha=0.3)


def _titled(figure: Figure, cohort: Cohort) -> None:
    count, patients = len(cohort.resamples.weights), len(cohort.patients)
    figure.suptitle(f"Bands: 95 % intervals from {count} resamples of {patients} patients")


def _scores(panel: Panel, cohort: Cohort) -> Figure:
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot(xlabel="score of the slice (first bin: or less)", ylabel="slices")
    found = {_flagged_above(detector) for _, detector in panel.pairs}
    limits = sorted(limit for limit in found if limit is not None)
    slices = [s for patient in cohort.patients for s in patient.slices if s.analysed]
    highest = max([_LOWEST, *limits, *(s.scores[MODEL] for s in slices)])
    # Scores spread over decades; the lowest bin holds what is lower still.
    lowest = max(min(limits, default=highest), _LOWEST)
    bins = np.geomspace(lowest / 50, highest * 1.01, 61).tolist()
    for kind, colour in _KINDS.items():
        scores = [max(s.scores[MODEL], bins[0]) for s in slices if s.kind == kind]
        axes.hist(scores, bins, color=colour, alpha=0.25)
        axes.hist(scores, bins, color=colour, histtype="step", label=f"{kind} ({len(scores)})")
    _vertical(axes, limits, "flagged to the right of it")
    axes.set_xscale("log")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def _vertical(axes: Axes, places: Sequence[float], label: str) -> None:
    """Draw dashed lines, one entry in the legend for all."""
    for place in places:
        axes.axvline(place, color="0.3", linestyle="--", label=label)
        label = ""


def _flagged_above(detector: Detector) -> float | None:
    """Highest score of tumour-free slices that a model does not flag; None where it flags none."""
    healthy = detector.calibration.slice_scores
    as_high = int(detector.settings.false_alarm_rate * (len(healthy) + 1))
    return healthy[len(healthy) - as_high] if as_high else None


def _dice(panel: Panel, cohort: Cohort, result: Evaluation) -> Figure:
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot(xlabel="threshold of the anomaly map", ylabel="Dice of all pixels")
    calibrations = [detector.calibration for _, detector in panel.pairs]
    used = sorted({each.pixel_threshold for each in calibrations})
    # A map that is 0 in nearly all of the tumour-free brain may have a threshold of 0.
    middle = np.median(used) or np.median([each.display_limit for each in calibrations])
    curve = dice_by_threshold(cohort.pixels(MODEL), cohort.resamples, float(middle))
    _draw_curve(axes, curve, "model", "C0", MODEL)
    _vertical(axes, used, f"in use, Dice {figure_cell(result['method']['dice'])}")
    axes.set(xscale="log", ylim=(0, 1))
    axes.legend(loc="upper left")
    _titled(figure, cohort)
    return figure
