"""What results.json says of runs that lose their GPU, and how they are continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gliomart import Detector, cli, sources
from gliomart.outputs import folder as output
from gliomart.outputs.options import OutputOptions
from gliomart.providers import CPU
from gliomart.run import Run
from gpus import DEVICE_LOST, Machine
from samples import draw_head

CUDA = "CUDAExecutionProvider"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine = Machine()
    machine.available = (CUDA, CPU)
    machine.install(monkeypatch)
    return machine


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Three series of two slices."""
    for folder in "abc":
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number in range(2):
            pixels = (draw_head(seed=number) / 5).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "in" / folder / f"{number}.png"), pixels)
    return tmp_path / "in"


def _document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return document


def _infer(*arguments: object) -> int:
    return cli.main(["infer", *map(str, arguments)])


def test_a_run_on_a_gpu_says_so_with_its_parity(
    machine: Machine, model: Path, series: Path, tmp_path: Path
) -> None:
    assert _infer(series, "--model", model, "--out", tmp_path / "out") == 0
    assert _document(tmp_path / "out")["provider"] == {
        "requested": "auto", "effective": CUDA, "degraded": False,
        "parity": {"reconstruction": 0.0, "anomaly_map": 0.0, "brain": 0.0}, "reason": None,
    }  # fmt: skip
    assert machine.runs_on_gpu == 2 + 6


@pytest.mark.parametrize("lost_at", [0, 3, 5])
def test_a_run_that_loses_its_gpu_is_whole_and_degraded(
    machine: Machine, model: Path, series: Path, tmp_path: Path, lost_at: int
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    assert _infer(series, "--model", model, "--out", undisturbed, "--provider", "cpu") == 0
    # Two runs are for the comparison with the CPU.
    machine.running = [None] * (2 + lost_at) + [DEVICE_LOST, DEVICE_LOST]
    assert _infer(series, "--model", model, "--out", out) == 0
    document, expected = _document(out), _document(undisturbed)
    provider = document.pop("provider")
    assert (provider["effective"], provider["degraded"]) == (CPU, True)
    assert "cuda was lost" in provider["reason"]
    del expected["provider"]
    for entry in (*document["slices"], *expected["slices"]):
        del entry["ms"]
    assert document == expected
    # It is complete: there is nothing to continue, on whatever this would run.
    assert _infer(series, "--model", model, "--out", out, "--resume") == 0
    assert _document(out)["provider"] == provider
    assert _infer(series, "--model", model, "--out", out, "--resume", "--provider", "cpu") == 2


def test_without_a_fallback_what_is_finished_stays_and_can_be_resumed(
    machine: Machine, model: Path, series: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    command = (series, "--model", model, "--out", out, "--provider", "cuda")
    machine.running = [None] * 5 + [DEVICE_LOST] * 2
    assert _infer(*command) == 5
    assert "cuda was lost" in capsys.readouterr().err
    before = machine.runs_on_gpu
    assert _infer(*command, "--resume") == 0
    assert machine.runs_on_gpu - before == 2 + 4  # the first series is not run again
    document = _document(out)
    assert len(document["slices"]) == 6
    assert (document["provider"]["effective"], document["provider"]["degraded"]) == (CUDA, False)


@pytest.mark.parametrize(("gpu_is_back", "effective"), [(True, CPU), (False, CPU)])
def test_a_resumed_run_tells_of_the_gpu_lost_before(
    machine: Machine, model: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    gpu_is_back: bool, effective: str,
) -> None:  # fmt: skip
    """Whether it is continued on the GPU or not, part of it ran on less than it began on."""
    out = tmp_path / "out"
    out.mkdir()
    machine.running = [None] * 5 + [DEVICE_LOST] * 2 if gpu_is_back else []

    class Killed(BaseException):  # an Exception would cost its series alone
        pass

    def stop(path: Path, content: bytes, **how: Any) -> None:
        if "c" in path.parts:
            raise Killed
        write(path, content, **how)

    write = output.write_atomically
    with monkeypatch.context() as patch:
        patch.setattr(output, "write_atomically", stop)
        with pytest.raises(Killed):
            Run(Detector(model), sources.scan([series]), out, OutputOptions("all")).write()
    machine.running = []
    if not gpu_is_back:
        machine.gpus = 0
    again = ("--out", out, "--resume", "--overlays", "all")
    assert _infer(series, "--model", model, *again) == 0
    document = _document(out)
    assert len(document["slices"]) == 6
    assert document["provider"]["effective"] == effective
    assert document["provider"]["degraded"]
