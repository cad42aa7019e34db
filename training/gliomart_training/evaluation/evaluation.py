"""A model measured on a dataset with tumour masks, beside trivial baselines."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from gliomart_training.dataset import NEIGHBOURHOOD
from gliomart_training.evaluation.baselines import BASELINES, SMOOTHING_PX, STRONGEST
from gliomart_training.evaluation.boundary import TOLERANCE_PX
from gliomart_training.evaluation.metrics import described
from gliomart_training.evaluation.outcomes import COLUMNS, MODEL, THIRDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gliomart_training.evaluation.cohort import Cohort
    from gliomart_training.evaluation.documents import Evaluation, Figures, Height, Seconds
    from gliomart_training.evaluation.metrics import Bootstrap, Figure
    from gliomart_training.evaluation.panel import Candidate, Panel

SCHEMA = 1
PROTOCOL = {
    "grid": "Pixels are those of the source images. A slice that the runtime refused counts with"
    " score 0 everywhere, for every column: its tumour is missed. One that cannot be read has no"
    " pixels and is only counted.",
    "negatives": "Slice figures set slices with a tumour mask against analysed slices of the same"
    f" patients more than {NEIGHBOURHOOD} slices away from any mask: tumour-free slices of"
    " patients, not healthy people. A refused tumour slice ranks below all others.",
    "boundaries": "Means over tumour slices, of outlines at the frozen threshold. Boundary F1"
    f" tolerates {TOLERANCE_PX} pixels and is 0 where the model marks nothing; the 95 % Hausdorff"
    " distance is undefined there, and its mean is over the slices that the model outlines.",
    "series": "A patient's series is judged whole for sensitivity, and by its tumour-free slices"
    " alone for false alarms.",
    "heights": "Thirds of each patient's slices in their order, lowest first.",
    "baselines": "Raw intensity; its rank within the slice's brain; and the rank smoothed by"
    f" {SMOOTHING_PX:g} pixels. Refused slices are the model's.",
    "intervals": "95 % percentile intervals from resampling patients with replacement; that of the"
    " model less a baseline is of their difference on the same resamples.",
    "binning": "Pixel scores are known to a thousandth of themselves.",
    "oracle": "Best Dice is that at the threshold which is best for these masks, and which is not"
    " known before.",
}


def evaluate(
    candidate: Candidate, bootstrap: Bootstrap, *, plots: Path | None = None
) -> Evaluation:
    """Run a model over a dataset and measure it.

    Parameters
    ----------
    candidate
        What is to be evaluated on what.
    bootstrap
        How patients are resampled for intervals.
    plots
        Folder that plots go to, and pictures of slices of the data set; None for none.

    Returns
    -------
    JSON values.

    Raises
    ------
    DatasetError
        There is no tumour mask, or no tumour-free slice, to evaluate against.
    """
    started = perf_counter()
    panel = candidate.panel()
    panel.check()
    cohort = panel.observe(bootstrap.draw(len(panel.pairs)))
    result = of_cohort(panel, cohort, bootstrap, started)
    if plots is not None:
        from gliomart_training.evaluation.plots import draw

        draw(panel, cohort, result, plots)
    return result


def of_cohort(panel: Panel, cohort: Cohort, bootstrap: Bootstrap, started: float) -> Evaluation:
    """Describe what came out of an analysis that was started then (:func:`time.perf_counter`)."""
    analysed = perf_counter()
    ranking = {name: cohort.ranking(name) for name in COLUMNS}
    of_thirds = [
        {name: cohort.ranking_of(third, name) for name in COLUMNS} for third in range(len(THIRDS))
    ]
    return {
        "schema": SCHEMA,
        **panel.provenance(),
        "dataset": panel.dataset(cohort.contents()),
        "protocol": PROTOCOL,
        "method": described(ranking[MODEL] | cohort.thresholded()),
        "baselines": {name: described(ranking[name]) for name in BASELINES},
        "less_baseline": {
            "baseline": STRONGEST,
            "figures": _lead(ranking),
            "heights": {n: _lead(of) for n, of in zip(THIRDS, of_thirds, strict=True)},
        },
        "false_alarm": {
            "nominal": panel.settings.false_alarm_rate,
            "realised": cohort.flagged("tumour-free").described(),
        },
        "beside_tumour": {
            "slices": cohort.count("beside tumour"),
            "flagged": cohort.flagged("beside tumour").described(),
        },
        "series": cohort.verdicts(),
        "heights": {
            name: _height(cohort, third, of_thirds[third]) for third, name in enumerate(THIRDS)
        },
        "patients": cohort.rows(),
        "bootstrap": bootstrap.described(),
        "seconds": seconds(started, analysed),
    }


def seconds(started: float, analysed: float) -> Seconds:
    """Tell how long the analysis took, and the figures since."""
    return {
        "analysis": round(analysed - started, 1),
        "figures": round(perf_counter() - analysed, 1),
    }


def _lead(ranking: Mapping[str, Mapping[str, Figure]]) -> Figures:
    """Describe the model's figures less those of the strongest baseline, on the same resamples."""
    model, baseline = ranking[MODEL], ranking[STRONGEST]
    return described({name: model[name] - baseline[name] for name in model})


def _height(cohort: Cohort, third: int, ranking: Mapping[str, Mapping[str, Figure]]) -> Height:
    return {
        "tumour_slices": cohort.count("tumour", third),
        "tumour_free_slices": cohort.count("tumour-free", third),
        "columns": {name: described(figures) for name, figures in ranking.items()},
        "flag_sensitivity": cohort.flagged("tumour", third).described(),
        "false_alarm_rate": cohort.flagged("tumour-free", third).described(),
    }
