"""Set systems side by side: the same patients, the same resamples, each system analysed once.

    python benchmarks/systems.py scans/ --runs dae=dae.run cae=cae.run --against dae --out FILE.json
    python benchmarks/systems.py scans/ --runs dae.onnx cae.onnx --split dev --against dae --out ...

Beside the figures of ``gliomart evaluate`` it measures how much is found of tumours that are small
or of little contrast, and what a system costs. What one thread takes is timed round by round, in a
new order each, and compared within rounds. It prints tables in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf, prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx

import gliomart
from gliomart import Detector, sources
from gliomart.bench import floor, machine, stages
from gliomart.model.model import Model
from gliomart_training.evaluation import comparison, evaluation
from gliomart_training.evaluation.baselines import STRONGEST
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.metrics import Bootstrap, Levels, described, sensitivity_at
from gliomart_training.evaluation.outcomes import COLUMNS, MODEL, THIRDS, observe
from side_by_side import (
    System,
    cell,
    check,
    differences,
    document,
    ended,
    markdown,
    panels,
    parser,
    provenance,
    seen,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart_training.evaluation.metrics import Figure, Resamples
    from gliomart_training.evaluation.outcomes import SliceOutcome
    from gliomart_training.evaluation.panel import Panel
    from gliomart_training.patients import Patient

    Figures = dict[str, dict[str, Figure]]

# Ends of the bins of what is marked in a slice: in pixels, and in times the brain around it. They
# part the tumour slices of the training hospital into parts that are large enough to measure on.
BINS = {"area_px": (0, 250, 800, 2000, inf), "contrast": (0, 1.15, 1.3, 1.6, inf)}
# The brain around a tumour is what lies between these distances from it, in pixels of 256.
_NEAR, _FAR = 3, 12
_FEWEST_AROUND = 30

PROTOCOL = evaluation.PROTOCOL | {
    "differences": "A system less another, on the same resamples of patients for both.",
    "better": "Fraction of the resamples in which the system is strictly better.",
    "brightness": "Rank within the brain that the first system outlines, smoothed.",
    "area_px": "Of what is marked in a slice, in pixels of the source.",
    "contrast": "Mean brightness of what is marked in a slice over the median of the brain 3 to 12"
    " pixels away from it, black being 0. Brain is found by rules, not by a system. Slices with"
    " next to no brain there are left out.",
    "subtle": "By bin: slices flagged, slices found at 95 % specificity on all tumour-free slices,"
    " and pixels found at the frozen threshold.",
    "cost": "Parameters are the numbers in the model file's initialisers; a multiply-add is two"
    " operations. Of a run, the first fold's file.",
    "hours": "As the run's record has them, localisers included where they were not taken from"
    " another run: of the final network, and of all folds and it.",
    "ms": "The model alone, image to maps, on one thread of the CPU, in rounds of a new order.",
}


@dataclass(frozen=True)
class Subtlety:
    """What is marked in a slice: how large it is, and how bright against the brain around it.

    ``contrast`` is NaN where there is next to no brain around it.
    """

    area_px: float
    contrast: float


def subtlety(patient: Patient, panel: Panel) -> list[Subtlety | None]:
    """Measure what is marked in a patient's slices; None where nothing is."""
    spec = panel.pairs[0][1].card.preprocessing
    brains = seen(patient, spec) if any(e.truth().any() for e in patient.examples) else {}
    found: list[Subtlety | None] = []
    for number, example in enumerate(patient.examples):
        truth, contrast = example.truth(), np.nan
        if number in brains and truth.any():
            here = brains[number]
            around = _around(truth) & here.brain
            if around.sum() >= _FEWEST_AROUND:
                above = example.slice.pixels - here.norm.black
                contrast = float(above[truth].mean() / np.median(above[around]))
        found.append(Subtlety(float(truth.sum()), contrast) if truth.any() else None)
    return found


def _around(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take what is near a mask, bool (H, W), and not next to it."""
    distance = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    scale = min(truth.shape) / 256
    return np.asarray((distance > _NEAR * scale) & (distance <= _FAR * scale))


def analyse(panel: Panel, name: str, resamples: Resamples, columns: Sequence[str]) -> Cohort:
    """Let a system analyse all patients, once."""
    each = [observe(patient, detector, columns) for patient, detector in panel.progress(name)]
    return Cohort(each, resamples)


def by_subtlety(
    cohort: Cohort, measured: Sequence[Sequence[Subtlety | None]]
) -> dict[str, dict[str, Any]]:
    """Give, by measure and bin, the slices that are in it, and figures of what is found of them."""
    parts: dict[str, dict[str, Any]] = {}
    for measure, ends in BINS.items():
        parts[measure] = {}
        for low, high in pairwise(ends):
            chosen = [
                [
                    outcome
                    for outcome, of in zip(patient.slices, each, strict=True)
                    if of is not None and low <= getattr(of, measure) < high
                ]
                for patient, each in zip(cohort.patients, measured, strict=True)
            ]
            parts[measure][_bin(low, high)] = {
                "slices": sum(map(len, chosen)),
                "figures": _found(cohort, chosen),
            }
    return parts


def _bin(low: float, high: float) -> str:
    if high == inf:
        return f"from {low:g}"
    return f"{low:g} to {high:g}" if low else f"below {high:g}"


def _found(cohort: Cohort, chosen: Sequence[Sequence[SliceOutcome]]) -> dict[str, Figure]:
    """Measure how much of some tumour slices, patient by patient, is found."""
    ratio = cohort.resamples.ratio
    scored = [
        [(s.scores[MODEL], True) for s in ill]
        + [(s.scores[MODEL], False) for s in of.slices if s.analysed and s.kind == "tumour-free"]
        for ill, of in zip(chosen, cohort.patients, strict=True)
    ]
    found = [sum(s.found for s in ill) for ill in chosen]
    marked = [sum(s.found + s.missed for s in ill) for ill in chosen]
    ranked = cohort.resamples.rank(Levels.of_patients(scored), sensitivity_at(0.95))
    return {
        "flag_sensitivity": ratio(
            [sum(s.flagged for s in ill) for ill in chosen], [len(ill) for ill in chosen]
        ),
        "sensitivity_at_95_specificity": ranked,
        "pixel_sensitivity": ratio(found, marked),
    }


def training(system: System, panel: Panel) -> dict[str, Any]:
    """Tell how a system was trained: by its card, and by the run's record where it is at hand."""
    told: Mapping[str, Any] = panel.pairs[0][1].card.training
    record: Any = system.record
    if record is not None and panel.run is None and record["recipe"] != told.get("recipe"):
        record = None  # of another training that happens to lie beside the model
    recipe = told.get("recipe", {})
    patients, slices = told.get("patients"), told.get("slices")
    if record is not None and panel.run is not None:  # each fold learned from the other ones
        folds = [len(fold) for fold in record["folds"]]
        patients = round(sum(folds) - float(np.mean(folds)))
        own = [fit["slices"] for job, fit in record["fits"].items() if job.startswith("fold")]
        slices = round(float(np.mean(own))) if own else None
    return {
        "epochs": recipe.get("epochs"),
        "batch_size": recipe.get("batch_size"),
        "seed": recipe.get("seed"),
        "patients": patients,
        "slices": slices,
        "built_on": told.get("built_on", []),
        "saw_masks": bool(told.get("saw_masks", False)),
        "hours": None if record is None else _hours(record["fits"]),
    }


def _hours(fits: Mapping[str, Any]) -> dict[str, float] | None:
    """Sum up what the trainings of a run took."""
    if not fits:
        return None
    seconds = {
        job: fit["seconds"]
        + sum(fit[part]["seconds"] for part in ("brain", "pons") if fit.get(part))
        for job, fit in fits.items()
    }
    last = "final" if "final" in seconds else next(iter(seconds))
    return {
        "network": round(seconds[last] / 3600, 3),
        "run": round(sum(seconds.values()) / 3600, 3),
    }


def cost(file: Path) -> dict[str, float | str]:
    """Tell what a model file holds, and how many operations a slice needs."""
    weights = onnx.load(file).graph.initializer
    model = Model(file, provider="cpu", threads=1)
    return {
        "precision": machine.precision(model.card),
        "parameters": sum(prod(tensor.dims) for tensor in weights),
        "megabytes": round(file.stat().st_size / 1e6, 3),
        "gflop": floor.operations(file)["all"] / stages.given(model),
    }


def milliseconds(files: Mapping[str, Path], rounds: int) -> dict[str, dict[str, Any]]:
    """Time models on one thread, turn by turn, each on a slice of the simulated study.

    What a slab takes is divided among the slices that it gives something for.
    """
    golden = sources.scan([Path(gliomart.__file__).with_name("golden")])
    ready = {}
    for name, file in files.items():
        image = stages.typical(Detector(file, provider="cpu", threads=1), golden).image
        ready[name] = (Model(file, provider="cpu", threads=1), image)
    turns: dict[str, list[float]] = {name: [] for name in files}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        for name in random.permutation(list(ready)).tolist():
            _, *timed = stages.runs(*ready[name], 4)  # the first brings the caches back
            turns[name].append(float(np.median(timed)) / stages.given(ready[name][0]))
    return {
        name: machine.percentiles(each)
        | {"ratio": {o: round(float(np.median(np.divide(each, turns[o]))), 3) for o in turns}}
        for name, each in turns.items()
    }


def measure(options: Any) -> dict[str, Any]:
    """Measure all systems."""
    started = perf_counter()
    opened = panels(options, options.data)
    first = next(iter(opened.values()))
    resamples = Bootstrap(options.resamples).draw(len(first.pairs))
    subtle = [subtlety(patient, first) for patient in first.patients]
    figures: dict[str, Figures] = {}
    systems: dict[str, Any] = {}
    written = document(options, first, PROTOCOL)
    for system in options.runs:
        panel, name = opened[system.name], system.name
        cohort = analyse(panel, name, resamples, COLUMNS if panel is first else (MODEL,))
        figures[name] = comparison.figures(cohort)
        parts = by_subtlety(cohort, subtle)
        for part, bins in parts.items():
            figures[name] |= {f"{part}: {each}": bins[each]["figures"] for each in bins}
        if panel is first:
            figures[STRONGEST] = _brightness(cohort)
            written["counts"] = cohort.contents()["counts"]
        systems[name] = {
            "model": provenance(panel),
            "training": training(system, panel),
            "cost": cost(system.model),
            "nominal": panel.settings.false_alarm_rate,
            "refused": sum(patient.refused.total() for patient in cohort.patients),
            "slices_in_bins": {
                p: {n: b["slices"] for n, b in of.items()} for p, of in parts.items()
            },
        }
        print(f"{name}: analysed, {perf_counter() - started:.0f} s", flush=True)
    files = {system.name: system.model for system in options.runs}
    for name, timed in milliseconds(files, options.rounds).items():
        systems[name]["ms"] = timed
    systems[STRONGEST] = {}
    for name, each in systems.items():
        of = figures[name]
        each["figures"] = {group: described(figure) for group, figure in of.items()}
        each["less"] = {o: differences(of, figures[o]) for o in options.against if o != name}
    return written | {"systems": systems, "seconds": round(perf_counter() - started, 1)}


def _brightness(cohort: Cohort) -> Figures:
    """Measure what brightness alone finds; it has no threshold."""
    return {
        "method": cohort.ranking(STRONGEST),
        **{name: cohort.ranking_of(third, STRONGEST) for third, name in enumerate(THIRDS)},
    }


_OUTLINES = {
    ("method", "pixel_average_precision"): "pixel AP",
    ("method", "dice"): "Dice at the threshold",
    ("method", "best_dice_oracle"): "best Dice (oracle)",
    ("method", "boundary_f1"): "boundary F1",
    ("method", "hausdorff_95_px"): "95 % Hausdorff, px",
    (THIRDS[0], "pixel_average_precision"): "lowest third: pixel AP",
}
_SLICES = {
    ("method", "slice_auroc"): "slice AUROC",
    ("method", "sensitivity_at_95_specificity"): "sensitivity at 95 % specificity",
    (THIRDS[0], "slice_auroc"): "lowest third: AUROC",
    ("method", "flag_sensitivity"): "sensitivity of the flag",
    ("false_alarm", "realised"): "false alarms",
    ("series", "false_alarm"): "false alarms, series",
}

_SUBTLE = {
    "flag_sensitivity": "slices flagged",
    "sensitivity_at_95_specificity": "slices found at 95 % specificity",
    "pixel_sensitivity": "pixels found",
}


def tables(result: Mapping[str, Any]) -> Iterator[str]:
    """Lay everything out in Markdown, a row for each system."""
    systems = result["systems"]
    for columns in (_OUTLINES, _SLICES):
        yield _table(columns, {name: each["figures"] for name, each in systems.items()}, ".3f")
        for other in result["against"]:
            less = {name: each["less"][other] for name, each in systems.items() if name != other}
            yield f"Less {other}:\n"
            yield _table(columns, less, "+z.3f")
    networks = {name: each for name, each in systems.items() if "cost" in each}
    for measure, title in (("area_px", "area, px"), ("contrast", "contrast, times")):
        bins = next(iter(networks.values()))["slices_in_bins"][measure]
        rows = [
            [f"{label}: {name}", *(cell(of["figures"][f"{measure}: {b}"][figure]) for b in bins)]
            for figure, label in _SUBTLE.items()
            for name, of in networks.items()
        ]
        heads = [title, *(f"{each} ({count} slices)" for each, count in bins.items())]
        yield markdown(heads, rows)
    yield _costs(networks, result["against"])


def _table(columns: Mapping[tuple[str, str], str], rows: Mapping[str, Any], layout: str) -> str:
    return markdown(
        ["", *columns.values()],
        [
            [name, *(cell(of.get(group, {}).get(figure), layout) for group, figure in columns)]
            for name, of in rows.items()
        ],
    )


def _costs(networks: Mapping[str, Any], against: Sequence[str]) -> str:
    other = (*against, *networks)[0]
    heads = ["", "parameters", "GFLOP", "MB", "numbers", "ms a slice", f"times {other}"]
    heads += ["epochs", "patients", "slices", "masks seen", "hours: network (run)"]
    rows = []
    for name, each in networks.items():
        needs, taught, ms = each["cost"], each["training"], each["ms"]
        hours = taught["hours"]
        rows.append(
            [
                name,
                f"{needs['parameters']:,}",
                f"{needs['gflop']:.2f}",
                f"{needs['megabytes']:.2f}",
                needs["precision"],
                f"{ms['p50']:.1f}",
                f"{ms['ratio'][other]:.2f}",
                *(
                    "–" if taught[n] is None else taught[n]
                    for n in ("epochs", "patients", "slices")
                ),
                "yes" if taught["saw_masks"] else "no",
                "–" if hours is None else f"{hours['network']:.2f} ({hours['run']:.2f})",
            ]
        )
    return markdown(heads, rows)


def main() -> None:
    """Measure, print tables, and write the JSON file."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--rounds", type=int, default=30, help="of the timing")
    options = arguments.parse_args()
    check(options)
    result = measure(options)
    write(options.out, result)
    print("\n".join(tables(result)))


if __name__ == "__main__":
    ended(main)
