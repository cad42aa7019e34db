"""Masks that lie beside the images they belong to, told by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gliomart.sources.inventory import SourceFile

# What a mask's name has more than its image's: ``scan_mask.png`` beside ``scan.png``.
_MASK = re.compile(r"(.+)[-_. ](?:masks?|seg|segmentation|labels?|roi)", re.IGNORECASE)
_COMPRESSED = ".gz"


def beside(found: Sequence[SourceFile], others: Iterable[str] = ()) -> dict[str, list[SourceFile]]:
    """Find the masks among files that were met in one folder and those below it.

    Parameters
    ----------
    found
        Files that hold images. DICOM says what it is: none of it is a mask by name.
    others
        Sources of images that cannot be read. Their masks are masks all the same.

    Returns
    -------
    Masks by the :func:`stem` of their image's source.
    """
    images = {stem(source) for source in (*(file.source for file in found), *others)}
    masks: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in found:
        named = _MASK.fullmatch(stem(file.source))
        if named and file.kind != "dicom" and named[1] in images:
            masks[named[1]].append(file)
    return dict(masks)


def stem(source: str) -> str:
    """Leave out the suffix of a source, and lower the case of its name: masks differ in both."""
    path = PurePosixPath(source)
    name = PurePosixPath(path.name.lower().removesuffix(_COMPRESSED))
    return str(path.with_name(name.stem or name.name))
