"""Masks that lie beside the images they belong to, told by their names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gliomart.sources.inventory import SourceFile

# What a mask's name has more than its image's: ``scan_mask.png`` beside ``scan.png``, or
# ``mask_scan.png``. Lesions and tumours begin the names of images, too.
_DRAWN = "masks?|d?seg|segmentation|labels?|roi|gt|ground[-_ ]?truth"
_ENDING = re.compile(rf"(.+)[-_. ](?:{_DRAWN}|lesions?|tumou?rs?)(?:[-_. ]\d+)?", re.IGNORECASE)
_BEGINNING = re.compile(rf"((?:.*/)?)(?:{_DRAWN})[-_. ]([^/]+)", re.IGNORECASE)
# How the names of images end that share a mask: ``p1_seg.nii.gz`` beside ``p1_flair.nii.gz``.
_SEQUENCE = re.compile(
    r".+[-_. ](?:t?2?-?flair|flr|t1|t1w|t1n|t1c|t1ce|t1gd|t1km|t2|t2w|t2f|pd|pdw|dwi|adc|swi|mri?|"
    r"img|image|scan|\d{4})",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[-_. ]")
_COMPRESSED = ".gz"


class Images:
    """Images that masks may be named after, all by their :func:`stem`."""

    def __init__(self, stems: Iterable[str]) -> None:
        self._stems = set(stems)
        self._sharing: dict[str, list[str]] = {}
        for image in sorted(self._stems):
            name = image.rpartition("/")[2]
            if not _SEQUENCE.fullmatch(name):
                continue
            for separator in _SEPARATORS.finditer(name):
                end = len(image) - len(name) + separator.start()
                self._sharing.setdefault(image[:end], []).append(image)

    def of(self, name: str) -> list[str]:
        """Tell which images a file is the mask of by its name; none where it is no mask."""
        begun = _BEGINNING.fullmatch(name)
        if begun and (image := begun[1] + begun[2]) in self._stems:
            return [image]
        while ended := _ENDING.fullmatch(name):
            name = ended[1]
            if name in self._stems:
                return [name]
            if name in self._sharing:
                return self._sharing[name]
        return []


def beside(found: Sequence[SourceFile], others: Sequence[str] = ()) -> set[str]:
    """Find the masks among files that were met in one folder and those below it.

    Parameters
    ----------
    found
        Files that hold images. DICOM says what it is: none of it is a mask by name.
    others
        Sources of images that cannot be read. Their masks are masks all the same.

    Returns
    -------
    The masks' sources.
    """
    images = Images(stem(source) for source in (*(file.source for file in found), *others))
    return {file.source for file in found if file.kind != "dicom" and images.of(stem(file.source))}


def stem(source: str) -> str:
    """Leave out the suffix of a source, and lower the case of its name: masks differ in both."""
    path = PurePosixPath(source)
    name = PurePosixPath(path.name.lower().removesuffix(_COMPRESSED))
    return str(path.with_name(name.stem or name.name))
