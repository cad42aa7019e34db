"""Transfer syntaxes: which are decoded, by what, and the decoding of frame after frame.

Native and deflated frames and RLE are decoded here. JPEG, JPEG-LS and JPEG 2000 go to the native
decoders of the extra ``dicom``, each named explicitly and in a process of its own
(isolation.py). pylibjpeg-libjpeg is never used, even where it is installed: its licence is the
GPL.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.printable import said
from gliomart.sources import codestream, rle, wall
from gliomart.sources.budget import DEFAULT, Budget, Image, promised
from gliomart.sources.isolation import DecoderProcess, container

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

Decoder = Literal["native", "rle", "deflate", "pyjpegls", "openjpeg", "gdcm"]

EXTRA = "dicom"
# The module that brings each decoder that is not part of the base installation.
_MODULES: dict[Decoder, str] = {"pyjpegls": "jpeg_ls", "openjpeg": "openjpeg", "gdcm": "gdcm"}


@dataclass(frozen=True)
class Syntax:
    """A transfer syntax (DICOM PS3.5 section 10) and what decodes its pixels."""

    uid: str
    name: str
    decoder: Decoder

    @property
    def extra(self) -> str | None:
        """The extra that brings the decoder; None for the base installation."""
        return EXTRA if self.decoder in _MODULES else None

    @property
    def available(self) -> bool:
        """Whether the decoder is installed here."""
        return self.decoder not in _MODULES or find_spec(_MODULES[self.decoder]) is not None


SYNTAXES = (
    Syntax(wall.IMPLICIT, "Implicit VR Little Endian", "native"),
    Syntax(wall.EXPLICIT, "Explicit VR Little Endian", "native"),
    Syntax(wall.BIG_ENDIAN, "Explicit VR Big Endian", "native"),
    Syntax(wall.DEFLATED, "Deflated Explicit VR Little Endian", "native"),
    Syntax("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression", "deflate"),
    Syntax("1.2.840.10008.1.2.5", "RLE Lossless", "rle"),
    Syntax("1.2.840.10008.1.2.4.50", "JPEG Baseline, 8 bit (process 1)", "gdcm"),
    Syntax("1.2.840.10008.1.2.4.51", "JPEG Extended, 12 bit (process 2 and 4)", "gdcm"),
    Syntax("1.2.840.10008.1.2.4.57", "JPEG Lossless (process 14)", "gdcm"),
    Syntax("1.2.840.10008.1.2.4.70", "JPEG Lossless, first-order prediction", "gdcm"),
    Syntax("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", "pyjpegls"),
    Syntax("1.2.840.10008.1.2.4.81", "JPEG-LS Near-Lossless", "pyjpegls"),
    Syntax("1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless", "openjpeg"),
    Syntax("1.2.840.10008.1.2.4.91", "JPEG 2000", "openjpeg"),
    Syntax("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 Lossless", "openjpeg"),
    Syntax("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 Lossless, RPCL", "openjpeg"),
    Syntax("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", "openjpeg"),
)
_BY_UID = {syntax.uid: syntax for syntax in SYNTAXES}

# The tag of an item, of which encapsulated pixels are made (DICOM PS3.5 A.4).
_ITEM = b"\xfe\xff\x00\xe0"

_process = DecoderProcess()


class Words(NamedTuple):
    """One frame as it is in the file, and what of it counts.

    Attributes
    ----------
    raw
        (H, W), unsigned integers: whole words, as wide as they are allocated or, in a codestream,
        as its values are.
    stored
        (H, W), the values: integers, signed as Pixel Representation says, without what may be in
        the bits that are not stored (DICOM PS3.5 8.1.1). It may be a view of ``raw``.
    high_bit, bits
        The values are the ``bits`` bits of a word up to ``high_bit``.
    """

    raw: NDArray[np.unsignedinteger]
    stored: NDArray[np.integer]
    high_bit: int
    bits: int


def syntax_of(dataset: Dataset) -> Syntax:
    """Tell how the pixels of a data set are encoded, and that they can be decoded here.

    Raises
    ------
    InputRefusedError
        ``unsupported-transfer-syntax``, or ``missing-codec`` where an extra would help.
    """
    from pydicom.uid import UID

    meta = getattr(dataset, "file_meta", {})
    uid = str(meta.get("TransferSyntaxUID") or "")
    if not uid:  # a data set without file meta information, or made in memory, is native
        big_endian = dataset.original_encoding[1] is False
        uid = wall.BIG_ENDIAN if big_endian else wall.EXPLICIT
    if uid not in _BY_UID:
        name = " ".join(UID(uid).name.split())[:64]
        raise InputRefusedError("unsupported-transfer-syntax", f"pixels in {name} are not decoded")
    syntax = _BY_UID[uid]
    if not syntax.available:
        reason = f"pixels in {syntax.name} need an extra: pip install 'gliomart[{EXTRA}]'"
        raise InputRefusedError("missing-codec", reason)
    return syntax


def stop_decoders() -> None:
    """End the process of the native decoders; the next compressed frame starts another."""
    _process.stop()


def kill_decoders() -> None:
    """End that process at once, even while it decodes; the next compressed frame starts another."""
    _process.kill()


def frames(dataset: Dataset, budget: Budget = DEFAULT) -> Iterator[NDArray[np.integer]]:
    """Decode the values of the frames of a data set, as :func:`words` does."""
    return (frame.stored for frame in words(dataset, budget))


def words(dataset: Dataset, budget: Budget = DEFAULT) -> Iterator[Words]:
    """Decode the frames of a data set that :func:`gliomart.sources.wall.parse` read, one by one.

    Values are as stored, ahead of any modality transform.

    Raises
    ------
    InputRefusedError
        As :func:`opened`, and what reading a frame raises.
    """
    count, read = opened(dataset, budget)
    return map(read, range(count))


def opened(dataset: Dataset, budget: Budget = DEFAULT) -> tuple[int, Callable[[int], Words]]:
    """Open the pixels of a data set: how many frames there are, and what decodes one of them.

    The latter raises ``undecodable``, ``missing-codec`` and ``too-slow``.

    Raises
    ------
    InputRefusedError
        ``no-pixels``, ``not-greyscale``, ``unsupported-transfer-syntax``, ``missing-codec``,
        ``undecodable``, ``truncated`` or ``too-many-pixels``.
    """
    syntax = syntax_of(dataset)
    if "PixelData" not in dataset:
        raise InputRefusedError("no-pixels", "the DICOM object holds no pixels")
    image = promised(dataset)
    if image.samples != 1:
        raise InputRefusedError("not-greyscale", "the DICOM image is in colour")
    budget.admit(image)
    if syntax.decoder == "native":
        _check_native(dataset, image.total_bytes)

        def native(index: int) -> Words:
            values = _native(dataset, syntax.uid, index)
            return _words(values, image, image.high_bit, image.bits_stored)

        return image.frames, native
    encoded = _encapsulated(dataset, image.frames)
    return image.frames, lambda index: _decoded(encoded[index], syntax.decoder, image, budget)


def _decoded(frame: bytes, decoder: Decoder, image: Image, budget: Budget) -> Words:
    if decoder in {"rle", "deflate"}:
        values = _rle(frame, image) if decoder == "rle" else _inflate(frame, image)
        return _words(values, image, image.high_bit, image.bits_stored)
    values, precision = _decode(decoder, frame, image, budget)
    bits = min(precision, image.bits_stored)
    decoded = _words(values, image, bits - 1, bits)
    if precision <= image.bits_stored:  # a codestream has no bits beyond its precision
        decoded = decoded._replace(raw=decoded.stored.view(values.dtype))
    return decoded


def _check_native(dataset: Dataset, size: int) -> None:
    """Refuse compressed pixels whose transfer syntax does not say that they are."""
    with _undecodable():
        pixels = dataset.PixelData
        if isinstance(pixels, bytes) and pixels[:4] == _ITEM and len(pixels) < size:
            raise InputRefusedError(
                "undecodable",
                "the pixels are compressed, and the TransferSyntaxUID of the file_meta, which says"
                " how, is missing or another's",
            )


def _native(dataset: Dataset, uid: str, index: int) -> NDArray[np.integer]:
    from pydicom.pixels.decoders.base import get_decoder

    with _undecodable():
        ((values, _),) = get_decoder(uid).iter_array(
            dataset, indices=[index], raw=True, correct_unused_bits=False
        )
        return values.astype(values.dtype.newbyteorder("="), copy=False)


def _encapsulated(dataset: Dataset, count: int) -> Sequence[bytes]:
    """Put the fragments of the pixels together to so many frames (DICOM PS3.5 A.4).

    A frame may be several fragments, but a fragment is never part of two frames. So the offset
    table is needed only where several frames are more fragments, and then it has to be right; an
    Extended Offset Table (DICOM PS3.3 C.7.6.3.1.8) allows one fragment for a frame anyway.
    """
    from pydicom.encaps import generate_fragments, generate_frames, parse_basic_offsets

    with _undecodable():
        buffer = BytesIO(dataset.PixelData)
        offsets = parse_basic_offsets(buffer)
        fragments = list(generate_fragments(buffer))
        if count == 1:
            encoded = [b"".join(fragments)]
        elif len(fragments) == count:
            encoded = fragments
        else:
            starts = accumulate((len(fragment) + 8 for fragment in fragments), initial=0)
            if offsets and not set(offsets) <= set(starts):
                raise ValueError("the offset table points between the fragments")
            encoded = list(generate_frames(bytes(dataset.PixelData), number_of_frames=count))
        if len(encoded) != count or not all(encoded):
            raise ValueError(f"{count} frames are promised, and {len(encoded)} are there")
    return encoded


def _rle(frame: bytes, image: Image) -> NDArray[np.integer]:
    with _undecodable():
        return _array(rle.decode(frame, image.rows * image.columns, image.bits_allocated), image)


def _inflate(frame: bytes, image: Image) -> NDArray[np.integer]:
    """Inflate one frame (DICOM PS3.5 A.4.13)."""
    with _undecodable():
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, image.frame_bytes)
        return _array(inflated, image)


def _array(data: bytes, image: Image) -> NDArray[np.integer]:
    """Read one frame of little endian values."""
    shape = (image.rows, image.columns)
    if image.bits_allocated == 1:
        packed = np.frombuffer(data, np.uint8)
        bits = np.unpackbits(packed, count=image.rows * image.columns, bitorder="little")
        return bits.reshape(shape)
    return np.frombuffer(data, f"<u{image.bits_allocated // 8}").reshape(shape)


def _decode(
    decoder: Decoder, frame: bytes, image: Image, budget: Budget
) -> tuple[NDArray[np.integer], int]:
    """Decode a codestream; return its values and how many bits of them count."""
    stream = codestream.read(frame)
    if (stream.rows, stream.columns, stream.components) != (image.rows, image.columns, 1):
        raise InputRefusedError(
            "undecodable",
            f"the codestream holds {stream.rows} rows and {stream.columns} columns of "
            f"{stream.components} components instead of {image.rows}, {image.columns} and 1",
        )
    values = _process.decode(
        decoder,
        stream.data,
        shape=(stream.rows, stream.columns),
        precision=stream.precision,
        seconds=budget.seconds,
    )
    dtype = np.dtype(f"u{container(stream.precision)}")
    return np.frombuffer(values, dtype).reshape(stream.rows, stream.columns), stream.precision


def _words(values: NDArray[np.integer], image: Image, high_bit: int, bits: int) -> Words:
    """Keep the bits up to the high bit, and extend the sign of the highest."""
    raw = values.view(f"u{values.itemsize}")
    if image.bits_allocated == 1:
        return Words(raw, values, high_bit, bits)
    width = 8 * values.itemsize
    stored = values.view(f"{'i' if image.signed else 'u'}{values.itemsize}")
    if bits < width:
        stored = (stored << (width - 1 - high_bit)) >> (width - bits)
    return Words(raw, stored, high_bit, bits)


@contextmanager
def _undecodable() -> Iterator[None]:
    """Make a refusal of whatever decoding hostile bytes raises."""
    try:
        yield
    except InputRefusedError:
        raise
    except Exception as error:
        reason = f"the pixels cannot be decoded: {said(error)}"
        raise InputRefusedError("undecodable", reason) from error
