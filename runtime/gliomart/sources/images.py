"""PNG, JPEG and TIFF files: their descriptions are read first, then OpenCV decodes their pixels.

The decoder gives what is stored. What a file says about it is obeyed here, for every format and
depth alike: which value is white, opacity (over air, which is black), and the orientation.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.colour import one_plane, over_air
from gliomart.image.slices import Refusal, Slice, luma
from gliomart.printable import said
from gliomart.sources import jpeg, png, tiff_pages
from gliomart.sources.budget import DEFAULT, beyond
from gliomart.sources.kinds import kind_of_content
from gliomart.sources.picture import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedIOBase

    from numpy.typing import NDArray

    from gliomart.sources.budget import Budget
    from gliomart.sources.inventory import Kind, SourceFile
    from gliomart.sources.picture import Page, Picture

# Bytes that tell the kind of a file.
_HEAD = 132
# Orientations from this one on have rows stored as columns.
_SIDEWAYS = 5
_DESCRIBE: dict[Kind, Callable[[Window, Budget], Picture]] = {
    "png": png.describe,
    "jpeg": jpeg.describe,
    "tiff": tiff_pages.describe,
}


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Yield the slice of an image file, or one for each page of a TIFF.

    Raises
    ------
    InputRefusedError
        The file is not within the budget, ``too-large``, ``truncated``, ``undecodable``,
        ``unsupported-format`` or ``volumetric-tiff``.
    """
    with file.path.open("rb") as stream:
        data, picture = _data(stream, file.kind, file.budget)
    waiting = list(_decoded(data, len(picture.pages)))[::-1]
    for index, page in enumerate(picture.pages):
        frame = index if len(picture.pages) > 1 else None
        try:
            # Whoever holds the slices need not hold the decoded pages as well.
            grey = luma(_obeyed(waiting.pop(), page, file.plane))
        except InputRefusedError as error:
            yield Refusal(file.source, frame, error.code, error.reason)
        else:
            yield Slice(grey, source=file.source, series=file.series, frame=frame)


def shape_of(file: SourceFile) -> tuple[int, int] | None:
    """Tell the shape of a picture's slice from its description; None unless it has just one."""
    try:
        with file.path.open("rb") as stream:
            pages = _described(Window(stream), file.kind, file.budget).pages
    except (InputRefusedError, OSError):  # which is told where it is read
        return None
    if len(pages) != 1:
        return None
    (page,) = pages
    height, width = page.height, page.width
    return (width, height) if page.orientation >= _SIDEWAYS else (height, width)


def labels(data: bytes) -> list[NDArray[np.generic]]:
    """Decode the pages of a picture that is no image but labels, such as a mask.

    Values are those stored, inverted and turned as the file says: (H, W) or, in order BGR or BGRA,
    (H, W, channels). Other kinds of pictures than are analysed are decoded as far as OpenCV can.

    Raises
    ------
    InputRefusedError
        As :func:`read`.
    """
    kind = kind_of_content(data[:_HEAD])
    if kind is None or kind not in _DESCRIBE:
        return list(_decoded(data))
    changed, picture = _data(BytesIO(data), kind, DEFAULT)
    pages = zip(_decoded(changed, len(picture.pages)), picture.pages, strict=True)
    return [_turned(_inverted(v) if page.inverted else v, page.orientation) for v, page in pages]


def _data(stream: BufferedIOBase, kind: Kind, budget: Budget) -> tuple[bytearray, Picture]:
    """Read a file, and what it says of itself before that."""
    window = Window(stream)
    if window.size > budget.file_bytes:
        raise beyond("too-many-bytes", "the file holds", window.size, budget.file_bytes)
    picture = _described(window, kind, budget)
    data = bytearray(window.take(0, window.size))
    if kind == "jpeg":
        jpeg.check_scans(data)
    for place, content in picture.patches:
        data[place : place + len(content)] = content
    return data, picture


def _described(window: Window, kind: Kind, budget: Budget) -> Picture:
    try:
        picture = _DESCRIBE[kind](window, budget)
        picture.admit(budget)
    except (InputRefusedError, OSError):
        raise
    except Exception as error:  # whatever hostile numbers lead to
        reason = f"not a valid picture: {said(error)}"
        raise InputRefusedError("undecodable", reason) from error
    return picture


def _decoded(data: bytes | bytearray, count: int | None = None) -> Sequence[NDArray[np.generic]]:
    fault = InputRefusedError("undecodable", "the image cannot be decoded")
    try:
        decoded, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise fault from error
    if not decoded or not pages or len(pages) != (count or len(pages)):
        raise fault
    return pages


def _obeyed(pixels: NDArray[np.generic], page: Page, plane: int | None) -> NDArray[np.generic]:
    """Do what the file says of the values of one page: (H, W), or (H, W, 3) of planes alike."""
    if page.left_out is not None:
        raise InputRefusedError("unsupported-format", page.left_out)
    values, opacity = _samples(pixels, page)
    if page.see_through is not None and opacity is None:
        opacity = (values != page.see_through)[..., 0]
    if page.inverted:
        values = _inverted(values)
    if opacity is not None:
        values = over_air(values, opacity, premultiplied=page.opacity == "premultiplied")
    return _turned(one_plane(values, plane), page.orientation)


def _samples(
    pixels: NDArray[np.generic], page: Page
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """Tell decoded pixels (H, W, samples), red first, from opacity (H, W); None for no opacity."""
    across = page.samples if page.side_by_side else 1
    if pixels.shape[:2] != (page.height, page.width * across):
        raise InputRefusedError("undecodable", "the image is not of the size that it says")
    if page.side_by_side:
        samples = pixels.reshape(page.height, page.width, page.samples)
        return (samples, None) if page.opacity is None else (samples[..., :-1], samples[..., -1])
    if page.opacity is not None and pixels.shape[2:] != (4,):
        raise InputRefusedError("undecodable", "the image lacks the opacity that it says it has")
    if pixels.ndim == 2:  # noqa: PLR2004
        return pixels[..., np.newaxis], None
    colour = pixels[..., 2::-1]  # OpenCV decodes it as BGR and BGRA
    if page.copied:
        colour = colour[..., :1]
    return colour, None if page.opacity is None else pixels[..., 3]


def _inverted(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Turn values of which the lowest is white."""
    if values.dtype.kind == "u":
        return np.bitwise_not(values)
    return -values.astype(np.float64)


def _turned(values: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Turn stored pixels the way they are to be looked at (TIFF 6.0, Orientation).

    1 is as stored; 2, 4 mirrored left to right and upside down; 3 turned by 180°. From 5 on, rows
    are stored as columns: 5 as they are, 6 turned clockwise, 8 anticlockwise, 7 mirrored across.
    """
    if orientation >= _SIDEWAYS:
        values = values.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        values = values[::-1]
    if orientation in {2, 3, 6, 7}:
        values = values[:, ::-1]
    return np.ascontiguousarray(values)
