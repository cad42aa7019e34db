"""The benchmark of GPUs, as far as it goes without one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from gliomart.providers import CPU
from gpus import Machine

FILE = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine = Machine()
    machine.install(monkeypatch)
    return machine


def test_without_a_gpu_it_ends_in_one_sentence(
    gpu: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.gpus = 0
    assert gpu.main([]) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(
        "gliomart: no GPU to measure here (tensorrt: the CUDA driver finds no GPU"
    )


@pytest.mark.parametrize("half", [True, False])
def test_the_model_alone_is_timed_batch_by_batch(
    gpu: ModuleType, machine: Machine, model: Path, half: bool
) -> None:
    found = gpu.measure_model("tensorrt", model, half=half, batches=(1, 3), rounds=2)
    assert found["effective"] == "TensorrtExecutionProvider"
    assert machine.opened[-1][1]["trt_fp16_enable"] == str(half)
    assert set(found["batch_ms"]) == {"1", "3"}
    assert max(found["parity"].values()) == 0
    report = {
        "gpu": {"name": "NVIDIA"}, "rounds": 2,
        "providers": {
            "tensorrt fp16": {"built": found, "from_cache": found},
            "cuda fp32": {"built": {"failed": "why"}, "from_cache": {"failed": "why"}},
        },
    }  # fmt: skip
    text = gpu.table(json.loads(json.dumps(report)))
    assert "3 at a time" in text
    assert "cuda fp32          why" in text


def test_hiding_the_gpu_is_told_of(gpu: ModuleType, machine: Machine, model: Path) -> None:
    machine.gpus = 0
    found = gpu.measure_without_gpu("cuda", model)
    assert [found[kind]["exit_status"] for kind in ("auto", "by name", "with fallback")] == [
        0,
        5,
        0,
    ]
    assert [found[kind]["slices"] for kind in ("auto", "by name", "with fallback")] == [24, 0, 24]
    assert found["with fallback"]["provider"]["effective"] == CPU
    assert found["with fallback"]["provider"]["degraded"]


def test_a_series_is_read_and_written(
    gpu: ModuleType, machine: Machine, model: Path, study: Path
) -> None:
    found = gpu.measure_series("cuda", model, study)
    assert found["slices"] == 6
    assert len(found["seconds"]) == 3
    assert machine.runs_on_gpu == 2 + 4 * 6
