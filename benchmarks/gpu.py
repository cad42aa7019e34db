"""All that is to be measured on an NVIDIA GPU: ``python benchmarks/gpu.py [--out FILE]``.

Every GPU provider that runs here, beside the CPU: time to build an engine and to find it in the
cache, one slice (p50, p95, p99), 1 to 64 slices at once, parity with the CPU, a series of 176
slices from DICOM to results.json, and what happens when the GPU is not there (in a process that
``CUDA_VISIBLE_DEVICES`` hides it from). Where there is no GPU it says so and ends with status 5.

No result of it exists yet: nobody has run it on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from gliomart import Detector, providers, scan
from gliomart._version import __version__, installed_version
from gliomart.errors import ProviderError
from gliomart.inference import Run
from gliomart.model import Model, default_model
from gliomart.outputs.folder import write_atomically

_RUNS, _BATCHES, _SERIES = 300, (1, 2, 4, 8, 16, 32, 64), 176
_FP32 = default_model().with_name("flair-dae-fp32.onnx")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    parser.add_argument("--fp16", type=Path, metavar="FILE", help="a model exported in fp16")
    given = parser.parse_args()
    runs = [name for name, reason in providers.reasons().items() if reason is None]
    if runs == ["cpu"]:
        reasons = (f"{name}: {why}" for name, why in providers.reasons().items() if why)
        print(f"no GPU runs here ({'; '.join(reasons)})", file=sys.stderr)
        return ProviderError.exit_status
    models = {"fp32": _FP32} | ({"fp16": given.fp16} if given.fp16 else {})
    with tempfile.TemporaryDirectory() as folder:
        study = _study(Path(folder) / "study")
        report = {
            "machine": _machine(),
            "versions": _versions(),
            "measured": [
                each
                for name in runs
                for precision, model in models.items()
                for each in _measured(name, precision, model, study)
            ],
            "without_gpu": [_unplugged(name, study) for name in runs if name != "cpu"],
        }
    write_atomically(given.out, (json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report, indent=1))
    return 0


def _measured(name: Any, precision: str, model: Path, study: Path) -> Iterator[dict[str, Any]]:
    entry: dict[str, Any] = {"provider": name, "precision": precision}
    try:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache  # empty: what has to be built is built now
            entry["open_ms"] = {}
            for what in ("built", "found in the cache"):
                started = perf_counter()
                opened = Model(model, provider=name)
                entry["open_ms"][what] = _ms(started)
            entry["effective"], entry["parity"] = opened.provider.effective, opened.provider.parity
            image = np.random.default_rng(0).random((256, 256, 1), np.float32)
            entry["slice_ms"] = _percentiles(lambda: opened.run(image))
            entry["batch_ms"] = _batches(name, model)
            detector = Detector(model, provider=name)
            entry["series_s"] = [_series(detector, study) for _ in range(5)]
    except Exception as error:  # noqa: BLE001  # one provider's failure costs no other's figures
        entry["failed"] = f"{type(error).__name__}: {error}"
    yield entry


def _batches(name: Any, model: Path) -> dict[str, dict[str, float]]:
    """Time batches on a session without bound buffers, whose shapes may vary."""
    import onnxruntime

    onnx_name = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider",
                 "cpu": "CPUExecutionProvider"}.get(name)  # fmt: skip
    if onnx_name is None:
        return {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.read_bytes(), options, providers=[onnx_name])
    times = {}
    for size in _BATCHES if name != "cpu" else _BATCHES[:3]:
        images = np.random.default_rng(0).random((size, 256, 256, 1), np.float32)
        times[str(size)] = _percentiles(
            lambda images=images: session.run(None, {"image": images}), runs=max(20, 300 // size)
        )
    return times


def _series(detector: Detector, study: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        Run(detector, scan([study]), Path(folder), overlays="none").write()
        return round(perf_counter() - started, 4)


def _unplugged(name: str, study: Path) -> dict[str, Any]:
    """Ask for a provider where no GPU is visible: by name, and with the CPU allowed instead."""
    outcome: dict[str, Any] = {"provider": name}
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    for allowed in ([], ["--allow-fallback"]):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            done = subprocess.run(
                [sys.executable, "-m", "gliomart.cli", "infer", str(study), "--out", str(out),
                 "--model", str(_FP32), "--provider", name, *allowed],
                check=False, env=hidden, capture_output=True, text=True,
            )  # fmt: skip
            results = out / "results.json"
            outcome["allowed" if allowed else "by name"] = {
                "status": done.returncode,
                "said": done.stderr.strip().splitlines()[-1:],
                "provider": json.loads(results.read_text())["provider"]
                if results.exists()
                else None,
            }
    return outcome


def _study(folder: Path) -> Path:
    made = [sys.executable, "-m", "gliomart_training.simulated_study", str(folder)]
    subprocess.run(
        [*made, "--slices", str(_SERIES), "--size", "256", "--seed", "4", "--lesion"], check=True
    )
    return folder


def _percentiles(function: Any, runs: int = _RUNS) -> dict[str, float]:
    times = []
    for number in range(runs + 20):
        started = perf_counter()
        function()
        if number >= 20:  # before that, it warms up
            times.append(_ms(started))
    return {f"p{q}": round(float(np.percentile(times, q)), 4) for q in (50, 95, 99)}


def _ms(started: float) -> float:
    return round((perf_counter() - started) * 1e3, 4)


def _machine() -> dict[str, Any]:
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv"]
        found = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        found = f"not told ({error})"
    return {"gpu": found.strip(), "cores": os.cpu_count(), "processor": platform.processor()}


def _versions() -> dict[str, str | None]:
    names = ("onnxruntime", "onnxruntime-gpu", "tensorrt-cu13", "nvidia-cudnn-cu13",
             "onnxruntime-ep-nv-tensorrt-rtx-cu13", "numpy")  # fmt: skip
    return {"gliomart": __version__} | {name: installed_version(name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
