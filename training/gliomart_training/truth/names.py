"""Which files of a dataset folder are masks, and of which image, told by their names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import DatasetError
from gliomart.sources import masks as names

if TYPE_CHECKING:
    from collections.abc import Collection

# Files that say something about a mask or an image, and are neither.
_NOTES = frozenset({
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".md", ".pdf", ".log", ".yaml",
    ".yml", ".md5", ".sha256", ".bak",
})  # fmt: skip
# What surely calls a file or folder masks, and what probably does.
_SURELY = re.compile(r"(?:.*[-_. ])?(?:masks?|segs?|segmentations?)")
_PROBABLY = re.compile(
    r"(?:(?P<before>.*)[-_. ])?(?:masks?|segs?|segmentations?|gt|(?:ground[-_ ]?)?truth|labels?"
    r"|label[-_ ]?maps?|annotations?|rois?|contours?|consensus)(?:[-_. ](?P<after>.*))?"
)


def stem(path: Path) -> Path:
    """Leave out the suffix of a path, and lower the case of its name: masks differ in both."""
    return path.with_name(names.stem(path.name))


def pairs(folder: Path, but: Collection[Path] = ()) -> dict[Path, Path]:
    """Find the masks that lie beside their images in a folder: by the :func:`stem` of the image.

    Files in ``but`` say by their content what they belong to, whatever they are called.

    Raises
    ------
    DatasetError
        A file ``x_mask`` lacks its image, or an image has several masks; a file is probably the
        mask of an image (``x_gt``), and not called so.
    """
    files = [path for path in sorted(folder.iterdir()) if _counts(path) and path not in but]
    there = {stem(path) for path in files}
    images = names.Images(path.name for path in there)
    found: dict[Path, Path] = {}
    for path in files:
        masked = images.of(stem(path).name)
        if not masked:
            _check_name(path, there)
        for name in masked:
            if (other := found.setdefault(path.with_name(name), path)) != path:
                raise DatasetError(f"{other} and {path.name}: both are called the mask of {name}")
    return found


def probable(path: Path, root: Path) -> bool:
    """Tell whether a file of a dataset is called like a mask, or lies in a folder of masks."""
    return _called_mask(stem(path).name) or any(
        _called_mask(part.lower()) for part in path.relative_to(root).parts[:-1]
    )


def check_folders(root: Path, but: Collection[Path] = ()) -> None:
    """Refuse folders of masks in a dataset folder: nothing tells which image each belongs to.

    Files in ``but`` tell that themselves.

    Raises
    ------
    DatasetError
        A folder is surely one of masks (``masks``, ``x_seg``), or probably (``labels``) with files
        that are called like images elsewhere.
    """
    folders: dict[Path, set[str]] = {}
    for at, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        folder = Path(at)
        paths = [path for path in map(folder.joinpath, files) if _counts(path) and path not in but]
        folders[folder] = {stem(path).name for path in paths}
    of_masks = [
        folder
        for folder in folders
        if any(_called_mask(part.lower()) for part in folder.relative_to(root).parts)
    ]
    of_images = set().union(*(folders[folder] for folder in folders.keys() - set(of_masks)))
    for folder in of_masks:
        surely = any(_SURELY.fullmatch(part.lower()) for part in folder.relative_to(root).parts)
        if folders[folder] and (surely or folders[folder] & of_images):
            raise DatasetError(
                f"{folder}: is called a folder of masks, and nothing tells which images they belong"
                " to; list both in an index.csv, or put each beside its image as x_mask"
            )


def _counts(path: Path) -> bool:
    """Tell whether a file may be an image or a mask."""
    return not path.name.startswith(".") and path.suffix.lower() not in _NOTES and not path.is_dir()


def _called_mask(name: str) -> bool:
    return bool(_PROBABLY.fullmatch(name))


def _check_name(path: Path, images: Collection[Path]) -> None:
    """Refuse a file that is called a mask where its image is not there, or not certain."""
    name = stem(path).name
    if _SURELY.fullmatch(name):
        raise DatasetError(
            f"{path}: is called a mask, but no image of that name is beside it; rename it, or list"
            " both in an index.csv"
        )
    named = _PROBABLY.fullmatch(name)
    for image in filter(None, (named["before"], named["after"]) if named else ()):
        if path.with_name(image) in images:
            raise DatasetError(
                f"{path}: is it the mask of {image}? Call it {image}_mask, or list both in an"
                " index.csv"
            )
