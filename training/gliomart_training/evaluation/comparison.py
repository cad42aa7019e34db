"""Two models on the same patients, figure by figure.

Both are measured on the same resamples of patients, so that what makes a patient hard for either
of them cancels out of their difference.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError
from gliomart_training.evaluation.evaluation import PROTOCOL, seconds
from gliomart_training.evaluation.outcomes import MODEL, THIRDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart_training.evaluation.cohort import Cohort
    from gliomart_training.evaluation.documents import Comparison, Pair, Side
    from gliomart_training.evaluation.metrics import Bootstrap, Figure
    from gliomart_training.evaluation.panel import Candidate, Panel

SCHEMA = 1
_PROTOCOL = PROTOCOL | {
    "differences": "B - A, on the same resamples of patients for both.",
    "better": "Fraction of the resamples in which B is strictly better: higher, or lower for"
    " distances and false alarms.",
}
_LOWER_IS_BETTER = frozenset({"hausdorff_95_px", "realised", "false_alarm"})


def compare(a: Candidate, b: Candidate, bootstrap: Bootstrap) -> Comparison:
    """Measure two models on the same patients, and what lies between them.

    Parameters
    ----------
    a, b
        Models, or exported training runs, on the same data.
    bootstrap
        How patients are resampled for intervals; alike for both.

    Returns
    -------
    JSON values: ``a`` and ``b`` as an evaluation describes its model and dataset, and under
    ``figures``, by group and name, what either has, their difference and ``better``. None where
    there is nothing to measure a figure on.

    Raises
    ------
    DatasetError
        There is nothing to evaluate against, or the two do not cover the same patients.
    """
    started = perf_counter()
    panel_a, panel_b = panels([a, b])
    resamples = bootstrap.draw(len(panel_a.pairs))
    cohort_a, cohort_b = panel_a.observe(resamples, "A"), panel_b.observe(resamples, "B")
    analysed = perf_counter()
    figures_a, figures_b = figures(cohort_a), figures(cohort_b)
    return {
        "schema": SCHEMA,
        "a": _side(panel_a, cohort_a),
        "b": _side(panel_b, cohort_b),
        "protocol": _PROTOCOL,
        "figures": {
            group: {
                name: pair(name, figure, figures_b[group][name]) for name, figure in of_a.items()
            }
            for group, of_a in figures_a.items()
        },
        "bootstrap": bootstrap.described(),
        "seconds": seconds(started, analysed),
    }


def panels(candidates: Sequence[Candidate]) -> list[Panel]:
    """Open models, or runs, on the same patients: all in the order of the first's.

    Raises
    ------
    DatasetError
        There is nothing to evaluate against, or they do not cover the same patients.
    """
    first, *others = candidates
    opened = [first.panel()]
    for other in others:
        panel = other.panel()
        detectors = {patient.id: detector for patient, detector in panel.pairs}
        if detectors.keys() != {patient.id for patient in opened[0].patients}:
            raise DatasetError(
                f"{first.file} ({len(opened[0].pairs)} patients) and {other.file}"
                f" ({len(panel.pairs)}) do not cover the same patients of {first.directory}"
            )
        pairs = tuple((patient, detectors[patient.id]) for patient in opened[0].patients)
        opened.append(replace(panel, pairs=pairs))
    opened[0].check()
    return opened


def figures(cohort: Cohort) -> dict[str, dict[str, Figure]]:
    """Give all figures that models are compared by, by group and name."""
    return {
        "method": cohort.ranking(MODEL) | cohort.thresholded(),
        **{name: cohort.ranking_of(third, MODEL) for third, name in enumerate(THIRDS)},
        "false_alarm": {"realised": cohort.flagged("tumour-free")},
        "series": cohort.series(),
    }


def _side(panel: Panel, cohort: Cohort) -> Side:
    return {
        **panel.provenance(),
        "dataset": panel.dataset(cohort.contents()),
        "false_alarm": {"nominal": panel.settings.false_alarm_rate},
    }


def pair(name: str, a: Figure, b: Figure) -> Pair:
    """Set a figure of this name of one model against the same of another, ``b`` less ``a``."""
    difference = b - a
    return {
        "a": a.described(),
        "b": b.described(),
        "difference": difference.described(),
        "better": _better(a - b if name in _LOWER_IS_BETTER else difference),
    }


def _better(gain: Figure) -> float | None:
    defined = gain.resampled[np.isfinite(gain.resampled)]
    return round(float((defined > 0).mean()), 6) if len(defined) else None
