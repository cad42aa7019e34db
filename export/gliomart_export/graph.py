"""Exported graphs: what makes them run faster and leaves what they compute, and running them."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto

    from gliomart.providers.session import Session


def simplified(model: ModelProto) -> ModelProto:
    """Fold normalisations into their convolutions, and join convolutions that read the same.

    Parameters
    ----------
    model
        An ONNX model of ONNX's own operators.

    Returns
    -------
    Another one that computes the same, up to rounding.
    """
    model = _folded(model)
    _join_siblings(model.graph)
    return model


def one_by_one(
    session: Session, names: Sequence[str], images: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Run images, or slabs, one after the other: together they would take too much memory."""
    each = [session.run(names, {"image": image[np.newaxis]}) for image in images]
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


def _folded(model: ModelProto) -> ModelProto:
    """Apply ONNX Runtime's basic optimisations, which keep to ONNX's own operators."""
    import onnx

    from gliomart.providers.probe import onnxruntime  # as gliomart wants it: silent

    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(file)
        runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        folded = onnx.load(file)
    # Only of what is used: ONNX Runtime names every set of operators that it knows itself.
    own = [opset for opset in folded.opset_import if opset.domain in {"", "ai.onnx"}]
    del folded.opset_import[:]
    folded.opset_import.extend(own)
    return folded


def _join_siblings(graph: GraphProto) -> None:
    """Make one convolution of those of the same kind with the same input, and split its output.

    A convolution with one output takes as long as one with sixteen: that is what a processor's
    vector holds.
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    families = defaultdict(list)
    for node in graph.node:
        if node.op_type == "Conv" and all(name in weights for name in node.input[1:]):
            kind = tuple(sorted(str(attribute) for attribute in node.attribute))
            families[(node.input[0], len(node.input), kind)].append(node)
    for siblings in families.values():
        if len(siblings) == 1:
            continue
        first = siblings[0]
        parts = [weights[node.input[1]].dims[0] for node in siblings]
        joined = first.output[0] + "_joined"
        inputs = [first.input[0]]
        for position in range(1, len(first.input)):
            values = [numpy_helper.to_array(weights[node.input[position]]) for node in siblings]
            tensor = numpy_helper.from_array(np.concatenate(values), f"{joined}_{position}")
            graph.initializer.append(tensor)
            inputs.append(tensor.name)
        sizes = numpy_helper.from_array(np.array(parts, np.int64), f"{joined}_sizes")
        graph.initializer.append(sizes)
        whole = helper.make_node("Conv", inputs, [joined], name=joined)
        whole.attribute.extend(first.attribute)
        split = helper.make_node(
            "Split",
            [joined, sizes.name],
            [node.output[0] for node in siblings],
            name=f"{joined}_split",
            axis=1,
        )
        place = list(graph.node).index(first)
        for node in siblings:
            graph.node.remove(node)
        graph.node.insert(place, split)
        graph.node.insert(place, whole)
    _remove_unused(graph)


def _remove_unused(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)
