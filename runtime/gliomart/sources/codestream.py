"""What the header of a compressed frame says, read before a decoder may allocate for it."""

from __future__ import annotations

from typing import NamedTuple

from gliomart.errors import InputRefusedError

# ISO/IEC 10918-1 B.1: markers that stand alone, and those that start a frame. JPEG-LS adds its
# own start of frame (ISO/IEC 14495-1 C.1).
_SOI, _SOS = 0xD8, 0xDA
_EOI = b"\xff\xd9"
_JPEG_LS = 0xF7
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC})
# ISO/IEC 15444-1 A.4.1 and A.5.1: start of codestream and size; 15444-1 I.5.1: the JP2 box.
_J2K = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_MOST_BITS = 32


class Codestream(NamedTuple):
    """One encoded frame; ``precision`` is in bits."""

    data: bytes
    rows: int
    columns: int
    components: int
    precision: int


def read(frame: bytes) -> Codestream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Raises
    ------
    InputRefusedError
        ``undecodable``
    """
    if frame.startswith(_JP2):  # not allowed (DICOM PS3.5 A.4.4), and met all the same
        frame = frame[max(frame.find(_J2K), 0) :]
    try:
        stream = _read_j2k(frame) if frame.startswith(_J2K) else _read_jpeg(frame)
    except IndexError:
        raise _undecodable("the codestream breaks off in its header") from None
    if not 1 <= stream.precision <= _MOST_BITS:
        raise _undecodable(f"the codestream has values of {stream.precision} bits")
    return stream


def _read_j2k(frame: bytes) -> Codestream:
    width, height, left, top = (_number(frame, 8 + 4 * index, 4) for index in range(4))
    return Codestream(
        frame,
        rows=height - top,
        columns=width - left,
        components=_number(frame, 40, 2),
        precision=(frame[42] & 0x7F) + 1,
    )


def _read_jpeg(frame: bytes) -> Codestream:
    if frame[:2] != bytes((0xFF, _SOI)):
        raise _undecodable("the frame does not start like a codestream")
    position = 2
    while True:
        if frame[position] != 0xFF:  # noqa: PLR2004
            raise _undecodable("the codestream has no marker where one belongs")
        marker = frame[position + 1]
        if marker == 0xFF:  # noqa: PLR2004  # a fill byte
            position += 1
        elif marker in _START_OF_FRAME:
            # CharLS looks for seconds for the end of a run where nothing ends the codestream.
            if marker == _JPEG_LS and _EOI not in frame:
                raise _undecodable("the codestream has no end")
            return Codestream(
                frame,
                rows=_number(frame, position + 5, 2),
                columns=_number(frame, position + 7, 2),
                components=frame[position + 9],
                precision=frame[position + 4],
            )
        elif marker == _SOS:
            raise _undecodable("the codestream has no frame header")
        else:
            position += 2 + max(_number(frame, position + 2, 2), 2)


def _number(frame: bytes, start: int, size: int) -> int:
    """Read a big endian number; an IndexError where the frame is over."""
    frame[start + size - 1]
    return int.from_bytes(frame[start : start + size])


def _undecodable(reason: str) -> InputRefusedError:
    return InputRefusedError("undecodable", f"the pixels cannot be decoded: {reason}")
