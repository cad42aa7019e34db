"""The watcher of an export folder: whole series, once each, through bad input and restarts."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from samples import GOLDEN

SCRIPT = Path(__file__).parents[2] / "examples" / "watch_folder.py"
FILES = sorted(GOLDEN.glob("*.dcm"))


def _another(file: Path, series: str) -> pydicom.Dataset:
    """The same image, in another series."""
    dataset = pydicom.dcmread(file)
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, file.name])
    return dataset


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A flat export of two series in one folder, as many consoles write it."""
    folder = tmp_path / "inbox" / "export"
    folder.mkdir(parents=True)
    for file in FILES:
        shutil.copy(file, folder)
        _another(file, "second").save_as(folder / f"second_{file.name}")
    return folder.parent


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def watch(inbox: Path, results: Path, model: Path) -> Callable[..., list[str | Path]]:
    """The command that looks once, with more of the watcher's options."""

    def command(*options: str) -> list[str | Path]:
        once = [sys.executable, SCRIPT, inbox, results, "--once", "--settle", "0", "--retry", "0"]
        return [*once, *options, "--", "--model", model, "--provider", "cpu"]

    return command


def _look(command: list[str | Path]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def _published(results: Path) -> dict[Path, dict[str, Any]]:
    return {p.parent: json.loads(p.read_text()) for p in sorted(results.rglob("watch.json"))}


def _document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return document


def test_every_series_is_analysed_once(inbox: Path, results: Path, watch: Any) -> None:
    said = _look(watch())
    assert said.count("24 files, exit status 0") == 2
    first = _published(results)
    assert len(first) == 2
    assert all(folder.parent == results / "export" for folder in first)
    for folder in first:
        (series,) = _document(folder)["series"]
        assert series["slices"] == 24
        assert (folder / "report.html").is_file()
    assert _look(watch()) == ""  # after a restart as well
    assert _published(results) == first
    assert {p.name for p in results.iterdir()} == {"export", "refused.json", ".lock"}
    assert not list(inbox.rglob("*.json"))


def test_a_series_that_changes_is_analysed_again_and_replaced(
    inbox: Path, results: Path, watch: Any
) -> None:
    late = inbox / "export" / "slice_024.dcm"
    content = late.read_bytes()
    late.write_bytes(content[:-9000])  # it came over slowly
    _look(watch())
    counts = sorted(_document(folder)["series"][0]["slices"] for folder in _published(results))
    assert counts == [23, 24]
    late.write_bytes(content)
    assert _look(watch()).count("exit status 0") == 1
    counts = [_document(folder)["series"][0]["slices"] for folder in _published(results)]
    assert counts == [24, 24]


def test_bad_input_is_named_and_holds_nothing_up(inbox: Path, results: Path, watch: Any) -> None:
    folder = inbox / "export"
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "garbage.dcm").write_bytes(b"garbage" * 99)
    for file in FILES:
        dataset = _another(file, "third")
        dataset.Modality = "CT"
        dataset.save_as(folder / f"ct_{file.name}")
    assert _look(watch()).count("exit status 0") == 2
    statuses = sorted(outcome["exit_status"] for outcome in _published(results).values())
    assert statuses == [0, 0, 3]
    refused = json.loads((results / "refused.json").read_text())
    assert {(r["source"].split("/")[-1], r["code"]) for r in refused} == {
        ("empty.dcm", "empty-file"),
        ("garbage.dcm", "unrecognised-format"),
    }
    assert _look(watch()) == ""


def test_a_series_that_fails_is_given_up_and_the_next_one_taken(results: Path, watch: Any) -> None:
    hasty = watch("--timeout", "0.01")
    for _ in range(3):
        assert _published(results) == {}
        _look(hasty)
    outcomes = _published(results).values()
    assert [outcome["exit_status"] for outcome in outcomes] == [-1, -1]
    assert all("longer than 0.01 s" in outcome["message"] for outcome in outcomes)
    assert not list(results.rglob("results.json"))  # so nobody takes it for a negative
    assert _look(watch()) == ""


def test_what_no_series_could_do_without_ends_the_watch(results: Path, watch: Any) -> None:
    command = [*watch()[:-4], "--model", "none.onnx"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert "no such model file" in ended.stderr
    assert _published(results) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_watch_that_is_killed_goes_on_where_it_was(results: Path, watch: Any) -> None:
    running = subprocess.Popen(watch(), stderr=subprocess.PIPE, start_new_session=True)
    try:
        while not list(results.glob(".working/*/results/results.partial.jsonl")):
            assert running.poll() is None
            time.sleep(0.001)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    assert _published(results) == {}
    assert _look(watch()).count("exit status 0") == 2
    assert len(_published(results)) == 2
    assert not (results / ".working").exists()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", ["800k", "3m"])  # too small for the copies; for the results
def test_a_full_disk_puts_off_and_loses_nothing(results: Path, watch: Any, size: str) -> None:
    results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", results]
    if (
        sys.platform != "linux"
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk is mounted, which only root may")
    try:
        for _ in range(4):  # no matter how often
            said = _look(watch())
            assert "No space left on device" in said or "exit status 6" in said
            for folder in _published(results):
                assert _document(folder)["series"][0]["slices"] == 24
        subprocess.run(["mount", "-o", "remount,size=50m", results], check=True)
        _look(watch())
        assert [outcome["exit_status"] for outcome in _published(results).values()] == [0, 0]
        assert _look(watch()) == ""
    finally:
        subprocess.run(["umount", results], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="locks are inherited where there is fork")
def test_two_watches_do_not_work_in_one_folder(results: Path, watch: Any) -> None:
    made = runpy.run_path(str(SCRIPT.with_name("watch_host.py")))
    handle = made["lock"](results / ".lock")
    ended = subprocess.run(watch(), capture_output=True, text=True, check=False)
    os.close(handle)
    assert ended.returncode == 1
    assert "another watch works there" in ended.stderr


def test_results_in_the_inbox_are_refused(inbox: Path) -> None:
    command = [sys.executable, SCRIPT, inbox, inbox / "results"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "put them outside the inbox" in ended.stderr


def test_a_folder_has_settled_when_nothing_in_it_changes(tmp_path: Path) -> None:
    inbox = runpy.run_path(str(SCRIPT))["Inbox"](tmp_path, 10.0)
    growing, quiet = tmp_path / "growing", tmp_path / "quiet"
    for folder in (growing, quiet):
        folder.mkdir()
        (folder / "1.dcm").write_bytes(b"1")

    def settled(now: float) -> set[Path]:
        return set(inbox.settled(now)) - {tmp_path}

    assert settled(100.0) == set()
    assert settled(109.0) == set()
    (growing / "1.dcm").write_bytes(b"12")  # a file grows
    assert settled(110.0) == {quiet}
    (growing / "2.dcm.part").write_bytes(b"")  # another begins under a name of its own
    assert settled(121.0) == {quiet}
    assert settled(140.0) == {quiet}
    (growing / "2.dcm.part").rename(growing / "2.dcm")
    assert settled(141.0) == {quiet}
    assert settled(151.0) == {quiet, growing}
    (quiet / "1.dcm").unlink()
    assert settled(152.0) == {growing}


def test_the_log_names_nobody(inbox: Path, results: Path, watch: Any) -> None:
    (inbox / "export").rename(inbox / "DOE_Jane")
    (inbox / "DOE_Jane" / "empty.dcm").write_bytes(b"")
    said = _look(watch())
    assert "DOE" not in said
    assert pydicom.dcmread(FILES[0]).SeriesInstanceUID not in said
    assert str(results) not in said


@pytest.mark.skipif(shutil.which("storescp") is None, reason="there is no storescp (dcmtk)")
def test_results_are_sent_as_soon_as_there_is_an_archive(
    tmp_path: Path, results: Path, watch: Any
) -> None:
    pytest.importorskip("highdicom")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sending = watch("--send", f"ARCHIVE@127.0.0.1:{port}")
    assert _look(sending).count("not sent yet") == 2
    assert [outcome["sent"] for outcome in _published(results).values()] == [False, False]
    stored = tmp_path / "archive"
    stored.mkdir()
    command = ["storescp", "--output-directory", stored, "-aet", "ARCHIVE", str(port)]
    archive = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        said = _look(sending)
    finally:
        archive.kill()
        archive.wait()
    assert said.count(": sent") == 2
    assert "files" not in said  # nothing was analysed again
    assert [outcome["sent"] for outcome in _published(results).values()] == [True, True]
    written = [path for path in results.rglob("*.dcm") if "dicom" in path.parts]
    assert len(list(stored.iterdir())) == len(written) > 0
    assert _look(sending) == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_service_is_one_that_systemd_takes(tmp_path: Path) -> None:
    written = SCRIPT.with_name("gliomart-watch.service").read_text()
    python = tmp_path / "python"
    python.symlink_to("/bin/true")  # systemd looks whether what it is to run is there
    unit = tmp_path / "gliomart-watch.service"
    unit.write_text(re.sub(r"/opt/gliomart/bin/\w+", str(python), written))
    command = ["systemd-analyze", "verify", unit]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=perhaps"))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "protect system" in ended.stderr  # it does look


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("storescp did not start")
