"""From paths to files: folders are walked, and every file is found, refused or counted."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputNotFoundError, InputRefusedError
from gliomart.host.forking import at_input
from gliomart.image.slices import Refusal
from gliomart.printable import printable, reason_of
from gliomart.sources import changes, dicom, formats, media, nifti, sidecar
from gliomart.sources.bids import BidsName
from gliomart.sources.inventory import SourceFile
from gliomart.sources.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gliomart.sources.budget import Budget


# What systems and their servers put beside the files of people, in lower case.
_OF_THE_SYSTEM = frozenset((
    "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information",
    "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini",
))  # fmt: skip


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
        How many other files, by kind: their suffix, mostly, or ``hidden``.
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
        if absent := _absent(path):
            raise InputNotFoundError(f"{path}: {absent}")
        root = _unique_name(_printable(_name_of(path)), self.roots)
        self.roots.append(root)
        found, refused, ignored = len(self.found), len(self.refused), self.ignored.copy()
        directories = []
        waiting = deque(self._files(path, root))
        listed = {path.parent.resolve() / path.name}
        while waiting:
            file, source = waiting.popleft()
            entry = self._meet(file, source, budget)
            if isinstance(entry, media.Directory):
                directories.append(entry)
                if not path.is_dir():  # in a folder, its files are met anyway
                    waiting.extend(each for each in entry.files if each[0] not in listed)
                    listed.update(each for each, _ in entry.files)
        met = {file.header.sop_instance_uid for file in self.found[found:] if file.header}
        for directory in directories:
            self.refused += directory.problems(met)
        if (found, refused) == (len(self.found), len(self.refused)):
            met_here = self.ignored - ignored
            reason = (
                "it lists no files" if directories and not path.is_dir() else _none(path, met_here)
            )
            self.refused.append(Refusal(root, None, "no-images", reason))

    @at_input
    def _meet(self, file: Path, source: str, budget: Budget) -> media.Directory | None:
        """Find, refuse or count one file; hand a DICOMDIR back."""
        try:
            entry = _identify(file, source, budget)
        except InputRefusedError as error:
            self._refuse(source, error)
        except OSError as error:
            self._refuse(source, changes.refusal_of(error))
        else:
            if isinstance(entry, media.Directory):
                self.ignored["DICOMDIR"] += 1
                return entry
            if not entry and not sidecar.is_one(file):
                self.ignored[formats.kind_of_other(file.name)] += 1
            self.found += entry
        return None

    def _refuse(self, source: str, error: InputRefusedError) -> None:
        self.refused.append(Refusal(source, None, error.code, error.reason))

    def _files(self, path: Path, root: str) -> Iterator[tuple[Path, str]]:
        """List the files of a folder, each with what results call it; count what is hidden."""
        if not path.is_dir():
            yield path, root
            return
        for folder in _folders(str(path), root, self._refuse):
            for name in filter(is_hidden, folder.folders + folder.files):
                self.ignored["hidden"] += self._count(*folder.child(name))
            folder.folders[:] = _shown(folder.folders)
            for place, source in map(folder.child, folder.folders):
                if os.path.islink(place):  # it may lead anywhere, this folder included  # noqa: PTH114
                    reason = "a link to a folder is not followed"
                    self.refused.append(Refusal(source, None, "symbolic-link", reason))
            for name in _shown(folder.files):
                place, source = folder.child(name)
                yield Path(place), source

    def _count(self, place: str, source: str) -> int:
        """Count the files under what is hidden, itself included where it is one."""
        path = Path(place)
        if path.is_symlink() or not path.is_dir():
            return 1
        return sum(len(folder.files) for folder in _folders(place, source, self._refuse))


class _Folder(NamedTuple):
    """A folder on the way.

    Attributes
    ----------
    path, source
        Where it is, and what results call it.
    folders, files
        Names of what lies in it; folders that are taken out are not entered.
    """

    path: str
    source: str
    folders: list[str]
    files: list[str]

    def child(self, name: str) -> tuple[str, str]:
        """Tell where one of its names is, and what results call it."""
        return os.path.join(self.path, name), f"{self.source}/{_printable(name)}"  # noqa: PTH118


def _folders(
    path: str, source: str, refuse: Callable[[str, InputRefusedError], None]
) -> Iterator[_Folder]:
    """Walk folders from the outermost, in the order that their taker gives their names.

    As :func:`os.walk` does, which up to Python 3.11 calls itself for every folder, so that a tree
    of a thousand ends in a RecursionError. Links are not followed. A folder that lies in itself, as
    file systems of their own making can have it, is entered once.
    """
    waiting: list[tuple[str, str, _Above | None]] = [(path, source, None)]
    while waiting:
        place, name, above = waiting.pop()
        try:
            own = _Above.of(place, above)
            with os.scandir(place) as entries:
                kinds = [(entry.name, _is_folder(entry)) for entry in entries]
        except InputRefusedError as error:
            refuse(name, error)
            continue
        except OSError as error:
            refuse(name, changes.refusal_of(error))
            continue
        folder = _Folder(
            place,
            name,
            folders=[each for each, is_folder in kinds if is_folder],
            files=[each for each, is_folder in kinds if not is_folder],
        )
        yield folder
        inner = [folder.child(each) for each in reversed(folder.folders)]
        waiting += [(*each, own) for each in inner if not os.path.islink(each[0])]  # noqa: PTH114


class _Above(NamedTuple):
    """A folder that others lie in, by device and inode (stat(2)), and what it lies in itself."""

    identity: tuple[int, int]
    above: _Above | None

    @classmethod
    def of(cls, place: str, above: _Above | None) -> _Above:
        """Look a folder up; refused as ``folder-loop`` where it lies in itself."""
        status = os.stat(place)  # noqa: PTH116
        own = cls((status.st_dev, status.st_ino), above)
        while above is not None and status.st_ino:  # 0 where the file system has no numbers
            if above.identity == own.identity:
                raise InputRefusedError("folder-loop", "it is one of the folders that it lies in")
            above = above.above
        return own


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed; it is refused where it is looked at
        return False


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is not meant to be seen: by a dot, or made by the system."""
    return name.startswith(".") or name.casefold() in _OF_THE_SYSTEM


def folder_of(source: str) -> str:
    """Name the folder of a file; a file that was given by itself is its own."""
    parent = PurePosixPath(source).parent
    return source if str(parent) == "." else str(parent)


def _identify(path: Path, source: str, budget: Budget) -> list[SourceFile] | media.Directory:
    """Tell what a file is, once for every kind of image in it; nothing where it is no image."""
    kind = kind_of(path, budget)
    if kind is None:
        return []
    stamp = changes.Stamp.of(path)  # before the header is read: what changes later is seen
    if kind == "nifti":
        planes, _, concerns, notes = nifti.describe(path, budget).placement
        beside = sidecar.read(path, budget)
        return [
            SourceFile(
                path, source, kind, source, None, planes,
                concerns=concerns, notes=notes + (beside.notes if beside else ()), budget=budget,
                bids=BidsName.of(source), sidecar=beside, stamp=stamp,
            )
        ]  # fmt: skip
    if kind != "dicom":
        return [SourceFile(path, source, kind, folder_of(source), budget=budget, stamp=stamp)]
    headers = dicom.read_headers(path, budget)
    if not isinstance(headers, list):
        return media.Directory.of(headers, path, source)
    return [
        SourceFile(
            path, source, kind, header.series or folder_of(source), header, header.planes,
            budget=budget, stamp=stamp,
        )
        for header in headers
    ]  # fmt: skip


def _none(path: Path, ignored: Counter[str]) -> str:
    """Say why there is no image under a path that was given, but files of these kinds."""
    files = ignored.total()
    if not path.is_dir():
        return "the file is no image of a kind that is read"
    if files and files == ignored["hidden"]:
        return f"all files in it are hidden ({files})"
    if files == 1:
        return "the only file in it is no image"
    return f"none of its {files} files is an image" if files else "the folder holds no files"


def _name_of(path: Path) -> str:
    """Name a path as it was given; what a link leads to was not."""
    given = path.name if path.name != ".." else ""
    return given or path.resolve().name or "root"


def _unique_name(name: str, taken: Sequence[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _shown(names: Iterable[str]) -> list[str]:
    """Leave out what is hidden, and order the rest: numbers count as numbers."""
    return sorted((name for name in names if not is_hidden(name)), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _absent(path: Path) -> str:
    """Say why a path that was given is not there; nothing where it is."""
    try:
        return "" if path.exists() else "no such file or folder"
    except OSError as error:  # such as a name that is too long for any file
        return reason_of(error)


def _printable(name: str) -> str:
    r"""Write out what of a file name is no UTF-8 or cannot be shown, so that results can hold it.

    A backslash becomes two, and names that differ stay different.
    """
    return printable(os.fsencode(name.replace("\\", r"\\")).decode("utf-8", "backslashreplace"))
