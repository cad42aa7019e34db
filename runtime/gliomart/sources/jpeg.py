"""What a JPEG file says before it is decoded (ITU-T T.81, annex B; Exif 2.32, 4.7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.sources import tiff
from gliomart.sources.picture import Page, Picture, most_parts

if TYPE_CHECKING:
    from gliomart.sources.budget import Budget
    from gliomart.sources.picture import Window

_END = b"\xff\xd9"
_TAIL = 4096
_STARTS_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # markers that nothing follows
_APPLICATION_1, _START_OF_SCAN, _END_OF_IMAGE = 0xE1, 0xDA, 0xD9
_EXIF = b"Exif\0"
_FRAME = struct.Struct(">BHHB")
# A progressive picture has about ten scans. Each one visits every pixel, and takes a few bytes.
_MOST_SCANS = 100


def describe(window: Window, budget: Budget) -> Picture:
    """Read the segments before the first scan.

    Raises
    ------
    InputRefusedError
        ``truncated``, ``undecodable`` or ``too-many-elements``.
    """
    tail = min(_TAIL, window.size)
    if _END not in window.take(window.size - tail, tail):
        raise InputRefusedError("truncated", "the file ends in the middle of the image")
    position, frame, exif = 2, None, b""
    most = most_parts(budget)
    for _ in range(most):
        before, marker = window.take(position, 2)
        if before != 0xFF or marker == 0xFF:  # noqa: PLR2004  # bytes that fill the gap between two segments
            position += 1
            continue
        position += 2
        if marker in _ALONE:
            continue
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            break
        (length,) = struct.unpack(">H", window.take(position, 2))
        segment = window.take(position, length)[2:]
        if marker in _STARTS_OF_FRAME and len(segment) >= _FRAME.size:
            frame = frame or _FRAME.unpack_from(segment)
        elif marker == _APPLICATION_1 and segment.startswith(_EXIF):
            exif = exif or segment[len(_EXIF) + 1 :]
        position += max(length, 2)
    else:
        raise InputRefusedError("too-many-elements", f"more than {most} segments")
    if frame is None:
        raise InputRefusedError("undecodable", "the JPEG does not say how large the picture is")
    bits, height, width, components = frame
    samples = 1 if components == 1 else 3
    page = Page(width, height, samples, bits, orientation=tiff.orientation(exif))
    return Picture([page])


def check_scans(data: bytearray) -> None:
    """Refuse, as ``too-many-elements``, a picture that is painted over and over again."""
    if (scans := data.count(bytes((0xFF, _START_OF_SCAN)))) > _MOST_SCANS:
        raise InputRefusedError("too-many-elements", f"{scans} scans of one picture")
