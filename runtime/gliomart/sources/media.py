"""DICOMDIR: the index of a disc or an export, which names the files that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gliomart.slices import Refusal
from gliomart.sources.header import value_of, words

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Directory:
    """What a DICOMDIR lists (PS3.3 F.3, PS3.10 8.6).

    Attributes
    ----------
    files
        Listed files that are there, each with what results call it where the DICOMDIR is the input.
    problems
        What it lists and is not there, or lies outside its own folder, where a disc ends.
    """

    files: tuple[tuple[Path, str], ...]
    problems: tuple[Refusal, ...]

    @classmethod
    def of(cls, dataset: Dataset, path: Path, source: str) -> Directory:
        """Look for the files that the DICOMDIR at ``path`` lists."""
        root = path.parent.resolve()
        files, missing, outside = [], [], []
        for record in value_of(dataset, "DirectoryRecordSequence") or []:
            components = words(record, "ReferencedFileID")
            if not components:
                continue
            name = "/".join(components)
            file = _inside(root, components)
            if file is None:
                outside.append(name)
            elif not file.is_file():
                missing.append(name)
            else:
                files.append((file, str(PurePosixPath(source) / name)))
        listed = (
            (missing, "missing-file", "are not there"),
            (outside, "path-escapes", "lie outside its folder and are not touched"),
        )
        problems = tuple(
            Refusal(source, None, code, f"{len(names)} files that it lists {what}: {names[0]}")
            for names, code, what in listed
            if names
        )
        return cls(tuple(files), problems)


def _inside(root: Path, components: tuple[str, ...]) -> Path | None:
    """Follow a Referenced File ID; None where it leads out of the folder."""
    if any(part in {"", ".", ".."} or set(part) & set("/\\\0:") for part in components):
        return None
    file = root.joinpath(*components)
    try:
        return file if file.resolve().is_relative_to(root) else None
    except OSError:  # such as a name too long, or a loop of links
        return None
