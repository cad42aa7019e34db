"""What each GPU's provider is asked for, and where it keeps what it builds.

References
----------
ONNX Runtime, *TensorRT Execution Provider*, *CUDA Execution Provider*; NVIDIA,
``tensorrt_rtx_provider_options.h`` of the TensorRT-RTX plug-in.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from gliomart.providers import cache, probe
from gliomart.providers.choice import largest_batch
from gliomart.providers.session import LARGEST_GPU_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def variants(
    name: str, model: bytes, image: str, shape: Sequence[int], *, half: bool
) -> Iterator[dict[str, str]]:
    """Yield the options to try one after the other, until a session opens.

    Parameters
    ----------
    name
        The provider's.
    model
        Content of the model file.
    image, shape
        Name and shape of its input, without the batch.
    half
        Let it compute in half precision.
    """
    if name == "cuda":
        yield cuda(graph=True)
        yield cuda(graph=False)  # a graph cannot be recorded where part of the model is elsewhere
        return
    make = _tensorrt if name == "tensorrt" else _tensorrt_rtx
    asked = make(image, shape, half=half)
    place = cache.folder(cache_key(name, model, asked))
    if place is None:
        yield asked
        return
    kept = asked | (_tensorrt_cache(place) if name == "tensorrt" else _tensorrt_rtx_cache(place))
    yield kept
    if any(place.iterdir()):  # perhaps what is there is no whole engine
        cache.empty(place)
        yield kept


def cuda(*, graph: bool) -> dict[str, str]:
    """Options of CUDA, which computes in full precision.

    TF32 would round what goes into convolutions to ten bits. The algorithms are those that cuDNN's
    heuristics choose: a search among them takes seconds at every start, and may end differently.
    """
    return {
        "device_id": "0",
        "gpu_mem_limit": str(LARGEST_GPU_MEMORY),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "enable_cuda_graph": str(int(graph)),
    }


def cache_key(name: str, model: bytes, asked: dict[str, str]) -> dict[str, str]:
    """All that an engine depends on: model, options, GPU, driver, libraries."""
    gpu, runtime = probe.first_gpu(), probe.onnxruntime()
    library = probe.tensorrt_version() if name == "tensorrt" else probe.rtx_version()
    return {
        "provider": name,
        "model": hashlib.sha256(model).hexdigest(),
        "options": json.dumps(asked, sort_keys=True),
        "gpu": gpu.name,
        "compute capability": gpu.compute_capability,
        "driver": str(gpu.driver),
        "onnxruntime": str(runtime.__version__),
        "library": str(library),
    }


def _tensorrt(image: str, shape: Sequence[int], *, half: bool) -> dict[str, str]:
    # No CUDA graph: this provider keeps one whatever the batch, and would replay it for another.
    return {
        "device_id": "0",
        "trt_fp16_enable": str(half),
        **{f"trt_profile_{end}_shapes": value for end, value in _profile(image, shape).items()},
    }


def _tensorrt_cache(place: Path) -> dict[str, str]:
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(place),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(place),
    }


def _tensorrt_rtx(image: str, shape: Sequence[int], *, half: bool) -> dict[str, str]:  # noqa: ARG001
    # Its precision is the graph's own.
    return {f"nv_profile_{end}_shapes": value for end, value in _profile(image, shape).items()}


def _tensorrt_rtx_cache(place: Path) -> dict[str, str]:
    return {"nv_runtime_cache_path": str(place)}


def _profile(image: str, shape: Sequence[int]) -> dict[str, str]:
    """Batches from one slice to many, best for one, as scanners give them."""
    batches = {"min": 1, "opt": 1, "max": largest_batch(shape)}
    return {end: f"{image}:{'x'.join(map(str, (n, *shape)))}" for end, n in batches.items()}
