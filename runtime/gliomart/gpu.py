"""NVIDIA GPUs: each provider's options, the cache of what they build, buffers that stay in place.

None of this has run on a GPU yet; see docs/providers.md.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart._version import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

# A few ten times what a slice takes.
_LARGEST_MEMORY = 2 * 2**30
# What an engine depends on beside the model and the GPU.
_LIBRARIES = (
    "onnxruntime-gpu", "onnxruntime", "tensorrt-cu13", "tensorrt-cu12", "nvidia-cudnn-cu13",
    "nvidia-cudnn-cu12", "onnxruntime-ep-nv-tensorrt-rtx-cu13",
)  # fmt: skip
RTX_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"


def options(name: str, model: bytes, shape: Sequence[int], *, capture: bool) -> dict[str, str]:
    """Choose a provider's options for one slice at a time.

    Parameters
    ----------
    name
        ``tensorrt``, ``tensorrt-rtx`` or ``cuda``.
    model
        Content of the model file: what is built for one is never taken for another.
    shape
        Of its input, without the batch.
    capture
        Whether to capture what a run launches as a CUDA graph.

    References
    ----------
    ONNX Runtime, *TensorRT Execution Provider* and *CUDA Execution Provider*; the RTX plug-in's
    tensorrt_rtx_provider_options.h.
    """
    if name == "cuda":
        return {
            "device_id": "0",
            "gpu_mem_limit": str(_LARGEST_MEMORY),
            "arena_extend_strategy": "kSameAsRequested",
            # A search for the fastest takes seconds at every start, and may end differently.
            "cudnn_conv_algo_search": "HEURISTIC",
            "use_tf32": "0",
            "enable_cuda_graph": str(int(capture)),
        }
    one = "image:" + "x".join(map(str, (1, *shape)))
    built = cache_folder(name, model)
    if name == "tensorrt-rtx":
        profile = {f"nv_profile_{end}_shapes": one for end in ("min", "opt", "max")}
        kept = {"nv_runtime_cache_path": str(built)} if built else {}
        return {**profile, **kept, "enable_cuda_graph": str(int(capture))}
    profile = {f"trt_profile_{end}_shapes": one for end in ("min", "opt", "max")}
    kept = {}
    if built:
        for what in ("engine", "timing"):
            kept |= {f"trt_{what}_cache_enable": "True", f"trt_{what}_cache_path": str(built)}
    return {
        "device_id": "0",
        "trt_fp16_enable": "True",
        "trt_max_workspace_size": str(_LARGEST_MEMORY),
        "trt_cuda_graph_enable": str(capture),
        **profile,
        **kept,
    }


def cache_folder(name: str, model: bytes) -> Path | None:
    """Folder for what a provider builds of a model here; None where it cannot be kept safely.

    It is named after all that the result depends on: model, GPU and driver, libraries. An engine is
    code, so a folder that others may write into is not used.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gliomart"
    facts = [name, hashlib.sha256(model).hexdigest(), *_device(), *_versions()]
    folder = base / "engines" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in (base, base / "engines", folder):
            status = each.lstat()
            ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if not stat.S_ISDIR(status.st_mode) or not ours or status.st_mode & 0o022:
                return None
    except OSError:
        return None  # it is built anew each time
    return folder if os.access(folder, os.W_OK) else None


def _versions() -> list[str]:
    return [f"{library} {installed_version(library)}" for library in _LIBRARIES]


def _device() -> list[str]:
    """Tell which GPU and driver there are, as the kernel knows them."""
    places = [
        Path("/proc/driver/nvidia/version"),
        *sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")),
    ]
    return [_first_lines(place) for place in places] + [os.environ.get("CUDA_VISIBLE_DEVICES", "")]


def _first_lines(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@cache
def rtx_device(runtime: Any) -> Any:  # noqa: ANN401
    """Register the TensorRT-RTX plug-in and give the GPU that it would run on; None without one."""
    from importlib import import_module

    plugin = import_module(RTX_MODULE)
    with output_to_nowhere():
        runtime.register_execution_provider_library("gliomart-rtx", plugin.get_library_path())
    names = {plugin.get_ep_name()}
    return next((each for each in runtime.get_ep_devices() if each.ep_name in names), None)


@contextmanager
def output_to_nowhere() -> Iterator[None]:
    """Keep native libraries off standard output, which is for results.

    They write to the descriptor itself, past Python; for as long as this lasts nobody else's output
    gets there either.
    """
    try:
        descriptor = sys.__stdout__.fileno() if sys.__stdout__ else 1
        kept = os.dup(descriptor)
    except (OSError, ValueError):  # there is no standard output to keep clean
        yield
        return
    try:
        sys.__stdout__.flush()  # type: ignore[union-attr]
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


class BoundSession:
    """A session with buffers on a device that stay in place, as a CUDA graph needs them.

    It takes one slice at a time, one thread after the other.

    Parameters
    ----------
    session
        Of ONNX Runtime.
    runtime
        The module ``onnxruntime``.
    device
        As ONNX Runtime names it.
    """

    def __init__(self, session: Any, runtime: Any, device: str = "cuda") -> None:  # noqa: ANN401
        self._session, self._lock = session, Lock()
        self._binding = session.io_binding()
        new = runtime.OrtValue.ortvalue_from_shape_and_type
        (image,) = session.get_inputs()
        self._image = new([1, *image.shape[1:]], np.float32, device, 0)
        self._binding.bind_ortvalue_input(image.name, self._image)
        self._outputs = {}
        for output in session.get_outputs():
            buffer = new([1, *output.shape[1:]], np.float32, device, 0)
            self._binding.bind_ortvalue_output(output.name, buffer)
            self._outputs[output.name] = buffer

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # of what is known to the session
        return getattr(self._session, name)

    def rehearse(self) -> None:
        """Run once on nothing."""
        self.run(list(self._outputs), {"image": np.zeros(self._image.shape(), np.float32)})

    def run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Run one slice, as a session does."""
        (image,) = inputs.values()
        with self._lock:
            self._image.update_inplace(np.ascontiguousarray(image))
            self._session.run_with_iobinding(self._binding)
            # .numpy() copies off a device, but shows the buffer itself where that is the CPU's.
            return [np.array(self._outputs[name].numpy()) for name in names]
