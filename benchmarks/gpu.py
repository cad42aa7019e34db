"""Measure every provider of this machine's GPU, beside the CPU, and write one JSON file of it.

``sh benchmarks/gpu.sh`` installs nothing, changes nothing, and takes minutes, in most of which
TensorRT builds engines. Each provider is measured in processes of its own, with a cache folder of
its own that starts empty:

- opening it, with nothing in the cache and then with what was kept there;
- how far its results are from the CPU's;
- the model alone, 1 to 64 slices at a time (p50, p95 and p99 of milliseconds);
- a series of 176 simulated slices, from files to results.json;
- what happens where the GPU is not to be seen (``CUDA_VISIBLE_DEVICES=``).

Where no provider but the CPU runs it ends with one sentence and exit status 5.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from gliomart import Detector, cli, providers, sources
from gliomart._version import __version__, installed_version
from gliomart.bench.machine import percentiles
from gliomart.bench.report import Percentiles
from gliomart.errors import GliomartError, ProviderError
from gliomart.host.clock import ms_since
from gliomart.model.built_in import default_model
from gliomart.model.model import Model
from gliomart.providers import parity, probe
from gliomart.providers.choice import GPU_PROVIDERS
from gliomart.providers.opening import open_on_cpu, open_on_gpu
from gliomart.run import Run
from gliomart.sources.simulated import simulated_image
from gliomart_training import simulated_study

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 2, 4, 8, 16, 32, 64)
ROUNDS = 200
SERIES = 176
_PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "tensorrt-cu13",
    "nvidia-cudnn-cu13", "nvidia-cuda-runtime", "numpy",
)  # fmt: skip


def measure_model(
    name: str, model: Path, *, half: bool, batches: tuple[int, ...], rounds: int
) -> dict[str, Any]:
    """Open a provider, compare it with the CPU, and time the model alone."""
    content = model.read_bytes()
    spec = Model(model, provider="cpu").card.preprocessing
    cpu = open_on_cpu(content, None)
    names = [value.name for value in cpu.onnx.get_outputs()]
    reference = parity.reference(cpu, names, simulated_image(spec))
    started = perf_counter()
    session = (
        cpu
        if name == "cpu"
        else open_on_gpu(name, GPU_PROVIDERS[name]._replace(half=half), content, None)
    )
    open_ms = ms_since(started)
    session.run(names, {"image": reference.image})
    first_ms = ms_since(started) - open_ms
    return {
        "effective": session.effective,
        "open_ms": round(open_ms, 1),
        "first_run_ms": round(first_ms, 1),
        "parity": reference.hold(session, float("inf")),
        "tolerance": GPU_PROVIDERS[name].tolerance if name != "cpu" else 0.0,
        "batch_ms": {
            str(batch): _time(session, names, np.repeat(reference.image, batch, axis=0), rounds)
            for batch in batches
        },
    }


def _time(session: Any, names: list[str], images: np.ndarray, rounds: int) -> Percentiles:
    for _ in range(10):
        session.run(names, {"image": images})
    times = []
    for _ in range(rounds):
        started = perf_counter()
        session.run(names, {"image": images})
        times.append(ms_since(started))
    return percentiles(times)


def measure_series(provider: Any, model: Path, study: Path) -> dict[str, Any]:
    """Read a series and write its results, three times after a first one that does not count."""
    detector = Detector(model, provider=provider)
    seconds = []
    for _ in range(4):
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            document = Run(detector, sources.scan([study]), Path(folder)).write()
            seconds.append(perf_counter() - started)
    infer = [entry["ms"]["infer"] for entry in document["slices"]]
    return {
        "slices": len(document["slices"]),
        "seconds": [round(each, 3) for each in seconds[1:]],
        "slices_per_second": round(len(infer) * 3 / sum(seconds[1:]), 1),
        "infer_ms_p50": round(float(np.median(infer)), 3),
        "provider": document["provider"],
    }


def measure_without_gpu(provider: str, model: Path) -> dict[str, Any]:
    """Tell what a run on the built-in study comes to where no GPU can be seen."""
    study = Path(str(resources.files("gliomart") / "golden"))
    outcomes = {}
    for kind, how in {
        "auto": ["--provider", "auto"],
        "by name": ["--provider", provider],
        "with fallback": ["--provider", provider, "--allow-fallback"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            asked = ["infer", str(study), "--model", str(model), "--out", str(out), *how]
            status = cli.main(asked)
            written = (out / "results.json").is_file()
            document = json.loads((out / "results.json").read_bytes()) if written else {}
        outcomes[kind] = {
            "exit_status": status,
            "provider": document.get("provider"),
            "slices": len(document.get("slices", ())),
        }
    return outcomes


def _alone(what: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """Measure one thing in a process of its own; what fails there is what was measured."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", what, *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def _measure_provider(name: str, half: bool, model: Path, study: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        kept = {"XDG_CACHE_HOME": cache}
        arguments = (name, str(int(half)), str(model))
        built = _alone("model", *arguments, environment=kept)
        again = _alone("model", *arguments, environment=kept)
        result = {"built": built, "from_cache": again}
        if name == "cpu" or half == GPU_PROVIDERS[name].half:  # as the runtime itself opens it
            result["series"] = _alone("series", name, str(model), str(study), environment=kept)
        if name != "cpu":
            hidden = {**kept, "CUDA_VISIBLE_DEVICES": ""}
            result["without_gpu"] = _alone("without", name, str(model), environment=hidden)
    return result


def _one(what: str, arguments: list[str]) -> dict[str, Any]:
    if what == "model":
        name, half, model = arguments
        return measure_model(
            name, Path(model), half=half == "1",
            batches=BATCHES if name != "cpu" else BATCHES[:1], rounds=ROUNDS,
        )  # fmt: skip
    if what == "series":
        name, model, study = arguments
        return measure_series(name, Path(model), Path(study))
    name, model = arguments
    return measure_without_gpu(name, Path(model))


def measure(model: Path) -> dict[str, Any]:
    """Measure everything.

    Raises
    ------
    ProviderError
        No provider but the CPU runs here.
    """
    reasons = providers.reasons()
    here = [name for name in GPU_PROVIDERS if reasons[name] is None]
    if not here:
        why = "; ".join(f"{name}: {reasons[name]}" for name in GPU_PROVIDERS)
        raise ProviderError(f"no GPU to measure here ({why})")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "series"
        status = simulated_study.main([str(study), "--slices", str(SERIES), "--lesion", "--rle"])
        if status:
            raise ProviderError("the series to measure could not be simulated")
        for name in [*here, "cpu"]:
            for half in (True, False) if name == "tensorrt" else (False,):
                label = f"{name} {'fp16' if half else 'fp32'}"
                print(f"measuring {label}", file=sys.stderr)
                found[label] = _measure_provider(name, half, model, study)
    return {
        "schema": 1,
        "gpu": probe.first_gpu()._asdict(),
        "system": platform.platform(),
        "versions": {
            "gliomart": __version__,
            **{name: v for name in _PACKAGES if (v := installed_version(name))},
        },
        "model": Model(model, provider="cpu").sha256,
        "not_here": {name: reason for name, reason in reasons.items() if reason},
        "rounds": ROUNDS,
        "providers": found,
    }


def table(report: dict[str, Any]) -> str:
    """Lay the times of the model alone out for people."""
    lines = [f"{report['gpu']['name']}; p50 / p95 / p99 of milliseconds, {report['rounds']} rounds"]
    for label, result in report["providers"].items():
        model = result["from_cache"]
        if "failed" in model:
            lines.append(f"{label:18} {model['failed']}")
            continue
        opened = f"{result['built'].get('open_ms', '-')} ms, from cache {model['open_ms']} ms"
        lines.append(
            f"{label:18} opened in {opened}; differs by {max(model['parity'].values()):.2g}"
        )
        lines += [
            f"{batch:>8} at a time {t['p50']:9.3f} / {t['p95']:.3f} / {t['p99']:.3f}"
            for batch, t in model["batch_ms"].items()
        ]
        if "slices_per_second" in result.get("series", {}):
            lines.append(
                f"{'':10} {result['series']['slices_per_second']} slices per second, written"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; give the exit status back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", help="of the result file (default: the GPU's)")
    parser.add_argument(
        "--model", type=Path, default=default_model(), help="in floats, not integers"
    )
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.one:
            print(json.dumps(_one(options.one[0], options.one[1:])))
            return 0
        report = measure(options.model)
    except GliomartError as error:
        print(f"gliomart: {error}", file=sys.stderr)
        return error.exit_status
    name = options.name or re.sub(r"[^a-z0-9]+", "-", report["gpu"]["name"].lower()).strip("-")
    path = RESULTS / f"gpu-{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
