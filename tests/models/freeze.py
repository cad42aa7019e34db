"""Make a small model file with the card of a large one: a few operators in place of its network.

    python tests/models/freeze.py MODEL.onnx SMALL.onnx

The small one has the inputs, outputs, opsets and metadata of the large one, the card byte for byte.
It takes for anomalous what is brighter than 0.5, for brain what is brighter than 0.2, and for pons
a disk in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
from onnx import parser

_GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
small (float[batch, 256, 256, 1] image) => (float[batch, 256, 256, 1] reconstruction)
<float half = {0.5}, float[1, 1, 1, 1] dark = {0.2},
 float across = {128.0}, float down = {160.0}, float squared = {256.0},
 int64 first = {0}, int64 side = {256}, int64 step = {1},
 int64[4] rows = {1, 256, 1, 1}, int64[4] columns = {1, 1, 256, 1}>
{
    reconstruction = Min(image, half)
    anomaly_map = Sub(image, reconstruction)
    bright = Greater(image, dark)
    brain = Cast <to = 1> (bright)
    places = Range(first, side, step)
    place = Cast <to = 1> (places)
    from_row = Sub(place, down)
    from_column = Sub(place, across)
    row_squared = Mul(from_row, from_row)
    column_squared = Mul(from_column, from_column)
    height = Reshape(row_squared, rows)
    width = Reshape(column_squared, columns)
    distance = Add(height, width)
    near = Less(distance, squared)
    here = Cast <to = 1> (near)
    pons = Mul(brain, here)
}
"""


def freeze(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make the small model."""
    small = parser.parse_model(_GRAPH)
    for field in (small.opset_import, small.metadata_props, small.graph.output):
        del field[:]
    small.opset_import.extend(model.opset_import)
    small.metadata_props.extend(model.metadata_props)
    small.graph.output.extend(model.graph.output)
    small.ir_version = model.ir_version
    return small


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(freeze(onnx.load(source)).SerializeToString())
