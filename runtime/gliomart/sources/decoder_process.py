"""The process in which native code decodes compressed frames; started by isolation.py.

It is run as a program of its own (:mod:`gliomart.host.frozen`) and imports nothing but the
decoders, so that it starts quickly. It begins with a greeting. A request on standard input is a
header and a frame, a reply on standard output a header and the decoded values or, where the decoder
refused, a reason.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

try:
    import resource
except ImportError:  # Windows, which has no limits of this kind
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What it says first.
GREETING = b"gliomart decoder 1"
# Decoder, rows, columns, precision in bits, bytes of the values, seconds, bytes of memory, bytes
# of the frame.
REQUEST = struct.Struct("<8sHHBQdQQ")
# Whether it was decoded, length of what follows.
REPLY = struct.Struct("<?Q")


def _pyjpegls(frame: bytes, _rows: int, _columns: int, _precision: int) -> bytearray:
    import jpeg_ls

    values: bytearray
    values, _ = jpeg_ls.decode_pixel_data(frame)
    return values


def _openjpeg(frame: bytes, _rows: int, _columns: int, _precision: int) -> bytes:
    import openjpeg.utils

    return bytes(openjpeg.utils.decode_pixel_data(frame, version=2))


def _gdcm(frame: bytes, rows: int, columns: int, precision: int) -> bytes:
    """Decode JPEG of any process, which GDCM takes from the codestream, not from the syntax."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    lossless = gdcm.TransferSyntax.JPEGLosslessProcess14_1
    image.SetTransferSyntax(gdcm.TransferSyntax(lossless))
    allocated = 8 if precision <= 8 else 16  # noqa: PLR2004
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, precision, precision - 1, 0))
    # SWIG makes a str of the bytes.
    values: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")
    return values


_DECODERS: dict[bytes, Callable[[bytes, int, int, int], bytes | bytearray]] = {
    b"pyjpegls": _pyjpegls,
    b"openjpeg": _openjpeg,
    b"gdcm": _gdcm,
}


def address_space() -> int | None:
    """Bytes of address space that this process may take (``ulimit -v``); None without a limit."""
    if resource is None:
        return None
    given, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if given == resource.RLIM_INFINITY else given


@contextmanager
def _limited(seconds: float, memory: int) -> Iterator[None]:
    """Limit this process where the platform can: memory by an error, time by its end.

    The parent kills it in time; the alarm is for when there is no parent any more. A limit that it
    was given (``ulimit -v``) stays where it is lower.
    """
    if resource is None:
        yield
        return
    given, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = min(memory, address_space() or memory)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    resource.setrlimit(resource.RLIMIT_AS, (least, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (given, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Decode frame after frame until there are no more requests."""
    while len(header := requests.read(REQUEST.size)) == REQUEST.size:
        decoder, rows, columns, precision, size, seconds, memory, length = REQUEST.unpack(header)
        frame = requests.read(length)
        decode = _DECODERS[decoder.rstrip(b"\0")]
        try:
            with _limited(seconds, memory):
                reply, decoded = decode(frame, rows, columns, precision), True
        except Exception as error:  # noqa: BLE001  # whatever a decoder raises is its answer
            line = " ".join(f"{type(error).__name__}: {error}".split())
            reply, decoded = line[:200].encode(), False
        if decoded and len(reply) != size:
            reply, decoded = f"{len(reply)} bytes come out instead of {size}".encode(), False
        replies.write(REPLY.pack(decoded, len(reply)))
        replies.write(reply)
        replies.flush()


def main() -> None:
    """Serve on the standard streams, of which decoders that print get none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    replies.write(GREETING)
    replies.flush()
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
