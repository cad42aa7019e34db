"""Two models on the same patients, figure by figure.

Both are measured on the same resamples of patients, so that what makes a patient hard for either
of them cancels out of their difference.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import DatasetError
from gliomart_training.evaluation.evaluation import PROTOCOL, resampling
from gliomart_training.evaluation.metrics import Figure, Resamples
from gliomart_training.evaluation.outcomes import MODEL, THIRDS
from gliomart_training.evaluation.panel import Panel

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart.providers import Requested
    from gliomart_training.evaluation.cohort import Cohort

SCHEMA = 1
_PROTOCOL = PROTOCOL | {
    "differences": "B - A, on the same resamples of patients for both.",
    "better": "Fraction of the resamples in which B is strictly better: higher, or lower for"
    " distances and false alarms.",
}
_LOWER_IS_BETTER = frozenset({"hausdorff_95_px", "realised", "false_alarm"})


def compare(
    directory: Path,
    a: Path,
    b: Path,
    *,
    split: str | None,
    provider: Requested,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Measure two models on the same patients, and what lies between them.

    Parameters
    ----------
    directory
        As in :func:`gliomart_training.dataset.load`.
    a, b
        Model files, or folders of exported training runs, of which each fold's model looks at
        the patients that it held out.
    split
        For model files; a run has its own.
    provider, bootstrap, seed
        As in :func:`gliomart_training.evaluation.evaluation.evaluate`.

    Returns
    -------
    dict
        JSON values: ``a`` and ``b`` as an evaluation describes its model and dataset, and under
        ``figures``, by group and name, what either has, their difference and ``better``. None
        where there is nothing to measure a figure on.

    Raises
    ------
    DatasetError
        There is nothing to evaluate against, or the two do not cover the same patients.
    """
    started = perf_counter()
    panel_a = _panel(directory, a, split, provider)
    panel_b = _panel(directory, b, split, provider)
    if {p.id for p in panel_a.patients} != {p.id for p in panel_b.patients}:
        raise DatasetError(
            f"{a} ({len(panel_a.looks)} patients) and {b} ({len(panel_b.looks)}) do not cover the"
            f" same patients of {directory}"
        )
    panel_b = _on_patients_of(panel_a, panel_b)
    panel_a.check()
    resamples = Resamples.draw(len(panel_a.looks), bootstrap, seed)
    cohort_a, cohort_b = panel_a.observe(resamples, "A"), panel_b.observe(resamples, "B")
    analysed = perf_counter()
    figures_a, figures_b = _figures(cohort_a), _figures(cohort_b)
    return {
        "schema": SCHEMA,
        "a": _side(panel_a, cohort_a),
        "b": _side(panel_b, cohort_b),
        "protocol": _PROTOCOL,
        "figures": {
            group: {
                name: _pair(name, figure, figures_b[group][name]) for name, figure in of_a.items()
            }
            for group, of_a in figures_a.items()
        },
        "bootstrap": resampling(bootstrap, seed),
        "seconds": {
            "analysis": round(analysed - started, 1),
            "figures": round(perf_counter() - analysed, 1),
        },
    }


def _panel(directory: Path, path: Path, split: str | None, provider: Requested) -> Panel:
    if path.is_dir():
        return Panel.of_run(directory, path, provider)
    return Panel.of_model(directory, path, split, provider)


def _on_patients_of(panel: Panel, other: Panel) -> Panel:
    """Let the models of ``other`` look at the patients of ``panel``, in its order."""
    detectors = {patient.id: detector for patient, detector in other.looks}
    looks = tuple((patient, detectors[patient.id]) for patient in panel.patients)
    return replace(other, looks=looks)


def _figures(cohort: Cohort) -> dict[str, dict[str, Figure]]:
    return {
        "method": cohort.ranking(MODEL) | cohort.thresholded(),
        **{name: cohort.ranking_of(third, MODEL) for third, name in enumerate(THIRDS)},
        "false_alarm": {"realised": cohort.flagged("tumour-free")},
        "series": cohort.series(),
    }


def _side(panel: Panel, cohort: Cohort) -> dict[str, Any]:
    nominal = panel.settings.false_alarm_rate
    return {**panel.described(cohort.contents()), "false_alarm": {"nominal": nominal}}


def _pair(name: str, a: Figure, b: Figure) -> dict[str, Any]:
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
