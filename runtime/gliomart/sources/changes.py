"""Files that are no longer what they were when they were found.

What a header said was believed when the inputs were walked; pixels are read later. Between the two
a file may be removed, replaced or written on, and pixels that are read then belong to no header.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputRefusedError
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Removed, with the folder above it, or on the server that it lies on (NFS: ESTALE).
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


class Stamp(NamedTuple):
    """What changes when a file does: its size in bytes, and when it was written (ns, stat(2))."""

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Read it; raises OSError where there is no such file."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


def refusal_of(error: OSError) -> InputRefusedError:
    """Make the refusal of a path that was listed and could not be read: ``vanished`` if gone."""
    if error.errno in _GONE:
        return InputRefusedError("vanished", "it was removed while it was being read")
    return InputRefusedError("unreadable", reason_of(error))


@contextmanager
def unchanged(path: Path, stamp: Stamp | None) -> Iterator[None]:
    """Read a file, and see that it is the one that was found; what fails may fail because of that.

    Parameters
    ----------
    path
        Where it was found.
    stamp
        What it was then; None where nobody knows.

    Raises
    ------
    InputRefusedError
        ``vanished``, ``changed``, or what reading it raises.
    """
    try:
        yield
    except InputRefusedError:
        _check(path, stamp)
        raise
    except OSError as error:
        _check(path, stamp)
        raise _since_found(error) from error
    _check(path, stamp)


def _check(path: Path, stamp: Stamp | None) -> None:
    if stamp is None:
        return
    try:
        now = Stamp.of(path)
    except OSError as error:
        raise _since_found(error) from error
    if now != stamp:
        raise InputRefusedError("changed", "the file was changed after it had been found")


def _since_found(error: OSError) -> InputRefusedError:
    """Make the refusal of a file that could be read when it was found."""
    if error.errno in _GONE:
        return refusal_of(error)
    reason = f"the file could be read when it was found, and cannot be now: {reason_of(error)}"
    return InputRefusedError("changed", reason)
