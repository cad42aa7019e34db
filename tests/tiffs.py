"""TIFF files byte by byte, with whatever tags a test wants (TIFF 6.0; BigTIFF)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_TYPES = {
    "byte": (1, "B"), "ascii": (2, "s"), "short": (3, "H"), "long": (4, "I"), "ifd": (13, "I"),
    "long8": (16, "Q"),
}  # fmt: skip


def page(pixels: np.ndarray, tags: Mapping[int, Any] | None = None) -> tuple[bytes, dict[int, Any]]:
    """Describe one page of (H, W) or (H, W, C) pixels; ``tags`` overrule (None leaves one out)."""
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = pixels.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    extra = {2: 1, 4: 1}.get(samples, 0)
    described: dict[int, Any] = {
        256: ("long", [width]),
        257: ("long", [height]),
        258: ("short", [bits] * samples),
        259: ("short", [1]),
        262: ("short", [2 if samples >= 3 else 1]),
        273: ("long", [0]),  # where the pixels are; see below
        277: ("short", [samples]),
        278: ("long", [height]),
        279: ("long", [pixels.nbytes]),
        339: ("short", [kind] * samples),
    }
    if extra:
        described[338] = ("short", [2])
    described |= tags or {}
    return pixels.tobytes(), {tag: v for tag, v in described.items() if v is not None}


def tiff(
    pages: Sequence[tuple[bytes, Mapping[int, Any]]], *, big: bool = False, order: str = "<"
) -> bytes:
    """Put pages together to a file; pixels have to be in the file's byte order already."""
    magic = b"II" if order == "<" else b"MM"
    pointer, count, entry, inline = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    head = magic + struct.pack(
        order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), 0
    )
    content = bytearray(head)
    link = len(head) - struct.calcsize(pointer)
    for pixels, tags in pages:
        start = len(content)
        content += pixels + b"\0" * (len(pixels) % 2)
        outside = {}
        packed = {}
        for tag, (kind, value) in tags.items():
            code, letter = _TYPES[kind]
            if isinstance(value, (bytes, bytearray)):
                data, length = bytes(value), len(value)
            else:
                moved = start if tag in {273, 324} else 0
                numbers = [number + moved for number in value]
                data, length = struct.pack(f"{order}{len(numbers)}{letter}", *numbers), len(numbers)
            packed[tag] = (code, length, data)
            if len(data) > inline:
                outside[tag] = len(content)
                content += data + b"\0" * (len(data) % 2)
        struct.pack_into(order + pointer, content, link, len(content))
        content += struct.pack(order + count, len(packed))
        for tag, (number, length, data) in sorted(packed.items()):
            content += struct.pack(order + entry, tag, number, length)
            if tag in outside:
                content += struct.pack(order + pointer, outside[tag])
            else:
                content += data.ljust(inline, b"\0")
        link = len(content)
        content += struct.pack(order + pointer, 0)
    return bytes(content)
