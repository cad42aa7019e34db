"""What outputs are called: after their sources, one for each on every file system."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gliomart.sources import SeriesFiles

# Bytes of a file name, of the 255 that file systems allow.
_LONGEST_NAME = 200
# Bytes of a source's folders in the name of an output, of the 4096 that a path may have on Linux
# (PATH_MAX) with the output folder before them, and how many folders are kept at either end of
# longer ones.
_LONGEST_FOLDER, _DEEPEST_END = 1500, 50
# What exFAT and Windows take in no name, and names that they keep for devices.
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE)
OVERVIEWS = PurePosixPath("overview")
# What is added to the name of a source for a frame of it.
_FRAME = re.compile(r"@\d+$")


@dataclass(frozen=True)
class SeriesNames:
    """What the outputs of one series are called, without folder and suffix.

    Attributes
    ----------
    series
        Of the whole series, and of slices that were put together from several images or come from
        a file that holds several series.
    by_source
        Of the slices of each other source.
    """

    series: PurePosixPath
    by_source: Mapping[str, PurePosixPath]

    @property
    def overview(self) -> str:
        """Place of the overview in the output folder."""
        return str(OVERVIEWS / self.series.with_name(f"{self.series.name}.png"))

    def of_slice(self, source: str, frame: int | None) -> PurePosixPath:
        """Name the outputs of a slice."""
        name = self.by_source.get(source, self.series)
        return name if frame is None else name.with_name(f"{name.name}@{frame:04d}")


def of_series(every_series: Sequence[SeriesFiles]) -> list[SeriesNames]:
    """Name the outputs of series that share a folder: each after its own, numbered where taken."""
    taken: dict[str, int] = {}
    by_source = _of_sources(every_series)
    return [
        SeriesNames(_free(fitting(PurePosixPath(series.source)), taken), by_source)
        for series in every_series
    ]


def _of_sources(every_series: Sequence[SeriesFiles]) -> dict[str, PurePosixPath]:
    """Name each source's outputs after it: without its suffix where that is unambiguous.

    A file that holds several series is left out: its outputs are named after those.
    """
    known = Counter(file.source for series in every_series for file in series.files)
    sources = [PurePosixPath(source) for source, count in known.items() if count == 1]
    stems = Counter(_key(source.with_suffix("")) for source in sources)
    taken: dict[str, int] = {}
    names = {}
    for source in sources:
        stem = source.with_suffix("")
        wanted = fitting(stem if stems[_key(stem)] == 1 else source)
        names[str(source)] = _free(wanted, taken)
    return names


def _free(wanted: PurePosixPath, taken: dict[str, int]) -> PurePosixPath:
    """Take a name, with a number where it is taken already."""
    name = wanted
    while _key(name) in taken:
        taken[_key(wanted)] += 1
        name = wanted.with_name(f"{wanted.name}~{taken[_key(wanted)]}")
    taken[_key(name)] = 1
    return name


def _key(name: PurePosixPath) -> str:
    """Names with the same key are one to some file system: by case, or by composed characters."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def fitting(name: PurePosixPath) -> PurePosixPath:
    """Change a name so that every file system takes it, and no other output's can be in its way."""
    # No folder is called like a picture or map, and no file like a frame of another.
    folders = [portable(part) + "~" * part.endswith((".png", ".npy")) for part in name.parts[:-1]]
    last = portable(name.name) + "~" * bool(_FRAME.search(name.name))
    return PurePosixPath(*_shallow(folders), last)


def portable(name: str) -> str:
    """Write a name so that FAT, exFAT and NTFS take it, and with room for what is added to it.

    Windows strips dots and spaces at the end, and takes ``con`` and ``con.png`` for a device
    (Microsoft, *Naming Files, Paths, and Namespaces*; exFAT specification, 7.7.3). What this
    process cannot write in a name, as with ``LC_ALL=C``, becomes ``_`` as well.
    """
    encoding = sys.getfilesystemencoding()
    name = name.encode(encoding, "replace").decode(encoding)  # as ? at first
    name = _FORBIDDEN.sub("_", name)
    if name.endswith((".", " ")):
        name = name[:-1] + "_"
    if _DEVICE.match(name):
        name = f"_{name}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return _tail(name.encode()[:100].decode(errors="ignore"), name)


def _shallow(folders: list[str]) -> list[str]:
    """Leave out the middle of a path that is too deep or long, and put a digest in its place."""
    size = len("/".join(folders).encode())
    if len(folders) <= 2 * _DEEPEST_END and size <= _LONGEST_FOLDER:
        return folders
    ends = _DEEPEST_END
    while len("/".join(folders[:ends] + folders[-ends:]).encode()) > _LONGEST_FOLDER:
        ends -= 1
    middle = _tail("", "/".join(folders[ends:-ends]))
    return [*folders[:ends], middle, *folders[-ends:]]


def _tail(begin: str, whole: str) -> str:
    return begin + "~" + hashlib.sha256(whole.encode()).hexdigest()[:16]
