"""Which run may write into an output folder, and what of earlier runs it may replace."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import OutputExistsError, UsageError
from gliomart.outputs import lock
from gliomart.outputs.folder import (
    BEGINNING,
    ENDING,
    FOLDERS,
    JOURNAL,
    REPORT,
    RESULTS,
    TABLE,
    make,
    output_errors,
    remove_empty,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WRITTEN = (RESULTS, TABLE, REPORT, JOURNAL, *FOLDERS)
# Where results go unless a folder is named.
_DEFAULTS = Path("gliomart-results")


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
        made = make(folder.parent)
        if asked is None:
            folder = _make_new(folder)
            made.append(folder)
        else:
            made += make(folder)
    try:
        with ExitStack() as stack:
            with output_errors(folder):
                locked = stack.enter_context(lock.exclusive(folder))
                _refuse_contents(folder, overwrite=overwrite, resume=resume)
            yield Claim(folder, locked)
    finally:
        remove_empty(made)


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


def _refuse_overlap(folder: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder in which results would meet inputs or another run's results."""
    place = Path(os.path.realpath(folder))
    for path in inputs:
        if path.is_dir() and lies_in(place, path):
            raise UsageError(f"{folder}: lies inside the input {path}; choose another --out")
        given = Path(os.path.realpath(path))
        if any(lies_in(given, place / name) for name in FOLDERS):
            raise UsageError(f"{path}: lies among the results in {folder}; choose another --out")
    for inner, outer in pairwise((place, *place.parents)):
        if inner.name in FOLDERS and (_holds_results(outer) or (outer / lock.NAME).exists()):
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
    for name in FOLDERS:
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
        partial = path.name.startswith(BEGINNING) and path.name.endswith(ENDING)
        if partial and path != folder / lock.NAME:
            yield path


def _results(folder: Path) -> Iterator[Path]:
    """Find all that lies in the folders of results, themselves included; links are not followed."""
    for name in FOLDERS:
        yield folder / name
        for parent, folders, files in os.walk(folder / name):
            yield from (Path(parent, child) for child in (*folders, *files))
