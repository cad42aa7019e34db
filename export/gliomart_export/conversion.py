"""Keras to ONNX: one graph, checked three ways."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gliomart.card import METADATA_KEY
from gliomart.errors import ModelError
from gliomart_training.residual import Residual, anomaly_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart.card import ModelCard

OPSET = 18
# Largest absolute difference between the graph and the network that is accepted.
TOLERANCE = 1e-5


def to_onnx(network: keras.Model, residual: Residual) -> Any:  # noqa: ANN401
    """Convert a network, with its anomaly map, to an ONNX model (opset 18).

    The graph takes ``image`` float32 (batch, size, size, C) and gives ``reconstruction`` of the
    same shape, ``anomaly_map``, ``brain`` and, where the network has one, ``pons`` float32
    (batch, size, size, 1).

    Raises
    ------
    ModelError
        The result does not pass the ONNX checker.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = network.input_shape[1:]

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def detect(image: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            name: tf.identity(value, name=name)
            for name, value in _outputs(network, residual, image).items()
        }

    model, _ = tf2onnx.convert.from_function(
        detect, input_signature=detect.input_signature, opset=OPSET
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for output in model.graph.output:
        channels = shape[-1] if output.name == "reconstruction" else 1
        for dimension, length in zip(
            output.type.tensor_type.shape.dim[1:], (*shape[:-1], channels), strict=True
        ):
            dimension.dim_value = length
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported graph is not valid ONNX: {error}") from error
    return model


def with_card(model: Any, card: ModelCard) -> bytes:  # noqa: ANN401
    """Serialise a model with its card inside."""
    import onnx

    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    content: bytes = model.SerializeToString()
    return content


def parity(
    network: keras.Model, residual: Residual, content: bytes, images: NDArray[np.float32]
) -> dict[str, float]:
    """Compare the graph on ONNX Runtime with the network on Keras.

    Parameters
    ----------
    images
        float32 (N, size, size, C): real slices, so that the comparison is where it matters.

    Returns
    -------
    Largest absolute difference of each output.

    Raises
    ------
    ModelError
        A difference exceeds ``TOLERANCE``.
    """
    from gliomart.providers import open_session

    session, _ = open_session(content, "cpu", allow_fallback=False, threads=None)
    expected = _outputs(network, residual, images)
    exported = session.run(list(expected), {"image": images})
    differences = {
        name: float(np.abs(ours - keras.ops.convert_to_numpy(theirs)).max())
        for (name, theirs), ours in zip(expected.items(), exported, strict=True)
    }
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ModelError(f"the exported {name} differs from Keras by {difference:.2g}")
    return differences


def _outputs(network: keras.Model, residual: Residual, image: Any) -> dict[str, Any]:  # noqa: ANN401
    outputs = network(image, training=False)
    return {
        **outputs,
        "anomaly_map": anomaly_map(image, outputs["reconstruction"], outputs["brain"], residual),
    }
