"""What the command line says: on a real terminal, into a pipe, and when told to be quiet."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart.cli import summary
from gliomart.cli.terminal import Ink, cells, shortened
from samples import draw_head

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a terminal obeys, and what hides or reorders text.
HOSTILE = ("red\x1b[31m", "bell\x07", "line\nbreak", "\u202egnp", "宽" * 40, "e\u0301" * 30)


@pytest.fixture
def hostile_study(tmp_path: Path) -> Path:
    folder = tmp_path / "study\x1b[2J"
    folder.mkdir()
    for number in range(14):
        head = draw_head((128, 128), lesion=0.9, seed=number)
        name = f"{HOSTILE[number % len(HOSTILE)]}-{number:02}.png"
        written, content = cv2.imencode(".png", (head / 5).clip(0, 255).astype(np.uint8))
        assert written
        (folder / name).write_bytes(content.tobytes())
    (folder / "empty\x1b]0;title\x07.png").touch()
    return folder


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gliomart.cli", *map(str, arguments)]


def _on_terminal(width: int, *arguments: object, **environment: str) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; its exit status and all that the terminal got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    variables = clean | {"TERM": "xterm-256color", **environment}
    running = subprocess.Popen(_command(*arguments), stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    content = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so where nobody has the other end any more
            break
        if not part:
            break
        content += part
    os.close(ours)
    return running.wait(), content.decode()


def _lines(text: str) -> list[str]:
    """Lines that are left on the terminal: a progress bar is written over by what follows."""
    return [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]


@pytest.mark.parametrize("width", [60, 120])
def test_a_terminal_gets_a_bar_and_a_short_table(
    width: int, hostile_study: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ("infer", hostile_study, "--model", model, "--out", out, "--provider", "cpu")
    status, text = _on_terminal(width, *given)
    assert status == 0
    assert re.search(r"\d+/14 \[\d\d:\d\d<(\?|\d\d:\d\d), .*slice", text)  # rate and time left
    assert set(re.findall(r"\x1b.", text)) == {"\x1b["}
    assert set(re.findall(r"\x1b\[[0-9;]*([a-zA-Z])", text)) <= {"m", "A"}
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "\x1b[1;35mFLAGGED" in text
    lines = [_COLOURS.sub("", line) for line in _lines(text)]
    table = [line for line in lines if re.match(r"  +0\.\d\d\d  ", line)]
    assert len(table) == 10
    assert "  and 4 more, see the report" in lines
    assert any(line.startswith("not analysed: 1 empty-file") for line in lines)
    report = f"report: {out}/report.html"
    assert report in lines
    assert all(cells(line) <= width for line in lines if line != report), lines


def test_colours_are_off_where_they_are_not_wanted(
    study: Path, model: Path, tmp_path: Path
) -> None:
    given = ("infer", study, "--model", model, "--provider", "cpu", "--out")
    for number, unwanted in enumerate(({"NO_COLOR": "1"}, {"TERM": "dumb"})):
        _, text = _on_terminal(80, *given, tmp_path / str(number), **unwanted)
        assert "FLAGGED" in text
        assert not _COLOURS.search(text)
    _, text = _on_terminal(80, *given, tmp_path / "empty", NO_COLOR="")  # counts as not set
    assert _COLOURS.search(text)


def test_errors_are_red_on_a_terminal_alone(tmp_path: Path) -> None:
    status, text = _on_terminal(80, "infer", tmp_path / "none")
    assert status == 2
    assert text.startswith("\x1b[31mgliomart:\x1b[0m ")
    done = subprocess.run(
        _command("infer", tmp_path / "none"), capture_output=True, text=True, check=False
    )
    assert done.stderr == f"gliomart: {tmp_path / 'none'}: no such file or folder\n"


def test_a_pipe_gets_every_flagged_slice_on_a_line_of_its_own(
    hostile_study: Path, model: Path, tmp_path: Path
) -> None:
    given = ("infer", hostile_study, "--model", model, "--out", tmp_path / "out")
    done = subprocess.run(_command(*given), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert (
        len([line for line in lines if re.search(r"  p = 0\.\d{3}  score \d\.\d{3}$", line)]) == 14
    )


def test_json_is_alone_on_standard_output_and_quiet_leaves_nothing_there(
    study: Path, model: Path, tmp_path: Path
) -> None:
    given = ("infer", study, "--model", model, "--provider", "cpu", "--out")
    done = subprocess.run(
        _command(*given, tmp_path / "a", "--json"), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == json.loads((tmp_path / "a" / "results.json").read_text())
    assert _on_terminal(80, *given, tmp_path / "b", "--quiet") == (0, "")
    assert (tmp_path / "b" / "results.json").is_file()
    status, text = _on_terminal(80, *given, tmp_path / "b", "--quiet")
    assert status == 2
    assert "is not empty" in text
    assert _on_terminal(80, *given, tmp_path / "c", "--quiet", "--json")[0] == 2


def test_where_nothing_is_analysed_the_reasons_are_pointed_to(model: Path, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "empty.png").touch()
    given = ("infer", tmp_path / "study", "--model", model, "--out", tmp_path / "out")
    done = subprocess.run(_command(*given), capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        "gliomart: nothing could be analysed (1 empty-file);"
        f" {tmp_path / 'out' / 'results.json'} says why for each\n"
    )
    (tmp_path / "study" / "empty.png").rename(tmp_path / "study" / "notes.txt")
    done = subprocess.run(
        _command(*given, "--overwrite"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "give DICOM, NIfTI, PNG" in done.stderr


@given(st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P"))), st.integers(0, 40))
def test_shortened_text_fits(text: str, width: int) -> None:
    short = shortened(text, width)
    assert cells(short) <= width
    assert short == text or cells(text) > width


def test_many_series_are_counted_rather_than_listed(tmp_path: Path) -> None:
    series: dict[str, Any] = {
        "source": "s", "flagged": False, "score": 0.1, "p_value": 0.5, "slices": 3,
        "pons": None,
        "outside_intended_use": [], "notes": [], "dicom": None, "overview": "overview/s.png",
    }  # fmt: skip
    flagged = series | {"source": "worst", "flagged": True, "p_value": 0.01}
    refused = [
        {"code": code, "reason": reason}
        for code, reason in (("one", "same"), ("one", "same"), ("other", "first"), ("other", "b"))
    ]
    document = {
        "model": {"name": "flair-dae", "version": "7", "site": None},
        "series": [*[series] * 12, flagged], "slices": [], "not_analysed": refused,
        "inputs": {"ignored": 0, "ignored_kinds": {}},
    }  # fmt: skip
    lines = list(summary.brief(document, tmp_path, 80, Ink(coloured=False)))
    assert lines[0] == "worst"
    assert "and 3 more series" in lines
    assert "none of 0 slices flagged" in lines
    assert "not analysed: 2 one (same)" in lines
    assert "not analysed: 2 other (such as: first)" in lines
