"""Providers at their boundary: a stand-in for a machine with a GPU, see gpu_double.py."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gliomart import Detector, cli, gpu, providers
from gliomart.errors import MissingExtraError, ModelError, ProviderError
from gliomart.model import PARITY, Model, default_model
from gpu_double import CPU, CUDA, RTX, TENSORRT, Gpu
from samples import draw_head

FP32 = default_model().with_name("flair-dae-fp32.onnx")
LIBRARIES = ("libcuda.so.1", "libnvinfer.so.10")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that puts a GPU into this machine."""

    def plug(double: Gpu, loads: tuple[str, ...] = LIBRARIES) -> Gpu:
        def load(library: str) -> None:
            if library not in loads:
                raise OSError(library)

        monkeypatch.setattr(providers.ctypes, "CDLL", load)
        monkeypatch.setattr(providers, "_onnxruntime", lambda: double)
        return double

    return plug


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).random((256, 256, 1), np.float32)


def _same(outputs: Any, expected: Any) -> bool:
    names = ("reconstruction", "anomaly_map", "brain")
    return all(np.array_equal(getattr(outputs, n), getattr(expected, n)) for n in names)


@pytest.mark.parametrize(
    ("runs", "loads", "effective"),
    [
        ((TENSORRT, CUDA, CPU), LIBRARIES, TENSORRT),
        ((TENSORRT, CUDA, CPU), LIBRARIES[:1], CUDA),
        ((CUDA, CPU), LIBRARIES, CUDA),
        ((CPU,), LIBRARIES, CPU),
        ((TENSORRT, CUDA, CPU), (), CPU),
    ],
)
def test_auto_takes_the_first_that_truly_runs(
    plug: Any, model: Path, runs: tuple[str, ...], loads: tuple[str, ...], effective: str
) -> None:
    plug(Gpu(runs=runs), loads)
    choice = Model(model).provider
    assert (choice.requested, choice.effective, choice.degraded) == ("auto", effective, False)
    assert (choice.parity is None) == (effective == CPU)


def test_a_provider_by_name_has_to_run(plug: Any, model: Path) -> None:
    plug(Gpu(runs=(CPU,)))
    with pytest.raises(ProviderError, match="CPUExecutionProvider instead"):
        Model(model, provider="cuda")
    plug(Gpu(), LIBRARIES[:1])
    with pytest.raises(ProviderError, match=r"libnvinfer\.so\.10"):
        Model(model, provider="tensorrt")
    with pytest.raises(ProviderError, match=r"gliomart\[tensorrt-rtx\]"):
        Model(model, provider="tensorrt-rtx")
    plug(Gpu(available=(CPU,)))
    with pytest.raises(ProviderError, match="not part of the installed"):
        Model(model, provider="cuda")


def test_a_fallback_that_was_allowed_is_marked(plug: Any, model: Path) -> None:
    plug(Gpu(runs=(CPU,)))
    choice = Model(model, provider="cuda", allow_fallback=True).provider
    assert choice == providers.ProviderChoice("cuda", CPU, degraded=True)
    plug(Gpu())
    assert not Model(model, provider="cuda", allow_fallback=True).provider.degraded


def test_a_gpu_gives_what_the_cpu_gives_and_says_so(
    plug: Any, model: Path, image: np.ndarray
) -> None:
    expected = Model(model, provider="cpu").run(image)
    plug(Gpu())
    on_gpu = Model(model, provider="cuda")
    assert _same(on_gpu.run(image), expected)
    assert not _same(on_gpu.run(image / 2), expected)
    assert on_gpu.provider.parity == dict.fromkeys(("reconstruction", "anomaly_map", "brain"), 0.0)


def test_outputs_that_differ_from_the_cpus_are_not_believed(plug: Any, model: Path) -> None:
    plug(Gpu(offset=PARITY * 1.1))
    with pytest.raises(ProviderError, match="differs from the CPU's by"):
        Model(model, provider="cuda")
    degraded = Model(model, provider="auto").provider
    assert (degraded.effective, degraded.degraded, degraded.parity) == (CPU, True, None)
    plug(Gpu(offset=float("nan")))
    assert Model(model, provider="auto").provider.effective == CPU
    plug(Gpu(offset=PARITY * 0.9))
    parity = Model(model, provider="cuda").provider.parity
    assert parity is not None
    assert max(parity.values()) == pytest.approx(PARITY * 0.9, rel=1e-3)


# Runs 0 and 1 are the rehearsal and the comparison with the CPU.
@pytest.mark.parametrize(
    ("failing_runs", "failing_opens", "effective", "degraded"),
    [
        (frozenset(), frozenset(), CUDA, False),
        ({2}, frozenset(), CUDA, False),  # rebuilt
        ({4}, frozenset(), CUDA, False),
        ({2, 4}, frozenset(), CPU, True),  # fails again in the slice that is repeated
        ({2, 6}, frozenset(), CPU, True),  # fails again later on
        ({2}, range(1, 9), CPU, True),  # cannot be rebuilt
        (range(2, 99), frozenset(), CPU, True),
    ],
)
def test_a_gpu_that_fails_costs_no_slice(
    plug: Any,
    model: Path,
    failing_runs: Any,
    failing_opens: Any,
    effective: str,
    degraded: bool,
) -> None:
    images = np.random.default_rng(1).random((6, 256, 256, 1), np.float32)
    expected = [Model(model, provider="cpu").run(image) for image in images]
    for provider, allow_fallback in (("auto", False), ("cuda", True), ("cuda", False)):
        plug(Gpu(runs=(CUDA, CPU), available=(CUDA, CPU), failing_runs=failing_runs,
                 failing_opens=failing_opens))  # fmt: skip
        tried = Model(model, provider=provider, allow_fallback=allow_fallback)
        if degraded and not (allow_fallback or provider == "auto"):
            with pytest.raises(ProviderError, match="--allow-fallback"):
                list(map(tried.run, images))
            continue
        assert all(map(_same, map(tried.run, images), expected))
        assert (tried.provider.effective, tried.provider.degraded) == (effective, degraded)


def test_threads_that_see_a_gpu_fail_rebuild_it_once(plug: Any, model: Path) -> None:
    images = np.random.default_rng(1).random((40, 256, 256, 1), np.float32)
    expected = [Model(model, provider="cpu").run(image) for image in images]
    double = plug(Gpu(available=(CUDA, CPU), failing_runs={10, 11, 12}))
    shared = Model(model)
    with ThreadPoolExecutor(8) as pool:
        assert all(map(_same, pool.map(shared.run, images), expected))
    assert len(double.opened) == 2
    plug(Gpu(available=(CUDA, CPU), failing_runs=range(10, 999)))
    shared = Model(model)
    with ThreadPoolExecutor(8) as pool:
        assert all(map(_same, pool.map(shared.run, images), expected))
    assert shared.provider.degraded


def test_results_of_a_run_in_which_the_gpu_failed_are_whole_and_say_so(
    plug: Any, model: Path, study: Path, tmp_path: Path
) -> None:
    arguments = ["infer", str(study), "--model", str(model), "--out"]
    assert cli.main([*arguments, str(tmp_path / "cpu"), "--provider", "cpu"]) == 0
    plug(Gpu(available=(CUDA, CPU), failing_runs=range(4, 999)))
    assert cli.main([*arguments, str(tmp_path / "gpu")]) == 0
    on_cpu, document = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("cpu", "gpu")
    )
    assert document["provider"] == {
        "requested": "auto", "effective": CPU, "degraded": True, "parity": None,
    }  # fmt: skip
    scores = [[(s["source"], s["score"]) for s in d["slices"]] for d in (on_cpu, document)]
    assert scores[0] == scores[1]
    plug(Gpu(available=(CUDA, CPU)))  # complete all the same
    assert cli.main([*arguments, str(tmp_path / "gpu"), "--resume"]) == 0


def test_every_result_tells_what_it_ran_on(plug: Any, model: Path) -> None:
    plug(Gpu(available=(CUDA, CPU), failing_runs=range(3, 999)))
    detector = Detector(model)
    ran_on = [detector.detect(draw_head()).settings.provider.effective for _ in range(3)]
    assert ran_on == [CUDA, CPU, CPU]


def test_integers_stay_on_the_cpu_and_the_gpu_gets_floats(plug: Any) -> None:
    plug(Gpu())
    assert Model(default_model(), provider="auto").provider == providers.ProviderChoice(
        "auto", CPU, degraded=False
    )
    with pytest.raises(ProviderError, match="exported with --precision fp32"):
        Model(default_model(), provider="cuda")
    assert Model(default_model(), provider="cuda", allow_fallback=True).provider.degraded
    assert default_model("auto") == default_model("cuda") == FP32
    assert Model(provider="auto").provider.effective == TENSORRT
    plug(Gpu(), ())
    assert default_model("auto") == default_model("cpu") != FP32
    assert Model(provider="auto").provider.effective == CPU


def test_what_cannot_be_captured_runs_as_it_is(plug: Any, model: Path) -> None:
    double = plug(Gpu(captures=False))
    assert Model(model, provider="cuda").provider.effective == CUDA
    assert [chosen["enable_cuda_graph"] for _, chosen in double.opened] == ["1", "0"]


def test_the_plug_in_runs_where_it_finds_its_gpu(
    plug: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = SimpleNamespace(
        get_library_path=lambda: "plugin.so", get_ep_name=lambda: RTX, __spec__=object()
    )
    monkeypatch.setitem(sys.modules, gpu.RTX_MODULE, plugin)
    gpu.rtx_device.cache_clear()
    double = plug(Gpu(available=(CPU,)), LIBRARIES[:1])
    assert providers.reasons()["tensorrt-rtx"] == "its plug-in finds no GPU that it supports"
    gpu.rtx_device.cache_clear()
    double.devices = [SimpleNamespace(ep_name=CPU), SimpleNamespace(ep_name=RTX)]
    assert providers.reasons() == {
        "tensorrt": "not part of the installed ONNX Runtime",
        "tensorrt-rtx": None,
        "cuda": "not part of the installed ONNX Runtime",
        "cpu": None,
    }
    gpu.rtx_device.cache_clear()


def test_without_a_gpu_everything_says_why() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("there is one")
    found = providers.reasons()
    assert list(found) == ["tensorrt", "tensorrt-rtx", "cuda", "cpu"]
    assert found.pop("cpu") is None
    assert all(found.values())


def test_tensorrt_is_told_shapes_precision_and_where_to_keep_what_it_builds() -> None:
    chosen = gpu.options("tensorrt", b"model", (256, 256, 1), capture=True)
    assert {chosen[f"trt_profile_{end}_shapes"] for end in ("min", "opt", "max")} == {
        "image:1x256x256x1"
    }
    assert chosen["trt_fp16_enable"] == "True"
    assert chosen["trt_engine_cache_path"] == chosen["trt_timing_cache_path"]
    assert Path(chosen["trt_engine_cache_path"]).stat().st_mode & 0o777 == 0o700


def test_a_cache_is_for_one_model_provider_gpu_and_set_of_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [gpu.cache_folder("tensorrt", b"a"), gpu.cache_folder("tensorrt", b"b"),
               gpu.cache_folder("tensorrt-rtx", b"a")]  # fmt: skip
    monkeypatch.setattr(gpu, "installed_version", lambda _: "99")
    folders.append(gpu.cache_folder("tensorrt", b"a"))
    monkeypatch.setattr(gpu, "_first_lines", lambda _: "another GPU")
    folders.append(gpu.cache_folder("tensorrt", b"a"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    folders.append(gpu.cache_folder("tensorrt", b"a"))
    assert None not in folders
    assert len(set(folders)) == 6
    assert gpu.cache_folder("tensorrt", b"a") == folders[-1]


def test_a_cache_that_others_may_write_into_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "cache" / "gliomart").mkdir(parents=True)
    assert gpu.cache_folder("tensorrt", b"a") is not None
    (tmp_path / "cache" / "gliomart").chmod(0o777)
    assert gpu.cache_folder("tensorrt", b"a") is None
    assert "trt_engine_cache_path" not in gpu.options("tensorrt", b"a", (8, 8, 1), capture=True)


def test_a_cache_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert gpu.cache_folder("tensorrt", b"a") is None


def test_libraries_do_not_reach_standard_output() -> None:
    code = (
        "import os, sys; from gliomart.gpu import output_to_nowhere\n"
        "print('before')\n"
        "with output_to_nowhere(): os.write(1, b'chatter\\n')\n"
        "print('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["before", "after"]
    closed = "import os\nos.close(1)\n" + code.replace("print(", "str(")
    subprocess.run([sys.executable, "-c", closed.replace("os.write(1, b'chatter\\n')", "pass")],
                   check=True, env=os.environ)  # fmt: skip


def test_two_onnxruntimes_at_once_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "1.32.0")
    with pytest.raises(ProviderError, match="both installed"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)


def test_no_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"gliomart\[cpu\]"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)


def test_a_provider_nobody_knows_is_refused() -> None:
    with pytest.raises(ProviderError, match="known are auto, tensorrt, tensorrt-rtx, cuda, cpu"):
        providers.open_session(b"", "abacus", allow_fallback=False, threads=None)  # type: ignore[arg-type]


def test_a_model_that_does_not_run_on_the_cpu_either_is_the_models_fault(
    plug: Any, tmp_path: Path
) -> None:
    plug(Gpu())
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError):
        Model(tmp_path / "m.onnx")
