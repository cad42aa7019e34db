"""Folders a thousand deep, beyond what a path may hold, in loops, closed, and very full."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runs
from gliomart import sources

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders of POSIX")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder that may become too deep for Python to remove it."""
    yield tmp_path
    subprocess.run(["rm", "-rf", "--", *map(str, tmp_path.iterdir())], check=True)


def _deep(top: Path, depth: int, content: bytes, *, every: int) -> None:
    """Make folders in folders, with a picture in some: from inside, where no path is too long."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for level in range(1, depth + 1):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
        if level % every == 0:
            flags = os.O_WRONLY | os.O_CREAT
            with os.fdopen(os.open("1.png", flags, dir_fd=here), "wb") as stream:
                stream.write(content)
    os.close(here)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("depth", [1000, 3000])
def test_deep_folders_are_read_or_refused_by_name(depth: int, model: Path, place: Path) -> None:
    content = (runs.pictures(place / "one", 1) / "0.png").read_bytes()
    study, out = place / "study", place / "out"
    _deep(study, depth, content, every=500)
    arguments = ("infer", study, "--model", model, "--out", out, "--overlays", "all", "--maps")
    done = runs.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    document = runs.results(out)
    longest = os.pathconf("/", "PC_PATH_MAX") - len(str(study / "1.png"))
    readable = [level for level in range(500, depth + 1, 500) if 2 * level < longest]
    assert len(document["slices"]) == len(readable) >= 2
    for entry in document["slices"]:
        assert (out / entry["overlay"]).is_file()
        assert (out / entry["map"]).is_file()
    refused = document["not_analysed"]
    assert [entry["code"] for entry in refused] == ([] if depth == 1000 else ["unreadable"])
    assert all(entry["reason"] == "file name too long" for entry in refused)
    assert runs.run(*arguments, "--resume").returncode == 0
    assert runs.run(*arguments, "--overwrite").returncode == 0


def test_hidden_folders_are_counted_however_deep(place: Path) -> None:
    study = runs.pictures(place / "study", 1)
    _deep(study / ".hidden", 1200, b"x", every=100)
    inventory = sources.scan([study])
    assert inventory.ignored_kinds == {"hidden": 12}
    assert len(inventory.series) == 1


def test_results_go_into_a_deep_folder(model: Path, place: Path) -> None:
    study = runs.pictures(place / "study", 2)
    out = place.joinpath(*"d" * 1200)
    done = runs.run("infer", study, "--model", model, "--out", out, "--overlays", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((out / "overlays" / "study").iterdir())) == 2


def test_a_loop_of_links_is_entered_once(place: Path) -> None:
    study = runs.pictures(place / "study", 2)
    (study / "again").symlink_to(study)
    (study / "self").symlink_to(study / "self")
    inventory = sources.scan([study])
    assert {(r.source, r.code) for r in inventory.refused} == {
        ("study/again", "symbolic-link"), ("study/self", "not-a-file"),
    }  # fmt: skip
    assert len(inventory.series) == 1


@pytest.mark.skipif(shutil.which("mount") is None, reason="a folder is mounted in itself")
def test_a_folder_that_is_mounted_in_itself_is_refused_by_name(place: Path) -> None:
    study = runs.pictures(place / "study", 2)
    inner = study / "inner"
    inner.mkdir()
    command = ["mount", "--bind", str(study), str(inner)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a folder is mounted in itself, which only root may")
    try:
        inventory = sources.scan([study])
    finally:
        subprocess.run(["umount", str(inner)], check=True)
    assert [(r.source, r.code) for r in inventory.refused] == [("study/inner", "folder-loop")]
    assert len(inventory.series) == 1


def test_a_folder_that_may_not_be_read_is_refused_by_name(model: Path, place: Path) -> None:
    study = runs.pictures(place / "study", 2)
    closed = runs.pictures(study / "closed", 2)
    closed.chmod(0)
    out = place / "out"
    try:
        arguments = ("infer", study, "--model", model, "--out", out)
        done = runs.run(*arguments, prefix=runs.unprivileged())
    finally:
        closed.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert runs.codes(out) == {"closed": "unreadable"}


@pytest.mark.slow
def test_a_folder_of_a_hundred_thousand_files_is_walked(place: Path) -> None:
    study = runs.pictures(place / "study", 1)
    for number in range(100_000):
        (study / f"{number}.txt").touch()
    inventory = sources.scan([study])
    assert inventory.ignored == 100_000
    assert len(inventory.series) == 1
