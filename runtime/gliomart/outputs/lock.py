"""One run in a folder at a time, for as long as its process lives.

The operating system holds the lock and lets go of it when the process ends, however that happens:
flock(2), which NFS carries to other hosts since Linux 2.6.12, or LockFile on Windows. A lock file
that is left behind says nothing; only the lock on it does.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from gliomart.errors import OutputBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Named like a file that a killed writer left, so that every version removes one that stayed.
NAME = ".gliomart-lock.partial"
# What file systems say that have no locks (flock(2); ENOLCK: NFS without its lock service).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
# How often a lock file may turn out to be one that its last holder has just removed.
_MOST_TRIES = 100
_PAUSE_S = 0.01
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class _Held(threading.local):
    """Lock files that this thread holds, and whether by a lock."""

    def __init__(self) -> None:
        self.files: dict[Path, bool] = {}


_held = _Held()
_descriptors: set[int] = set()


@contextmanager
def exclusive(folder: Path, *, name: str = NAME, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold a folder against every other run; what this thread holds already stays held.

    Parameters
    ----------
    folder
        One that exists.
    name
        Of the lock file, where it is not the folder as a whole that is held.
    patience_s
        Seconds that are waited for it.

    Yields
    ------
    bool
        Whether it is held. False where the file system has no locks: nothing is known of other
        runs there.

    Raises
    ------
    OutputBusyError
        Another run holds it: another process, on this host or another, or another thread.
    OSError
        No file can be made in it.
    """
    file = Path(os.path.realpath(folder), name)
    if file in _held.files:
        yield _held.files[file]
        return
    descriptor, locked = _taken(file, folder, perf_counter() + patience_s)
    _descriptors.add(descriptor)
    _held.files[file] = locked
    try:
        yield locked
    finally:
        if descriptor in _descriptors:  # and not in a fork of the process that holds it
            _descriptors.remove(descriptor)
            del _held.files[file]
            _release(file, descriptor)


def _taken(file: Path, folder: Path, until: float) -> tuple[int, bool]:
    """Open and lock the lock file; tells whether there was a lock to be had."""
    tries = 0
    while tries < _MOST_TRIES:
        descriptor = os.open(file, _FLAGS, 0o666)
        try:
            locked = _lock(descriptor)
            current = locked is None or _is_still(file, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if locked is not False and current:
            return descriptor, locked is not None
        os.close(descriptor)
        if locked is False and perf_counter() < until:
            sleep(_PAUSE_S)
        elif locked is False:
            raise OutputBusyError(
                f"{folder}: another run is writing into it; wait for it, or choose another --out"
            )
        else:  # its last holder removed it between our opening and our locking it
            tries += 1
    return os.open(file, _FLAGS, 0o666), False


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    except FileNotFoundError:
        return False


def _let_go_in_a_fork() -> None:
    """Leave a lock to the process that took it: else it would last as long as its children."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()
    _held.files.clear()


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a byte that nobody reads, since what is locked cannot be read

    def _lock(descriptor: int) -> bool | None:
        """Lock a file: False where somebody else holds it, None where there are no locks."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EDEADLK}:
                return False
            if error.errno in _NO_LOCKS:
                return None
            raise
        return True

    def _release(file: Path, descriptor: int) -> None:
        os.close(descriptor)  # no open file can be removed
        with suppress(OSError):  # another run has opened it by now, or it stays and says nothing
            file.unlink()

else:
    import fcntl

    def _lock(descriptor: int) -> bool | None:
        """Lock a file: False where somebody else holds it, None where there are no locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise
        return True

    def _release(file: Path, descriptor: int) -> None:
        with suppress(OSError):  # the disk became read-only: it stays and says nothing
            file.unlink()
        os.close(descriptor)

    os.register_at_fork(after_in_child=_let_go_in_a_fork)
