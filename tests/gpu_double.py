"""ONNX Runtime as on a machine with a GPU: the CPU computes, and a script says what fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnxruntime

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
RTX = "NvTensorRTRTXExecutionProvider"
OUT_OF_MEMORY = "CUDA failure 2: out of memory ; GPU=0"
LOST = "CUDA failure 100: no CUDA-capable device is detected"


@dataclass(eq=False)
class Gpu:
    """A runtime whose GPU sessions do what they are told.

    Attributes
    ----------
    available
        What the installed ONNX Runtime claims to have.
    runs
        What truly runs: sessions of anything else silently run on the CPU.
    failing_runs
        Numbers of the GPU's runs that fail, counted over all its sessions.
    failing_opens
        Likewise of its sessions.
    offset
        What its outputs are wrong by.
    captures
        Whether a session with a CUDA graph can be opened.
    """

    available: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    runs: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    failing_runs: frozenset[int] | range = frozenset()
    failing_opens: frozenset[int] | range = frozenset()
    offset: float = 0.0
    captures: bool = True
    opened: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    run_count: int = 0
    devices: list[Any] = field(default_factory=list)
    SessionOptions = onnxruntime.SessionOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel

    @property
    def OrtValue(self) -> Any:  # noqa: N802  # as ONNX Runtime names it
        def on_cpu(shape: Any, dtype: Any, _device: str, _number: int) -> Any:
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype)

        return SimpleNamespace(ortvalue_from_shape_and_type=on_cpu)

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def register_execution_provider_library(self, _name: str, _path: str) -> None:
        pass

    def get_ep_devices(self) -> list[Any]:
        return self.devices

    def InferenceSession(  # noqa: N802  # as ONNX Runtime names it
        self, model: bytes, options: Any, providers: list[Any], **others: Any
    ) -> Any:
        real = onnxruntime.InferenceSession(model, options, providers=[CPU], **others)
        if providers == [CPU]:
            return real
        name, chosen = providers[0]
        self.opened.append((name, chosen))
        if len(self.opened) - 1 in self.failing_opens:
            raise RuntimeError(LOST)
        captured = "1" in chosen.get("enable_cuda_graph", "") or "True" in chosen.get(
            "trt_cuda_graph_enable", ""
        )
        if captured and not self.captures:
            raise RuntimeError("CUDA graphs need all nodes on the GPU")
        return _Session(self, real, name) if name in self.runs else real


@dataclass
class _Session:
    gpu: Gpu
    real: Any
    name: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def get_providers(self) -> list[str]:
        return [self.name, CPU]

    def run_with_iobinding(self, binding: Any) -> None:
        number = self.gpu.run_count
        self.gpu.run_count += 1
        if number in self.gpu.failing_runs:
            raise RuntimeError(OUT_OF_MEMORY)
        self.real.run_with_iobinding(binding)
        for value in binding.get_outputs():
            value.update_inplace(value.numpy() + self.gpu.offset)
