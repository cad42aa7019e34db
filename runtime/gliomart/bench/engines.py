"""Engines that run gliomart's own model files, for a comparison (:mod:`gliomart.bench.compare`).

An engine takes what a model is given at a time, a slice or a slab, and gives anomaly maps as a
caller would want them. Engines that other packages bring are found through the entry-point group
``gliomart.engines``: functions ``(model, image, threads) -> list[Engine]`` as those here, each
called in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gliomart.bench.machine import precision
from gliomart.host import extras
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

GROUP = "gliomart.engines"


@dataclass(frozen=True)
class Engine:
    """One way to do a piece of work.

    Attributes
    ----------
    name, precision
        What it is, and the numbers it computes in.
    run
        Does the work once. Gives the anomaly maps, float32 (size, size) each, if it runs the model
        file's own weights, and None otherwise.
    work
        Operations or bytes that are known to be done; None for a network.
    """

    name: str
    precision: str
    run: Callable[[], list[NDArray[np.float32]] | None]
    work: float | None = None


def onnxruntime(model: Path, image: NDArray[np.float32], threads: int) -> list[Engine]:
    """Run a model as gliomart does, its checks of what comes out included."""
    opened = Model(model, provider="cpu", threads=threads)

    def run() -> list[NDArray[np.float32]]:
        return [each.anomaly_map for each in opened.run_batch(image[None])]

    return [Engine("ONNX Runtime", precision(opened.card), run)]


def openvino(model: Path, image: NDArray[np.float32], threads: int) -> list[Engine]:
    """Run a model file in OpenVINO, tuned for latency; in bfloat16 as well where it is in float.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed.
    """
    with extras.needed("OpenVINO", "bench", "openvino"):
        import openvino as ov
    numbers = precision(Model(model, provider="cpu", threads=threads).card)
    core = ov.Core()
    hints = {"f32": numbers}
    if numbers == "fp32" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        hints["bf16"] = "bf16"
    network = core.read_model(model)
    network.reshape({"image": [1, *image.shape]})
    return [
        Engine("OpenVINO", name, _openvino_run(core, network, image, threads, hint))
        for hint, name in hints.items()
    ]


def _openvino_run(
    core: Any,  # noqa: ANN401
    network: Any,  # noqa: ANN401
    image: NDArray[np.float32],
    threads: int,
    hint: str,
) -> Callable[[], list[NDArray[np.float32]]]:
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
    }
    compiled = core.compile_model(network, "CPU", settings)
    request, batch = compiled.create_infer_request(), image[None]

    size = image.shape[-3:-1]

    def run() -> list[NDArray[np.float32]]:
        return list(request.infer({"image": batch})["anomaly_map"].reshape(-1, *size))

    return run
