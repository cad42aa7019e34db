"""PNG and JPEG files piece by piece, with whatever chunks and segments a test wants."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from samples import draw_head
from tiffs import tiff


def head(dtype: str = "u1", *, most: float | None = None) -> np.ndarray:
    """Draw a head of 64 x 48 pixels that no turn leaves as it is."""
    drawn = draw_head((64, 48)) / 1000
    drawn[5:15, 5:30] = 1
    kind = np.dtype(dtype)
    top = most or (1.0 if kind.kind == "f" else np.iinfo(kind).max)
    with np.errstate(invalid="ignore"):  # the highest whole numbers are no floats
        return (drawn.clip(0, 1) * 0.99 * top).astype(kind)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(pixels: np.ndarray, colour: int, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """Write a PNG of whole bytes, with chunks before and after its pixels."""
    depth = pixels.dtype.itemsize * 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw)) + after
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def exif(value: int, order: str = "<", kind: str = "short") -> bytes:
    """Make Exif that says one orientation: a TIFF of one field."""
    return tiff([(b"", {274: (kind, [value])})], order=order)


def jpeg(pixels: np.ndarray, *segments: bytes, quality: int = 100) -> bytes:
    """Write a JPEG, with application segments in front."""
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    inserted = b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return encoded[:2] + inserted + encoded[2:]
