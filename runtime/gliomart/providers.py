"""Execution providers: which can load here, which was asked for, which runs.

ONNX Runtime does not raise when CUDA or TensorRT cannot load: the session runs on the CPU and
the wheel prints. So only what loads is asked for, and what the session reports is believed.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, get_args

from gliomart import gpu
from gliomart._version import installed_version
from gliomart.errors import MissingExtraError, ModelError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

Requested = Literal["auto", "tensorrt", "tensorrt-rtx", "cuda", "cpu"]

CPU = "CPUExecutionProvider"
# From the fastest to the one that always runs.
_ONNX_NAMES: dict[Requested, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": CPU,
}
_NEEDED_LIBRARIES: dict[Requested, tuple[str, ...]] = {
    "tensorrt": ("libcuda.so.1", "libnvinfer.so.10"),
    "tensorrt-rtx": ("libcuda.so.1",),
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
    """What was asked for, and what runs.

    Attributes
    ----------
    requested
        As it was asked for.
    effective
        ONNX Runtime's own name of what runs.
    degraded
        What was asked for, or ran at first, does not run.
    parity
        Largest absolute difference of each output from the CPU's on a simulated slice; None on the
        CPU itself.
    """

    requested: Requested
    effective: str
    degraded: bool
    parity: Mapping[str, float] | None = None


def open_session(
    model: bytes, requested: Requested, *, allow_fallback: bool, threads: int | None
) -> tuple[Any, ProviderChoice]:
    """Open an ONNX Runtime session on the best provider that runs.

    Parameters
    ----------
    model
        Content of an ONNX file; weights outside it are never read.
    requested
        ``auto`` takes TensorRT, then TensorRT-RTX, then CUDA, then CPU. Any other has to run.
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
    if requested not in get_args(Requested):
        raise ProviderError(
            f"unknown provider {requested}; known are auto, {', '.join(_ONNX_NAMES)}"
        )
    runtime = _onnxruntime()
    wanted = list(_ONNX_NAMES) if requested == "auto" else [requested]
    candidates = wanted if requested == "auto" or not allow_fallback else [*wanted, "cpu"]
    reasons = []
    for name in dict.fromkeys(candidates):
        reason = why_not(name)
        if reason is None:
            try:
                session = _session(runtime, model, name, threads)
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


def reasons() -> dict[Requested, str | None]:
    """Tell of every provider, from the fastest on, why it cannot load here; None where it can."""
    return {name: why_not(name) for name in _ONNX_NAMES}


def name_of(choice: ProviderChoice) -> Requested:
    """Name what runs as it would be asked for."""
    return next(name for name, onnx in _ONNX_NAMES.items() if onnx == choice.effective)


def would_use_gpu() -> bool:
    """Tell whether some GPU's provider can load here."""
    return any(why_not(name) is None for name in _ONNX_NAMES if name != "cpu")


def why_not(name: Requested) -> str | None:
    """Tell why a provider cannot load here, quietly; None where it can."""
    runtime = _onnxruntime()
    if name == "tensorrt-rtx":
        if find_spec(gpu.RTX_MODULE) is None:
            return "its plug-in is not installed: pip install 'gliomart[tensorrt-rtx]'"
    elif _ONNX_NAMES[name] not in runtime.get_available_providers():
        return "not part of the installed ONNX Runtime"
    for library in _NEEDED_LIBRARIES[name]:
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"{library} cannot be loaded"
    if name == "tensorrt-rtx" and gpu.rtx_device(runtime) is None:
        return "its plug-in finds no GPU that it supports"
    return None


def _session(runtime: Any, model: bytes, name: Requested, threads: int | None) -> Any:  # noqa: ANN401
    if name == "cpu":
        return _opened(runtime, model, [CPU], _options(runtime, threads))
    # The CPU's session is open in no time, and tells what comes in.
    (image,) = _session(runtime, model, "cpu", threads).get_inputs()
    refused: ModelError | None = None
    # A graph captured once is launched at once, but not every provider can capture every model.
    for capture in (True, False):
        chosen = gpu.options(name, model, image.shape[1:], capture=capture)
        options = _options(runtime, threads)
        providers: list[Any] = [(_ONNX_NAMES[name], chosen), CPU]
        if name == "tensorrt-rtx":
            options.add_provider_for_devices([gpu.rtx_device(runtime)], chosen)
            providers = []
        try:
            with gpu.output_to_nowhere():
                session = _opened(runtime, model, providers, options)
                if session.get_providers()[0] == _ONNX_NAMES[name]:
                    session = _bound(session, runtime)
        except ModelError as error:
            refused = refused or error
        else:
            return session
    assert refused is not None  # noqa: S101  # it was, or a session was returned
    raise refused


def _bound(session: Any, runtime: Any) -> Any:  # noqa: ANN401
    """Bind a session to a GPU's memory, and run it once: only then does a graph show its worth."""
    try:
        bound = gpu.BoundSession(session, runtime)
        bound.rehearse()
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        raise ModelError(f"it does not run there ({what_went_wrong(error)})") from error
    return bound


def _options(runtime: Any, threads: int | None) -> Any:  # noqa: ANN401
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
    return options


def _opened(runtime: Any, model: bytes, providers: list[Any], options: Any) -> Any:  # noqa: ANN401
    try:
        return runtime.InferenceSession(
            model,
            options,
            providers=providers,
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
