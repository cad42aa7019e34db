"""Names and files that somebody may have meant ill, from the input to every output."""

from __future__ import annotations

import csv
import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest

from gliomart import cli, sources
from gliomart.outputs import folder as output
from samples import GOLDEN, draw_head

_NAMES = [
    "two\nlines", "tab\there", "comma,quote\"'", "=cmd|' C calc'!A0", "+1", "-1", "@SUM(1)",
    "\uff1d1", "<img src=x onerror=alert(1)>", "\x1b[2J\x1b]0;title\x07", "\x9b31m",
    "\u202egnp.exe", "\udcff\udcfe", "back\\slash", "back\\\\slash", "\\xff", "%00", "$(id)",
    "Case", "case", "CASE", "é", "e\u0301", " ", "con", "-rf", "~", "*", "1@0001", "x" * 240,
]  # fmt: skip


def _infer(*arguments: object) -> int:
    return cli.main(["infer", *map(str, arguments), "--provider", "cpu"])


def _results(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / output.RESULTS).read_bytes())
    return document


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    pixels = (draw_head((64, 64)) / 5).clip(0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "head.png"), pixels)
    return (tmp_path / "head.png").read_bytes()


@pytest.fixture
def odd_study(tmp_path: Path, picture: bytes) -> Path:
    """Every odd name as a file's and as a folder's."""
    study = tmp_path / "study"
    for name in _NAMES:
        (study / f"{name}.png-").mkdir(parents=True)
        (study / f"{name}.png-" / "1.png").write_bytes(picture)
        (study / f"{name}.png").write_bytes(picture)
    return study


def test_every_name_is_analysed_once_and_shown_safely(
    model: Path, odd_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _infer(odd_study, "--model", model, "--out", out, "--maps") == 0
    document = _results(out)
    assert document["not_analysed"] == []
    assert len({entry["source"] for entry in document["slices"]}) == 2 * len(_NAMES)
    assert all(entry["source"].isprintable() for entry in document["slices"])
    for kind in ("overlay", "map", "mask"):
        places = [entry[kind] for entry in document["slices"]]
        # File systems of other makes take names that differ by case for the same.
        assert len({place.casefold() for place in places}) == len(places)
        assert all((out / place).resolve().is_relative_to(out.resolve()) for place in places)
        assert all((out / place).is_file() for place in places)
    overviews = [series["overview"] for series in document["series"]]
    assert len({place.casefold() for place in overviews}) == len(overviews) == len(_NAMES) + 1
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_table_holds_nothing_that_a_spreadsheet_would_run(
    model: Path, odd_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (odd_study / "=none.png").touch()
    assert _infer(odd_study, "--model", model, "--out", out) == 0
    # Two more ways to bring text of one's own into a table: the name of the input itself and a UID.
    root = odd_study.rename(tmp_path / "=HYPERLINK(1)")
    dataset = pydicom.dcmread(GOLDEN / "slice_010.dcm")
    dataset.SeriesInstanceUID = "=1+1"
    dataset.save_as(root / "uid.dcm")
    # One slice is too little for a verdict, so it has to be insisted on.
    assert _infer(root, "--model", model, "--out", out, "--overwrite", "--force") == 0
    with (out / output.TABLE).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * len(_NAMES) + 2
    cells = [cell for row in rows for cell in row.values() if cell]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\uff1d"))]
    assert "'=1+1" in cells


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_series_uid_never_becomes_a_path(model: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "deep" / "out"
    study.mkdir()
    for number, uid in enumerate(("../../../escaped", "/escaped", "..", ".", "a\\b", "")):
        dataset = pydicom.dcmread(GOLDEN / "slice_010.dcm")
        dataset.SeriesInstanceUID = uid
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(study / f"{number}.dcm")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(out)}
    assert _infer(study, "--model", model, "--out", out, "--force") == 0
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(out)} == before | {
        out.parent
    }
    assert len(_results(out)["series"]) == 6


def test_errors_and_reports_write_escapes_out(
    model: Path, picture: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / "\x1b[2J\u202e\udcff"
    odd.mkdir()
    (odd / "1.png").write_bytes(picture)
    assert _infer(odd / "none", "--model", model) == 2
    assert _infer(odd, "--model", odd / "none.onnx") == 4
    assert _infer(odd, "--model", model, "--out", odd / "out") == 2
    assert _infer(odd, "--model", model, "--out", tmp_path / "\x1b[2Jout\udcfe") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines() + captured.err.splitlines()
    assert all(line.isprintable() for line in lines)
    assert len(captured.err.splitlines()) == 3


def test_a_run_without_standard_output_writes_its_results(
    model: Path, study: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "gliomart.cli", "infer", str(study), "--model", str(model)]
    line = shlex.join([*command, "--out", str(tmp_path / "out")]) + " >&-"
    done = subprocess.run(line, shell=True, capture_output=True, check=False)  # noqa: S602
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(_results(tmp_path / "out")["slices"]) == 6


@pytest.mark.sampled(3)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_gets_the_report(
    encoding: str, model: Path, picture: bytes, tmp_path: Path
) -> None:
    study = tmp_path / "Größe ★"
    study.mkdir()
    (study / "1.png").write_bytes(picture)
    command = [sys.executable, "-m", "gliomart.cli", "infer", str(study), "--model", str(model)]
    for option in ((), ("--json",)):
        out = tmp_path / f"out{len(option)}"
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [*command, "--out", str(out), *option],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        if option:
            assert json.loads(done.stdout) == _results(out)


def test_what_is_no_regular_file_is_refused_by_name(picture: bytes, tmp_path: Path) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside.png"
    study.mkdir()
    outside.write_bytes(picture)
    (study / "link.png").symlink_to(outside)  # a link to a file is read like the file
    (study / "broken.png").symlink_to(tmp_path / "nowhere")
    (study / "circle.png").symlink_to(study / "circle.png")
    (study / "folder.png").symlink_to(tmp_path)
    (study / "zero").symlink_to("/dev/zero")
    os.mkfifo(study / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(study / "socket"))
        inventory = sources.scan([study])
    refused = {refusal.source.removeprefix("study/"): refusal.code for refusal in inventory.refused}
    assert refused == {
        "broken.png": "not-a-file", "circle.png": "not-a-file", "folder.png": "symbolic-link",
        "zero": "not-a-file", "pipe": "not-a-file", "socket": "not-a-file",
    }  # fmt: skip
    assert [file.source for series in inventory.series for file in series.files] == [
        "study/link.png"
    ]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")
def test_files_that_the_kernel_makes_up_never_hang(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for name in ("kmsg", "self/mem", "self/maps", "self/cmdline", "self/clear_refs"):
        (study / name.replace("/", "-")).symlink_to(Path("/proc") / name)
    if os.access("/proc/kmsg", os.R_OK):  # who reads on after its end waits for the next message
        with open("/proc/kmsg", "rb", opener=lambda p, f: os.open(p, f | os.O_NONBLOCK)) as log:
            log.read()
    command = [
        sys.executable,
        "-c",
        "import sys; from gliomart import sources; sources.scan(sys.argv[1:])",
    ]
    subprocess.run([*command, str(study)], check=True, timeout=30)


@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
@pytest.mark.parametrize("name", ["overlays", "overlays/study", "results.json", output.JOURNAL])
def test_nothing_is_written_or_removed_through_a_link(
    name: str, option: str, model: Path, study: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    assert _infer(study, "--model", model, "--out", out) == 0
    if name == output.JOURNAL:
        (out / output.RESULTS).rename(elsewhere)
        elsewhere.write_bytes(b"")
    else:
        (out / name).rename(elsewhere)
    (out / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes() if elsewhere.is_file() else sorted(elsewhere.rglob("*"))
    assert _infer(study, "--model", model, "--out", out, option) == 2
    assert "is a link" in capsys.readouterr().err
    after = elsewhere.read_bytes() if elsewhere.is_file() else sorted(elsewhere.rglob("*"))
    assert before == after


def test_inputs_among_the_results_are_not_removed(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _infer(study, "--model", model, "--out", out) == 0
    before = sorted(out.rglob("*"))
    assert _infer(out / "overlays", "--model", model, "--out", out, "--overwrite") == 2
    assert "lies among the results" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before


def test_outputs_of_frames_and_folders_stay_apart(
    model: Path, picture: bytes, tmp_path: Path
) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    (study / "stack.png").mkdir(parents=True)
    (study / "stack.png" / "1.png").write_bytes(picture)
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    cv2.imwritemulti(str(study / "stack.tif"), [pixels, pixels])
    cv2.imwrite(str(study / "one.tif"), pixels)
    (study / "one.npy").mkdir()
    (study / "one.npy" / "1.png").write_bytes(picture)
    (study / "stack@0001.png").write_bytes(picture)
    assert _infer(study, "--model", model, "--out", out, "--maps") == 0
    for kind, suffix in (("overlay", "png"), ("map", "npy"), ("mask", "png")):
        places = {entry[kind] for entry in _results(out)["slices"]}
        assert len(places) == 6
        assert all((out / place).is_file() and place.endswith(suffix) for place in places)
