"""Slices to look at: those that a model outlines best, middling and worst, and its false alarms."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from gliomart.cli.terminal import shortened
from gliomart.outputs.figures import new_figure
from gliomart.outputs.pictures import overlay, window
from gliomart.printable import printable
from gliomart_training.evaluation.outcomes import MODEL
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gliomart.detector import Detector
    from gliomart.findings.results import SliceResult
    from gliomart_training.dataset import Example
    from gliomart_training.evaluation.cohort import Cohort
    from gliomart_training.evaluation.outcomes import SliceOutcome
    from gliomart_training.evaluation.panel import Panel

    # A patient's number, and a slice's among the patient's.
    Place = tuple[int, int]

_IN_A_ROW = 4
_LONGEST = 36


def gallery(panel: Panel, cohort: Cohort) -> Figure:
    """Show slices as they are read, with the truth in yellow, and as the model sees them.

    The model marks what departs from the expected as heat, and what it outlines in cyan.
    """
    rows = {title: places for title, places in _chosen(cohort).items() if places}
    seen = dict(_seen_again(panel, {place for places in rows.values() for place in places}))
    figure = new_figure(2.2 * 2 * _IN_A_ROW, 2.7 * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (title, places) in zip(parts, rows.items(), strict=True):
        part.suptitle(title, fontsize=11)
        grid = part.subplots(1, 2 * _IN_A_ROW)
        for axes in grid:
            axes.set_axis_off()
        for (patient, number), plain, coloured in zip(places, grid[::2], grid[1::2], strict=False):
            outcome = cohort.patients[patient].slices[number]
            example = panel.patients[patient].examples[number]
            result, detector = seen[patient, number]
            _show(plain, coloured, example, result, detector)
            plain.set_title(shortened(printable(result.slice.source), _LONGEST), fontsize=6)
            coloured.set_title(_verdict(outcome), fontsize=8)
    return figure


def _chosen(cohort: Cohort) -> dict[str, list[Place]]:
    every = {
        (patient, number): outcome
        for patient, one in enumerate(cohort.patients)
        for number, outcome in enumerate(one.slices)
        if outcome.analysed
    }
    # Of slices that are outlined alike, the larger tumour is the worse one.
    tumour = sorted(
        (place for place, outcome in every.items() if outcome.kind == "tumour"),
        key=lambda place: (every[place].dice, -every[place].missed),
    )
    alarms = sorted(
        (place for place, outcome in every.items() if outcome.kind == "tumour-free"),
        key=lambda place: -every[place].scores[MODEL],
    )
    middle = max((len(tumour) - _IN_A_ROW) // 2, 0)
    return {
        "outlined best": tumour[: -_IN_A_ROW - 1 : -1],
        "in the middle": tumour[middle : middle + _IN_A_ROW],
        "outlined worst": tumour[:_IN_A_ROW],
        "tumour-free, highest scores": alarms[:_IN_A_ROW],
    }


def _seen_again(
    panel: Panel, places: Iterable[Place]
) -> Iterator[tuple[Place, tuple[SliceResult, Detector]]]:
    """Analyse the patients of some slices once more: no map was kept."""
    numbers = defaultdict(list)
    for patient, number in places:
        numbers[patient].append(number)
    for patient, wanted in numbers.items():
        own, detector = panel.pairs[patient]
        results = results_of_examples(
            own, detector.detect_series(own.slices, own.beside(detector.card))
        )
        for number in wanted:
            result = results[number]
            assert result is not None  # noqa: S101  # it was analysed before
            yield (patient, number), (result, detector)


def _show(
    plain: Axes, coloured: Axes, example: Example, result: SliceResult, detector: Detector
) -> None:
    box = result.normalisation.box
    left, top = max(box.x, 0), max(box.y, 0)
    head = np.s_[top : box.y + box.height, left : box.x + box.width]
    truth = example.truth()[head]
    plain.imshow(
        window(result.slice.pixels, result.normalisation)[head], cmap="gray", vmin=0, vmax=255
    )
    if truth.any():
        plain.contour(truth, [0.5], colors="yellow", linewidths=0.8)
    picture = overlay(result, detector.calibration.display_limit)
    coloured.imshow(picture[head][..., ::-1])


def _verdict(outcome: SliceOutcome) -> str:
    flagged = "flagged" if outcome.flagged else "not flagged"
    if outcome.kind == "tumour":
        return f"Dice {outcome.dice:.2f}, {flagged}"
    return f"score {outcome.scores[MODEL]:.3f}, {flagged}"
