"""From paths to files: folders are walked, and every file is found, refused or counted."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gliomart.errors import InputNotFoundError, InputRefusedError
from gliomart.printable import printable
from gliomart.slices import Refusal
from gliomart.sources import dicom, media, nifti
from gliomart.sources.header import Header
from gliomart.sources.inventory import SourceFile
from gliomart.sources.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.sources.budget import Budget


_LONGEST_SUFFIX = 6


@dataclass
class Walk:
    """What was met on a walk; grows while it goes on.

    Attributes
    ----------
    roots
        What results call each path that was given.
    found, refused
        Files that hold images, and those that cannot be read.
    ignored
        How many other files, by kind: their suffix, mostly.
    """

    roots: list[str] = field(default_factory=list)
    found: list[SourceFile] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def take(self, path: Path, budget: Budget) -> None:
        """Walk one path that was given.

        Raises
        ------
        InputNotFoundError
            It does not exist.
        """
        if not _exists(path):
            raise InputNotFoundError(f"{path}: no such file or folder")
        root = _unique_name(_printable(path.resolve().name) or "root", self.roots)
        self.roots.append(root)
        waiting = deque(_walk(path, root, self.refused))
        while waiting:
            file, source = waiting.popleft()
            try:
                entry = _identify(file, source, budget)
            except InputRefusedError as error:
                self.refused.append(Refusal(source, None, error.code, error.reason))
                continue
            except OSError as error:
                self.refused.append(Refusal(source, None, "unreadable", reason_of(error)))
                continue
            if isinstance(entry, media.Directory):
                self.refused += entry.problems
                if not path.is_dir():  # in a folder, its files are met anyway
                    waiting.extend(entry.files)
                self.ignored["DICOMDIR"] += 1
            elif entry is None:
                self.ignored[_kind_of_other(file)] += 1
            else:
                self.found.append(entry)


def folder_of(source: str) -> str:
    """Name the folder of a file; a file that was given by itself is its own."""
    parent = PurePosixPath(source).parent
    return source if str(parent) == "." else str(parent)


def reason_of(error: OSError) -> str:
    """Say in a few words what the operating system said."""
    return (error.strerror or type(error).__name__).lower()


def _walk(path: Path, root: str, refused: list[Refusal]) -> Iterator[tuple[Path, str]]:
    if not path.is_dir():
        yield path, root
        return

    def refuse_folder(error: OSError) -> None:
        refused.append(Refusal(name_of(Path(error.filename)), None, "unreadable", reason_of(error)))

    def name_of(file: Path) -> str:
        return str(PurePosixPath(root) / _printable(file.relative_to(path).as_posix()))

    for folder, folders, names in os.walk(path, onerror=refuse_folder):
        folders.sort(key=_natural)
        for link in (Path(folder, name) for name in folders):
            if link.is_symlink():  # it may lead anywhere, this folder included
                reason = "a link to a folder is not followed"
                refused.append(Refusal(name_of(link), None, "symbolic-link", reason))
        for name in sorted(names, key=_natural):
            file = Path(folder, name)
            yield file, name_of(file)


def _identify(path: Path, source: str, budget: Budget) -> SourceFile | media.Directory | None:
    """Tell what a file is; None where it is no image at all."""
    if path.name.startswith("."):
        return None
    kind = kind_of(path, budget)
    if kind is None:
        return None
    if kind == "nifti":
        planes, _, concerns, notes = nifti.describe(path, budget).placement
        return SourceFile(
            path, source, kind, source, None, planes, concerns=concerns, notes=notes, budget=budget
        )
    if kind != "dicom":
        return SourceFile(path, source, kind, series=folder_of(source), budget=budget)
    header = dicom.read_header(path, budget)
    if not isinstance(header, Header):
        return media.Directory.of(header, path, source)
    series = header.series or folder_of(source)
    return SourceFile(path, source, kind, series, header, header.planes, budget=budget)


def _kind_of_other(path: Path) -> str:
    """Name the kind of a file that is no image."""
    if path.name.startswith("."):
        return "hidden"
    suffix = path.suffix.lower()
    if not suffix:
        return "no suffix"
    # What is longer, or no word, is part of a name, which may tell who was examined.
    return suffix if suffix[1:].isalnum() and len(suffix) <= _LONGEST_SUFFIX else "other suffix"


def _unique_name(name: str, taken: Sequence[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long for any file
        return False


def _printable(name: str) -> str:
    r"""Write out what of a file name is no UTF-8 or cannot be shown, so that results can hold it.

    A backslash becomes two, and names that differ stay different.
    """
    return printable(os.fsencode(name.replace("\\", r"\\")).decode("utf-8", "backslashreplace"))
