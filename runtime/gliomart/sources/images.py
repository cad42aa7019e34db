"""PNG, JPEG and TIFF files, decoded by OpenCV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.slices import Refusal, Slice, greyscale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# OpenCV fills what is missing from a truncated JPEG or PNG with grey and only warns, so the end
# of the file is looked for before its pixels are believed.
_END_OF = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
_TAIL = 4096


def read(path: Path, source: str, series: str) -> Iterator[Slice | Refusal]:
    """Yield the slice of an image file, or one for each page of a TIFF.

    Raises
    ------
    InputRefusedError
        ``truncated`` or ``undecodable``.
    """
    data = path.read_bytes()
    for start, end in _END_OF.items():
        if data.startswith(start) and end not in data[-_TAIL:]:
            raise InputRefusedError("truncated", "the file ends in the middle of the image")
    try:
        decoded, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InputRefusedError("undecodable", "the image cannot be decoded") from error
    if not decoded or not pages:
        raise InputRefusedError("undecodable", "the image cannot be decoded")
    for index, page in enumerate(pages):
        frame = index if len(pages) > 1 else None
        try:
            pixels = greyscale(_rgb(page))
        except InputRefusedError as error:
            yield Refusal(source, frame, error.code, error.reason)
        else:
            yield Slice(pixels, source=source, series=series, frame=frame)


def _rgb(page: cv2.typing.MatLike) -> np.ndarray:
    """OpenCV decodes colour as BGR and BGRA."""
    return page[..., 2::-1] if page.ndim == 3 and page.shape[2] >= 3 else page  # noqa: PLR2004
