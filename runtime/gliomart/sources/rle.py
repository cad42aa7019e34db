"""RLE (DICOM PS3.5 annex G), decoded no further than there are pixels.

pydicom's decoder has no such limit: bytes that decode to more than a frame, or to nothing at
all, cost it as much memory and time as they like.
"""

from __future__ import annotations

import struct

_HEADER = 64
_MOST_SEGMENTS = 15
_NOTHING = 128


def decode(frame: bytes, count: int, bits_allocated: int) -> bytes:
    """Decode a greyscale frame.

    Parameters
    ----------
    frame
        A header and one segment for each byte of a value, the highest first.
    count
        Number of values.
    bits_allocated
        8, 16, 32 or 64.

    Returns
    -------
    bytes
        Little endian values.

    Raises
    ------
    ValueError
        The segments are not where the header says, not as many as bytes in a value, or too short.
    """
    if len(frame) < _HEADER:
        raise ValueError("the RLE header is cut")
    segments, *offsets = struct.unpack_from("<16L", frame)
    size = bits_allocated // 8
    if segments != size or segments > _MOST_SEGMENTS:
        raise ValueError(f"there are {segments} RLE segments for values of {size} bytes")
    bounds = [*offsets[:segments], len(frame)]
    if bounds[0] < _HEADER or bounds != sorted(bounds):
        raise ValueError("the RLE segments overlap")
    values = bytearray(count * size)
    for index in range(segments):
        segment = memoryview(frame)[bounds[index] : bounds[index + 1]]
        values[size - 1 - index :: size] = _decode_segment(segment, count)
    return bytes(values)


def _decode_segment(segment: memoryview, count: int) -> bytearray:
    """Decode so many bytes (DICOM PS3.5 G.3.2); what is left over is padding."""
    # Every run that gives anything takes two bytes at least and gives one.
    end = min(len(segment), 2 * count + 2)
    data = segment[:end].tobytes()
    decoded = bytearray()
    position = 0
    while position < end and len(decoded) < count:
        control = data[position]
        position += 1
        if control < _NOTHING:
            decoded += data[position : position + control + 1]
            position += control + 1
        elif control > _NOTHING:
            decoded += data[position : position + 1] * (257 - control)
            position += 1
    if len(decoded) < count:
        raise ValueError(f"an RLE segment decodes to {len(decoded)} bytes instead of {count}")
    return decoded[:count]
