"""Model files that mean harm, or that nobody meant; each ends in one sentence about it.

``python tests/hostile_models.py FOLDER`` writes them all, tries each in a
process of its own, and prints what it ended in, how long that took and how much memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gliomart import Detector
from gliomart.errors import ModelError
from gliomart.providers import session
from samples import PONS_RULES, card, draw_head, tiny_model

_GIB = 2**30


def _tiny(path: Path, **options: Any) -> Any:
    return onnx.load(tiny_model(path, **options))


def _save(model: Any, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def _adding(nodes: Sequence[Any], **constants: Any) -> Callable[[Path], object]:
    """Add ``bomb``, which the nodes compute, to the anomaly map of a model that works."""

    def write(path: Path) -> None:
        model = _tiny(path)
        model.graph.node[-1].output[0] = "clean"
        model.graph.node.extend([*nodes, _node("Add", "clean bomb", "anomaly_map")])
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )
        _save(model, path)

    return write


def _node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def _changing(change: Callable[[Any], object], **options: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        model = _tiny(path, **options)
        change(model)
        _save(model, path)

    return write


def _metadata(**entries: str) -> Callable[[Path], object]:
    return lambda path: _save(_tiny(path, metadata=entries), path)


def _card(**changes: Any) -> str:
    return json.dumps(json.loads(card().to_json()) | changes)


def _sparse_file(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(6 * _GIB)


def _truncated(path: Path) -> None:
    content = tiny_model(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _body(inputs: Sequence[str], outputs: Sequence[str], *nodes: Any) -> Any:
    kinds = {"i": TensorProto.INT64, "c": TensorProto.BOOL}

    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, kinds.get(name[0], TensorProto.FLOAT), [])

    return helper.make_graph(
        list(nodes), "body", list(map(value, inputs)), list(map(value, outputs))
    )


_LOOP = _body(
    ["i", "c_in", "x"], ["c_out", "y"], _node("Identity", "c_in", "c_out"), _node("Add", "x x", "y")
)
_BRANCH = _body([], ["z"], _node("Constant", "", "z", value_float=1.0))


def _external(location: str, *, inside: bool = False) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        model = _tiny(path)
        tensor = next(t for t in model.graph.initializer if t.name == "half")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": "4"}.items():
            tensor.external_data.add(
                key=key, value=path.name if inside and key == "location" else value
            )
        _save(model, path)

    return write


def _declare(
    model: Any, name: str, dims: Sequence[int | str], kind: int = TensorProto.FLOAT
) -> None:
    for values in (model.graph.input, model.graph.output):
        for value in values:
            if value.name == name:
                value.CopyFrom(helper.make_tensor_value_info(name, kind, dims))


def _replace_last(model: Any, *nodes: Any, **constants: Any) -> None:
    del model.graph.node[-1]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )


def _wrong_size(model: Any) -> None:
    next(t for t in model.graph.initializer if t.name == "half").dims.append(2**40)


def _int8_input(model: Any) -> None:
    _declare(model, "image", ["batch", 256, 256, 1], TensorProto.INT8)
    for node in model.graph.node:
        for number, name in enumerate(node.input):
            if name == "image":
                node.input[number] = "as_float"
    model.graph.node.insert(0, _node("Cast", "image", "as_float", to=TensorProto.FLOAT))


def _functions(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 18)]
    body = [_node("Add", "x x", "y")]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, opsets))


def _sparse_tensor(model: Any) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [160 * 10**9]))


def _many_nodes(model: Any) -> None:
    model.graph.node.extend(_node("Relu", "half", f"unused{n}") for n in range(30_000))


_OUT_OF_MEMORY = "asks for more than 512 MiB"
_TALL, _WIDE = np.ones((400_000, 1), np.float32), np.ones((1, 400_000), np.float32)

# What each file is, and what the one sentence about it says.
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "several-gigabytes": (_sparse_file, "larger than any model"),
    "no-bytes": (lambda path: path.write_bytes(b""), "not a model that ONNX Runtime can run"),
    "a-picture": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" * 9), "not an ONNX file"),
    "truncated": (_truncated, "the end of it is missing"),
    "a-device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a-pipe": (os.mkfifo, "not a regular file"),
    "card-of-100-megabytes": (
        lambda path: tiny_model(path, metadata={"gliomart": "x" * 100_000_000}),
        "95 MiB beside its weights",
    ),
    "card-without-end": (_metadata(gliomart="[" * 1_000_000), "not valid JSON"),
    "card-that-nests": (
        _metadata(gliomart=_card(training=json.loads('{"a":' * 400 + "1" + "}" * 400))),
        "nests deeper than 32 levels",
    ),
    "card-with-a-long-number": (_metadata(gliomart='{"schema":' + "9" * 5000 + "}"), "not valid"),
    "card-with-escapes": (_metadata(gliomart=_card(**{"\x1b[2J": 1})), r"unknown \\x1b"),
    "constant-of-640-gigabytes": (
        _adding(
            [_node("ConstantOfShape", "n", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            n=[160 * 10**9],
        ),
        _OUT_OF_MEMORY,
    ),
    "folded-product-of-640-gigabytes": (
        _adding(
            [_node("Mul", "tall wide", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            tall=_TALL, wide=_WIDE,
        ),
        _OUT_OF_MEMORY,
    ),
    "folded-product-of-900-megabytes": (
        _adding(
            [_node("Mul", "tall wide", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            tall=_TALL[:15_000], wide=_WIDE[:, :15_000],
        ),
        _OUT_OF_MEMORY,
    ),
    "expand-to-640-gigabytes": (
        _adding(
            [_node("Expand", "half n", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            n=[160 * 10**9],
        ),
        _OUT_OF_MEMORY,
    ),
    "tile-to-640-gigabytes": (
        _adding(
            [_node("Tile", "image n", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            n=[1, 1600, 1600, 1],
        ),
        "does not run",
    ),
    "pad-to-640-gigabytes": (
        _adding(
            [_node("Pad", "image n", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            n=[0, 0, 0, 0, 0, 400_000, 400_000, 0],
        ),
        _OUT_OF_MEMORY,
    ),
    "convolution-to-640-gigabytes": (
        _adding(
            [
                _node("Reshape", "image n", "first"),
                _node("Conv", "first w", "all", pads=[0, 0, 400_000, 400_000]),
                _node("ReduceMax", "all", "bomb", keepdims=0),
            ],
            n=[1, 1, 256, 256], w=np.ones((1, 1, 1, 1), np.float32),
        ),
        _OUT_OF_MEMORY,
    ),
    "resize-to-640-gigabytes": (
        _adding(
            [
                _node("Reshape", "image n", "first"),
                helper.make_node("Resize", ["first", "", "s"], ["all"], mode="nearest"),
                _node("ReduceMax", "all", "bomb", keepdims=0),
            ],
            n=[1, 1, 256, 256], s=np.array([1, 1, 1600, 1600], np.float32),
        ),
        _OUT_OF_MEMORY,
    ),
    "range-without-end": (
        _adding(
            [_node("Range", "a z step", "all"), _node("ReduceMax", "all", "bomb", keepdims=0)],
            a=np.float32(0), z=np.float32(1.6e11), step=np.float32(1),
        ),
        _OUT_OF_MEMORY,
    ),
    "loop": (
        _adding([_node("Loop", "n yes half", "bomb", body=_LOOP)], n=2**62, yes=True),
        "a graph within the graph",
    ),
    "branch": (
        _adding([_node("If", "yes", "bomb", then_branch=_BRANCH, else_branch=_BRANCH)], yes=True),
        "a graph within the graph",
    ),
    "scan": (
        _adding([_node("Scan", "image", "bomb", body=_LOOP, num_scan_inputs=1)]),
        "a graph within the graph",
    ),
    "foreign-operator": (
        _changing(
            lambda model: (
                model.opset_import.append(helper.make_opsetid("evil\x1b[2J", 1)),
                _replace_last(model, _node("Run", "most", "anomaly_map", domain="evil\x1b[2J")),
            )
        ),
        r"operators of evil\\x1b\[2J",
    ),
    "unknown-operator": (
        _changing(lambda model: _replace_last(model, _node("Nonesuch", "most", "anomaly_map"))),
        "Nonesuch",
    ),
    "opset-of-the-future": (
        _changing(lambda model: setattr(model.opset_import[0], "version", 999)), "[Oo]pset",
    ),
    "ir-of-the-future": (_changing(lambda model: setattr(model, "ir_version", 999)), "IR version"),
    "functions": (_changing(_functions), "functions of its own"),
    "sparse-tensor": (_changing(_sparse_tensor), "sparse tensors"),
    "many-nodes": (_changing(_many_nodes), "more than 10000 nodes"),
    "weights-in-passwd": (_external("../../../../../../etc/passwd"), "weights outside"),
    "weights-in-devices": (_external("/dev/zero"), "weights outside"),
    "weights-in-itself": (_external("", inside=True), "weights outside"),
    "weights-of-the-wrong-size": (_changing(_wrong_size), "declares a size of 4398046511104 bytes"),
    "int8-input": (_changing(_int8_input), r"image is a tensor\(int8\)"),
    "another-input": (
        _changing(
            lambda model: model.graph.input.append(
                helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])
            )
        ),
        "the graph's inputs",
    ),
    "batch-of-four": (
        _changing(lambda model: _declare(model, "image", [4, 256, 256, 1])), "does not run",
    ),
    "another-shape-than-declared": (
        _changing(
            lambda model: _replace_last(
                model,
                _node("Mul", "most brain", "whole"),
                _node("Shape", "whole", "shape"),
                _node("Div", "shape two", "half_shape"),
                _node("Max", "half_shape ones", "smaller"),
                _node("Slice", "whole zeros smaller", "anomaly_map"),
                two=[1, 2, 2, 1], ones=[1, 1, 1, 1], zeros=[0, 0, 0, 0],
            )
        ),
        r"came out in shape \(1, 128, 128, 1\)",
    ),
    "not-a-number": (_adding([_node("Sqrt", "minus", "bomb")], minus=np.float32(-1)), "nan"),
    "infinity": (_adding([_node("Div", "one zero", "bomb")], zero=np.float32(0)), "inf"),
    "negative-map": (_adding([_node("Neg", "one", "bomb")]), "anomaly_map reaches from -"),
    "impossible-pons": (
        _changing(
            lambda model: _replace_last(model, _node("Sub", "brain most", "less"),
                                        _node("Add", "less one", "pons")),
            pons=True, metadata={"gliomart": card(pons=PONS_RULES).to_json()},
        ),
        "pons reaches from",
    ),
    "hours-of-products": (
        _adding(
            [
                _node("Expand", "half n", "m0"),
                *(_node("MatMul", f"m{k} m0", f"m{k + 1}") for k in range(200)),
                _node("ReduceMin", "m200", "bomb", keepdims=0),
            ],
            n=[4096, 4096],
        ),
        "takes more than",
    ),
}  # fmt: skip


def write(name: str, folder: Path) -> Path:
    """Write one of the files."""
    path = folder / f"{name}.onnx"
    CASES[name][0](path)
    return path


def what_it_says(path: Path) -> str | None:
    """Analyse a head with a model file; give the refusal back, None where there is none."""
    try:
        Detector(path, provider="cpu").detect(draw_head())
    except ModelError as error:
        return str(error)
    return None


def peak_megabytes() -> int:
    """Most memory that this process has had; what its parent had does not count."""
    (line,) = (n for n in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in n)
    return int(line.split()[1]) // 1024


def _try_alone(path: Path) -> None:
    started = time.perf_counter()
    command = [sys.executable, __file__, "--one", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    said, _, peak = done.stdout.strip().rpartition("\n")
    print(f"{path.stem:32} {seconds:5.1f} s {peak:>5} MB  {said[len(str(path)) :]}")


def _main(arguments: list[str]) -> None:
    if arguments[0] == "--one":
        print(what_it_says(Path(arguments[1])))
        print(peak_megabytes(), flush=True)
    elif arguments[0] == "--all":
        session.LONGEST_FIRST_RUN_S = 1.0
        folder = Path(arguments[1])
        print(json.dumps({name: what_it_says(folder / f"{name}.onnx") for name in CASES}))
        print(peak_megabytes(), flush=True)
    else:
        for name in CASES:
            _try_alone(write(name, Path(arguments[0])))
    sys.stdout.flush()
    os._exit(0)  # a run that was left behind is not waited for


if __name__ == "__main__":
    _main(sys.argv[1:])
