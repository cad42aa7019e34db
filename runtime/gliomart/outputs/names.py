"""What outputs are called: after their sources, one for each on every file system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gliomart.sources import Inventory

# Bytes of a file name, of the 255 that file systems allow.
_LONGEST_NAME = 200
OVERVIEWS = PurePosixPath("overview")
# What is added to the name of a source for a frame of it.
_FRAME = re.compile(r"@\d+$")


def of_sources(inventory: Inventory) -> dict[str, PurePosixPath]:
    """Name each source's outputs after it: without its suffix where that is unambiguous.

    A file that holds several series is left out: its outputs are named after those.
    """
    known = Counter(file.source for series in inventory.series for file in series.files)
    sources = [PurePosixPath(source) for source, count in known.items() if count == 1]
    stems = Counter(_key(source.with_suffix("")) for source in sources)
    taken: dict[str, int] = {}
    names = {}
    for source in sources:
        stem = source.with_suffix("")
        wanted = _fitting(stem if stems[_key(stem)] == 1 else source)
        names[str(source)] = _free(wanted, taken)
    return names


def of_overviews(inventory: Inventory) -> list[str]:
    """Name each series' overview after its folder, numbered where a folder holds several."""
    taken: dict[str, int] = {}
    names = [_free(_fitting(PurePosixPath(s.source)), taken) for s in inventory.series]
    return [str(OVERVIEWS / name.with_name(f"{name.name}.png")) for name in names]


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


def _fitting(name: PurePosixPath) -> PurePosixPath:
    """Make of a name one that no file system and no other output is in the way of."""
    # No folder is called like a picture or map, and no file like a frame of another.
    folders = [_short(part) + "~" * part.endswith((".png", ".npy")) for part in name.parts[:-1]]
    return PurePosixPath(*folders, _short(name.name) + "~" * bool(_FRAME.search(name.name)))


def _short(name: str) -> str:
    """Keep room in a name for what is added to it."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return name.encode()[:100].decode(errors="ignore") + "~" + digest
