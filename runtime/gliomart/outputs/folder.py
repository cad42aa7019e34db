"""The output folder: who may write into it, and files that are whole or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, pairwise, takewhile
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from gliomart.errors import OutputError, OutputExistsError, UnwritableError, UsageError
from gliomart.outputs import lock
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RESULTS = "results.json"
TABLE = "results.csv"
REPORT = "report.html"
JOURNAL = "results.partial.jsonl"
# The report's pictures, a file per finished series, until the report is written.
PICTURES = "report-pictures"
_FOLDERS = ("overlays", "overview", "maps", "masks", "dicom", PICTURES)
_WRITTEN = (RESULTS, TABLE, REPORT, JOURNAL, *_FOLDERS)
# Of a file that is being written; a writer that is killed leaves one.
_BEGINNING, _ENDING = ".gliomart-", ".partial"
# Where results go unless a folder is named.
_DEFAULTS = Path("gliomart-results")
# Names and sizes that some file systems take and others do not (open(2), mkdir(2), write(2)).
_OF_ONE_PATH = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EFBIG}


@dataclass(frozen=True)
class Claim:
    """A folder that one run has to itself until it ends.

    Attributes
    ----------
    path
        The folder.
    locked
        Whether other runs are kept out; False where the file system has no locks.
    """

    path: Path
    locked: bool

    def clear(self, *, overwrite: bool) -> None:
        """Remove what a killed run left half-written and, to overwrite it, an earlier run.

        Raises
        ------
        OutputError
            It cannot be removed, or the folder cannot be written into.
        """
        with output_errors(self.path):
            if (overwrite and _holds_results(self.path)) or _is_empty(self.path / JOURNAL):
                _remove_results(self.path)
            for abandoned in _abandoned(self.path):
                abandoned.unlink()
            with tempfile.TemporaryFile(dir=self.path):
                pass  # it can be written into


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


@contextmanager
def claimed(
    asked: Path | None, inputs: Sequence[Path], *, overwrite: bool = False, resume: bool = False
) -> Iterator[Claim]:
    """Take a folder for one run; nothing that it holds is changed yet.

    It is made where it is missing, and removed again where nothing comes to lie in it.

    Parameters
    ----------
    asked
        Where results go; None for a new folder in the working directory, named after the present
        moment.
    inputs
        Input paths; results never go into one of them, where the next run would read them.
    overwrite
        An earlier run's results may be replaced; everything else stays.
    resume
        An interrupted run may be gone on with.

    Raises
    ------
    OutputBusyError
        Another run has it.
    UsageError
        It lies inside an input or among another run's results, or an input among its own; it
        holds something and neither option is given; or a link among its results leads elsewhere.
    OutputError
        It cannot be made or written into.
    """
    folder = asked or _DEFAULTS / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    with output_errors(folder):
        _refuse_overlap(folder, inputs)
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder}: is a file, not a folder; choose another --out")
        made = _make(folder.parent)
        if asked is None:
            folder = _make_new(folder)
            made.append(folder)
        else:
            made += _make(folder)
    try:
        with ExitStack() as stack:
            with output_errors(folder):
                locked = stack.enter_context(lock.exclusive(folder))
                _refuse_contents(folder, overwrite=overwrite, resume=resume)
            yield Claim(folder, locked)
    finally:
        _remove_empty(made)


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
        _make(path.parent, within)
        temporary = path.with_name(f"{_BEGINNING}{token_hex(8)}{_ENDING}")
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
    made = _make(folder)
    try:
        yield
    finally:
        _remove_empty(made)


def _make(folder: Path, within: Path | None = None) -> list[Path]:
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


def _make_new(folder: Path) -> Path:
    """Make a folder that nobody else has, with a number where its name is taken."""
    for number in count(1):
        name = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            name.mkdir()
        except FileExistsError:
            continue
        break
    return name


def _remove_written(path: Path, folder: Path) -> None:
    """Remove a file, and what is empty without it of the folders that lead to it from another."""
    path.unlink(missing_ok=True)
    _remove_empty([*takewhile(lambda place: place != folder, path.parents)][::-1])


def _remove_empty(made: Sequence[Path]) -> None:
    """Remove folders that were made for nothing, the outermost being the first of them."""
    for place in reversed(made):
        try:
            place.rmdir()
        except OSError:  # something lies in it: it was made for that
            return


def _refuse_overlap(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder in which results would meet inputs or another run's results."""
    place = Path(os.path.realpath(folder))
    for path in inputs:
        if path.is_dir() and lies_in(place, path):
            raise UsageError(f"{folder}: lies inside the input {path}; choose another --out")
        given = Path(os.path.realpath(path))
        if any(lies_in(given, place / name) for name in _FOLDERS):
            raise UsageError(f"{path}: lies among the results in {folder}; choose another --out")
    for inner, outer in pairwise((place, *place.parents)):
        if inner.name in _FOLDERS and (_holds_results(outer) or (outer / lock.NAME).exists()):
            raise UsageError(f"{folder}: lies among the results in {outer}; choose another --out")


def lies_in(place: Path, outer: Path) -> bool:
    """Tell whether a path is a folder or lies in it, by whatever name (link, mount, case).

    ``place`` is a real path (:func:`os.path.realpath`).
    """
    try:
        status = outer.stat()
    except OSError:  # nothing lies in what is not there
        return False
    for each in (place, *place.parents):
        with suppress(OSError):
            if os.path.samestat(each.stat(), status):
                return True
    return False


def _refuse_contents(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that holds what the options do not allow for."""
    if all(path.name == lock.NAME for path in folder.iterdir()):
        return
    if not (overwrite or resume):
        raise OutputExistsError(f"{folder}: is not empty; give --overwrite or --resume")
    _refuse_links(folder)
    # What is called like a result, without the beginning or the end of a run, is somebody else's.
    theirs = overwrite or any(os.path.lexists(folder / name) for name in _WRITTEN)
    if theirs and not _holds_results(folder):
        raise OutputExistsError(
            f"{folder}: holds something other than results; choose another --out"
        )


def _holds_results(folder: Path) -> bool:
    return (folder / RESULTS).is_file() or (folder / JOURNAL).is_file()


def _remove_results(folder: Path) -> None:
    # An empty journal goes first and stays: whatever ends this half-way, none of it is finished.
    (folder / JOURNAL).write_bytes(b"")
    (folder / RESULTS).unlink(missing_ok=True)
    for name in (TABLE, REPORT):
        (folder / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _is_empty(journal: Path) -> bool:
    """Tell whether nothing was finished: the removal of earlier results perhaps included."""
    return journal.is_file() and journal.stat().st_size == 0


def _refuse_links(folder: Path) -> None:
    """Refuse to write through a link, or to remove what it leads to."""
    for path in (*(folder / name for name in (RESULTS, TABLE, JOURNAL)), *_results(folder)):
        if path.is_symlink():
            raise UsageError(f"{path}: is a link, and results are not written through links")


def _abandoned(folder: Path) -> Iterator[Path]:
    """Find the files that a killed writer left, in the folder itself and among its results."""
    for path in (*folder.iterdir(), *_results(folder)):
        partial = path.name.startswith(_BEGINNING) and path.name.endswith(_ENDING)
        if partial and path != folder / lock.NAME:
            yield path


def _results(folder: Path) -> Iterator[Path]:
    """Find all that lies in the folders of results, themselves included; links are not followed."""
    for name in _FOLDERS:
        yield folder / name
        for parent, folders, files in os.walk(folder / name):
            yield from (Path(parent, child) for child in (*folders, *files))
