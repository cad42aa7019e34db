"""Standard output and standard error of a command, whatever they are.

A service may have started us without some of them, a disk that they go to may be full, and whoever
read them may be gone. What is said on standard error is lost then, and ends nothing; results that
cannot be written are an error. In a process that is the command's own, nothing but results reaches
standard output: they go to a descriptor that nobody else knows, and what libraries print, by Python
or past it, goes to standard error.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_STANDARD = (0, 1, 2)
_own: TextIO | None = None
_found: Descriptor | None = None


def results() -> TextIO | None:
    """Give the stream that results are printed to; None where it was closed."""
    if _own is not None:
        return _own
    return usable(sys.stdout)


def usable(stream: TextIO | None) -> TextIO | None:
    """Give a standard stream; None where it is none, or was closed.

    What a program put in its place may have no more than :meth:`write`.
    """
    try:
        return None if stream is None or getattr(stream, "closed", False) else stream
    except ValueError:  # it was detached from what it wrote to
        return None


def give(*lines: str) -> None:
    """Print lines of results.

    Raises
    ------
    OSError
        They cannot be written.
    """
    if (stream := results()) is not None:
        _write("".join(f"{line}\n" for line in lines), stream)


def give_json(values: object) -> None:
    """Print one JSON value, in ASCII, which every encoding of a terminal has.

    Raises
    ------
    OSError
        It cannot be written.
    """
    import json

    if (stream := results()) is not None:
        json.dump(values, stream, indent=1)
        give("")


def note(message: str) -> None:
    """Say something on standard error, and that it is gliomart who says it."""
    say(f"gliomart: {message}")


def say(line: str) -> None:
    """Print a line on standard error; it is lost where that is closed or cannot be written to."""
    if (stream := usable(sys.stderr)) is None:
        return
    # A full disk, a reader that is gone, what is closed: the exit status says what can be said.
    with suppress(OSError, ValueError):
        _write(f"{line}\n", stream)
        _flush(stream)


def finish() -> None:
    """Write what results wait in a buffer.

    Raises
    ------
    OSError
        They cannot be written.
    """
    if (stream := results()) is not None:
        _flush(stream)


def give_up() -> None:
    """Lose the results that wait to be written: they cannot be, and would be tried once more."""
    if isinstance(_found, Descriptor):
        _found.heard = False
    elif isinstance(results(), io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def fill_closed_descriptors() -> list[int]:
    """Open the null device where a standard stream was closed, and tell where that was.

    The next file that is opened would take its number, and what is printed would go into it.
    """
    filled = []
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # noqa: FBT003
            filled.append(number)
    return filled


@contextmanager
def owned() -> Iterator[None]:
    """Have the standard streams for the command alone, as this process is its own.

    A stream that a program put in the place of one stays where it is, and is written to.
    """
    global _own  # noqa: PLW0603  # a process has one standard output
    before = sys.stdout, sys.stderr
    fill_closed_descriptors()
    if _is_on(2, sys.stderr):
        sys.stderr = _text(Descriptor(2, heard=False), like=sys.stderr)
    try:
        if _is_on(1, sys.stdout):
            with _kept_clean():
                yield
        else:
            _own, sys.stdout = results(), sys.stderr
            yield
    finally:
        _own = None
        sys.stdout, sys.stderr = before


@contextmanager
def _kept_clean() -> Iterator[None]:
    """Move results to a descriptor of their own, and what else is printed to standard error."""
    global _own, _found  # noqa: PLW0603  # a process has one standard output
    with suppress(OSError):  # which the next one who flushes it is told
        finish()
    kept = os.dup(1)
    os.dup2(2, 1)
    _found = Descriptor(kept, heard=sys.stdout is not None)
    _own, sys.stdout = _text(_found, like=sys.stdout), sys.stderr
    try:
        yield
    finally:
        _found.heard = False  # what is left could not be written, which was told
        _own.flush()
        _found = None
        os.dup2(kept, 1)
        os.close(kept)


class Descriptor(io.RawIOBase):
    """A file descriptor that is written to, and waited for even where it does not block.

    Parameters
    ----------
    number
        Of the descriptor, which is not closed with this.
    heard
        Raise where it cannot be written to; otherwise what is written is lost then.
    """

    def __init__(self, number: int, *, heard: bool) -> None:
        self.number, self.heard = number, heard

    def write(self, content: bytes) -> int:  # type: ignore[override]  # any buffer
        """Write what is taken at once, and tell how much that is."""
        import select

        while True:
            try:
                return os.write(self.number, content)
            except BlockingIOError:  # O_NONBLOCK, which whoever shares the terminal may have set
                select.select([], [self.number], [])
            except OSError as error:
                if self.heard:
                    error.filename = "standard output"
                    raise
                return len(content)

    def fileno(self) -> int:
        """Give the descriptor's number."""
        return self.number

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self.number)

    def writable(self) -> bool:
        """Tell that it may be written to."""
        return True


def _text(descriptor: Descriptor, *, like: TextIO | None) -> TextIO:
    """Make a stream of text with the encoding of another; what that lacks is written out."""
    lines = descriptor.isatty() or not descriptor.heard
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),  # type: ignore[type-var]  # it wants a mode and a name
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=lines or bool(getattr(like, "line_buffering", False)),
    )


def _write(text: str, stream: TextIO) -> None:
    """Write text, and write out what the stream's encoding lacks."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _flush(stream: TextIO) -> None:
    if hasattr(stream, "flush"):
        stream.flush()


def _is_on(number: int, stream: TextIO | None) -> bool:
    """Tell whether a stream is the system's, or is none, and a descriptor can stand for it."""
    if os.name != "posix":  # a console of Windows takes characters, not a descriptor's bytes
        return False
    try:
        return stream is None or stream.fileno() == number
    except (AttributeError, OSError, ValueError):  # it has none, or is closed
        return False
