"""What kind of image a file is: told by its content, and held against its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.sources import bare, dicom, formats, wall

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart.sources.budget import Budget
    from gliomart.sources.inventory import Kind

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)
_KIND_OF_SUFFIX: dict[str, Kind] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".dcm": "dicom",
    ".dicom": "dicom",
    ".ima": "dicom",
    ".nii": "nifti",
    ".nii.gz": "nifti",
}


def kind_of(path: Path, budget: Budget) -> Kind | None:
    """Hold what a file's name claims against its content; None for no image at all.

    Raises
    ------
    InputRefusedError
        ``empty-file``, ``not-a-file``, ``archive``, ``unsupported-format``,
        ``unrecognised-format`` or ``mislabelled``.
    """
    claimed = _claimed(path.name)
    head = _first_bytes(path)
    if not head and (claimed or formats.may_be_an_image(path.name)):
        raise InputRefusedError("empty-file", "the file holds no bytes")
    if claimed == "nifti":  # told by its size field, which is compressed with the rest
        return claimed
    actual = kind_of_content(head)
    if actual is None:
        formats.refuse(path.name, head)
        if claimed == "dicom" and dicom.readable_without_preamble(path, budget):
            return claimed
        if claimed is not None:
            raise InputRefusedError(
                "unrecognised-format",
                f"named like {claimed.upper()} but its content is no known image",
            )
        return None
    named = claimed or formats.claim(path.name)
    if named not in (None, actual):
        raise InputRefusedError("mislabelled", f"named like {named} but its content is {actual}")
    return actual


def _claimed(name: str) -> Kind | None:
    """Tell what a file's name says that it is."""
    suffixes = (s for s in _KIND_OF_SUFFIX if name.lower().endswith(s))
    return next((_KIND_OF_SUFFIX[suffix] for suffix in suffixes), None)


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():
        path.lstat()  # a link that leads nowhere is there; what was removed meanwhile is not
        raise InputRefusedError("not-a-file", "not a regular file")
    # Files that the kernel makes up, such as /proc/kmsg, may never have anything to read.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        return os.read(handle, formats.HEAD)
    finally:
        os.close(handle)


def kind_of_content(head: bytes) -> Kind | None:
    """Tell the kind of a file by its first bytes; None where they are of no known image."""
    if head.startswith(wall.PREFIX, wall.PREAMBLE):
        return "dicom"
    if bare.is_data_set(head):
        return "dicom"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
