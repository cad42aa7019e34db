"""Masks that are pictures, or DICOM images of labels: slice by slice, as their images are.

Any label but 0 counts, or those that were chosen, in any number of bits, as a number, a colour, an
index into a palette or opacity. A mask that cannot be read without a guess is an error, or a tumour
would be taken for healthy.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import DEFAULT, codecs, images, wall
from gliomart.sources.header import Header
from gliomart.sources.kinds import kind_of_content
from gliomart_training.truth.marks import FULL, Choice, Marks, errors, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.geometry import ImagePlane

EVERY_LABEL = Choice()
# Bytes that tell the kind of a file.
_HEAD = 132
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Kinds that may have been compressed with loss, which leaves faint traces about every edge.
_LOSSY = (b"\xff\xd8\xff", b"RIFF", b"\0\0\0\x0cjP  ")
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_HALF_WHITE = 127
# Traces of loss away from the edges of labels are darker, or smaller than a patch (pixels).
_TRACES, _EDGE, _PATCH, _PATCH_OF_COLOUR = 20, (7, 7), (3, 3), (5, 5)
# Of TIFF: Photometric Interpretation with two of its values, and Samples per Pixel.
_PHOTOMETRIC, _BLACK_IS_ZERO, _PALETTE, _SAMPLES = 262, 1, 3, 277


def read(path: Path, items: Sequence[Slice | Refusal], choice: Choice = EVERY_LABEL) -> Marks:
    """Read the mask of an image, slice by slice.

    Raises
    ------
    DatasetError
        It cannot be read as a mask, is not of the size of its image, or marks everything.
    """
    with errors(path):
        data = path.read_bytes()
        if not data:
            raise InputRefusedError("empty-file", "the file holds no bytes")
        planes = _stored(path) if is_dicom(path, data) else _labels(data)
        places = _places(path) if is_dicom(path, data) else ()
        lossy = data.startswith(_LOSSY)
        if lossy and choice.labels:
            raise InputRefusedError(
                "lossy", "after lossy compression labels are not what they were"
            )
        if lossy:
            planes = [_without_traces(plane) for plane in planes]
        marked = [_marked(plane, choice) for plane in planes]
        told_apart = [
            labels_of(values, marks)
            for values, marks in zip(planes, marked, strict=True)
            if values.ndim == 2 and not lossy  # noqa: PLR2004
        ]
    if len(marked) != len(items):
        raise DatasetError(f"{path}: has {len(marked)} slices, its image {len(items)}")
    for item, plane in zip(items, marked, strict=True):
        if isinstance(item, Slice):
            check_size(path, plane.shape, item)
    for place, item in zip(places, items, strict=False):
        if isinstance(item, Slice) and place and item.plane and not _same(place, item.plane):
            raise DatasetError(
                f"{path}: lies elsewhere in the patient than its image {item.source}"
            )
    if any(plane.all() for plane in marked):
        raise DatasetError(f"{path}: {FULL}")
    pairs = zip(items, marked, strict=True)
    found = [plane if isinstance(item, Slice) else None for item, plane in pairs]
    return Marks(found, frozenset().union(*told_apart))


def is_dicom(path: Path, data: bytes) -> bool:
    """Tell by its name or first bytes whether a file is DICOM."""
    return kind_of_content(data[:_HEAD]) == "dicom" or path.suffix.lower() in _DICOM_SUFFIXES


def check_size(path: Path, shape: tuple[int, ...], image: Slice) -> None:
    """Refuse a mask of another size than its image.

    Raises
    ------
    DatasetError
        It is.
    """
    if shape != image.pixels.shape:
        (height, width), (rows, columns) = shape, image.pixels.shape
        raise DatasetError(
            f"{path}: {width}x{height} pixels, not of the size of its image {image.source},"
            f" {columns}x{rows}"
        )


def _stored(path: Path) -> list[NDArray[np.generic]]:
    """Decode what is stored in a DICOM image."""
    return list(codecs.frames(wall.parse(path, pixels=True, budget=DEFAULT), DEFAULT))


def _places(path: Path) -> tuple[ImagePlane | None, ...]:
    """Tell where the frames of a DICOM image lie, None for one of which that is not known."""
    return Header.of(wall.parse(path, pixels=False, budget=DEFAULT)).planes


def _same(mask: ImagePlane, image: ImagePlane) -> bool:
    """Tell whether two planes lie in the same place, to a quarter of a pixel."""
    apart = np.abs(np.subtract(mask.position, image.position)).max()
    return mask.parallel_to(image) and bool(apart <= min(image.spacing) / 4)


def _marked(values: NDArray[np.generic], choice: Choice) -> NDArray[np.bool_]:
    """Tell where values of any type, (H, W) or (H, W, channels), mark something; bool (H, W)."""
    if values.ndim == 2:  # noqa: PLR2004
        return choice.among(values)
    if choice.labels:
        raise InputRefusedError("unsupported", "a mask in colour has no labels to choose from")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputRefusedError("not-finite", "some values are NaN or infinite")
    colour, opacity = values[..., :3], values[..., 3:]
    coloured = np.asarray((colour != 0).any(axis=-1))
    if (opacity == opacity[:1, :1]).all():  # or there is none
        return coloured
    opaque = np.asarray((opacity != 0).any(axis=-1))
    return opaque if (colour == colour[0, 0]).all() else coloured & opaque


def _without_traces(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Take off what lossy compression leaves: all below half of the usual white."""
    sure = np.asarray(values) > _HALF_WHITE
    if values.any() and (not sure.any() or _has_faint_labels(values)):
        raise InputRefusedError(
            "lossy", "its faint labels cannot be told from traces of compression; save it as PNG"
        )
    return np.where(sure, values, 0)


def _has_faint_labels(values: NDArray[np.generic]) -> bool:
    """Tell whether a patch is darker than labels and too bright for traces.

    Traces of this brightness lie along the edges of labels, and are thin elsewhere; less so in
    colours, which lossy compression stores more coarsely.
    """
    channels = np.atleast_3d(np.asarray(values, np.float32))[..., :3]
    brightest = channels.max(axis=-1)
    is_grey = (brightest - channels.min(axis=-1) < _TRACES).all()
    patch = _PATCH if is_grey else _PATCH_OF_COLOUR
    edges = cv2.dilate((brightest > _HALF_WHITE).astype(np.uint8), np.ones(_EDGE, np.uint8))
    faint = ((brightest > _TRACES) & (edges == 0)).astype(np.uint8)
    return bool(cv2.erode(faint, np.ones(patch, np.uint8), borderValue=0).any())


def _labels(data: bytes) -> list[NDArray[np.generic]]:
    """Decode an image; one in colours of a palette to its indices, since those are the labels."""
    changed = data
    if data.startswith(_PNG):
        changed = _png_with_labels(data)
    elif data.startswith(_TIFF):
        changed = _tiff_with_labels(data)
    planes: list[NDArray[np.generic]] = list(images.labels(changed))
    if changed != data:
        for indices, colours in zip(planes, images.labels(data), strict=True):
            labelled, coloured = indices != 0, _marked(colours, EVERY_LABEL)
            # Index 0 has a colour, and another index is black: either may stand for no tumour.
            if (coloured & ~labelled).any() and (labelled & ~coloured).any():
                raise InputRefusedError(
                    "palette", "its palette calls black something else than 0; save it in grey"
                )
    return planes


def _png_with_labels(data: bytes) -> bytes:
    """Declare a PNG of colour type 3 to be grey, and leave its palette out (PNG 11.2)."""
    if len(data) < 33 or data[25] != 3:  # noqa: PLR2004
        return data
    header = data[12:25] + b"\0" + data[26:29]
    chunks = [chunk for kind, chunk in _chunks(data[33:]) if kind not in (b"PLTE", b"tRNS")]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + b"".join(chunks)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 0
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], data[start : start + 12 + length]
        start += 12 + length


def _tiff_with_labels(data: bytes) -> bytes:
    """Declare every page of a TIFF with a palette to be grey (TIFF 6.0 section 8)."""
    changed = bytearray(data)
    try:
        for order, tag, place in _tiff_fields(data):
            (value,) = struct.unpack_from(order + "H", data, place)
            if (tag, value) == (_SAMPLES, 2):
                raise InputRefusedError("unsupported", "grey with opacity in TIFF; save it as PNG")
            if (tag, value) == (_PHOTOMETRIC, _PALETTE):
                struct.pack_into(order + "H", changed, place, _BLACK_IS_ZERO)
    except struct.error:
        return data  # cut off, which decoding it says
    return bytes(changed)


def _tiff_fields(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Walk the fields of all pages: byte order, tag, where the value is; BigTIFF has wider ones."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, size, link, first = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    (page,) = struct.unpack_from(order + link, data, first)
    seen: set[int] = set()
    while page and page not in seen:
        seen.add(page)
        (entries,) = struct.unpack_from(order + count, data, page)
        fields = page + struct.calcsize(order + count)
        for field in range(fields, fields + size * entries, size):
            (tag,) = struct.unpack_from(order + "H", data, field)
            yield order, tag, field + size - struct.calcsize(link)
        (page,) = struct.unpack_from(order + link, data, fields + size * entries)
