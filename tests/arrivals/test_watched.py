"""The watcher of an export folder: what is hidden, and what could be written in part only."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from gliomart import sources
from samples import GOLDEN

SCRIPT = Path(__file__).parents[2] / "examples" / "watch_folder.py"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A series without a frame of reference, and hidden copies of it."""
    folder = tmp_path / "inbox" / "export"
    for name in (".", ".snapshot", "__MACOSX", "@eaDir"):
        (folder / name).mkdir(parents=True)
    for path in sorted(GOLDEN.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(folder / path.name)
        for hidden in (".snapshot", "__MACOSX", "@eaDir"):
            shutil.copy(path, folder / hidden)
    (folder / "Thumbs.db").write_text("made by a system")
    return folder.parent


def test_a_series_written_in_part_is_published_once_and_told(
    inbox: Path, tmp_path: Path, model: Path
) -> None:
    pytest.importorskip("highdicom")
    results = tmp_path / "results"
    once = [sys.executable, SCRIPT, inbox, results, "--once", "--settle", "0", "--retry", "0"]
    command = [*once, "--", "--model", model, "--provider", "cpu", "--dicom-out"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "24 files, exit status 11" in said
    assert "some DICOM objects are missing" in said
    (published,) = results.rglob("watch.json")
    assert json.loads(published.read_text())["exit_status"] == 11
    assert (published.parent / "results.json").is_file()
    assert json.loads((results / "refused.json").read_text()) == []
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


def test_the_watcher_and_the_walk_hide_the_same(inbox: Path) -> None:
    watched = runpy.run_path(str(SCRIPT))["Inbox"](inbox, 0.0).walk()
    seen = {Path(folder) / name for folder, names in watched for name in names}
    (series,) = sources.scan([inbox]).series
    assert seen == {file.path for file in series.files}
