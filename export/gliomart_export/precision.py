"""The same graph in another precision: 8-bit integers for CPUs, half precision for GPUs.

Either way an image, what is added to it and the anomaly map stay in single precision: they take
little time, and what they lose is lost to the result. Inputs and outputs stay float32 as well.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from gliomart_export.graph import one_by_one

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# A convolution from or to fewer channels than a processor's vector holds gains nothing.
_FEWEST_CHANNELS = 16
# What passes on a convolution's features, and would turn them back into floats if left out.
_PASSED_ON = ("AveragePool", "Relu", "Add", "Resize")
# A convolution that alone moves an output by more than this, on average, stays in float.
_SENSITIVE = 1e-3


@dataclass(frozen=True)
class PrecisionPlan:
    """Which precision a graph computes in, and what of it stays in float; part of the card.

    Attributes
    ----------
    precision
        Of the features.
    sensitivity
        For int8: the mean absolute difference that each convolution, in the graph's order, makes
        to the output that it moves most if it alone is quantised.
    in_float
        For int8: the convolutions, by their place in that list, that were left in float for it.
    """

    precision: Precision
    sensitivity: tuple[float, ...] = ()
    in_float: tuple[int, ...] = ()


def choose(precision: Precision, model: ModelProto, images: NDArray[np.float32]) -> PrecisionPlan:
    """Decide what of a graph is to be in which plan.

    Parameters
    ----------
    model
        An ONNX model from :func:`gliomart_export.conversion.to_onnx`.
    images
        float32 (N, size, size, C) in [0, 1], from the training split.
    """
    if precision != "int8":
        return PrecisionPlan(precision)
    moved = sensitivity(model, images)
    sensitive = [place for place, difference in enumerate(moved) if difference > _SENSITIVE]
    return PrecisionPlan(precision, tuple(moved), tuple(sensitive))


def converted(model: ModelProto, plan: PrecisionPlan, images: NDArray[np.float32]) -> ModelProto:
    """Convert a graph as planned for it, or for another of the same network.

    Parameters
    ----------
    images
        float32 (N, size, size, C) in [0, 1], from the training split: what the ranges of integers
        are taken from.
    """
    if plan.precision == "fp16":
        return to_fp16(model)
    if plan.precision == "int8":
        return to_int8(model, images, in_float=plan.in_float)
    return model


def to_int8(
    model: ModelProto,
    images: NDArray[np.float32],
    *,
    in_float: Collection[int] = (),
) -> ModelProto:
    """Quantise a graph's features: weights by channel, activations by tensor, written as QDQ.

    Weights take 7 bits of the 8: processors without VNNI add products up in pairs of 16 bits, which
    the full range would overflow; so results differ between processors by rounding alone.
    """
    features = list(_features(model))
    convolutions = [node.name for node in features if node.op_type == "Conv"]
    left = {convolutions[place] for place in in_float}
    names = [node.name for node in features if node.name not in left]
    return _quantised(_pooling_as_convolution(model), names, images)


def sensitivity(model: ModelProto, images: NDArray[np.float32]) -> list[float]:
    """Quantise each convolution alone: what it moves most, as :class:`PrecisionPlan` keeps it."""
    expected = _run(model, images)
    moved = []
    for node in _features(model):
        if node.op_type == "Conv":
            outputs = _run(_quantised(model, [node.name], images), images)
            differences = [np.abs(a - b).mean() for a, b in zip(outputs, expected, strict=True)]
            moved.append(round(float(max(differences)), 7))
    return moved


def to_fp16(model: ModelProto) -> ModelProto:
    """Compute a graph's features in half precision; for GPUs, as CPUs are slower in it."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    features = {node.name for node in _features(model)}
    others = [node.name for node in model.graph.node if node.name not in features]
    half = convert_float_to_float16(
        copy.deepcopy(model), keep_io_types=True, node_block_list=others, op_block_list=[]
    )
    # ONNX Runtime before 1.32 casts a value once for each node that takes it, all under one name.
    made: set[str] = set()
    for node in list(half.graph.node):
        if not made.isdisjoint(node.output):
            half.graph.node.remove(node)
        made.update(node.output)
    OnnxModel(half).topological_sort()
    return half


def _features(model: ModelProto) -> Iterator[NodeProto]:
    """Find the nodes that make features of features, (N, C, H, W); the map's smoothing is none."""
    channels = _channels(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        groups = [attribute.i for attribute in node.attribute if attribute.name == "group"]
        if node.op_type in {"Conv", *_PASSED_ON} and groups in ([], [1]):
            names = [*(n for n in node.input if n and n not in constants), node.output[0]]
            if all(channels.get(name, 0) >= _FEWEST_CHANNELS for name in names):
                yield node


def _channels(model: ModelProto) -> dict[str, int]:
    """Second dimension of every value of the graph that has four."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: shape[1].dim_value for name, shape in shapes.items() if len(shape) == 4}  # noqa: PLR2004


def _pooling_as_convolution(model: ModelProto) -> ModelProto:
    """Write the average pooling of features as a convolution, which is quantised in a tenth."""
    from onnx import helper, numpy_helper

    model = copy.deepcopy(model)
    graph = model.graph
    channels = _channels(model)
    for place, node in enumerate(graph.node):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        count = channels.get(node.output[0], 0)
        if node.op_type != "AveragePool" or "pads" in attributes or count < _FEWEST_CHANNELS:
            continue
        window, strides = (list(attributes[name].ints) for name in ("kernel_shape", "strides"))
        mean = np.full((count, 1, *window), 1 / np.prod(window), np.float32)
        graph.initializer.append(numpy_helper.from_array(mean, f"{node.name}_mean"))
        convolution = helper.make_node(
            "Conv",
            [node.input[0], f"{node.name}_mean"],
            list(node.output),
            name=node.name,
            group=count,
            kernel_shape=window,
            strides=strides,
        )
        graph.node[place].CopyFrom(convolution)
    return model


def _quantised(model: ModelProto, nodes: Sequence[str], images: NDArray[np.float32]) -> ModelProto:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image[np.newaxis]}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "model.onnx"
        quantize_static(
            copy.deepcopy(model),
            file,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "Add", "Resize"],
            nodes_to_quantize=list(nodes),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime from advising, by the root logger, to prepare the graph its own way.

    What others log meanwhile, and the root logger's own level, stay as they are.
    """
    root = logging.getLogger()

    def by_others(record: logging.LogRecord) -> bool:
        quantiser = "onnxruntime" in Path(record.pathname).parts
        return not quantiser or record.levelno >= logging.ERROR

    # Without a handler, logging would give the root one that writes to standard error.
    handler = logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(by_others)
    try:
        yield
    finally:
        root.removeFilter(by_others)
        root.removeHandler(handler)


def _run(model: ModelProto, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    from gliomart.providers import open_session

    session, _ = open_session(model.SerializeToString(), "cpu", allow_fallback=False, threads=None)
    return one_by_one(session, [output.name for output in model.graph.output], images)
