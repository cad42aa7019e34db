"""Analyse every DICOM series that is exported into a folder, once, and send the results on.

    python watch_folder.py INBOX RESULTS [--send AET@HOST:PORT] [-- OPTIONS OF GLIOMART INFER]

A series is taken when nothing in its folders has changed for a while, copied, analysed by a
``gliomart infer`` of its own, and published in RESULTS by renaming a finished folder: what lies
there is whole. Of every published series ``watch.json`` says which files it was made of, so that
none is analysed twice, before or after a restart; one that gains or changes files is analysed again
as a whole, and replaced. A series on which gliomart fails three times is published without results,
and the next one is taken. One of which some DICOM objects could not be written is published, and
what there is is sent. Files that cannot be read are listed in RESULTS/refused.json; hidden ones are
left alone.

The log on standard error names series by a hash, and nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomart import SeriesFiles, scan
from gliomart.sources import is_hidden

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

log = logging.getLogger("watch_folder")

# What consoles and copying programs call a file until it is whole.
TEMPORARY = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", "~")
ATTEMPTS = 3
IN_PART = 11  # results were written, but not all of the DICOM objects
DONE = frozenset({0, 3, IN_PART})  # with 3, results say why nothing could be analysed
TO_SEND = frozenset({0, IN_PART})
LATER = 6  # results could not be written: the disk is full, say
MISCONFIGURED = frozenset({2, 4, 5, 7})  # no series would fare better
TIMED_OUT = -1
NOT_TOLD = frozenset({"duplicate", "no-images"})  # an inbox may be empty


@dataclass(frozen=True)
class Export:
    """A series as it lies in the inbox.

    Attributes
    ----------
    files
        Its files.
    place
        Where its results go, relative to the folder of results.
    fingerprint
        Of the names, sizes and times of its files.
    """

    files: tuple[Path, ...]
    place: Path
    fingerprint: str

    @classmethod
    def of(cls, series: SeriesFiles, inbox: Path) -> Export:
        """Look at the files of a series."""
        files = tuple(sorted(file.path for file in series.files))
        known = hashlib.sha256()
        for file in files:
            status = file.stat()
            known.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        place = files[0].parent.relative_to(inbox) / _name(series)
        return cls(files, place, known.hexdigest())


@dataclass(frozen=True)
class Outcome:
    """What became of a series; ``watch.json`` beside its results."""

    fingerprint: str
    exit_status: int
    message: str
    sent: bool = False

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """Read what was published; None where nothing was, or nothing that can be read."""
        try:
            return cls(**json.loads((folder / "watch.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Write it under a temporary name, then rename it."""
        write_json(folder / "watch.json", asdict(self))


class Inbox:
    """A folder, and since when each folder in it has been as it is."""

    def __init__(self, folder: Path, settle_s: float) -> None:
        self.folder = folder
        self._settle_s = settle_s
        self._since: dict[Path, tuple[object, float]] = {}

    def settled(self, now: float) -> dict[Path, object]:
        """Find folders whose files have had the same names, sizes and times for long enough.

        The clock is this machine's alone: times of files on a network share may be of another.
        """
        found = {Path(folder): _state(Path(folder), names) for folder, names in self._walk()}
        self._since = {
            folder: kept if (kept := self._since.get(folder)) and kept[0] == state else (state, now)
            for folder, state in found.items()
        }
        return {
            folder: state
            for folder, (state, since) in self._since.items()
            if state is not None and now - since >= self._settle_s
        }

    def _walk(self) -> Iterator[tuple[str, list[str]]]:
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not is_hidden(name)]
            yield folder, [name for name in names if not is_hidden(name)]


class Watch:
    """An inbox, and a folder of results with one for work in progress."""

    def __init__(self, options: argparse.Namespace, infer_options: list[str]) -> None:
        self.inbox = Inbox(options.inbox.resolve(), options.settle)
        self.results: Path = options.results.resolve()
        self.timeout: float = options.timeout
        self.send: str | None = options.send
        self.infer = [sys.executable, "-m", "gliomart.cli", "infer", "input", "--out", "results"]
        self.infer += ["--dicom-out"] * bool(self.send) + infer_options
        self._working = self.results / ".working"
        self._retry_s: float = options.retry
        self._known: dict[Path, object] = {}  # folders that all is done for
        self._not_before = 0.0

    def look(self) -> None:
        """Take every series that is whole and was not taken before, one after the other."""
        settled = self.inbox.settled(time.monotonic())
        if settled == self._known or time.monotonic() < self._not_before:
            return
        try:
            whole = self._take_all(settled.keys())
        except OSError as error:  # the disk is full, say
            log.warning("put off (%s)", error.strerror)
            whole = False
        self._known = settled if whole else {}
        self._not_before = 0.0 if whole else time.monotonic() + self._retry_s

    def _take_all(self, settled: Collection[Path]) -> bool:
        inventory = scan([self.inbox.folder])
        refused = [asdict(r) for r in inventory.refused if r.code not in NOT_TOLD]
        write_json(self.results / "refused.json", refused)
        whole = True
        for series in inventory.series:
            folders = {file.path.parent for file in series.files}
            if series.files[0].kind == "dicom" and all(folder in settled for folder in folders):
                whole &= self._take(series)
        if whole:  # what is left is of series that went away
            shutil.rmtree(self._working, ignore_errors=True)
        return whole

    def _take(self, series: SeriesFiles) -> bool:
        """Analyse and send a series, as far as that is not done yet; False to try it again."""
        name = _name(series)
        try:
            export = Export.of(series, self.inbox.folder)
            place = self.results / export.place
            outcome = Outcome.read(place)
            if outcome is None or outcome.fingerprint != export.fingerprint:
                working = self._working / name
                outcome = self._analyse(export, working)
                if outcome is None:
                    return False
                outcome.write(working / "results")
                _publish(working, place)
            if self.send and not outcome.sent and outcome.exit_status in TO_SEND:
                sent = _send(place / "dicom", self.send)
                log.info("series %s: %s", name, "sent" if sent else "not sent yet")
                Outcome(**asdict(outcome) | {"sent": sent}).write(place)
                return sent
        except OSError as error:  # somebody tidies up the inbox, say
            log.warning("series %s: put off (%s)", name, error.strerror)
            return False
        return True

    def _analyse(self, export: Export, working: Path) -> Outcome | None:
        """Run gliomart on a copy of the files; None where it is to be tried again."""
        attempt = self._prepare(export, working)
        started = time.monotonic()
        status, message = _run(self.infer, working, self.timeout)
        seconds = time.monotonic() - started
        name, count = export.place.name, len(export.files)
        log.info("series %s: %d files, exit status %d, %.1f s", name, count, status, seconds)
        if status == IN_PART:
            log.warning("series %s: some DICOM objects are missing; results.json says why", name)
        if status in MISCONFIGURED:
            log.error("gliomart cannot work: %s", message)
            raise SystemExit(status)
        if status not in DONE:
            if status == LATER or attempt < ATTEMPTS:
                return None
            shutil.rmtree(working / "results", ignore_errors=True)
            (working / "results").mkdir()
        return Outcome(export.fingerprint, status, message)

    def _prepare(self, export: Export, working: Path) -> int:
        """Copy the files, unless an earlier attempt did, and count the attempt before it begins."""
        note = working / "attempts.json"
        attempts = 0
        with suppress(OSError, ValueError):
            known = json.loads(note.read_bytes())
            attempts = known["attempts"] if known["fingerprint"] == export.fingerprint else 0
        if attempts == 0:
            shutil.rmtree(working, ignore_errors=True)
            for file in export.files:
                copy = working / "input" / file.relative_to(self.inbox.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        shutil.rmtree(working / "results", ignore_errors=True)
        write_json(note, {"fingerprint": export.fingerprint, "attempts": attempts + 1})
        return attempts + 1


def _publish(working: Path, place: Path) -> None:
    """Put finished results in their place, instead of those of an earlier export."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(working / "replaced")
    (working / "results").rename(place)
    shutil.rmtree(working, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:  # noqa: ANN401
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def lock(path: Path) -> int:
    """Take a lock that ends with this process and its children; exit where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A gliomart that outlives this process has it still.
            fcntl.fcntl(handle, fcntl.F_SETFD, 0)
    except OSError:
        raise SystemExit(f"{path.parent}: another watch works there") from None
    return handle


def _name(series: SeriesFiles) -> str:
    """Name a series without its UID, which tells who was examined to whoever has the archive."""
    return hashlib.sha256(series.id.encode()).hexdigest()[:12]


def _state(folder: Path, names: list[str]) -> object:
    """Names, sizes and times of files; None where one is being written or was just removed."""
    if any(name.lower().endswith(TEMPORARY) for name in names):
        return None
    try:
        status = {name: (folder / name).stat() for name in names}
    except OSError:
        return None
    return {name: (s.st_size, s.st_mtime_ns) for name, s in status.items()}


def _run(command: list[str], folder: Path, timeout: float) -> tuple[int, str]:
    """Run a command to its end; its exit status, and the last line of what it complained about."""
    close = sys.platform == "win32"
    try:
        ended = subprocess.run(  # noqa: S603  # our own interpreter, the operator's options
            command, cwd=folder, capture_output=True, timeout=timeout, check=False, close_fds=close
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, f"took longer than {timeout:g} s"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return ended.returncode, lines[-1] if lines else ""


def _send(folder: Path, peer: str) -> bool:
    """Send DICOM objects to an archive; there may be none, of images that are not DICOM."""
    if not folder.is_dir():
        return True
    title, _, address = peer.partition("@")
    host, _, port = address.rpartition(":")
    options = ["--required", "--scan-directories", "--recurse", "-aec", title]
    command = ["storescu", *options, host, port, "."]
    return _run(command, folder, timeout=600)[0] == 0


def main() -> None:
    """Watch until told to stop."""
    mine = list(takewhile(lambda argument: argument != "--", sys.argv[1:]))
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="What follows -- are options of gliomart infer.",
    )
    parser.add_argument("inbox", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--settle", type=float, default=20, help="seconds without a change (20)")
    parser.add_argument("--poll", type=float, default=2, help="seconds between looks (2)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for a series (1800)")
    parser.add_argument("--send", metavar="AET@HOST:PORT", help="archive for the DICOM objects")
    parser.add_argument("--retry", type=float, default=60, help="seconds after a failure (60)")
    parser.add_argument("--once", action="store_true", help="look once, then end")
    options = parser.parse_args(mine)
    if options.results.resolve().is_relative_to(options.inbox.resolve()):
        parser.error("results would be read as input: put them outside the inbox")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # pydicom quotes what it complains about.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")
    lock(options.results / ".lock")
    watch = Watch(options, sys.argv[len(mine) + 2 :])
    watch.look()
    while not options.once:
        time.sleep(options.poll)
        watch.look()


if __name__ == "__main__":
    main()
