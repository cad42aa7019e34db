"""The watcher of an export folder on odd hosts: names, shares, signals, the first process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from samples import GOLDEN

SCRIPT = Path(__file__).parents[2] / "examples" / "watch_folder.py"
FILES = sorted(GOLDEN.glob("*.dcm"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, mounts and preloading")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def _export(folder: Path, series: str, **changes: Any) -> Path:
    """Write the simulated study as a series of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, file.name])
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{series}_{file.name}")
    return folder


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return _export(tmp_path / "inbox" / "good", "good").parent


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def watch(inbox: Path, results: Path, model: Path) -> Callable[..., list[Any]]:
    """The command that watches, or looks once, with more of its options."""

    def command(*options: str, once: bool = True) -> list[Any]:
        quick = ["--settle", "0", "--retry", "0", "--poll", "0.05"] + ["--once"] * once
        model_options = ["--", "--model", model, "--provider", "cpu"]
        return [sys.executable, SCRIPT, inbox, results, *quick, *options, *model_options]

    return command


def _look(command: list[Any], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, **options
    )


def _outcomes(results: Path) -> dict[Path, dict[str, Any]]:
    return {
        p.parent: json.loads(p.read_text()) for p in sorted(results.glob("[!.]*/**/watch.json"))
    }


def _statuses(results: Path) -> list[int]:
    return sorted(outcome["exit_status"] for outcome in _outcomes(results).values())


@pytest.mark.slow
def test_names_in_any_encoding_are_taken(inbox: Path, results: Path, watch: Any) -> None:
    for name in (b"M\xfcller", b"two\nlines", b"blanks  ", b"\xf0\x9f\xa7\xa0", b"-rf"):
        _export(inbox / os.fsdecode(name), repr(name).replace("\\", ""))
    shutil.move(next((inbox / "-rf").iterdir()), inbox / "-rf" / os.fsdecode(b"\xff.dcm"))
    ended = _look(watch())
    assert (ended.returncode, _statuses(results)) == (0, [0] * 6), ended.stderr
    assert _look(watch()).stderr == ""


@pytest.mark.slow
def test_values_too_small_for_single_precision_are_their_series_own(
    inbox: Path, results: Path, watch: Any
) -> None:
    for number, slope in enumerate(("1e-300", "4.9e-324", "1e-41", "1e36")):
        _export(inbox / "tiny", f"tiny{number}", RescaleSlope=slope, RescaleIntercept="0")
    assert _look(watch()).returncode == 0
    assert _statuses(results) == [0, 3, 3, 3, 3]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("hidden", [".snapshot", ".Trash-1000", "@eaDir", "lost+found"])
def test_hidden_twins_are_left_alone(inbox: Path, results: Path, watch: Any, hidden: str) -> None:
    shutil.copytree(inbox / "good", inbox / hidden / "good")
    shutil.copytree(inbox / "good", inbox / "good" / hidden)
    assert _look(watch()).returncode == 0
    assert [folder.parent for folder in _outcomes(results)] == [results / "good"]


def test_a_series_twice_in_the_inbox_is_taken_once(inbox: Path, results: Path, watch: Any) -> None:
    shutil.copytree(inbox / "good", inbox / "zwilling")
    assert _look(watch()).returncode == 0
    assert _statuses(results) == [0]
    assert _look(watch()).stderr == ""


def test_pictures_are_named_as_what_is_not_taken(inbox: Path, results: Path, watch: Any) -> None:
    shutil.rmtree(inbox / "good")
    (inbox / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    cv2.imwrite(str(inbox / "pictures" / "1.png"), noise)
    assert "1 inputs are not taken; refused.json says why" in _look(watch()).stderr
    (refused,) = json.loads((results / "refused.json").read_text())
    assert (refused["source"], refused["code"]) == ("inbox/pictures", "not-dicom")
    assert _look(watch()).stderr == ""


@pytest.mark.parametrize(
    "what", ["nothing", "file", "no-results", "nan", "peer", "port", "empty", "option"]
)
def test_what_cannot_be_watched_is_said_in_one_line(
    tmp_path: Path, inbox: Path, results: Path, watch: Any, what: str
) -> None:
    command, status = watch(), 2
    match what:
        case "nothing":
            inbox.rename(tmp_path / "elsewhere")
        case "file":
            shutil.rmtree(inbox)
            inbox.write_bytes(b"")
        case "no-results":
            results.write_bytes(b"")
            status = 6
        case _:
            wrong = {
                "nan": ["--settle", "nan"], "peer": ["--send", "host"], "option": ["--wach"],
                "port": ["--send", "A@host:65536"], "empty": [""],
            }  # fmt: skip
            command = watch(*wrong[what])
    ended = _look(command)
    assert ended.returncode == status
    assert ended.stderr.count("\n") == 1
    assert "invalid" not in ended.stderr  # but what would be valid


@pytest.mark.slow
def test_a_model_that_fails_on_one_series_alone_does_not_end_the_watch(
    inbox: Path, results: Path, watch: Any, tmp_path: Path
) -> None:
    _export(inbox / "other", "other")
    failing = tmp_path / "sitecustomize.py"
    failing.write_text(  # a gliomart that refuses its model, of one series alone
        "import os, sys\nfrom pathlib import Path\n"
        "if sys.argv[0] == '-m' and Path('input/other').is_dir(): os._exit(4)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    for _ in range(3):
        assert _look(watch(), env=environment).returncode == 0
    assert _statuses(results) == [0, 4]
    assert not (results / "other" / next((results / "other").iterdir()) / "results.json").exists()


@contextmanager
def _mounted(options: list[str], folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"cannot be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@needs_root
@pytest.mark.skipif(shutil.which("mkfs.vfat") is None, reason="there is no mkfs.vfat")
def test_results_may_lie_on_vfat(tmp_path: Path, inbox: Path, results: Path, watch: Any) -> None:
    _export(inbox / "question?", "odd")  # a name that vfat has not
    with (tmp_path / "disk").open("wb") as disk:
        disk.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", tmp_path / "disk"], check=True, capture_output=True)
    with _mounted(["-o", "loop", tmp_path / "disk"], results):
        said = _look(watch()).stderr
        assert _statuses(results) == [0]
        assert "put off (Invalid argument)" in said


@needs_root
def test_results_on_a_read_only_file_system_end_the_watch_in_one_line(
    results: Path, watch: Any
) -> None:
    with _mounted(["-t", "tmpfs", "-o", "ro", "tmpfs"], results):
        ended = _look(watch())
    assert (ended.returncode, ended.stderr.count("\n")) == (6, 1)
    assert "Read-only file system" in ended.stderr


@needs_root
def test_an_inbox_that_comes_back_is_watched_on(
    inbox: Path, results: Path, watch: Any, tmp_path: Path
) -> None:
    inbox.rename(tmp_path / "share")
    inbox.mkdir()
    process = subprocess.Popen(watch(once=False), stderr=subprocess.PIPE, text=True)
    with process:
        _until(process, (results / "refused.json").is_file)
        inbox.rmdir()
        assert "the inbox cannot be read (No such file or directory)" in _line(process)
        (tmp_path / "share").rename(inbox)
        assert "the inbox can be read again" in _line(process)
        assert "24 files, exit status 0" in _line(process)
        process.send_signal(signal.SIGTERM)
        assert "stopped" in _line(process)
    assert process.returncode == 0


_SHIM = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
int %(call)s { errno = %(error)s; return -1; }
"""


def _without(tmp_path: Path, call: str, error: str) -> dict[str, str]:
    """Make the environment of a process on a share that lacks a call, and say so."""
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(_SHIM % {"call": call, "error": error})
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return os.environ | {"LD_PRELOAD": str(library)}


@needs_gcc
@pytest.mark.parametrize("error", ["EXDEV", "EPERM", "EACCES", "EEXIST", "ENOSYS"])
def test_a_share_without_rename_is_said_at_the_start(
    tmp_path: Path, watch: Any, error: str
) -> None:
    call = "rename(const char *from, const char *to)"
    ended = _look(watch(), env=_without(tmp_path, call, error))
    assert (ended.returncode, ended.stderr.count("\n")) == (6, 1), ended.stderr
    assert "nothing can be published there" in ended.stderr


@pytest.mark.slow
@needs_gcc
@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_share_without_locks_is_watched_and_said(
    tmp_path: Path, results: Path, watch: Any, error: str
) -> None:
    ended = _look(watch(), env=_without(tmp_path, "flock(int file, int how)", error))
    assert ended.returncode == 0
    assert "another watch" not in ended.stderr
    assert "nothing keeps a second watch out" in ended.stderr
    assert _statuses(results) == [0]


@pytest.mark.slow
def test_results_that_could_not_be_published_are_not_made_again(
    inbox: Path, results: Path, watch: Any
) -> None:
    _export(inbox / "other", "other")
    results.mkdir()
    (results / "good").write_text("a file where a folder is to be")
    said = _look(watch()).stderr
    assert said.count("24 files, exit status 0") == 2
    assert "put off (File exists)" in said or "put off (Not a directory)" in said
    assert _statuses(results / "other") == [0]
    (results / "good").unlink()
    assert "exit status" not in _look(watch()).stderr
    assert _statuses(results) == [0, 0]


def test_an_archive_that_nothing_can_send_to_is_said_once(
    results: Path, watch: Any, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    (tmp_path / "bin").mkdir()
    environment = os.environ | {"PATH": str(tmp_path / "bin")}
    ended = _look(watch("--send", "ARCHIVE@localhost:104"), env=environment)
    assert ended.returncode == 0
    assert ended.stderr.count("storescu") == 1
    assert [outcome["sent"] for outcome in _outcomes(results).values()] == [False]


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def _until(process: subprocess.Popen[str], happened: Callable[[], object]) -> None:
    while not happened():
        assert process.poll() is None


def _at_work(results: Path) -> bool:
    journals = results.glob(".working/*/results/results.partial.jsonl")
    return bool(_infers(results) and any(journals))


def _infers(folder: Path) -> list[int]:
    """Find the processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").readlink().is_relative_to(folder):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(("told", "status"), [("SIGTERM", 0), ("SIGHUP", 0), ("SIGINT", 130)])
def test_a_signal_ends_the_watch_and_its_gliomart(
    results: Path, watch: Any, told: str, status: int, *, once: bool
) -> None:
    for _ in range(3):  # more often than a series may fail
        process = subprocess.Popen(watch(once=once), stderr=subprocess.PIPE, text=True)
        _until(process, lambda: _at_work(results))
        process.send_signal(getattr(signal, told))
        said = process.communicate()[1]
        assert (process.returncode, said.count("\n")) == (status, 1), said
        assert "stopped; what was begun is begun again" in said
        assert not _infers(results)
        assert _statuses(results) == []
    assert "24 files, exit status 0" in _look(watch()).stderr
    assert _statuses(results) == [0]


@pytest.mark.sampled(2)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare")
@needs_root
@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_as_the_first_process_it_ends_when_told(results: Path, watch: Any, told: str) -> None:
    first = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
    if subprocess.run([*first, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there are no namespaces here")
    process = subprocess.Popen([*first, *watch(once=False)], stderr=subprocess.PIPE, text=True)
    _until(process, lambda: _at_work(results))
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), getattr(signal, told))
    said = process.communicate()[1]
    assert process.returncode == (130 if told == "SIGINT" else 0)
    assert said.count("\n") == 1
    assert not _infers(results)


@pytest.mark.slow
@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare")
def test_as_the_first_process_it_takes_note_of_orphans(results: Path, watch: Any) -> None:
    first = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
    if subprocess.run([*first, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there are no namespaces here")
    process = subprocess.Popen([*first, *watch(once=False)], stderr=subprocess.PIPE, text=True)
    _until(process, lambda: _statuses(results) == [0])
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    inside = ["nsenter", "--target", child, "--pid", "--mount"]
    orphan = "import os; os.fork() and os._exit(0); os._exit(0)"
    for _ in range(5):
        subprocess.run([*inside, sys.executable, "-c", orphan], check=True)
    children = Path(f"/proc/{child}/task/{child}/children")
    _until(process, lambda: not children.read_text())
    os.kill(int(child), signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
def test_a_watch_that_was_killed_does_not_lose_the_old_results(
    inbox: Path, results: Path, watch: Any
) -> None:
    _look(watch())
    (old,) = _outcomes(results)
    (inbox / "good" / f"good_{FILES[0].name}").unlink()
    process = subprocess.Popen(watch(once=False), stderr=subprocess.PIPE, text=True)
    _until(process, lambda: _at_work(results))
    process.terminate()
    process.communicate()
    assert json.loads((old / "results.json").read_text())["series"][0]["slices"] == 24
    _look(watch())
    assert json.loads((old / "results.json").read_text())["series"][0]["slices"] == 23
