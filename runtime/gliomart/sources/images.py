"""PNG, JPEG and TIFF files, decoded by OpenCV."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.slices import Refusal, Slice, luma

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# OpenCV fills what is missing from a truncated JPEG or PNG with grey and only warns, so the end
# of the file is looked for before its pixels are believed.
_END_OF = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
_TAIL = 4096
_BIG_TIFF = 43
_MOST_PAGES = 100_000  # and no more, or a chain that bites its tail would never end


def read(path: Path, source: str, series: str) -> Iterator[Slice | Refusal]:
    """Yield the slice of an image file, or one for each page of a TIFF.

    Raises
    ------
    InputRefusedError
        As :func:`pages`.
    """
    found = pages(path.read_bytes())
    for index, page in enumerate(found):
        frame = index if len(found) > 1 else None
        try:
            pixels = luma(_rgb(page))
        except InputRefusedError as error:
            yield Refusal(source, frame, error.code, error.reason)
        else:
            yield Slice(pixels, source=source, series=series, frame=frame)


def pages(data: bytes) -> Sequence[cv2.typing.MatLike]:
    """Decode the images of a file's bytes: (H, W) or, in order BGR or BGRA, (H, W, channels).

    Raises
    ------
    InputRefusedError
        ``truncated`` or ``undecodable``.
    """
    for start, end in _END_OF.items():
        if data.startswith(start) and end not in data[-_TAIL:]:
            raise InputRefusedError("truncated", "the file ends in the middle of the image")
    if data[:2] in (b"II", b"MM") and not _directories_are_whole(data):
        raise InputRefusedError("truncated", "the file ends before its last page")
    try:
        decoded, found = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputRefusedError("undecodable", "the image cannot be decoded") from error
    if not decoded or not found:
        raise InputRefusedError("undecodable", "the image cannot be decoded")
    return found


def _directories_are_whole(data: bytes) -> bool:
    """Follow a TIFF's chain of pages to its end (TIFF 6.0 section 2; BigTIFF has wider fields).

    OpenCV stops at a page that is cut off and says nothing, so a page would go missing unseen.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == _BIG_TIFF
    count, entry, link, first = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    try:
        (page,) = struct.unpack_from(order + link, data, first)
        for _ in range(_MOST_PAGES):
            if page == 0:
                return True
            (entries,) = struct.unpack_from(order + count, data, page)
            after = page + struct.calcsize(order + count) + entry * entries
            (page,) = struct.unpack_from(order + link, data, after)
    except struct.error:
        return False
    return False


def _rgb(page: cv2.typing.MatLike) -> np.ndarray:
    """OpenCV decodes colour as BGR and BGRA."""
    return page[..., 2::-1] if page.ndim == 3 and page.shape[2] >= 3 else page  # noqa: PLR2004
