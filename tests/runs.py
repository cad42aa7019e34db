"""What the tests of hosts share: gliomart in processes of its own, and hooks in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest

from samples import GOLDEN, draw_head

COMMAND = [sys.executable, "-m", "gliomart.cli"]
# Runs a command, and a statement once: when a file whose path ends so is opened for the n-th time.
_HOOKED = """
import os, shutil, sys
ending, count, statement, *arguments = sys.argv[1:]
left = int(count)
def watch(event, details):
    global left
    if event == "open" and left > 0 and ending in os.fspath(str(details[0])):
        left -= 1
        if left == 0:
            exec(statement, {"os": os, "shutil": shutil})
sys.addaudithook(watch)
from gliomart import cli
sys.exit(cli.main(arguments))
"""


def run(
    *arguments: object, prefix: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [*prefix, *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command."""
    command = [*COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes, **options)


def run_and_do(
    statement: str,
    at: str,
    *arguments: object,
    count: int = 1,
    prefix: Sequence[str] = (),
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command that does something once it opens a path with ``at`` in it so many times."""
    command = [
        *prefix,
        sys.executable,
        "-c",
        _HOOKED,
        at,
        str(count),
        statement,
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def results(out: Path) -> dict[str, Any]:
    """Read results.json."""
    document: dict[str, Any] = json.loads((out / "results.json").read_text())
    return document


def codes(out: Path) -> dict[str, str]:
    """Tell why each source was not analysed."""
    return {Path(e["source"]).name: e["code"] for e in results(out)["not_analysed"]}


def pictures(folder: Path, count: int, side: int = 64) -> Path:
    """Draw so many heads into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = (draw_head((side, side), seed=number) / 5).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


def dicom_series(folder: Path, uid: str) -> Path:
    """Copy slices 8 to 20 of the simulated study under UIDs of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(GOLDEN.glob("*.dcm"))[7:20], start=1):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = f"1.2.3.{uid}"
        dataset.SOPInstanceUID = f"1.2.3.{uid}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / path.name)
    return folder


def one_line(text: str) -> bool:
    """Tell whether an error is told in one line, and not by a traceback."""
    return text.count("\n") == 1 and text.startswith("gliomart: ") and "internal error" not in text


def unprivileged() -> list[str]:
    """Begin a command that modes of files bind, even where root gives it."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root is bound by no mode, and setpriv is not there to change that")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
