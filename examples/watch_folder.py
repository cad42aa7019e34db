"""Analyse every DICOM series that is exported into a folder, once, and send the results on.

    python watch_folder.py INBOX RESULTS [--send AET@HOST:PORT] [-- OPTIONS OF GLIOMART INFER]

A series is taken when nothing in its folders has changed for a while, copied, analysed by a
``gliomart infer`` of its own, and published in RESULTS by renaming a finished folder: what lies
there is whole. Of every published series ``watch.json`` says which files it was made of, so that
none is analysed twice, before or after a restart; one that gains or changes files is analysed again
as a whole, and replaced. A series that fails three times, whatever the reason, is published without
results, and the next one is taken. One of which some DICOM objects could not be written is
published, and what there is is sent. What cannot be read or is no DICOM is listed in
RESULTS/refused.json; hidden files are left alone.

The log on standard error names series and folders by a hash, and nobody.

It ends with 0 after SIGTERM and SIGHUP, which is what systemd expects, and with 130 after Ctrl-C:
gliomart is told and waited for, and what it was at is begun again at the next start. 1: another
watch works there. 2: an option or the inbox is of no use. 6: RESULTS is not. Where gliomart itself
cannot work, it ends with gliomart's exit status.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from watch_host import (
    OUTPUT,
    USAGE,
    Stopped,
    end,
    listen,
    listen_no_more,
    peer,
    prepare,
    publish,
    reap,
    reason,
    run,
    send,
    where,
    write_json,
)
from watch_inbox import Inbox, hashed

import gliomart

if TYPE_CHECKING:
    from collections.abc import Collection

    from gliomart import Refusal, SeriesFiles

log = logging.getLogger("watch_folder")

ATTEMPTS = 3
IN_PART = 11  # results were written, but not all of the DICOM objects
DONE = frozenset({0, 3, IN_PART})  # with 3, results say why nothing could be analysed
TO_SEND = frozenset({0, IN_PART})
MISCONFIGURED = frozenset({2, 4, 5, 7})  # no series would fare better, as a rule
DEFECT = -1000  # instead of an exit status; no signal has such a number
NOT_TOLD = frozenset({"duplicate", "no-images"})  # an inbox may be empty
MOST_S = 1e6


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
        """Look at the files of a series; a name need not be text (``os.fsencode``)."""
        files = tuple(sorted(file.path for file in series.files))
        known = hashlib.sha256()
        for file in files:
            status = file.stat()
            known.update(os.fsencode(file))
            known.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
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


class Watch:
    """An inbox, and a folder of results with one for work in progress."""

    def __init__(self, options: argparse.Namespace, infer_options: list[str]) -> None:
        self.inbox = Inbox(options.inbox.resolve(), options.settle)
        self.results: Path = options.results.resolve()
        self.timeout: float = options.timeout
        self.send: str | None = options.send
        if self.send and shutil.which("storescu") is None:  # told once
            log.error("storescu (of DCMTK) is not installed: nothing is sent before the next start")
            self.send = None
        self.infer = [sys.executable, "-m", "gliomart", "infer", "input", *infer_options]
        self.infer += ["--dicom-out"] * bool(options.send) + ["--out", "results"]
        self._working = self.results / ".working"
        self._retry_s: float = options.retry
        self._known: dict[Path, object] = {}  # folders that all is done for
        self._not_before = -math.inf
        self._said = ""  # of the inbox, and once

    def look(self) -> None:
        """Take every series that is whole and was not taken before, one after the other."""
        try:
            settled = self.inbox.settled(time.monotonic())
        except OSError as error:  # a share that is not mounted, say
            self._say(f"the inbox cannot be read ({error.strerror})")
            return
        self._say("")
        if settled == self._known or time.monotonic() < self._not_before:
            return
        try:
            whole = self._take_all(settled.keys())
        except OSError as error:  # the disk is full, say
            log.warning("put off (%s)", reason(error))
            whole = False
        self._known = settled if whole else {}
        self._not_before = -math.inf if whole else time.monotonic() + self._retry_s

    def _say(self, what: str) -> None:
        if what != self._said:
            log.warning("%s", what or "the inbox can be read again")
        self._said = what

    def _take_all(self, settled: Collection[Path]) -> bool:
        series, refused = self._scan()
        refused += [
            gliomart.Refusal(each.source, None, "not-dicom", "only DICOM series are taken")
            for each in series
            if each.files[0].kind != "dicom"
        ]
        self._tell([asdict(each) for each in refused])
        whole = True
        for each in series:
            folders = {file.path.parent for file in each.files}
            if each.files[0].kind == "dicom" and all(folder in settled for folder in folders):
                whole &= self._take(each)
        if whole:  # what is left is of series that went away
            shutil.rmtree(self._working, ignore_errors=True)
        return whole

    def _scan(self) -> tuple[list[SeriesFiles], list[Refusal]]:
        """Find the series of the inbox; a defect that one file brings up hides no other."""
        refused = []
        try:
            inventory = gliomart.scan([self.inbox.folder])
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # any defect: it is told, and its file left out
            log.error("the inbox cannot be scanned as a whole (%s)", where(error))  # noqa: TRY400
            files = []
            for path in (Path(at, name) for at, names in self.inbox.walk() for name in names):
                try:
                    files += [path] * bool(gliomart.scan([path]).series)
                except Exception as defect:  # noqa: BLE001
                    refused.append(
                        gliomart.Refusal(hashed(str(path)), None, "defect", where(defect))
                    )
            inventory = gliomart.scan(files)
        refused += [each for each in inventory.refused if each.code not in NOT_TOLD]
        return list(inventory.series), refused

    def _tell(self, refused: list[dict[str, Any]]) -> None:
        file = self.results / "refused.json"
        earlier = None
        with suppress(OSError, ValueError):
            earlier = json.loads(file.read_bytes())
        if refused != earlier:
            write_json(file, refused)
            if refused:
                log.warning("%d inputs are not taken; refused.json says why", len(refused))

    def _take(self, series: SeriesFiles) -> bool:
        """Analyse and send a series, as far as that is not done yet; False to try it again."""
        name = _name(series)
        try:
            export = Export.of(series, self.inbox.folder)
            place, working = self.results / export.place, self._working / name
            outcome = Outcome.read(place)
            if outcome is None or outcome.fingerprint != export.fingerprint:
                outcome = self._analysed(export, working)
                if outcome is None:
                    return False
                publish(working, place)
            if self.send and not outcome.sent and outcome.exit_status in TO_SEND:
                status = send(place / "dicom", self.send)
                if status:
                    log.warning("series %s: not sent yet (storescu: status %d)", name, status)
                    return False
                log.info("series %s: sent", name)
                replace(outcome, sent=True).write(place)
        except OSError as error:  # somebody tidies up the inbox, say
            log.warning("series %s: put off (%s)", name, reason(error))
            return False
        except Exception as error:  # noqa: BLE001  # any defect is this series' alone
            log.error("series %s: put off (%s)", name, where(error))  # noqa: TRY400
            return False
        return True

    def _analysed(self, export: Export, working: Path) -> Outcome | None:
        """Leave finished results in the working folder; None where it is to be tried again."""
        results, name = working / "results", export.place.name
        finished = Outcome.read(results)
        if finished is not None and finished.fingerprint == export.fingerprint:
            return finished  # and only publishing it failed
        attempt, started = _next_attempt(working, export.fingerprint), time.monotonic()
        try:
            self._copy(export, working)
            status, message = run(self.infer, working, self.timeout)
        except (OSError, Stopped):  # the series cannot help it
            _count(working, export.fingerprint, attempt - 1)
            raise
        except Exception as error:  # noqa: BLE001  # any defect is this series' alone
            status, message = DEFECT, where(error)
        seconds, count = time.monotonic() - started, len(export.files)
        log.info("series %s: %d files, exit status %d, %.1f s", name, count, status, seconds)
        if status == IN_PART:
            log.warning("series %s: some DICOM objects are missing; results.json says why", name)
        if status in MISCONFIGURED and self._fails_at_all():
            log.error("gliomart cannot work: %s", message)
            raise SystemExit(status)
        if status not in DONE:
            if status == OUTPUT or attempt < ATTEMPTS:  # the disk is full, say
                return None
            shutil.rmtree(results, ignore_errors=True)
            results.mkdir()
        outcome = Outcome(export.fingerprint, status, message)
        outcome.write(results)
        return outcome

    def _copy(self, export: Export, working: Path) -> None:
        """Copy the files, unless an earlier attempt did, and remove what it left of results."""
        if not (working / "input").exists():
            shutil.rmtree(working / "copying", ignore_errors=True)
            for file in export.files:
                copy = working / "copying" / file.relative_to(self.inbox.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            (working / "copying").rename(working / "input")
        shutil.rmtree(working / "results", ignore_errors=True)

    def _fails_at_all(self) -> bool:
        """Tell whether gliomart cannot analyse the study that comes along with it either."""
        trial = self._working / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(str(resources.files("gliomart") / "golden"), trial / "input")
        status, _ = run(self.infer, trial, self.timeout)
        shutil.rmtree(trial, ignore_errors=True)
        return status in MISCONFIGURED


def _next_attempt(working: Path, fingerprint: str) -> int:
    """Count an attempt before it begins, so that one that takes the watch along counts as well."""
    try:
        known = json.loads((working / "attempts.json").read_bytes())
        attempts = int(known["attempts"]) if known["fingerprint"] == fingerprint else None
    except (OSError, ValueError, TypeError, KeyError):
        attempts = None
    if attempts is None:
        shutil.rmtree(working, ignore_errors=True)
    _count(working, fingerprint, (attempts or 0) + 1)
    return (attempts or 0) + 1


def _count(working: Path, fingerprint: str, attempts: int) -> None:
    write_json(working / "attempts.json", {"fingerprint": fingerprint, "attempts": attempts})


def _name(series: SeriesFiles) -> str:
    """Name a series without its UID, which tells who was examined to whoever has the archive."""
    return hashed(series.id)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) <= MOST_S:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to {MOST_S:.0f} seconds")


def _folder(text: str) -> Path:
    if not text:  # which would be the working directory
        raise argparse.ArgumentTypeError("an empty path was given")
    return Path(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        end(USAGE, f"{message} (see --help)")


def _options(mine: list[str]) -> argparse.Namespace:
    parser = _Parser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="What follows -- are options of gliomart infer.",
    )
    parser.add_argument("inbox", type=_folder)
    parser.add_argument("results", type=_folder)
    for name, seconds, what in (
        ("settle", 20, "without a change"), ("poll", 2, "between looks"),
        ("timeout", 1800, "for a series"), ("retry", 60, "after a failure"),
    ):  # fmt: skip
        parser.add_argument(
            f"--{name}", type=_seconds, default=seconds, help=f"seconds {what} ({seconds})"
        )
    parser.add_argument("--send", type=peer, metavar="AET@HOST:PORT", help="archive for DICOM")
    parser.add_argument("--once", action="store_true", help="look once, then end")
    options = parser.parse_args(mine)
    inbox, results = options.inbox.resolve(), options.results.resolve()
    if not inbox.is_dir():
        end(USAGE, f"{inbox}: is {'a file' if inbox.exists() else 'not there'}, and no inbox")
    if results.is_relative_to(inbox):
        end(USAGE, f"{results}: would be read as input: put them outside the inbox")
    return options


def main() -> None:
    """Watch until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # pydicom quotes what it complains about.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")
    # A thread for each processor of a large machine may be more than TasksMax= allows: OpenBLAS,
    # which comes with the first scan, then sends itself SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listen()
    mine = list(takewhile(lambda argument: argument != "--", sys.argv[1:]))
    options = _options(mine)
    try:
        prepare(options.results)
        watch = Watch(options, sys.argv[len(mine) + 2 :])
        watch.look()
        while not options.once:
            reap()
            time.sleep(options.poll)
            watch.look()
    except Stopped:
        listen_no_more()
        log.info("stopped; what was begun is begun again at the next start")
        raise
    finally:
        listen_no_more()


if __name__ == "__main__":
    main()
