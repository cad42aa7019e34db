"""``gliomart bench``: every stage on this machine, beside cold start and peak memory.

Times are wall clock. Stages come from the results themselves, the same ``ms`` that
``results.json`` carries, over several passes through a folder of slices after one warm-up pass.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart import sources
from gliomart._version import __version__, installed_version
from gliomart.errors import BudgetExceededError, NothingAnalysedError, UsageError
from gliomart.inference import Run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from gliomart.detector import Detector

STAGES = ("read", "preprocess", "infer", "score", "write")
_COLD_STARTS = 5
# What a scanner-side process does first: start, load the model, look at one slice.
_COLD_START = """
import sys, resource
from gliomart import Detector
model, provider, threads, path = sys.argv[1:]
detector = Detector(
    model or None, provider=provider, allow_fallback=True, threads=int(threads) or None
)
detector.detect(path)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(detector: Detector, options: argparse.Namespace) -> dict[str, Any]:
    """Measure and return everything as JSON values; see :func:`table`.

    Raises
    ------
    NothingAnalysedError
        The folder holds nothing that can be analysed.
    """
    study = options.path or Path(str(resources.files("gliomart") / "golden"))
    inventory = sources.scan([study])
    if not inventory.series:
        raise NothingAnalysedError(f"{study}: no images to time")
    passes = []
    slices: list[dict[str, Any]] = []
    for number in range(options.repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            document = Run(detector, inventory, Path(folder)).write()
            seconds = perf_counter() - started
        if number > 0:  # the first pass warms caches, allocators and the provider
            passes.append(seconds)
            slices += document["slices"]
    sources_of = {f.source: f.path for series in inventory.series for f in series.files}
    one = next((entry for entry in slices if entry["frame"] is None), None)
    starts = list(_cold_starts(options, sources_of[one["source"]])) if one else []
    times = {stage: [entry["ms"][stage] for entry in slices] for stage in STAGES}
    times["slice"] = [sum(entry["ms"].values()) for entry in slices]
    return {
        "schema": 1,
        "machine": _machine(),
        "versions": _versions(),
        "model": {"name": detector.settings.model_name, "sha256": detector.settings.model_sha256},
        "provider": detector.settings.provider.effective,
        "threads": options.threads,
        "study": {
            "name": study.name,
            "slices": len(slices) // options.repeats,
            "repeats": options.repeats,
        },
        "ms": {stage: _percentiles(values) for stage, values in times.items()},
        "slices_per_second": round(len(slices) / sum(passes), 2),
        **_summary(starts),
    }


def table(report: dict[str, Any]) -> str:
    """Lay a report out for people."""
    study, machine = report["study"], report["machine"]
    what = f"{report['model']['name']} on {report['provider']}"
    where = f"{machine['processor']}, {machine['cores']} cores"
    how = f"{study['slices']} slices of {study['name']}, {study['repeats']} passes"
    lines = [
        f"{what}; {where}; {how}",
        f"{'milliseconds':14}{'p50':>9}{'p95':>9}{'p99':>9}",
    ]
    rows = dict(report["ms"])
    if "cold_start_ms" in report:
        rows["cold start"] = report["cold_start_ms"]
    for name, values in rows.items():
        lines.append(f"{name:14}{values['p50']:9.2f}{values['p95']:9.2f}{values['p99']:9.2f}")
    lines.append(f"throughput    {report['slices_per_second']:9.1f} slices per second, all written")
    if "peak_memory_mb" in report:
        memory = f"{report['peak_memory_mb']:9.1f} MB, one slice from a cold start"
        lines.append(f"peak memory   {memory}")
    return "\n".join(lines)


def read_budgets(path: Path) -> list[dict[str, Any]]:
    """Read a budget file: tables ``[[budget]]`` with ``figure``, ``at_most`` and ``reason``.

    Raises
    ------
    UsageError
        The file is not there or not of this form.
    """
    try:
        budgets = tomllib.loads(path.read_text(encoding="utf-8"))["budget"]
        return [
            {
                "figure": str(each["figure"]),
                "at_most": float(each["at_most"]),
                "reason": str(each["reason"]),
            }
            for each in budgets
        ]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a budget file ({type(error).__name__}: {error})") from error


def check(report: dict[str, Any], budgets: list[dict[str, Any]]) -> None:
    """Hold a report to budgets.

    Raises
    ------
    BudgetExceededError
        Names every figure past its budget.
    """
    exceeded = []
    for budget in budgets:
        value: Any = report
        for key in budget["figure"].split("."):
            if not isinstance(value, dict) or key not in value:
                raise UsageError(f"no figure {budget['figure']} is measured")
            value = value[key]
        if value > budget["at_most"]:
            exceeded.append(f"{budget['figure']} is {value:g}, budget {budget['at_most']:g}")
    if exceeded:
        raise BudgetExceededError("; ".join(exceeded))


def _cold_starts(options: argparse.Namespace, path: Path) -> Iterable[tuple[float, float]]:
    """Yield milliseconds and peak megabytes of fresh processes that analyse one slice."""
    arguments = [str(options.model or ""), options.provider, str(options.threads or 0), str(path)]
    for number in range(_COLD_STARTS + 1):
        started = perf_counter()
        done = subprocess.run(  # noqa: S603  # our own interpreter and our own code
            [sys.executable, "-c", _COLD_START, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )  # fmt: skip
        milliseconds = (perf_counter() - started) * 1e3
        if number > 0:
            yield milliseconds, float(json.loads(done.stdout))


def _summary(starts: list[tuple[float, float]]) -> dict[str, Any]:
    """Describe cold starts; nothing where there was no file of one slice to start with."""
    if not starts:
        return {}
    return {
        "cold_start_ms": _percentiles([milliseconds for milliseconds, _ in starts]),
        "peak_memory_mb": round(max(megabytes for _, megabytes in starts), 1),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the platform's own name has to do
    return {"system": platform.system(), "processor": processor, "cores": os.cpu_count()}


def _versions() -> dict[str, str]:
    versions = {"gliomart": __version__, "python": platform.python_version()}
    names = ("numpy", "opencv-python-headless", "pydicom", "onnxruntime", "onnxruntime-gpu")
    found = {name: installed_version(name) for name in names}
    return versions | {name: version for name, version in found.items() if version}
