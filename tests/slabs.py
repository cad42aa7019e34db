"""A model that sees slabs, small enough to build on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliomart.model.contents import VOLUME, Scoring, Slab
from samples import PONS_RULES, card, tiny_model


def slab_model(path: Path, slab: Slab, *, pons: bool = False, **changes: Any) -> Path:
    """Write :func:`samples.tiny_model` for slabs; its maps are means over a slab's context.

    With a context of 1 the map of a slice is the mean of its own and both neighbours'.
    """
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    model = onnx.load(tiny_model(path, pons=pons))
    graph = model.graph
    (image,) = graph.input
    _, *size, channels = (each.dim_value for each in image.type.tensor_type.shape.dim)
    depths = {each.name: each.type.tensor_type.shape.dim[3].dim_value for each in graph.output}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{n}_apart" if n in {"image", *depths} else n for n in names]
    nodes = [helper.make_node("Reshape", ["image", "apart"], ["image_apart"])]
    constants = {"apart": [-1, *size, channels], "axis_1": [1]}
    context = slab.context
    for name, depth in depths.items():
        constants[f"{name}_together"] = [-1, slab.seen, *size, depth]
        together = [f"{name}_apart", f"{name}_together"]
        nodes.append(helper.make_node("Reshape", together, [f"{name}_slabs"]))
        firsts = range(2 * context + 1) if name == "anomaly_map" else [context]
        for first in firsts:
            constants |= {f"from_{first}": [first], f"to_{first}": [first + slab.given]}
            ends = [f"{name}_slabs", f"from_{first}", f"to_{first}", "axis_1"]
            nodes.append(helper.make_node("Slice", ends, [f"{name}_{first}"]))
        nodes.append(helper.make_node("Mean", [f"{name}_{first}" for first in firsts], [name]))
    graph.node.insert(0, nodes[0])
    graph.node.extend(nodes[1:])
    for name, values in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    del graph.input[:], graph.output[:]
    shape = ["batch", slab.seen, *size, channels]
    graph.input.append(helper.make_tensor_value_info("image", kind, shape))
    for name, depth in depths.items():
        shape = ["batch", slab.given, *size, depth]
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    usual = {"family": VOLUME, "pons": PONS_RULES if pons else None, "scoring": Scoring()}
    known = card(**(usual | changes))
    helper.set_model_props(model, {"gliomart": known.to_json()})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
