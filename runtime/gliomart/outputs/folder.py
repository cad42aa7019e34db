"""The output folder, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from gliomart.errors import OutputError, UnwritableError, UsageError
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RESULTS = "results.json"
TABLE = "results.csv"
REPORT = "report.html"
JOURNAL = "results.partial.jsonl"
# The report's pictures, a file per finished series, until the report is written.
PICTURES = "report-pictures"
FOLDERS = ("overlays", "overview", "maps", "masks", "dicom", PICTURES)
# Of a file that is being written; a writer that is killed leaves one.
BEGINNING, ENDING = ".gliomart-", ".partial"
# Names and sizes that some file systems take and others do not (open(2), mkdir(2), write(2)).
_OF_ONE_PATH = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EFBIG}


@dataclass(frozen=True)
class OutputFolder:
    """The folder that results are written into, as long as it is the one that a run began in.

    Attributes
    ----------
    path
        Where it is.
    status
        What was there when the run began (stat(2)).
    """

    path: Path
    status: os.stat_result

    @classmethod
    def at(cls, path: Path) -> OutputFolder:
        """Take a folder that exists."""
        with output_errors(path):
            return cls(path, path.stat())

    def write(self, place: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file in it; see :func:`write_atomically`."""
        path = self.path / place
        with self.still_there():
            write_atomically(path, content, within=self.path)
            if not self._is_there():  # another folder has taken its place meanwhile
                _remove_written(path, self.path)

    @contextmanager
    def still_there(self) -> Iterator[None]:
        """Write into it: what is written elsewhere would be told of, and is lost.

        Raises
        ------
        OutputError
            It was removed, moved, or replaced by another one, before or meanwhile.
        """
        self._check()
        try:
            yield
        except OutputError:
            self._check()  # that it was taken away says more
            raise
        self._check()

    def _check(self) -> None:
        if not self._is_there():
            raise OutputError(
                f"{self.path}: was removed, moved or replaced while results were written into it;"
                " begin anew"
            )

    def _is_there(self) -> bool:
        with output_errors(self.path), suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(self.path.stat(), self.status)
        return False


@dataclass(frozen=True)
class SeriesFolder:
    """The output folder as one series writes into it: what it wrote can be removed again.

    Attributes
    ----------
    folder
        Where everything goes.
    written
        Places of what was written so far.
    """

    folder: OutputFolder
    written: list[str] = field(default_factory=list)

    def write(self, place: str, content: bytes) -> UnwritableError | None:
        """Write one file; gives the error where it is only this one that cannot be written."""
        try:
            self.folder.write(place, content)
        except UnwritableError as error:
            return error
        self.written.append(place)
        return None

    def remove(self) -> None:
        """Remove what was written of the series: it failed, and results do not name it."""
        for place in self.written:
            path = self.folder.path / place
            with output_errors(path):
                path.unlink(missing_ok=True)


def write_atomically(
    path: Path,
    content: bytes | Iterable[bytes],
    *,
    synchronised: bool = False,
    within: Path | None = None,
) -> None:
    """Write a file under a temporary name, then rename it: it is whole or not there.

    That holds however the process ends. Where the power fails it holds for what is synchronised
    alone: to wait until the disk has every file would take 0.4 to 4 ms each, a tenth of all that a
    slice takes and more with maps, and what may be lost so is seen (an empty picture, results that
    are damaged) and costs a run, never a finding.

    Parameters
    ----------
    path
        Its folder is made where it is missing.
    content
        As a whole or in parts, of which no more than one need be in memory.
    synchronised
        Wait until the disk has it, for what no run can make anew.
    within
        A folder above it that is not made again where it was taken away.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """
    with output_errors(path):
        make(path.parent, within)
        temporary = path.with_name(f"{BEGINNING}{token_hex(8)}{ENDING}")
        try:
            with temporary.open("xb") as stream:
                stream.writelines([content] if isinstance(content, bytes) else content)
                if synchronised:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about a path into :class:`OutputError`.

    What is wrong with this one path alone becomes :class:`UnwritableError`.
    """
    try:
        yield
    except (OutputError, UsageError):
        raise
    except OSError as error:
        reason = reason_of(error)
        if error.errno in _OF_ONE_PATH:
            raise UnwritableError(path, reason) from error
        raise OutputError(f"{_in_the_way(error, path)}: cannot be written ({reason})") from error


def _in_the_way(error: OSError, path: Path) -> Path:
    """Name what an error is about, where that lies in the folder that is meant or is above it."""
    if not isinstance(error.filename, str) or error.filename2 is not None:
        return path
    named = Path(error.filename)
    return named if path.is_dir() or named in path.parents else path


@contextmanager
def made_for_now(folder: Path) -> Iterator[None]:
    """Make a folder and those above it, where they are missing; those that stay empty go again."""
    made = make(folder)
    try:
        yield
    finally:
        remove_empty(made)


def make(folder: Path, within: Path | None = None) -> list[Path]:
    """Make a folder and those above it, where they are missing; gives those made, outermost first.

    Not by ``mkdir(parents=True)``, which calls itself once for every folder. ``within`` and what is
    above it is not made.
    """
    below = takewhile(lambda place: place != within, (folder, *folder.parents))
    missing = list(takewhile(lambda place: not place.is_dir(), below))
    made = []
    for place in reversed(missing):
        try:
            place.mkdir()
        except FileExistsError as error:
            if not place.is_dir():  # else somebody else made it at the same moment
                reason = os.strerror(errno.ENOTDIR)
                raise NotADirectoryError(errno.ENOTDIR, reason, str(place)) from error
        else:
            made.append(place)
    return made


def _remove_written(path: Path, folder: Path) -> None:
    """Remove a file, and what is empty without it of the folders that lead to it from another."""
    with suppress(OSError):
        path.unlink()
    remove_empty([*takewhile(lambda place: place != folder, path.parents)][::-1])


def remove_empty(made: Sequence[Path]) -> None:
    """Remove folders that were made for nothing, the outermost being the first of them."""
    for place in reversed(made):
        try:
            place.rmdir()
        except OSError:  # something lies in it: it was made for that
            return
