"""Which providers can run here: asked quietly, of the driver and the loader, without a session."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gliomart._version import installed_version
from gliomart.errors import ProviderError
from gliomart.host import extras
from gliomart.providers.choice import GPU_PROVIDERS
from gliomart.providers.quiet import off_standard_output
from gliomart.providers.session import what_went_wrong

if TYPE_CHECKING:
    from types import ModuleType

    from onnxruntime import OrtEpDevice

_RTX_MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
# What the providers of the GPU package are linked to, or load first.
_CUDA_LIBRARIES = ("libcudart.so.{cuda}", "libcublas.so.{cuda}", "libcudnn.so.9")
_LIBRARIES = {
    "tensorrt": ("libnvinfer.so.10", "libnvonnxparser.so.10", *_CUDA_LIBRARIES),
    "cuda": _CUDA_LIBRARIES,
}
FORKED = "CUDA does not survive a fork; start processes with spawn"
# Processes in which the driver was started, this one or those it was forked from.
_started_in: set[int] = set()
# Of the CUDA driver API, CUdevice_attribute.
_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76


class Gpu(NamedTuple):
    """The GPU that would be used, as the CUDA driver describes it.

    Attributes
    ----------
    name
        Such as ``NVIDIA RTX A2000``.
    compute_capability
        Such as ``8.6``.
    driver
        Version of CUDA up to which the driver goes, such as ``13000`` for 13.0.
    """

    name: str
    compute_capability: str
    driver: int


def reasons() -> dict[str, str | None]:
    """Tell for every provider why it would not run here; None where nothing speaks against it.

    No session is opened and nothing is printed. What this cannot foresee, such as a GPU whose
    memory is full, opening a session tells.

    Raises
    ------
    MissingExtraError
        No ONNX Runtime is installed.
    ProviderError
        Two are, and break one another.
    """
    runtime = onnxruntime()
    return {**{name: why_not(name, runtime) for name in GPU_PROVIDERS}, "cpu": None}


def would_use_gpu() -> bool:
    """Tell whether nothing speaks against some GPU's provider."""
    runtime = onnxruntime()
    return any(why_not(name, runtime) is None for name in GPU_PROVIDERS)


def why_not(name: str, runtime: ModuleType) -> str | None:
    """Tell why a GPU's provider cannot run here; None where nothing speaks against it."""
    if name == "tensorrt-rtx":
        if find_spec(_RTX_MODULE) is None:
            return "its plug-in is not installed: pip install 'gliomart[tensorrt-rtx]'"
    elif GPU_PROVIDERS[name].onnx_name not in runtime.get_available_providers():
        return "not part of the installed ONNX Runtime"
    try:
        first_gpu()
        if name == "tensorrt-rtx":
            return None if rtx_devices(runtime) else "its plug-in supports none of the GPUs"
        with redirect_stdout(StringIO()):  # it prints what it misses, which is told below
            # Loads what pip has put beside ONNX Runtime, where the loader would not look.
            runtime.preload_dlls(directory="")
        for library in _LIBRARIES[name]:
            _load(library.format(cuda=runtime.cuda_version.partition(".")[0]))
    except OSError as error:
        return str(error)
    return None


def first_gpu() -> Gpu:
    """Ask the CUDA driver for its first GPU, which is the one that is used.

    Raises
    ------
    OSError
        There is no driver, or no GPU; or this process was forked from one that has used it.

    References
    ----------
    NVIDIA, *CUDA Driver API*: Initialization, Version Management, Device Management.
    """
    if _started_in - {os.getpid()}:
        raise OSError(FORKED)
    driver = _load("libcuda.so.1")

    def call(function: str, *arguments: object) -> None:
        status = getattr(driver, function)(*arguments)
        if status:
            raise OSError(f"the CUDA driver finds no GPU to use ({function}: error {status})")

    call("cuInit", 0)
    _started_in.add(os.getpid())
    device, version, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDeviceGetName", name, len(name), device)
    call("cuDeviceGetAttribute", ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device)
    call("cuDeviceGetAttribute", ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device)
    call("cuDriverGetVersion", ctypes.byref(version))
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", version.value)


def tensorrt_version() -> str:
    """Version of the TensorRT library that is loaded, as NvInferRuntime.h encodes it."""
    return str(_load("libnvinfer.so.10").getInferLibVersion())


def rtx_version() -> str | None:
    """Version of the TensorRT-RTX plug-in, which brings its TensorRT-RTX along."""
    return installed_version("onnxruntime-ep-nv-tensorrt-rtx-cu13")


@cache
def rtx_devices(runtime: ModuleType) -> tuple[OrtEpDevice, ...]:
    """Register the TensorRT-RTX plug-in, once in a process, and list the devices it supports.

    Raises
    ------
    OSError
        The plug-in cannot be loaded.
    """
    try:
        plugin = import_module(_RTX_MODULE)
        name = plugin.get_ep_name()
        with off_standard_output():
            runtime.register_execution_provider_library(name, plugin.get_library_path())
    except Exception as error:  # ONNX Runtime's own errors share no base but Exception
        reason = what_went_wrong(error)
        raise OSError(f"its plug-in cannot be registered ({reason})") from error
    return tuple(device for device in runtime.get_ep_devices() if device.ep_name == name)


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime, and keep it from telling its maker about it.

    From 1.29 on it gives the user an identifier, which it keeps on disk, and sends events about
    sessions and models to Microsoft from the moment it is imported (its ``Privacy.md``). All of
    this is prevented by ``ORT_DISABLE_TELEMETRY`` if that is set before; who sets it to something
    else, decides otherwise.

    Raises
    ------
    MissingExtraError
        It is not installed.
    BrokenExtraError
        It is installed and does not load.
    ProviderError
        Two of it are installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with extras.needed("running a model", "cpu", "onnxruntime"):
        import onnxruntime
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and break one another;"
            " uninstall both, then install one"
        )
    return onnxruntime


def _is_installed(distribution: str) -> bool:
    """Tell whether a distribution is installed (*Recording installed projects*, .dist-info).

    importlib.metadata would tell as well, and takes 10 ms to load.
    """
    name = distribution.replace("-", "_")
    return any(any(Path(place).glob(f"{name}-*.dist-info")) for place in sys.path)


def _load(library: str) -> ctypes.CDLL:
    """Load a library: TensorRT's from where pip puts them, others from where the loader looks."""
    installed = find_spec("tensorrt_libs")
    for place in (installed.submodule_search_locations or ()) if installed else ():
        if (Path(place) / library).exists():
            library = str(Path(place) / library)
    try:
        # So that what is linked to it by name finds it.
        return ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise OSError(f"{Path(library).name} cannot be loaded") from error
