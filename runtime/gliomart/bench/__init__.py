"""``gliomart bench``: what this machine needs for a slice and a series, and why that long.

Times are wall clock. A report (:func:`measure`) is JSON throughout: :mod:`~gliomart.bench.table`
lays it out for people, :mod:`~gliomart.bench.plot` draws it, and :mod:`~gliomart.bench.budgets`
holds it to what real-time use asks for.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart import sources
from gliomart.bench import fresh, load, machine, stages
from gliomart.bench.budgets import asks_for, check, read_budgets
from gliomart.bench.plot import plot
from gliomart.bench.report import SCHEMA
from gliomart.bench.table import table
from gliomart.errors import NothingAnalysedError
from gliomart.model.built_in import files_of
from gliomart.sources.simulated import simulated_study

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.bench.report import Comparison, Report
    from gliomart.detector import Detector
    from gliomart.outputs.options import Overlays
    from gliomart.providers import Requested

__all__ = ["Plan", "asks_for", "check", "encoded", "measure", "plot", "read_budgets", "table"]


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes
    ----------
    study
        A folder of images; None for the simulated study.
    repeats
        Passes through it, after one that warms up.
    model, provider, threads
        As for :class:`~gliomart.detector.Detector`; what is started afresh is started with these.
    overlays
        Of which slices a series writes overlays; None for what ``gliomart infer`` does by itself.
    load
        Measure beside a busy process as well.
    compare
        Measure other engines on the same network as well.
    float_model
        The same network in single precision, where ``model`` is in another; None for that of the
        built-in model.
    rounds
        Turns that every engine takes in a comparison.
    """

    study: Path | None = None
    repeats: int = 10
    model: Path | None = None
    provider: Requested = "auto"
    threads: int | None = None
    overlays: Overlays | None = None
    load: bool = False
    compare: bool = False
    float_model: Path | None = None
    rounds: int = 30


def measure(detector: Detector, plan: Plan) -> Report:
    """Measure and return everything as JSON values; milliseconds unless the name says otherwise.

    Raises
    ------
    NothingAnalysedError
        The study holds nothing that can be analysed.
    UsageError
        There is no Python here to start processes with.
    """
    with nullcontext(plan.study) if plan.study else simulated_study() as study:
        return _measured(detector, plan, study)


def _measured(detector: Detector, plan: Plan, study: Path) -> Report:
    inventory = sources.scan([study])
    if not inventory.series:
        raise NothingAnalysedError(f"{study}: no images to time")
    described = machine.description()  # before anything keeps it busy
    slices = stages.slices(detector, inventory, plan.repeats)
    one = stages.typical(detector, inventory)
    model_ms, slab = stages.model_only(plan.model, one.image, plan.threads)
    report: Report = {
        "schema": SCHEMA,
        "machine": described,
        "versions": machine.versions(),
        "model": {
            "name": detector.settings.model_name,
            "version": detector.settings.model_version,
            "sha256": detector.settings.model_sha256,
            "precision": machine.precision(detector.card),
        },
        "provider": detector.settings.provider.effective,
        "threads": plan.threads,
        "study": {
            "name": study.name,
            "slices": slices.count,
            "pixels": list(slices.shape),
            "repeats": plan.repeats,
        },
        "ms": slices.ms,
        "series": stages.series(detector, study, plan.repeats, plan.overlays),
        "model_ms": model_ms,
        "energy": stages.energy(plan.model, one.image, plan.threads),
        "import_ms": fresh.imports(),
    }
    if slab is not None:
        report["slab"] = slab
    if one.file is not None:
        starts = fresh.starts(plan.model, plan.provider, plan.threads, one.file)
        report["cold_start_ms"] = starts["cold_start_ms"]
        report["peak_memory_mb"] = starts["peak_memory_mb"]
    if plan.load:
        report["load"] = load.measure(detector, plan.model, one, plan.threads)
    if plan.compare:
        report["comparison"] = _compared(plan, one.image)
    return report


def _compared(plan: Plan, image: NDArray[np.float32]) -> Comparison:
    from gliomart.bench import compare

    model, *in_floats = files_of(plan.model)
    return compare.measure(
        model,
        image,
        float_model=plan.float_model or next(iter(in_floats), None),
        threads=plan.threads,
        rounds=plan.rounds,
    )


def encoded(report: Report) -> bytes:
    """Write a report as the content of a JSON file."""
    return (json.dumps(report, indent=1) + "\n").encode()
