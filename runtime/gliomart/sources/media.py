"""DICOMDIR: the index of a disc or an export, which names the files that belong to it."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Refusal
from gliomart.printable import printable
from gliomart.sources.attributes import numbers, text, value_of, words

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pydicom import Dataset

# ISO 9660 adds a version to a name, and a dot where there is no suffix.
_VERSION = re.compile(r"\.?(;\d+)?$")
_ADDED_SUFFIX = ".dcm"  # by programs that copy a disc


@dataclass(frozen=True)
class Directory:
    """What a DICOMDIR lists (PS3.3 F.3, PS3.10 8.6).

    Attributes
    ----------
    source
        What results call it.
    files
        Listed files that are there, each with what results call it where the DICOMDIR is the input.
    missing
        What it lists and is not there: each file's name and SOP Instance UID. Files of records that
        are not in use are not missed.
    outside
        What lies outside its own folder, where a disc ends.
    """

    source: str
    files: tuple[tuple[Path, str], ...]
    missing: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset, path: Path, source: str) -> Directory:
        """Look for the files that the DICOMDIR at ``path`` lists."""
        disc = _Disc(path.parent.resolve())
        files: dict[Path, str] = {}
        missing, outside = [], []
        for record in value_of(dataset, "DirectoryRecordSequence") or []:
            components = _components(record)
            if not components:
                continue
            name = printable("/".join(components))
            try:
                file = disc.find(components)
            except InputRefusedError:
                outside.append(name)
                continue
            if file is not None:
                files.setdefault(file, str(PurePosixPath(source) / name))
            elif numbers(record, "RecordInUseFlag", 1) != (0.0,):
                missing.append((name, text(record, "ReferencedSOPInstanceUIDInFile")))
        return cls(source, tuple(files.items()), tuple(missing), tuple(outside))

    def problems(self, met: Container[str]) -> Iterator[Refusal]:
        """Tell what cannot be read of all that is listed.

        Parameters
        ----------
        met
            SOP Instance UIDs of the files that were met: these are there under other names.
        """
        missing = [name for name, uid in self.missing if not uid or uid not in met]
        for names, code, one, several in (
            (missing, "missing-file", "is not there", "are not there"),
            (
                self.outside,
                "path-escapes",
                "lies outside its folder and is not touched",
                "lie outside its folder and are not touched",
            ),
        ):
            if names:
                count = f"{len(names)} files that it lists {several}, such as"
                what = count if len(names) > 1 else f"a file that it lists {one}:"
                yield Refusal(self.source, None, code, f"{what} {names[0]}")


class _Disc:
    """The folder of a DICOMDIR, in which names are found as writers and file systems alter them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, components: tuple[str, ...]) -> Path | None:
        """Follow a Referenced File ID; None where there is no such file.

        Raises
        ------
        InputRefusedError
            ``path-escapes``: it leads out of the folder.
        """
        if any(part in {"", ".", ".."} or set(part) & set("\0:") for part in components):
            raise _escapes()
        place = self._root
        for part in components:
            name = self._name(place, part)
            if name is None:
                return None
            place = place / name
            try:
                inside = place.resolve().is_relative_to(self._root)
            except (OSError, RuntimeError):  # a loop of links
                return None
            if not inside:
                raise _escapes()
        return place if place.is_file() else None

    def _name(self, folder: Path, part: str) -> str | None:
        """Find what a component is called on this file system; None where that is not clear."""
        if os.path.lexists(folder / part):
            return part
        if folder not in self._names:
            self._names[folder] = _names_in(folder)
        names = self._names[folder]
        found = names.get(_key(part)) or names.get(_key(part + _ADDED_SUFFIX)) or []
        return found[0] if len(found) == 1 else None


def _components(record: Dataset) -> tuple[str, ...]:
    """Read a Referenced File ID, whose components some writers join by slashes in one value."""
    joined = "\\".join(words(record, "ReferencedFileID")).strip()
    return tuple(part.strip() for part in re.split(r"[\\/]", joined)) if joined else ()


def _names_in(folder: Path) -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    try:
        for path in folder.iterdir():
            names[_key(path.name)].append(path.name)
    except OSError:  # no folder, or none that may be read: nothing is found there
        return {}
    return names


def _key(name: str) -> str:
    """Names with the same key are one to ISO 9660: by case, version and a dot at the end."""
    return _VERSION.sub("", name.casefold())


def _escapes() -> InputRefusedError:
    return InputRefusedError("path-escapes", "it lies outside the folder of its DICOMDIR")
