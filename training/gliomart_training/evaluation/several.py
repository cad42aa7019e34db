"""A model measured on several data sets, each by itself, and what can be said of all of them."""

from __future__ import annotations

from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.evaluation import of_cohort
from gliomart_training.evaluation.metrics import Resamples, described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gliomart_training.evaluation.documents import Evaluation, SeveralEvaluation, Total
    from gliomart_training.evaluation.metrics import Bootstrap
    from gliomart_training.evaluation.panel import Candidate, Panel

SCHEMA = 1
_PROTOCOL = {
    "datasets": "Each as if it were evaluated alone: the same figures and intervals.",
    "total": "Verdicts at the model's frozen thresholds, over the patients of all data sets, each"
    " resampled within its own. Rankings, Dice over pixels and distances in pixels are not pooled:"
    " how frequent tumours are, pixel grids and readers differ between data sets.",
}


def evaluate(candidates: Sequence[Candidate], bootstrap: Bootstrap) -> SeveralEvaluation:
    """Run a model over several data sets and measure it on each.

    Parameters
    ----------
    candidates
        The same model on each of the data sets.
    bootstrap
        How patients are resampled for intervals.

    Returns
    -------
    JSON values.

    Raises
    ------
    DatasetError
        There is nothing to evaluate against in one of them, or two hold the same image.
    """
    started = perf_counter()
    names = named([candidate.directory for candidate in candidates])
    seen: dict[bytes, str] = {}
    results: dict[str, Evaluation] = {}
    cohorts: list[Cohort] = []
    provenance = None
    for name, candidate in zip(names, candidates, strict=True):
        begun = perf_counter()
        panel = candidate.panel()
        panel.check()
        _check_apart(name, panel, seen)
        cohort = panel.observe(bootstrap.draw(len(panel.pairs)), name)
        results[name] = of_cohort(panel, cohort, bootstrap, begun)
        cohorts.append(cohort)
        provenance = provenance or panel.provenance()
    assert provenance is not None  # noqa: S101  # there is a data set
    return {
        "schema": SCHEMA,
        **provenance,
        "protocol": _PROTOCOL,
        "datasets": results,
        "total": _total(cohorts, bootstrap),
        "bootstrap": bootstrap.described(),
        "seconds": round(perf_counter() - started, 1),
    }


def named(folders: Sequence[Path]) -> list[str]:
    """Call data sets by their folders' own names, with a number where one is not the first."""
    names: list[str] = []
    for folder in folders:
        name = folder.resolve().name
        candidates = (name, *(f"{name}-{number}" for number in range(2, len(folders) + 1)))
        names.append(next(each for each in candidates if each not in names))
    return names


def _check_apart(name: str, panel: Panel, seen: dict[bytes, str]) -> None:
    """Refuse an image that another data set holds as well: its patient would count twice."""
    own: dict[bytes, str] = {}
    for patient in panel.patients:
        for each in patient.slices:
            digest = blake2b(repr(each.pixels.shape).encode() + each.pixels.tobytes()).digest()
            if digest in seen:
                raise DatasetError(
                    f"{name}: {each.source} of patient {patient.id} is the same image as one of"
                    f" {seen[digest]}; a patient belongs to one data set"
                )
            own[digest] = name
    seen |= own


def _total(cohorts: Sequence[Cohort], bootstrap: Bootstrap) -> Total:
    """Pool verdicts; patients are drawn apart in every data set."""
    weights: Mapping[int, Resamples] = {
        number: Resamples.draw(len(cohort.patients), bootstrap.resamples, bootstrap.seed + number)
        for number, cohort in enumerate(cohorts, start=1)
    }
    patients = [patient for cohort in cohorts for patient in cohort.patients]
    whole = Cohort(patients, Resamples(np.hstack([each.weights for each in weights.values()])))
    series = whole.series()
    return {
        "counts": {
            "patients": len(patients),
            "tumour_slices": whole.count("tumour"),
            "tumour_free_slices": whole.count("tumour-free"),
        },
        "figures": described(
            {
                "flag_sensitivity": whole.flagged("tumour"),
                "false_alarms": whole.flagged("tumour-free"),
                "series_sensitivity": series["sensitivity"],
                "series_false_alarms": series["false_alarm"],
            }
        ),
    }
