"""What the hardware can do at best, as far as it can be measured: arithmetic and memory.

NumPy's BLAS and ONNX Runtime's integer product reach the highest rates on large square matrices,
where hardly anything but multiplying takes time. A network that comes close to these rates gains
little from another library: it can be made faster only by fewer operations.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.bench.engines import Engine
from gliomart.host import extras
from gliomart.providers import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.bench.report import Floor, Operations

SGEMM, IGEMM, COPY = "matrix product", "integer matrix product", "memory copy"
# Sides of the matrices; the largest leaves the caches, the smallest has the least to pack.
_SIDES = (512, 1024, 2048)
_COPIED = 64 * 2**20


class Product(NamedTuple):
    """A piece of work that was timed.

    Attributes
    ----------
    name, work
        As :class:`~gliomart.bench.engines.Engine` has them.
    ms
        Milliseconds in each round.
    """

    name: str
    work: float
    ms: NDArray[np.float64]

    @property
    def rate(self) -> float:
        """Work in a millisecond, by the median of the rounds."""
        return float(self.work / np.median(self.ms))


def engines(_model: Path, _image: NDArray[np.float32], threads: int) -> list[Engine]:
    """Products of square matrices in float32 and, with ``onnx``, in 8-bit integers; a copy."""
    found = [_sgemm(side) for side in _SIDES]
    found += [_copy(threads)]
    try:
        found += [_igemm(side, threads) for side in _SIDES]
    except ModuleNotFoundError:  # without onnx there is no integer peak, and the report says so
        return found
    return found


def operations(model: Path) -> Operations:
    """Count the operations of a run on one slice, or slab, in 10⁹; a multiply-add is two.

    Convolutions and matrix products count, ``int8`` are those of them that work on integers.

    Raises
    ------
    MissingExtraError
        The package ``onnx`` is not installed.
    """
    with extras.needed("counting a model's operations", "bench", "onnx"):
        import onnx
    loaded = onnx.load(model)
    for value in loaded.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in loaded.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(loaded, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    total = int8 = 0.0
    for node in graph.node:
        if node.op_type == "Conv":  # weights: (out, in per group, *kernel)
            count = 2.0 * prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in {"MatMul", "Gemm"}:
            count = 2.0 * prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        else:
            continue
        total += count
        int8 += count if node.input[1] in integers else 0.0
    return {"all": round(total / 1e9, 4), "int8": round(int8 / 1e9, 4)}


def summary(
    products: Sequence[Product], networks: Mapping[str, tuple[Operations, NDArray[np.float64]]]
) -> Floor:
    """Turn the times of :func:`engines` into rates, and a network's into a share of them.

    Parameters
    ----------
    products
        Of the engines here.
    networks
        By precision: the operations of a run, as counted, and its milliseconds in each round.

    Returns
    -------
    The best rates, and the ``share`` of them that each network reaches: how long its operations
    would take at the rates of the same round, by how long it takes; the median of the rounds.
    """
    best = {kind: _best(products, kind) for kind in (SGEMM, IGEMM, COPY)}
    shares = {}
    for precision, (counted, turns) in networks.items():
        parts = {SGEMM: counted["all"] - counted["int8"], IGEMM: counted["int8"]}
        pairs = [(count * 1e9, best[kind]) for kind, count in parts.items() if count]
        paces = [count / each.work * each.ms for count, each in pairs if each]
        if len(paces) == len(pairs):
            shares[precision] = round(float(np.median(sum(paces) / turns)), 3)
    return {
        "sgemm_gflops": _rate(best[SGEMM]),
        "int8_gops": _rate(best[IGEMM]),
        "copy_gb_per_s": _rate(best[COPY]),
        "share": shares,
    }


def _best(products: Sequence[Product], kind: str) -> Product | None:
    """Pick the one of a kind with the highest rate."""
    found = [each for each in products if each.name.partition(",")[0] == kind]
    return max(found, key=lambda each: each.rate, default=None)


def _rate(product: Product | None) -> float | None:
    """Work in 10⁹ a second."""
    return None if product is None else round(product.rate / 1e6, 1)


def _sgemm(side: int) -> Engine:
    """As many threads as the environment of the process allows BLAS."""
    left, right = np.random.default_rng(0).random((2, side, side), np.float32)
    product = np.empty_like(left)

    def run() -> None:
        np.matmul(left, right, out=product)

    return Engine(f"{SGEMM}, {side}²", "fp32", run, work=2.0 * side**3)


def _igemm(side: int, threads: int) -> Engine:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    left = rng.integers(0, 255, (side, side)).astype(np.uint8)
    right = rng.integers(-64, 63, (side, side)).astype(np.int8)  # as models are quantised
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, [side, side])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [side, side])],
        [numpy_helper.from_array(right, "right")],
    )
    content = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    session, _ = open_session(content, "cpu", allow_fallback=False, threads=threads)

    def run() -> None:
        session.onnx.run(None, {"left": left})

    return Engine(f"{IGEMM}, {side}²", "int8", run, work=2.0 * side**3)


def _copy(threads: int) -> Engine:
    """Copy memory that no cache holds, each thread its own part; reading and writing count."""
    source = np.ones(_COPIED, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))

    return Engine(COPY, "bytes", run, work=2.0 * _COPIED)
