"""What a PNG file says before it is decoded (PNG, third edition, 5 and 11)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.sources import tiff
from gliomart.sources.picture import Page, Picture, most_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart.sources.budget import Budget
    from gliomart.sources.picture import Window

_SIGNATURE = 8
_CHUNK = struct.Struct(">I4s")
_CHECKSUM = 4
_HEADER = struct.Struct(">IIBB")
_GREY, _COLOUR, _PALETTE, _GREY_OPACITY, _COLOUR_OPACITY = 0, 2, 3, 4, 6
# As OpenCV decodes them: opacity brings colour.
_SAMPLES = {_GREY: 1, _COLOUR: 3, _PALETTE: 3, _GREY_OPACITY: 4, _COLOUR_OPACITY: 4}
_MOST_EXIF = 1 << 20
_WANTED = (b"IHDR", b"tRNS", b"eXIf", b"acTL")


def describe(window: Window, budget: Budget) -> Picture:
    """Read the chunks that describe the picture.

    Raises
    ------
    InputRefusedError
        ``truncated``, ``undecodable`` or ``too-many-elements``.
    """
    chunks: dict[bytes, bytes] = {}
    controls = 0
    for kind, start, length in _chunks(window, budget):
        if not chunks and kind != b"IHDR":
            raise InputRefusedError("undecodable", "the PNG does not begin with its header")
        if kind in _WANTED:
            chunks.setdefault(kind, window.take(start, min(length, _MOST_EXIF)))
        controls += kind == b"fcTL"
    try:
        width, height, depth, colour = _HEADER.unpack_from(chunks[b"IHDR"])
        samples = _SAMPLES[colour]
        frames = struct.unpack_from(">I", chunks[b"acTL"])[0] if b"acTL" in chunks else 1
        key = _key(chunks.get(b"tRNS"), depth) if colour == _GREY else None
    except (KeyError, struct.error) as error:
        raise InputRefusedError("undecodable", "the PNG's header contradicts itself") from error
    see_through = colour in {_COLOUR, _PALETTE} and b"tRNS" in chunks
    page = Page(
        width,
        height,
        samples=samples + see_through,
        bits=max(depth, 8),
        orientation=tiff.orientation(chunks.get(b"eXIf", b"")),
        opacity="straight" if see_through or samples == _SAMPLES[_COLOUR_OPACITY] else None,
        see_through=key,
        copied=colour == _GREY_OPACITY,
    )
    if frames > max(controls, 1):
        raise InputRefusedError(
            "truncated", f"{frames} frames are promised, and {controls} are there"
        )
    return Picture([page] * max(frames, 1))


def _chunks(window: Window, budget: Budget) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and length of every chunk's data, up to the end of the image."""
    position, kind = _SIGNATURE, b""
    most = most_parts(budget)
    for _ in range(most):
        length, kind = _CHUNK.unpack(window.take(position, _CHUNK.size))
        position += _CHUNK.size
        window.expect(position + length + _CHECKSUM)
        yield kind, position, length
        if kind == b"IEND":
            return
        position += length + _CHECKSUM
    raise InputRefusedError("too-many-elements", f"more than {most} chunks")


def _key(chunk: bytes | None, depth: int) -> int | None:
    """Return the grey value that is air, as it is after values of few bits were spread to eight."""
    if chunk is None:
        return None
    value: int = struct.unpack_from(">H", chunk)[0]
    return value if depth >= 8 else value * 255 // (2**depth - 1)  # noqa: PLR2004
