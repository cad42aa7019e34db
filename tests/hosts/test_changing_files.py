"""Inputs that change while a run goes on, and series that fail: the others are written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pydicom
import pytest

import runs
from gliomart.outputs import folder as output

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
# What a command opens when the inputs have been walked, and no pixel has been read.
AFTER_SCAN, BEFORE_PIXELS = ".onnx", output.JOURNAL
CHANGES = {
    "vanished": "os.remove({path!r})",
    "shrunk": "os.truncate({path!r}, 3000)",
    "emptied": "os.truncate({path!r}, 0)",
    "grown": "open({path!r}, 'ab').write(b'\\0' * 1000)",
    "replaced by another slice": "shutil.copy({other!r}, {path!r})",
    "replaced by what is no image": "open({path!r}, 'w').write('nothing')",
    "replaced by a folder": "os.remove({path!r}); os.mkdir({path!r})",
    "replaced by a link to itself": "os.remove({path!r}); os.symlink({path!r}, {path!r})",
    "touched": "os.utime({path!r})",
    "its folder vanished": "shutil.rmtree(os.path.dirname({path!r}))",
}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        runs.dicom_series(tmp_path / "studies" / f"{number}", str(number))
    return tmp_path / "studies"


def _change(how: str, studies: Path) -> str:
    path = studies / "2" / "slice_012.dcm"
    other = studies / "3" / "slice_020.dcm"
    return CHANGES[how].format(path=str(path), other=str(other))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("at", [AFTER_SCAN, BEFORE_PIXELS])
@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_after_it_was_found_is_refused_and_the_rest_is_written(
    how: str, at: str, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = runs.run_and_do(_change(how, studies), at, "infer", studies, "--out", out)
    assert runs.one_line(done.stderr)
    assert "could not be analysed" in done.stderr
    assert done.returncode == 11
    gone = how in {"vanished", "its folder vanished"}
    found = runs.codes(out)
    assert found.pop("slice_012.dcm") == ("vanished" if gone else "changed")
    assert set(found.values()) <= {"vanished"}
    left = 26 if how == "its folder vanished" else 38
    assert len(runs.results(out)["slices"]) == left


def test_a_file_that_vanishes_while_inputs_are_walked_is_refused(
    studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # The folder has been listed when its first file is opened.
    done = runs.run_and_do(
        _change("vanished", studies), "2/slice_008.dcm", "infer", studies, "--out", out
    )
    found = {"slice_012.dcm": "vanished", "2": "missing-slices"}
    assert (done.returncode, runs.codes(out)) == (11, found)
    assert len(runs.results(out)["slices"]) == 38
    assert runs.one_line(done.stderr)


def test_another_image_of_the_same_size_and_time_is_not_taken_for_the_one_that_was_found(
    tmp_path: Path,
) -> None:
    study, out = runs.dicom_series(tmp_path / "study", "1"), tmp_path / "out"
    most = max(path.stat().st_size for path in study.iterdir()) + 100
    for path in study.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new(0xFFFCFFFC, "OB", b"")  # Data Set Trailing Padding, PS3.10 7.2
        dataset.DataSetTrailingPadding = bytes(most - path.stat().st_size)
        dataset.save_as(path)
        os.utime(path, (1e9, 1e9))
    assert len({path.stat().st_size for path in study.iterdir()}) == 1
    path, other = str(study / "slice_012.dcm"), str(study / "slice_015.dcm")
    done = runs.run_and_do(
        f"shutil.copy2({other!r}, {path!r})", AFTER_SCAN, "infer", study, "--out", out
    )
    assert (done.returncode, runs.codes(out)) == (11, {"slice_012.dcm": "changed"})


def test_a_file_that_may_not_be_read_any_more_is_refused(studies: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", studies / "2" / "slice_012.dcm"
    arguments = ("infer", studies, "--out", out)
    closed = f"os.chmod({str(path)!r}, 0)"
    done = runs.run_and_do(closed, AFTER_SCAN, *arguments, prefix=runs.unprivileged())
    assert (done.returncode, runs.codes(out)) == (11, {"slice_012.dcm": "changed"})


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["vanished", "replaced by another slice"])
def test_a_file_that_changes_before_its_header_is_read_again_costs_objects_alone(
    how: str, studies: Path, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    out = tmp_path / "out"
    change = _change(how, studies)
    arguments = ("infer", studies, "--out", out, "--dicom-out")
    # The second overview is written when the second series has been analysed.
    done = runs.run_and_do(change, f"{out}/overview/", *arguments, count=2)
    assert done.returncode == 11
    assert runs.one_line(done.stderr)
    assert len(runs.results(out)["slices"]) == 39
    first, second, third = (each["dicom"] for each in runs.results(out)["series"])
    assert len(first["written"]) == len(third["written"]) == 16  # it shows no pons
    assert second["written"] == []
    (missing,) = second["not_written"]
    assert missing["code"] == ("vanished" if how == "vanished" else "changed")


def test_a_resumed_run_does_not_take_what_failed_for_complete(
    studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("infer", studies, "--out", out)
    path = studies / "2" / "slice_012.dcm"
    kept = path.read_bytes()
    times = path.stat()
    assert runs.run_and_do(_change("vanished", studies), AFTER_SCAN, *arguments).returncode == 11
    other = runs.run(*arguments, "--resume")
    assert (other.returncode, "holds a different run" in other.stderr) == (2, True)
    path.write_bytes(kept)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert runs.run(*arguments, "--resume").returncode == 11  # what failed stays failed
    assert runs.run(*arguments, "--overwrite").returncode == 0


# A defect, in the one series whose folder is called 2, where its slices are judged together.
_DEFECT = """
import gliomart.findings.verdict as verdict
judge, count = verdict.verdict_on, [0]
def broken(*arguments):
    count[0] += 1
    if count[0] == 2:
        raise {error}
    return judge(*arguments)
verdict.verdict_on = broken
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("error", "code"),
    [("ZeroDivisionError('oh')", "internal-error"), ("MemoryError", "out-of-memory")],
)
def test_a_series_that_meets_a_defect_costs_no_other(
    error: str, code: str, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("infer", studies, "--out", out, "--overlays", "all")
    done = runs.run_and_do(_DEFECT.format(error=error), BEFORE_PIXELS, *arguments)
    assert done.returncode == 11
    assert runs.one_line(done.stderr)
    document = runs.results(out)
    assert [entry["code"] for entry in document["not_analysed"]] == [code] * 13
    assert {Path(entry["source"]).parts[1] for entry in document["not_analysed"]} == {"2"}
    assert len(document["slices"]) == 26
    assert len(list((out / "overlays").rglob("*.png"))) == 26  # nothing lies there untold
    debugged = runs.run_and_do(
        _DEFECT.format(error=error), BEFORE_PIXELS, *arguments, "--overwrite",
        env=os.environ | {"GLIOMART_DEBUG": "1"},
    )  # fmt: skip
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr


@pytest.mark.slow
@linux
def test_a_series_that_takes_all_memory_costs_no_other(studies: Path, tmp_path: Path) -> None:
    """A limit on memory that the second series alone goes beyond."""
    out = tmp_path / "out"
    greedy = """
import gliomart.findings.verdict as verdict
judge, count = verdict.verdict_on, [0]
def broken(*arguments):
    count[0] += 1
    if count[0] == 2:
        import numpy
        numpy.ones(1 << 50)
    return judge(*arguments)
verdict.verdict_on = broken
"""
    done = runs.run_and_do(greedy, BEFORE_PIXELS, "infer", studies, "--out", out)
    assert done.returncode == 11
    assert set(runs.codes(out).values()) == {"out-of-memory"}


def test_results_of_an_undisturbed_run_name_no_failure(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert runs.run("infer", studies, "--out", out).returncode == 0
    assert "not_written" not in json.loads((out / "results.json").read_bytes())
