"""The output folder: who may write into it, and files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import OutputError, OutputExistsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RESULTS = "results.json"
TABLE = "results.csv"
JOURNAL = "results.partial.jsonl"
_FOLDERS = ("overlays", "overview", "maps", "masks")


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
        Go on in a folder that an interrupted run left.

    Raises
    ------
    UsageError
        The folder lies inside an input, or holds something and neither option is given.
    OutputError
        It cannot be made or written into.
    """
    for path in inputs:
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{folder}: lies inside the input {path}; choose another --out")
    with output_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputExistsError(f"{folder}: is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not resume:
            if not overwrite:
                raise OutputExistsError(f"{folder}: is not empty; give --overwrite or --resume")
            _remove_results(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass  # it can be written into


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it: it is whole or not there.

    Raises
    ------
    OutputError
        The file cannot be written; nothing of it is left.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


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
        raise OutputExistsError(f"{folder}: holds something other than results; it is left alone")
    for name in (RESULTS, TABLE, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
