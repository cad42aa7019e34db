"""What a watch asks of its host: signals, programs, an archive, a lock, and whole files."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("watch_folder")

ANOTHER, USAGE, OUTPUT, INTERRUPTED = 1, 2, 6, 130  # exit statuses
TIMED_OUT = -1  # instead of one
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
TAKEN = frozenset({errno.EAGAIN, errno.EACCES})  # the second is Windows'
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
GRACE_S = 5.0  # for a program to end after it was told to
SIGNALS = [getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, n)]
LAST_PORT = 65535
PEER = re.compile(r"([^@]{1,16})@(.+):(\d{1,5})")


class Stopped(SystemExit):
    """The watch was told to end; not an Exception, which would be that of a series."""


def run(command: list[str], folder: Path, timeout: float) -> tuple[int, str]:
    """Run a program to its end; its exit status, and the last line of what it complained about.

    It does not outlive this watch: where that is told to end, it is told as well and waited for.
    """
    process = None
    try:
        with _uninterrupted():  # or a program would have been started that nobody knows
            process = subprocess.Popen(  # noqa: S603  # our interpreter, the operator's options
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, close_fds=sys.platform == "win32",
            )  # fmt: skip
        said = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired:
        return TIMED_OUT, f"took longer than {timeout:g} s"
    finally:
        if process is not None and process.returncode is None:
            with _uninterrupted():
                _tell_to_end(process)
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode, lines[-1] if lines else ""


def send(folder: Path, to: str) -> int:
    """Send DICOM objects to an archive, if there are any; 0 where it has taken them."""
    if not folder.is_dir():
        return 0
    title, host, port = PEER.findall(to)[0]
    options = ["--required", "--scan-directories", "--recurse", "-aec", title]
    return run(["storescu", *options, host, port, "."], folder, timeout=600)[0]


def peer(text: str) -> str:
    """Take the name and address of an archive."""
    parts = PEER.fullmatch(text)
    if parts is None or not 0 < int(parts[3]) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not AET@HOST:PORT, as ARCHIVE@10.0.0.2:104")
    return text


def _tell_to_end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let a signal to end wait."""
    came: list[int] = []
    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in (each for each in SIGNALS if before[each] is _stop):
        signal.signal(each, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for each in (each for each in SIGNALS if before[each] is _stop):
            signal.signal(each, _stop)
        for number in came:
            signal.raise_signal(number)


def listen() -> None:
    """Let signals end the watch: systemd's, Ctrl-C, and that of a terminal that is closed."""
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # which nohup asks for
            signal.signal(each, _stop)


def listen_no_more() -> None:
    """Let no signal disturb the end, which has come."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def _stop(number: int, _frame: object) -> None:
    raise Stopped(INTERRUPTED if number == signal.SIGINT else 0)


def reap() -> None:
    """Take note of whoever was left to this process and ended, where it is the first of all."""
    if os.getpid() == 1:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def where(error: Exception) -> str:
    """Say of a defect what and where it is; its message may quote a file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + at


def reason(error: OSError) -> str:
    """Say what the operating system said, without the path that it said it of."""
    return error.strerror or where(error)


def publish(working: Path, place: Path) -> None:
    """Put finished results in their place, instead of those of an earlier export."""
    replaced = working / "replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(replaced)
    try:
        (working / "results").rename(place)
    except OSError:
        if replaced.exists():
            replaced.rename(place)
        raise
    shutil.rmtree(working, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:  # noqa: ANN401
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def prepare(results: Path) -> None:
    """Lock the folder of results, and see that finished folders can be renamed into it."""
    work = results / ".working"
    try:
        lock(results / ".lock")
        for _ in range(2):  # the second time instead of the first
            (work / "probe" / "results").mkdir(parents=True, exist_ok=True)
            write_json(work / "probe" / "results" / "probe.json", {})
            publish(work / "probe", work / "probed")
            write_json(work / "probed" / "probe.json", {})
    except OSError as error:
        if error.errno not in FULL:  # which passes
            end(OUTPUT, f"{results}: nothing can be published there ({reason(error)})")
    finally:
        shutil.rmtree(work / "probe", ignore_errors=True)
        shutil.rmtree(work / "probed", ignore_errors=True)
        with suppress(OSError):  # it holds work that goes on
            work.rmdir()


def lock(path: Path) -> int:
    """Take a lock that ends with this process and its children; exit where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # A gliomart that outlives this process has it still.
            fcntl.fcntl(handle, fcntl.F_SETFD, 0)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            end(ANOTHER, f"{path.parent}: another watch works there, or a gliomart that it left")
        if error.errno not in NO_LOCKS:
            raise
        log.warning("results: nothing keeps a second watch out (%s)", reason(error))
    return handle


def end(status: int, message: str) -> NoReturn:
    """End in one line."""
    log.error("%s", message)
    raise SystemExit(status)
