from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

import hostile_models
from gliomart.errors import ModelError
from gliomart.model.built_in import default_model
from gliomart.model.model import Model, onnx_file
from samples import tiny_model

_ONE_AFTER_THE_OTHER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str | None], int]:
    """What is said about each hostile file, by one process, and the most memory that it had."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in hostile_models.CASES:
        hostile_models.write(name, folder)
    command = [sys.executable, hostile_models.__file__, "--all", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, peak = done.stdout.splitlines()  # and nothing else is printed
    assert done.stderr == ""
    return json.loads(said), int(peak)


@pytest.mark.parametrize("name", hostile_models.CASES)
def test_a_hostile_file_ends_in_one_sentence_about_it(
    name: str, verdicts: tuple[dict[str, str | None], int]
) -> None:
    said = verdicts[0][name]
    assert said is not None
    assert re.search(hostile_models.CASES[name][1], said)
    assert said.isprintable()
    assert name in said


def test_no_hostile_file_takes_much_memory(
    verdicts: tuple[dict[str, str | None], int],
) -> None:
    assert verdicts[1] < 800


def test_the_built_in_model_is_far_from_every_bound() -> None:
    content = default_model().read_bytes()
    onnx_file.check(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "LARGEST_STRUCTURE", onnx_file.LARGEST_STRUCTURE // 10)
        patch.setattr(onnx_file, "MOST_PARTS", onnx_file.MOST_PARTS // 10)
        onnx_file.check(content)


@_ONE_AFTER_THE_OTHER
@given(st.binary(max_size=200))
def test_any_bytes_are_a_structure_or_refused(content: bytes) -> None:
    with contextlib.suppress(ModelError):
        onnx_file.check(content)


def test_fields_that_a_parser_would_take_for_others_are_refused() -> None:
    beyond_32_bits = b"\xba\x80\x80\x80\x10\x00"  # field 7, the graph, to who drops the high bits
    with pytest.raises(ModelError):
        onnx_file.check(beyond_32_bits)


@settings(_ONE_AFTER_THE_OTHER, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**32), st.sampled_from(["flip", "drop", "put"]), st.binary()),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_model_runs_or_is_refused(
    tmp_path: Path, damage: list[tuple[int, str, bytes]]
) -> None:
    path = tmp_path / "damaged.onnx"
    content = bytearray(tiny_model(path, size=64).read_bytes())
    for place, kind, piece in damage:
        at = place % len(content)
        if kind == "flip":
            content[at] ^= 1 << (place % 8)
        elif kind == "drop":
            del content[at : at + 1 + place % 8]
        else:
            content[at:at] = piece
    path.write_bytes(content)
    try:
        model = Model(path, provider="cpu")
        size, channels = model.card.preprocessing.size, len(model.card.preprocessing.channels)
        outputs = model.run(np.zeros((size, size, channels), np.float32))
    except ModelError:
        return
    assert np.isfinite(outputs.anomaly_map).all()
