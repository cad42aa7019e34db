"""Keras to ONNX: one graph, checked three ways."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import keras
import numpy as np

from gliomart.errors import ModelError
from gliomart.model.card import METADATA_KEY
from gliomart.model.contents import ANOMALY_MAP, BRAIN, PONS, RECONSTRUCTION, usual_outputs
from gliomart_export.graph import one_by_one, simplified
from gliomart_training.slabs import with_map

if TYPE_CHECKING:
    from keras import KerasTensor
    from numpy.typing import NDArray
    from onnx import ModelProto

    from gliomart.model.card import ModelCard
    from gliomart.model.contents import GraphOutput
    from gliomart_export.precision import Precision
    from gliomart_training.residual import AnomalyMap

OPSET = 18
# Largest difference of a pixel between the graph and the network that is accepted, and of the mean
# pixel where the graph computes in fewer bits.
TOLERANCE = 1e-5
MEAN_TOLERANCE = 1e-2


def to_onnx(network: keras.Model, residual: AnomalyMap) -> ModelProto:
    """Convert a network, with its anomaly map, to an ONNX model (opset 18).

    The graph takes ``image`` float32 (batch, size, size, C) and gives ``anomaly_map``, ``brain``
    and, where the network has them, ``pons`` float32 (batch, size, size, 1) and ``reconstruction``
    of the image's shape. What else the network gives stays inside. One of slabs takes (batch, seen,
    size, size, C) and gives (batch, given, size, size, any).
    """
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape, shapes = network.input_shape[1:], {}

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def detect(image: KerasTensor) -> dict[str, KerasTensor]:
        outputs = _outputs(network, residual, image)
        shapes.update({name: value.shape[1:] for name, value in outputs.items()})
        return {name: tf.identity(value, name=name) for name, value in outputs.items()}

    model, _ = tf2onnx.convert.from_function(
        detect, input_signature=detect.input_signature, opset=OPSET
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for output in model.graph.output:
        dimensions = output.type.tensor_type.shape.dim[1:]
        for dimension, length in zip(dimensions, shapes[output.name], strict=True):
            dimension.dim_value = length
    return simplified(model)


def declared_outputs(model: ModelProto) -> tuple[GraphOutput, ...]:
    """Tell what a graph gives, in its order: every output is called as its role."""
    names = [output.name for output in model.graph.output]
    usual = {RECONSTRUCTION, ANOMALY_MAP, BRAIN}
    declared = usual_outputs(*(name for name in names if name not in usual))
    given = (output for output in declared if output.name in names)
    return tuple(sorted(given, key=lambda output: names.index(output.name)))


def with_card(model: ModelProto, card: ModelCard) -> bytes:
    """Serialise a model with its card inside.

    Raises
    ------
    ModelError
        The model does not pass the ONNX checker.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported graph is not valid ONNX: {error}") from error
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    content: bytes = model.SerializeToString()
    return content


def parity(
    network: keras.Model,
    residual: AnomalyMap,
    content: bytes,
    images: NDArray[np.float32],
    precision: Precision = "fp32",
) -> dict[str, float]:
    """Compare the graph on ONNX Runtime with the network on Keras.

    Parameters
    ----------
    images
        float32 (N, size, size, C): real slices, so that the comparison is where it matters.
    precision
        Of the graph; Keras computes in fp32.

    Returns
    -------
    Largest absolute difference of each output.

    Raises
    ------
    ModelError
        A difference exceeds ``TOLERANCE`` of the output's range, where that is wider than 1; in
        other precisions a mean one ``MEAN_TOLERANCE``.
    """
    from gliomart.providers import open_session

    session, _ = open_session(content, "cpu", allow_fallback=False, threads=None)
    expected = _outputs(network, residual, images)
    exported = one_by_one(session, list(expected), images)
    differences, scales = {}, {}
    for (name, theirs), ours in zip(expected.items(), exported, strict=True):
        differences[name] = np.abs(ours - keras.ops.convert_to_numpy(theirs))
        scales[name] = max(float(np.ptp(ours)), 1.0)
    for name, difference in differences.items():
        largest, mean = float(difference.max()), float(difference.mean())
        if not (
            largest <= TOLERANCE * scales[name] or (precision != "fp32" and mean <= MEAN_TOLERANCE)
        ):
            raise ModelError(
                f"the exported {name} differs from Keras by {largest:.2g}, {mean:.2g} on average"
            )
    return {name: float(difference.max()) for name, difference in differences.items()}


def _outputs(
    network: keras.Model, residual: AnomalyMap, image: KerasTensor
) -> dict[str, KerasTensor]:
    outputs = with_map(residual, image, network(image, training=False))
    given = (RECONSTRUCTION, BRAIN, PONS, ANOMALY_MAP)
    return {name: outputs[name] for name in given if name in outputs}
