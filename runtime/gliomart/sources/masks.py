"""Masks that lie beside the images they belong to, told by their names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.sources.inventory import SourceFile

# What a mask's name has more than its image's: ``scan_mask.png`` beside ``scan.png``.
_MASK = re.compile(r"(.+)[-_. ](?:masks?|seg|segmentation|labels?|roi)", re.IGNORECASE)
_COMPRESSED = ".gz"


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
    images = {stem(source) for source in (*(file.source for file in found), *others)}
    return {
        file.source
        for file in found
        if file.kind != "dicom" and image_of(stem(file.source)) in images
    }


def image_of(name: str) -> str | None:
    """Tell which image a mask is called after, both by their :func:`stem`; None for no mask."""
    named = _MASK.fullmatch(name)
    return named[1] if named else None


def stem(source: str) -> str:
    """Leave out the suffix of a source, and lower the case of its name: masks differ in both."""
    path = PurePosixPath(source)
    name = PurePosixPath(path.name.lower().removesuffix(_COMPRESSED))
    return str(path.with_name(name.stem or name.name))
