"""One file that a command was asked to write: fit to be written, and none of what is read."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from gliomart.errors import UsageError
from gliomart.outputs.folder import made_for_now, output_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def check_target(target: Path, inputs: Iterable[Path | None]) -> None:
    """See, before work begins, that a file can be written and would replace nothing that is read.

    Parameters
    ----------
    target
        The file; there may be an earlier one.
    inputs
        Files and folders that the command reads; None for those that were not given.

    Raises
    ------
    UsageError
        It is one of them, by whatever name (link, hard link, case), is part of one, or is a folder.
    OutputError
        It cannot be written.
    """
    for path in inputs:
        if path is not None and _is_part(target, path):
            raise UsageError(f"{target}: is read as well, as {path}; choose another place")
    if target.is_dir():
        raise UsageError(f"{target}: is a folder, where a file is to be written")
    with (
        output_errors(target),
        made_for_now(target.parent),
        tempfile.TemporaryFile(dir=target.parent),
    ):
        pass


def _is_part(target: Path, path: Path) -> bool:
    """Tell whether writing a file would replace an input, or a file in one."""
    if not path.exists():
        return target.absolute() == path.absolute()
    if not target.exists():
        return False
    return target.samefile(path) or (
        path.is_dir()
        and (target.resolve().is_relative_to(path.resolve()) or _is_listed(target, path))
    )


def _is_listed(target: Path, folder: Path) -> bool:
    """Tell whether a file has a second name in a folder, as hard links have."""
    if target.stat().st_nlink == 1:
        return False
    return any(target.samefile(path) for path in folder.rglob("*") if path.is_file())
