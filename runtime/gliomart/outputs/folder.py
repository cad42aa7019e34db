"""The output folder: who may write into it, and files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from gliomart.errors import OutputError, OutputExistsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RESULTS = "results.json"
TABLE = "results.csv"
REPORT = "report.html"
JOURNAL = "results.partial.jsonl"
# The report's pictures, a file per finished series, until the report is written.
PICTURES = "report-pictures"
_FOLDERS = ("overlays", "overview", "maps", "masks", "dicom", PICTURES)
# Of a file that is being written; a writer that is killed leaves one.
_BEGINNING, _ENDING = ".gliomart-", ".partial"


def default_folder() -> Path:
    """Name a folder after the present moment, in the working directory."""
    return Path("gliomart-results") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")


def open_folder(
    folder: Path, inputs: Iterable[Path], *, overwrite: bool = False, resume: bool = False
) -> None:
    """Make a folder ready to be written into.

    Parameters
    ----------
    folder
        Where results go; made where it is missing.
    inputs
        Input paths; results never go into one of them, where the next run would read them.
    overwrite
        Remove an earlier run's results from it; everything else stays.
    resume
        Go on in a folder that an interrupted run left; what it was writing when it was killed is
        removed.

    Raises
    ------
    UsageError
        The folder lies inside an input or an input inside its results, it holds something and
        neither option is given, or a link among its results leads elsewhere.
    OutputError
        It cannot be made or written into.
    """
    for path in inputs:
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; choose another --out")
        if any(path.resolve().is_relative_to(folder.resolve() / name) for name in _FOLDERS):
            raise UsageError(f"{path}: lies among the results in {folder}; choose another --out")
    with output_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder}: is a file, not a folder; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            if not (overwrite or resume):
                raise OutputExistsError(f"{folder}: is not empty; give --overwrite or --resume")
            _refuse_links(folder)
            if overwrite or _is_empty(folder / JOURNAL):
                _remove_results(folder)
            for abandoned in _abandoned(folder):
                abandoned.unlink()
        with tempfile.TemporaryFile(dir=folder):
            pass  # it can be written into


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is whole or not there.

    That holds however the process ends. It does not hold where the power fails: to wait until the
    disk has every file would take 0.4 to 4 ms each, a tenth of all that a slice takes and more
    with maps, and what may be lost so is seen (an empty picture, results that are damaged) and
    costs a run, never a finding.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_BEGINNING}{token_hex(8)}{_ENDING}")
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def remove_pictures(folder: Path) -> None:
    """Remove what the report was made of."""
    if (folder / PICTURES).is_dir():
        with output_errors(folder / PICTURES):
            shutil.rmtree(folder / PICTURES)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about a path into :class:`OutputError`."""
    try:
        yield
    except (OutputError, UsageError):
        raise
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(f"{path}: cannot be written ({reason})") from error


def _remove_results(folder: Path) -> None:
    if not ((folder / RESULTS).is_file() or (folder / JOURNAL).is_file()):
        raise OutputExistsError(
            f"{folder}: holds something other than results; choose another --out"
        )
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
        if path.name.startswith(_BEGINNING) and path.name.endswith(_ENDING):
            yield path


def _results(folder: Path) -> Iterator[Path]:
    """Find all that lies in the folders of results, themselves included; links are not followed."""
    for name in _FOLDERS:
        yield folder / name
        for parent, folders, files in os.walk(folder / name):
            yield from (Path(parent, child) for child in (*folders, *files))
