"""Execution providers: which can load here, which was asked for, which runs.

ONNX Runtime does not raise when CUDA or TensorRT cannot load: the session runs on the CPU and
the wheel prints. So only what loads is asked for, and what the session reports is believed.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from gliomart._version import installed_version
from gliomart.errors import MissingExtraError, ModelError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

Requested = Literal["auto", "tensorrt", "cuda", "cpu"]

_ONNX_NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_NEEDED_LIBRARIES: dict[str, tuple[str, ...]] = {
    "tensorrt": ("libcuda.so.1", "libnvinfer.so.10"),
    "cuda": ("libcuda.so.1",),
    "cpu": (),
}
# Weights are looked for here when a model file points outside itself: nowhere.
_NO_FOLDER = "/dev/null/no-external-data"
# What all models together may take from the CPU's memory: a tenth of it is usual, and a graph of a
# few hundred bytes can ask for terabytes.
LARGEST_MEMORY = 512 * 2**20
_LONGEST_REASON = 200


@dataclass(frozen=True)
class ProviderChoice:
    """What was asked for, and what runs; ``effective`` is ONNX Runtime's own name."""

    requested: Requested
    effective: str
    degraded: bool


def open_session(
    model: bytes, requested: Requested, *, allow_fallback: bool, threads: int | None
) -> tuple[Any, ProviderChoice]:
    """Open an ONNX Runtime session on the best provider that runs.

    Parameters
    ----------
    model
        Content of an ONNX file; weights outside it are never read.
    requested
        ``auto`` takes TensorRT, then CUDA, then CPU. Any other has to run.
    allow_fallback
        Let a provider that was asked for by name fall back, which marks the choice degraded.
    threads
        Threads of the CPU provider; None for as many as there are cores.

    Raises
    ------
    ProviderError
        What was asked for by name does not run, and no fallback is allowed.
    ModelError
        The content cannot be run at all.
    MissingExtraError
        No ONNX Runtime is installed.
    """
    if requested != "auto" and requested not in _ONNX_NAMES:
        raise ProviderError(
            f"unknown provider {requested}; known are auto, {', '.join(_ONNX_NAMES)}"
        )
    runtime = _onnxruntime()
    wanted = list(_ONNX_NAMES) if requested == "auto" else [requested]
    candidates = wanted if requested == "auto" or not allow_fallback else [*wanted, "cpu"]
    reasons = []
    for name in dict.fromkeys(candidates):
        reason = why_not(name, runtime.get_available_providers())
        if reason is None:
            try:
                session = _session(runtime, model, _ONNX_NAMES[name], threads)
            except ModelError as error:
                if name == "cpu":
                    raise  # the CPU runs every model there is
                reason = str(error)
            else:
                effective = session.get_providers()[0]
                if effective == _ONNX_NAMES[name]:
                    degraded = name not in wanted
                    return session, ProviderChoice(requested, effective, degraded)
                reason = f"the session runs on {effective} instead"
        reasons.append(f"{name}: {reason}")
    raise ProviderError(f"no provider runs here ({'; '.join(reasons)})")


def why_not(name: str, available: Sequence[str]) -> str | None:
    """Tell why a provider cannot load here, quietly; None where it can."""
    if _ONNX_NAMES[name] not in available:
        return "not part of the installed ONNX Runtime"
    for library in _NEEDED_LIBRARIES[name]:
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"{library} cannot be loaded"
    return None


def _session(runtime: Any, model: bytes, provider: str, threads: int | None) -> Any:  # noqa: ANN401
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    # Spinning threads starve whatever else the workstation does, and each other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", _NO_FOLDER
    )
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.use_env_allocators", "1")
    fallback = [] if provider == _ONNX_NAMES["cpu"] else [_ONNX_NAMES["cpu"]]
    try:
        return runtime.InferenceSession(
            model,
            options,
            providers=[provider, *fallback],
            # It computes outside the bounded memory, and exported graphs have nothing to fold.
            disabled_optimizers=["ConstantFolding"],
            # Where a provider fails it would print to standard output and go on with another.
            enable_fallback=False,
        )
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise ModelError(
            f"not a model that ONNX Runtime can run ({what_went_wrong(error)})"
        ) from error


def what_went_wrong(error: Exception) -> str:
    """Say in one line what ONNX Runtime complains about."""
    text = str(error)
    if "Available memory of" in text or "bad_alloc" in text:
        return f"it asks for more than {LARGEST_MEMORY // 2**20} MiB of memory"
    # Before it stand the number and name of the error, and a place in ONNX Runtime's own source.
    text = re.split(r"Status Message: |\[ONNXRuntimeError\] : \d+ : \w+ : ", text)[-1]
    text = re.sub(r"/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[A-Z])", "", text)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "…"


@cache
def _bound_memory() -> None:
    """Give the process one CPU allocator with an end, which sessions share that ask for it."""
    import onnxruntime as runtime

    memory = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    defaults = (-1, -1, -1)  # how it grows
    runtime.create_and_register_allocator(memory, runtime.OrtArenaCfg(LARGEST_MEMORY, *defaults))


def _onnxruntime() -> Any:  # noqa: ANN401
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("running a model", "cpu") from error
    if installed_version("onnxruntime") and installed_version("onnxruntime-gpu"):
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and break one another;"
            " uninstall both, then install one"
        )
    _bound_memory()
    return onnxruntime
