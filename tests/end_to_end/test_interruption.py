"""What a run leaves that ends against its will, and how the next one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")

import kill
from gliomart.outputs import folder as output
from gliomart.outputs import lock


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return kill.make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def undisturbed(
    arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert kill.run(arguments, out) == 0
    return kill.contents(out)


# The journal begun, a map half-written, the overview, the tables. tests/kill.py has the rest.
@pytest.mark.sampled(2)
@pytest.mark.parametrize("operation", [2, 9, 40, 125, -1])
def test_a_killed_run_is_resumed_to_the_same_results(
    operation: int, arguments: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    operation = operation if operation > 0 else 2 * len(undisturbed) + 1
    assert kill.kill_at(operation, arguments, out)
    kill.resume(arguments, out)
    assert kill.contents(out) == undisturbed


@pytest.mark.sampled(3)
@pytest.mark.parametrize("operation", [2, 3, 20])
def test_a_run_that_was_killed_while_it_replaces_results_is_resumed(
    operation: int, arguments: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert kill.run(arguments, out) == 0
    stale = out / "overlays" / "study" / "of-an-earlier-run.png"
    stale.write_bytes(b"stale")
    assert kill.kill_at(operation, arguments, out, "--overwrite")
    if operation > 2:
        assert (out / output.JOURNAL).read_bytes() == b""
        kill.run(arguments, out, "--resume")
        assert kill.contents(out) == undisturbed
    else:
        assert kill.contents(out).keys() - undisturbed.keys() == {
            "overlays/study/of-an-earlier-run.png",
            lock.NAME,  # which nobody holds any more
        }


def test_what_a_killed_writer_left_is_cleaned_up(
    arguments: list[str], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for option in ("--overwrite", "--resume"):
        assert kill.run(arguments, out, *(["--resume"] if out.exists() else [])) == 0
        for place in (out, out / "maps" / "study" / "1"):
            (place / ".gliomart-abcd1234.partial").write_bytes(b"half")
        mine = out / ".mine.partial"
        mine.write_bytes(b"kept")
        assert kill.run(arguments, out, option) == 0
        assert mine.read_bytes() == b"kept"
        mine.unlink()
        assert kill.contents(out) == undisturbed
