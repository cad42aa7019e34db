"""A model measured on a dataset with tumour masks, beside trivial baselines."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.outputs.records import provenance
from gliomart_training import dataset
from gliomart_training.evaluation.baselines import BASELINES
from gliomart_training.evaluation.boundary import TOLERANCE_PX
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.metrics import Resamples
from gliomart_training.evaluation.outcomes import MODEL, THIRDS, observe
from gliomart_training.record import read_record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gliomart.providers import Requested
    from gliomart_training.dataset import Patient

SCHEMA = 1
PROTOCOL = {
    "grid": "Pixels are those of the source images. A slice that the runtime refused counts with"
    " score 0 everywhere, for every column: its tumour is missed. One that cannot be read has no"
    " pixels and is only counted.",
    "negatives": "Slice figures set slices with a tumour mask against analysed slices of the same"
    f" patients more than {dataset.NEIGHBOURHOOD} slices away from any mask: tumour-free slices of"
    " patients, not healthy people. A refused tumour slice ranks below all others.",
    "boundaries": "Means over tumour slices, of outlines at the frozen threshold. Boundary F1"
    f" tolerates {TOLERANCE_PX} pixels and is 0 where the model marks nothing; the 95 % Hausdorff"
    " distance is undefined there, and its mean is over the slices that the model outlines.",
    "series": "A patient's series is judged whole for sensitivity, and by its tumour-free slices"
    " alone for false alarms.",
    "heights": "Thirds of each patient's slices in their order, lowest first.",
    "baselines": "Raw intensity; its rank within the slice's brain; and the rank smoothed as"
    " anomaly maps are. Refused slices are the model's.",
    "intervals": "95 % percentile intervals from resampling patients with replacement.",
    "binning": "Pixel scores are known to a thousandth of themselves.",
    "oracle": "Best Dice takes the threshold that the masks themselves prefer: nobody has it.",
}


def evaluate(
    directory: Path,
    model: Path | None,
    *,
    split: str | None,
    provider: Requested,
    bootstrap: int,
    seed: int,
    held_out: Path | None = None,
) -> dict[str, Any]:
    """Run a model over a dataset and measure it.

    Parameters
    ----------
    directory, split
        As in :func:`gliomart_training.dataset.load`.
    model
        A model file; None for the built-in one.
    provider
        As in :class:`gliomart.detector.Detector`.
    bootstrap, seed
        Number of resamples of patients, and what they are drawn by.
    held_out
        Folder of an exported training run: instead of one model over a split, each fold's model
        over the patients that its training held out. Recipes are ranked by this, not by tests.

    Returns
    -------
    dict
        JSON values. A figure is ``{"value": x, "interval": [low, high]}``; None in their place
        where there is nothing to measure it on.

    Raises
    ------
    DatasetError
        There is no tumour mask, or no tumour-free slice, to evaluate against.
    """
    started = perf_counter()
    if held_out is None:
        detector = Detector(model, provider=provider)
        looks = [(patient, detector) for patient in dataset.load(directory, split)]
    else:
        split, looks = _held_out(directory, held_out, provider)
        detector = looks[0][1]
    _check([patient for patient, _ in looks], directory)
    outcomes = [
        observe(patient, its_detector)
        for patient, its_detector in tqdm(looks, desc="evaluate", unit="patient", disable=None)
    ]
    analysed = perf_counter()
    cohort = Cohort(outcomes, Resamples.draw(len(outcomes), bootstrap, seed))
    settings = detector.settings
    return {
        "schema": SCHEMA,
        **provenance(settings),
        "dataset": {
            "folder": directory.resolve().name,
            "split": split,
            "held_out_by": held_out.name if held_out else None,
            **cohort.contents(),
        },
        "protocol": PROTOCOL,
        "method": cohort.ranking(MODEL) | cohort.thresholded(),
        "baselines": {name: cohort.ranking(name) for name in BASELINES},
        "false_alarm": {
            "nominal": settings.false_alarm_rate,
            "realised": cohort.flagged("tumour-free"),
        },
        "beside_tumour": {
            "slices": cohort.count("beside tumour"),
            "flagged": cohort.flagged("beside tumour"),
        },
        "series": cohort.series(),
        "heights": {name: cohort.height(third) for third, name in enumerate(THIRDS)},
        "patients": cohort.rows(),
        "bootstrap": {"unit": "patients", "resamples": bootstrap, "seed": seed, "level": 0.95},
        "seconds": {
            "analysis": round(analysed - started, 1),
            "figures": round(perf_counter() - analysed, 1),
        },
    }


def _held_out(
    directory: Path, run: Path, provider: Requested
) -> tuple[str | None, list[tuple[Patient, Detector]]]:
    """Pair every patient of a run's split with the model whose training held them out."""
    record = read_record(run)
    patients = {patient.id: patient for patient in dataset.load(directory, record["split"])}
    looks = []
    for number, fold in enumerate(record["folds"], start=1):
        detector = Detector(run / f"fold-{number}.onnx", provider=provider)
        looks += [(patients[patient], detector) for patient in fold if patient in patients]
    if not looks:
        raise DatasetError(f"{directory}: holds none of the patients that {run.name} held out")
    return record["split"], looks


def _check(patients: Iterable[Patient], directory: Path) -> None:
    examples = [example for patient in patients for example in patient.examples]
    if not any(example.mask and example.truth().any() for example in examples):
        reason = f"{directory}: nothing to evaluate against, no slice has a tumour mask"
        raise DatasetError(reason)
    if not any(example.tumour_free for example in examples):
        reason = f"{directory}: nothing to evaluate against, no slice is far from every tumour mask"
        raise DatasetError(reason)
