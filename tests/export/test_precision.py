from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from samples import draw_head

keras = pytest.importorskip("keras", reason="needs the extra: training")
onnx = pytest.importorskip("onnx", reason="needs the extra: export")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from gliomart.errors import ModelError  # noqa: E402
from gliomart.image.normalisation import estimate_normalisation  # noqa: E402
from gliomart.image.preprocess import prepare  # noqa: E402
from gliomart.image.slices import Slice  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart.providers import open_session  # noqa: E402
from gliomart_export import conversion, graph, precision  # noqa: E402
from gliomart_training import networks  # noqa: E402
from gliomart_training.localiser import pons_localiser, with_pons  # noqa: E402
from gliomart_training.residual import Residual  # noqa: E402
from samples import PONS_RULES, card  # noqa: E402
from untrained import as_seen, untrained  # noqa: E402


def _run(model: Any, image: np.ndarray) -> list[np.ndarray]:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    session, _ = open_session(content, "cpu", allow_fallback=False, threads=None)
    return session.onnx.run(None, {"image": image})


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    spec = Preprocessing()
    slices = [Slice(draw_head(seed=n, lesion=0.3 * n)) for n in range(4)]
    frame = estimate_normalisation(slices, spec)
    return np.stack([prepare(s, frame, spec).image for s in slices])


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(1)
    network = with_pons(networks.network("dae").build(256, 1), pons_localiser(256))
    for weights in network.weights:
        weights.assign_add(keras.random.normal(weights.shape, stddev=0.02))
    return network


@pytest.fixture(scope="module")
def model(network: Any) -> Any:
    return conversion.to_onnx(network, Residual())


def _types(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_normalisations_are_folded_and_the_heads_are_one_convolution(model: Any) -> None:
    kernels = {t.name: t.dims for t in model.graph.initializer}
    heads = [n for n in model.graph.node if n.op_type == "Conv" and kernels[n.input[1]][0] == 2]
    assert len(heads) == 1  # the correction and the brain
    # All that follows a convolution is one addition per skip and the reconstruction's.
    assert _types(model).count("Add") == 3 + 3 + 1 + 1
    assert all(opset.domain == "" for opset in model.opset_import)


def test_siblings_are_joined_only_where_they_are_alike() -> None:
    random = np.random.default_rng(0)

    def convolution(name: str, outputs: int, side: int, **attributes: Any) -> tuple[Any, Any]:
        weights = random.normal(size=(outputs, 3, side, side)).astype(np.float32)
        node = helper.make_node(
            "Conv", ["x", f"{name}_w"], [name], name=name, kernel_shape=[side, side], **attributes
        )
        return node, numpy_helper.from_array(weights, f"{name}_w")

    made = [
        convolution("a", 1, 3, pads=[1, 1, 1, 1]),
        convolution("b", 4, 3, pads=[1, 1, 1, 1]),
        convolution("c", 1, 3, pads=[2, 2, 2, 2], dilations=[2, 2]),
        convolution("d", 1, 1),
    ]
    names = ["a", "b", "c", "d"]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    nodes, weights = [node for node, _ in made], [tensor for _, tensor in made]
    before = helper.make_model(
        helper.make_graph(nodes, "g", [source], outputs, weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    after = graph.simplified(before)
    assert _types(after).count("Conv") == 3
    image = {"x": random.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    sessions = [
        open_session(m.SerializeToString(), "cpu", allow_fallback=False, threads=None)[0]
        for m in (before, after)
    ]
    for one, other in zip(*(s.run(names, image) for s in sessions), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_int8_computes_features_in_integers_and_images_in_float(
    network: Any, model: Any, images: np.ndarray
) -> None:
    numbers = precision.choose("int8", model, images)
    assert len(numbers.sensitivity) > 20
    assert min(numbers.sensitivity) > 0
    quantised = precision.converted(model, numbers, images)
    content = conversion.with_card(quantised, card(pons=PONS_RULES))
    with pytest.raises(ModelError, match="differs from Keras"):  # they are not the same numbers
        conversion.parity(network, Residual(), content, images)
    differences = conversion.parity(network, Residual(), content, images, "int8")
    assert set(differences) == {"reconstruction", "anomaly_map", "brain", "pons"}
    weights = {t.name: t for t in quantised.graph.initializer}
    integers = [t for t in weights.values() if t.data_type == TensorProto.INT8 and t.dims]
    # 7 bits, so that pairs of products fit into 16 on processors without VNNI
    assert max(np.abs(numpy_helper.to_array(t).astype(int)).max() for t in integers) <= 64
    produced = {output: node for node in quantised.graph.node for output in node.output}
    reads = {n.input[0]: n for n in quantised.graph.node if n.op_type == "QuantizeLinear"}
    assert "image" not in reads  # the image itself is never rounded
    assert produced["anomaly_map"].op_type != "DequantizeLinear"


def test_what_is_sensitive_stays_in_float(model: Any, images: np.ndarray) -> None:
    numbers = precision.PrecisionPlan("int8", (), in_float=(0, 1, 2))
    fewer = _types(precision.converted(model, numbers, images)).count("QuantizeLinear")
    all_of_them = precision.PrecisionPlan("int8")
    assert fewer < _types(precision.converted(model, all_of_them, images)).count("QuantizeLinear")


def test_fp16_keeps_inputs_and_outputs_and_stays_close(
    network: Any, model: Any, images: np.ndarray
) -> None:
    half = precision.converted(model, precision.choose("fp16", model, images), images)
    halves = [t for t in half.graph.initializer if t.data_type == TensorProto.FLOAT16]
    assert len(halves) > 40
    content = conversion.with_card(half, card(pons=PONS_RULES))
    assert all(output.dtype == np.float32 for output in _run(content, images[:1]))
    assert max(conversion.parity(network, Residual(), content, images, "fp16").values()) < 0.02


def test_quantising_leaves_the_logging_of_others_as_it_is(
    model: Any, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters))
    root.setLevel(logging.INFO)
    seen = iter(images[:2])

    def told() -> Iterator[np.ndarray]:
        for image in seen:
            logging.info("an image of somebody's")  # noqa: LOG015  # as others do
            yield image

    try:
        precision.to_int8(model, told())  # type: ignore[arg-type]
        assert root.level == logging.INFO
    finally:
        root.setLevel(before[0])
    assert (root.level, list(root.handlers), list(root.filters)) == before
    assert {record.message for record in caplog.records} == {"an image of somebody's"}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", networks.names())
def test_every_network_can_be_quantised(name: str, images: np.ndarray) -> None:
    keras.utils.set_random_seed(1)
    declared = networks.network(name)
    exported = conversion.to_onnx(untrained(name, Preprocessing()), declared.recipe.residual)
    seen = as_seen(images, declared)
    quantised = precision.to_int8(exported, seen[:2])
    content = conversion.with_card(quantised, card())
    for ours, theirs in zip(_run(content, seen), _run(exported, seen), strict=True):
        assert np.abs(ours - theirs).mean() < 0.05
