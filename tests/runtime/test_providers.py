"""Which provider is chosen, on machines that have and lack what they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gliomart import providers
from gliomart.errors import MissingExtraError, ProviderError
from gliomart.model.built_in import default_model
from gliomart.model.model import Model
from gliomart.providers import CPU, ProviderChoice
from gpus import DEVICE_LOST, Machine

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
RTX = "NvTensorRTRTXExecutionProvider"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine = Machine()
    machine.install(monkeypatch)
    return machine


def _without(machine: Machine, *libraries: str) -> None:
    machine.libraries = tuple(each for each in machine.libraries if each not in libraries)


@pytest.mark.parametrize(
    ("runs", "missing", "gpus", "effective"),
    [
        ((TENSORRT, CUDA), (), 1, TENSORRT),
        ((TENSORRT, CUDA), ("libnvinfer.so.10",), 1, CUDA),
        ((TENSORRT, CUDA), ("libnvonnxparser.so.10",), 1, CUDA),
        ((TENSORRT, CUDA), ("libcublas.so.13",), 1, CPU),
        ((TENSORRT, CUDA), ("libcuda.so.1",), 1, CPU),
        ((TENSORRT, CUDA), (), 0, CPU),
        ((CUDA,), (), 1, CUDA),
        ((), (), 1, CPU),
    ],
)
def test_auto_takes_the_first_that_truly_runs(
    machine: Machine, model: Path, runs: tuple[str, ...], missing: tuple[str, ...], gpus: int,
    effective: str,
) -> None:  # fmt: skip
    machine.runs, machine.gpus = (*runs, CPU), gpus
    _without(machine, *missing)
    choice = Model(model).provider
    assert (choice.requested, choice.effective, choice.degraded) == ("auto", effective, False)
    assert (choice.parity is None) == (effective == CPU)


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ({"available": (CPU,)}, "not part of the installed ONNX Runtime"),
        ({"libraries": ()}, "libcuda.so.1 cannot be loaded"),
        ({"gpus": 0}, "finds no GPU to use (cuInit: error 100)"),
        ({"libraries": ("libcuda.so.1", "libcudart.so.13")}, "libcublas.so.13 cannot be loaded"),
    ],
)
def test_reasons_are_told_without_a_session_or_a_sound(
    machine: Machine, lacks: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in lacks.items():
        setattr(machine, name, value)
    reasons = providers.reasons()
    assert list(reasons) == ["tensorrt", "tensorrt-rtx", "cuda", "cpu"]
    assert says in str(reasons["cuda"])
    assert "gliomart[tensorrt-rtx]" in str(reasons["tensorrt-rtx"])
    assert reasons["cpu"] is None
    assert machine.opened == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("machine")
def test_nothing_speaks_against_a_provider_that_has_all_it_needs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert providers.reasons()["tensorrt"] is None
    assert providers.reasons()["cuda"] is None
    assert capfd.readouterr() == ("", "")  # though ONNX Runtime prints while it looks


def test_the_plug_in_is_used_where_its_device_is_found(
    machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.available = (CPU,)  # it sits beside the plain package
    machine.libraries = ("libcuda.so.1",)
    machine.install_rtx(monkeypatch)
    assert providers.reasons()["tensorrt-rtx"] is None
    assert Model(model).provider.effective == RTX
    assert Model(model, provider="tensorrt-rtx").provider.effective == RTX  # registered once
    name, options = machine.opened[-1]
    assert name == RTX
    assert options["nv_profile_max_shapes"] == "image:64x256x256x1"


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ({"gpus": 0}, "finds no GPU"),
        ({"supported_by_rtx": False}, "its plug-in supports none of the GPUs"),
    ],
)
def test_the_plug_in_without_its_device_is_not_asked_for(
    machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch, lacks: dict[str, Any], says: str
) -> None:
    machine.install_rtx(monkeypatch)
    for name, value in lacks.items():
        setattr(machine, name, value)
    assert says in str(providers.reasons()["tensorrt-rtx"])
    with pytest.raises(ProviderError, match=says):
        Model(model, provider="tensorrt-rtx")
    assert machine.opened == []


def test_a_provider_by_name_has_to_run(machine: Machine, model: Path) -> None:
    machine.runs = (CPU,)
    with pytest.raises(ProviderError, match="CPUExecutionProvider instead"):
        Model(model, provider="cuda")
    _without(machine, "libnvinfer.so.10")
    with pytest.raises(ProviderError, match=r"libnvinfer\.so\.10"):
        Model(model, provider="tensorrt")
    with pytest.raises(ProviderError, match="unknown provider rocm; known are auto, tensorrt,"):
        Model(model, provider="rocm")  # type: ignore[arg-type]


def test_a_fallback_that_was_allowed_is_marked(machine: Machine, model: Path) -> None:
    choice = Model(model, provider="cuda", allow_fallback=True).provider
    assert (choice.effective, choice.degraded, choice.reason) == (CUDA, False, None)
    machine.runs = (CPU,)
    choice = Model(model, provider="cuda", allow_fallback=True).provider
    assert choice == ProviderChoice(
        "cuda", CPU, degraded=True, parity=None,
        reason="cuda: the session runs on CPUExecutionProvider instead",
    )  # fmt: skip


def test_cuda_records_a_graph_where_it_can(machine: Machine, model: Path) -> None:
    Model(model, provider="cuda")
    machine.opening = [DEVICE_LOST]  # as ONNX Runtime refuses where a node is on the CPU
    Model(model, provider="cuda")
    assert [options["enable_cuda_graph"] for _, options in machine.opened] == ["1", "1", "0"]


def test_what_auto_passes_over_is_kept_where_it_could_load(machine: Machine, model: Path) -> None:
    machine.opening = [DEVICE_LOST]
    choice = Model(model).provider
    assert (choice.effective, choice.degraded) == (CUDA, False)
    assert "tensorrt: not a model that ONNX Runtime can run (CUDA failure 719" in str(choice.reason)


@pytest.mark.usefixtures("machine")
def test_opening_a_gpu_leaves_standard_output_alone(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sys.stdout.write("before\n")
    Model(model, provider="cuda")
    sys.stdout.write("after\n")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    assert "a library writes\n" in captured.err


def test_nothing_is_sent_to_the_maker_of_onnxruntime(model: Path, tmp_path: Path) -> None:
    """Its telemetry keeps an identifier, and what is to be sent, where caches lie."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    } | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    code = f"from gliomart import Detector; Detector({str(model)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(home.rglob("*")) == []


def test_two_onnxruntimes_at_once_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime-1.32.0.dist-info", "onnxruntime_gpu-1.31.0.dist-info"):
        (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProviderError, match="both installed"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)


def test_no_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"gliomart\[cpu\]"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)


def test_integers_stay_on_the_cpu_and_a_gpu_gets_floats(machine: Machine) -> None:
    with pytest.raises(ProviderError, match="exported with --precision fp32"):
        Model(default_model(), provider="cuda")
    allowed = Model(default_model(), provider="cuda", allow_fallback=True).provider
    assert (allowed.requested, allowed.effective, allowed.degraded) == ("cuda", CPU, True)
    by_itself = Model(default_model(), provider="auto").provider
    assert (by_itself.requested, by_itself.effective, by_itself.degraded) == ("auto", CPU, False)
    assert by_itself.reason == allowed.reason == "the model's integers are for CPUs"
    assert default_model("auto").name == default_model("cuda").name == "flair-dae-fp32.onnx"
    assert Model(provider="auto").provider.effective != CPU
    machine.gpus = 0
    assert default_model("auto").name == default_model("cpu").name == "flair-dae.onnx"
    assert Model(provider="auto").provider == ProviderChoice("auto", CPU, degraded=False)
