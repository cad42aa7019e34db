"""``gliomart bench``: what this machine needs for a slice and a series, and why that long.

Times are wall clock. A report (:func:`measure`) is JSON throughout: :mod:`~gliomart.bench.table`
lays it out for people, :mod:`~gliomart.bench.plot` draws it, and :mod:`~gliomart.bench.budgets`
holds it to what real-time use asks for.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gliomart import sources
from gliomart.bench import fresh, load, machine, stages
from gliomart.bench.budgets import asks_for, check, read_budgets
from gliomart.bench.plot import plot
from gliomart.bench.table import table
from gliomart.errors import NothingAnalysedError
from gliomart.model.model import default_model
from gliomart.sources.simulated import simulated_study

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart.detector import Detector
    from gliomart.outputs.options import Overlays
    from gliomart.providers import Requested

__all__ = ["Plan", "asks_for", "check", "encoded", "measure", "plot", "read_budgets", "table"]

SCHEMA = 2


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes
    ----------
    study
        A folder of images; None for the simulated study that comes along.
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
        model that comes along.
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


def measure(detector: Detector, plan: Plan) -> dict[str, Any]:
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


def _measured(detector: Detector, plan: Plan, study: Path) -> dict[str, Any]:
    inventory = sources.scan([study])
    if not inventory.series:
        raise NothingAnalysedError(f"{study}: no images to time")
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": machine.description(),
        "versions": machine.versions(),
        "model": {
            "name": detector.settings.model_name,
            "version": detector.settings.model_version,
            "sha256": detector.settings.model_sha256,
            "precision": machine.precision(detector.card),
        },
        "provider": detector.settings.provider.effective,
        "threads": plan.threads,
    }
    slices = stages.slices(detector, inventory, plan.repeats)
    one = stages.typical(detector, inventory)
    report["study"] = {
        "name": study.name,
        "slices": slices.count,
        "pixels": list(slices.shape),
        "repeats": plan.repeats,
    }
    report["ms"] = slices.ms
    report["series"] = stages.series(detector, study, plan.repeats, plan.overlays)
    model = plan.model or default_model()
    report["model_ms"] = stages.model_only(plan.model, one.image, plan.threads)
    report["energy"] = stages.energy(plan.model, one.image, plan.threads)
    report["import_ms"] = fresh.imports()
    if one.file is not None:
        report |= fresh.starts(plan.model, plan.provider, plan.threads, one.file)
    if plan.load:
        report["load"] = load.measure(detector, plan.model, one, plan.threads)
    if plan.compare:
        from gliomart.bench import compare

        floats = plan.float_model or (None if plan.model else default_model("cuda"))
        report["comparison"] = compare.measure(
            model, one.image, float_model=floats, threads=plan.threads, rounds=plan.rounds
        )
    return report


def encoded(report: dict[str, Any]) -> bytes:
    """Write a report as the content of a JSON file."""
    return (json.dumps(report, indent=1) + "\n").encode()
