"""Graphs for GPUs hold nothing but operators that TensorRT's parser takes, in the ways it does.

The list is that of onnx-tensorrt's support matrix (docs/operators.md, 8.4), whose operators
TensorRT 10 takes as well; those that it restricts are looked at one by one. This tells without a
GPU what would be refused on one; that a graph builds, and computes the same, only a GPU can tell.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gliomart.model.built_in import MODELS, default_model

onnx = pytest.importorskip("onnx", reason="needs the extra: export")

_TAKEN = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
    Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace Div
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity If
    InstanceNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mul
    Neg Not Or Pad Pow PRelu Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape
    Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub
    Sum Tan Tanh Tile TopK Transpose Unsqueeze Where Xor
"""
TAKEN = frozenset(_TAKEN.split())
# Inputs that have to be known when the engine is built, by their place.
CONSTANT = {"Conv": (1,), "ConvTranspose": (1,), "Slice": (3,), "Squeeze": (1,), "Unsqueeze": (1,)}
COORDINATES = {"half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"}


# Networks that see slabs, in the precisions that GPUs are given; they need not be built in.
SLABS = {
    f"{network}, {precision}": (network, precision)
    for network in ("dae-across", "dae-neighbours", "dae-volume", "ensemble-volume")
    for precision in ("fp32", "fp16")
}


@pytest.fixture(scope="module", params=[*sorted(MODELS), *SLABS])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param not in SLABS:
        return default_model("cuda", request.param)
    path = tmp_path_factory.mktemp("slabs") / "slab.onnx"
    network, precision = SLABS[request.param]
    graph = _exported(network)
    if precision == "fp16":
        from gliomart_export.precision import to_fp16

        graph = to_fp16(graph)
    onnx.save(graph, path)
    return path


@cache
def _exported(name: str) -> Any:
    """Export a network that nobody trained, with its map and both localisers."""
    pytest.importorskip("tf2onnx", reason="needs the extra: export")
    pytest.importorskip("keras", reason="needs the extra: training")
    from gliomart_export import conversion
    from gliomart_training.brain_localiser import brain_localiser
    from gliomart_training.localiser import joined, pons_localiser, with_pons
    from gliomart_training.networks import network

    declared, size = network(name), 64
    assert declared.slab is not None
    built = joined(declared.build(size, 1), brain_localiser(size), "brain")
    return conversion.to_onnx(with_pons(built, pons_localiser(size)), declared.recipe.residual)


def test_every_operator_is_taken_by_tensorrt(file: Path) -> None:
    graph = onnx.load(file).graph
    assert {node.op_type for node in graph.node} <= TAKEN
    assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


def test_what_tensorrt_wants_constant_is_constant(file: Path) -> None:
    graph = onnx.load(file).graph
    constant = {each.name for each in graph.initializer}
    constant |= {out for node in graph.node if node.op_type == "Constant" for out in node.output}
    for node in graph.node:
        for place in CONSTANT.get(node.op_type, ()):
            if place < len(node.input):
                assert node.input[place] in constant, node.name


def test_images_are_resized_in_ways_that_tensorrt_knows(file: Path) -> None:
    for node in onnx.load(file).graph.node:
        if node.op_type == "Resize":
            said = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            assert said["mode"] in {b"linear", b"nearest"}
            assert said["coordinate_transformation_mode"].decode() in COORDINATES


def test_only_the_number_of_images_or_slabs_is_left_open(file: Path) -> None:
    """An engine is built for shapes that are fixed but for that, of slabs too: one profile does."""
    graph = onnx.load(file).graph
    for value in (*graph.input, *graph.output):
        first, *others = value.type.tensor_type.shape.dim
        assert first.dim_param == "batch"
        assert all(each.dim_value > 0 for each in others)


def test_an_operator_that_is_not_taken_would_be_found() -> None:
    assert not {"NonZero", "QLinearConv", "Det"} & TAKEN


def test_every_network_of_slabs_is_looked_at() -> None:
    pytest.importorskip("keras", reason="needs the extra: training")
    from gliomart_training import networks

    known = {name for name in networks.names() if networks.network(name).slab is not None}
    assert {network for network, _ in SLABS.values()} == known
