"""A machine with a GPU in which the CPU does the work: what it lacks, runs and fails at is told.

What stands in is the CUDA driver, the loader of libraries, and what ONNX Runtime says of its
providers. Sessions, bindings and buffers are ONNX Runtime's own, on the CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from gliomart.providers import probe
from gliomart.providers.choice import GPU_PROVIDERS
from gliomart.providers.session import CPU

Fail = onnxruntime.capi.onnxruntime_pybind11_state.Fail
RuntimeException = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException

OUT_OF_MEMORY = RuntimeException(
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv"
    " node. Name:'conv' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:9"
    " void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed"
    " to allocate memory for requested buffer of size 268435456"
)
DEVICE_LOST = Fail(
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 719: unspecified launch failure ; GPU=0 ;"
    " hostname=scanner ; expr=cudaStreamSynchronize(stream);"
)


@dataclass
class Machine:
    """Attributes.

    available
        Providers that ONNX Runtime was built with.
    runs
        Those that a session truly runs on when it is asked to.
    libraries
        What the loader finds.
    gpus, supported_by_rtx
        Of which the driver tells; the plug-in knows them.
    opening, running
        Errors of the next times that a session is opened or run on a GPU; None where it succeeds.
    """

    available: tuple[str, ...] = ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU)
    runs: tuple[str, ...] = (*(p.onnx_name for p in GPU_PROVIDERS.values()), CPU)
    libraries: tuple[str, ...] = (
        "libcuda.so.1", "libnvinfer.so.10", "libnvonnxparser.so.10",
        "libcudart.so.13", "libcublas.so.13", "libcudnn.so.9",
    )  # fmt: skip
    gpus: int = 1
    supported_by_rtx: bool = True
    name: bytes = b"NVIDIA RTX A2000"
    opening: list[Exception | None] = field(default_factory=list)
    running: list[Exception | None] = field(default_factory=list)
    #: Added to every output of a GPU.
    offset: float = 0.0
    #: (provider, options) of every session that was asked for on a GPU, in order.
    opened: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    runs_on_gpu: int = 0
    #: Sessions that were still there when another was opened.
    left_over: int = 0
    _sessions: list[weakref.ref[_OnGpu]] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        runtime = _Runtime(self)
        monkeypatch.setattr(probe, "onnxruntime", lambda: runtime)
        monkeypatch.setattr(probe.ctypes, "CDLL", self._load)

    def install_rtx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Install the TensorRT-RTX plug-in as well."""
        plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
        plugin.__spec__ = SimpleNamespace(name=plugin.__name__)  # type: ignore[assignment]
        plugin.get_ep_name = lambda: GPU_PROVIDERS["tensorrt-rtx"].onnx_name  # type: ignore[attr-defined]
        plugin.get_library_path = lambda: "plugin.so"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
        self.install(monkeypatch)

    def _load(self, library: str, mode: int = 0) -> Any:  # noqa: ARG002
        if library not in self.libraries:
            raise OSError(f"{library}: cannot open shared object file")
        if library == "libnvinfer.so.10":
            return SimpleNamespace(getInferLibVersion=lambda: 101300)
        return SimpleNamespace(
            cuInit=lambda _flags: 0 if self.gpus else 100,
            cuDeviceGet=lambda _device, _number: 0,
            cuDeviceGetName=lambda name, _size, _device: _fill(name, self.name),
            cuDeviceGetAttribute=lambda value, which, _device: _set(value, {75: 8, 76: 6}[which]),
            cuDriverGetVersion=lambda value: _set(value, 13000),
        )


def _fill(buffer: Any, value: bytes) -> int:
    buffer.value = value
    return 0


def _set(reference: Any, value: int) -> int:
    reference._obj.value = ctypes.c_int(value).value
    return 0


class _Options(onnxruntime.SessionOptions):
    asked: tuple[str, dict[str, str]] | None = None

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        self.asked = (devices[0].ep_name, options)


class _Runtime:
    """ONNX Runtime itself, but for what has to do with providers."""

    SessionOptions = _Options
    cuda_version = "13.0"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._plugins: list[str] = []
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=_on_the_cpu)

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return list(self._machine.available)

    def preload_dlls(self, directory: str) -> None:
        assert directory == ""
        sys.stdout.write("Failed to load something\n")

    def register_execution_provider_library(self, name: str, _path: str) -> None:
        assert name not in self._plugins  # which ONNX Runtime refuses
        self._plugins.append(name)

    def get_ep_devices(self) -> list[Any]:
        here = [*self._plugins, CPU] if self._machine.supported_by_rtx else [CPU]
        return [SimpleNamespace(ep_name=name) for name in here]

    def InferenceSession(  # noqa: N802
        self, model: bytes, options: Any, providers: list[Any], **others: Any
    ) -> Any:
        asked = [p if isinstance(p, tuple) else (p, {}) for p in providers]
        asked = asked or [options.asked, (CPU, {})]
        session = onnxruntime.InferenceSession(model, options, providers=[CPU], **others)
        if asked[0][0] == CPU:
            return session
        self._machine.opened.append(asked[0])
        os.write(1, b"a library writes\n")
        sys.stdout.write("and Python does\n")
        self._machine.left_over += sum(one() is not None for one in self._machine._sessions)
        _raise_next(self._machine.opening)
        effective = [name for name, _ in asked if name in self._machine.runs]
        opened = _OnGpu(session, effective, self._machine)
        self._machine._sessions.append(weakref.ref(opened))
        return opened


def _on_the_cpu(shape: list[int], kind: Any, device: str, number: int) -> Any:
    assert device == "cuda"
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", number)


def _raise_next(errors: list[Exception | None]) -> None:
    error = errors.pop(0) if errors else None
    if error is not None:
        raise type(error)(*error.args)  # a new one, whose traceback nobody else keeps


class _OnGpu:
    def __init__(self, session: Any, effective: list[str], machine: Machine) -> None:
        self._session, self._effective, self._machine = session, effective, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return self._effective

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        self._count()
        return [output + self._machine.offset for output in self._session.run(names, inputs)]

    def io_binding(self) -> Any:
        return _Binding(self._session.io_binding(), self._machine)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self._count()
        self._session.run_with_iobinding(binding.onnx, options)

    def _count(self) -> None:
        self._machine.runs_on_gpu += 1
        _raise_next(self._machine.running)


class _Binding:
    def __init__(self, onnx: Any, machine: Machine) -> None:
        self.onnx, self._machine = onnx, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.onnx, name)

    def copy_outputs_to_cpu(self) -> list[Any]:
        return [output + self._machine.offset for output in self.onnx.copy_outputs_to_cpu()]
