"""What the name of a volume says in the Brain Imaging Data Structure (BIDS 1.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VOLUME = re.compile(r"(.+?)\.nii(?:\.gz)?", re.IGNORECASE)
_ENTITY = re.compile(r"([a-zA-Z]+)-([0-9a-zA-Z+]+)")
# Folders that tell the kind of data, below those of subject and session.
_DATA_TYPES = frozenset({"anat", "func", "dwi", "fmap", "perf", "swi", "pet", "mrs"})


@dataclass(frozen=True, slots=True)
class BidsName:
    """The name of a volume, taken apart (BIDS 1.10, "Filenames").

    Attributes
    ----------
    entities
        Labels by their keys, both in lower case; ``sub`` is among them.
    suffix
        What it is, such as ``FLAIR``, as it is written.
    words
        Other parts of the name, which are neither.
    """

    entities: Mapping[str, str] = field(hash=False)
    suffix: str
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: str) -> BidsName | None:
        """Take apart the name of a file, whose folder may tell the subject where it does not.

        Returns
        -------
        None where it is no volume, or nothing names a subject.
        """
        path = PurePosixPath(source)
        volume = _VOLUME.fullmatch(path.name)
        if volume is None or "sub-" not in source.lower():
            return None
        *parts, suffix = volume[1].split("_")
        found = [_ENTITY.fullmatch(part) for part in parts]
        words = tuple(part for part, entity in zip(parts, found, strict=True) if not entity)
        above = [m for part in path.parts[:-1] if (m := _ENTITY.fullmatch(part))]
        folders = {m[1].lower(): m[2].lower() for m in above if m[1].lower() in {"sub", "ses"}}
        entities = folders | {m[1].lower(): m[2].lower() for m in found if m}
        return cls(entities, suffix, words) if "sub" in entities else None

    def session_of(self, path: Path) -> str:
        """Name the session that a volume at this path was made in: its folder, subject and session.

        A session is that of one data set: two may have a subject of one label.
        """
        folder = Path(path).absolute().parent
        if folder.name.lower() in _DATA_TYPES:
            folder = folder.parent
        labels = (f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self.entities)
        return f"{folder}: {' '.join(labels)}"
