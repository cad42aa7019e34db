"""PNG, JPEG and TIFF files: their descriptions are read first, then OpenCV decodes their pixels.

The decoder gives what is stored. What a file says about it is obeyed here, for every format and
depth alike: which value is white, opacity (over air, which is black), and the orientation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.colour import one_plane, over_air
from gliomart.errors import InputRefusedError
from gliomart.printable import said
from gliomart.slices import Refusal, Slice, luma
from gliomart.sources import jpeg, png, tiff_pages
from gliomart.sources.budget import beyond
from gliomart.sources.picture import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gliomart.sources.inventory import SourceFile
    from gliomart.sources.picture import Page, Picture

_DESCRIBE = {"png": png.describe, "jpeg": jpeg.describe, "tiff": tiff_pages.describe}


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Yield the slice of an image file, or one for each page of a TIFF.

    Raises
    ------
    InputRefusedError
        The file is not within the budget, ``too-large``, ``truncated``, ``undecodable``,
        ``unsupported-format`` or ``volumetric-tiff``.
    """
    data, picture = _data(file)
    decoded = _decoded(data, picture)
    for index, (pixels, page) in enumerate(zip(decoded, picture.pages, strict=True)):
        frame = index if len(decoded) > 1 else None
        try:
            grey = luma(_obeyed(pixels, page, file.plane))
        except InputRefusedError as error:
            yield Refusal(file.source, frame, error.code, error.reason)
        else:
            yield Slice(grey, source=file.source, series=file.series, frame=frame)


def _data(file: SourceFile) -> tuple[bytearray, Picture]:
    """Read a file, and what it says of itself before that."""
    with file.path.open("rb") as stream:
        window = Window(stream)
        if window.size > file.budget.file_bytes:
            raise beyond("too-many-bytes", "the file holds", window.size, file.budget.file_bytes)
        picture = _described(window, file)
        data = bytearray(window.take(0, window.size))
    if file.kind == "jpeg":
        jpeg.check_scans(data)
    for place, content in picture.patches:
        data[place : place + len(content)] = content
    return data, picture


def _described(window: Window, file: SourceFile) -> Picture:
    try:
        picture = _DESCRIBE[file.kind](window, file.budget)
        picture.admit(file.budget)
    except (InputRefusedError, OSError):
        raise
    except Exception as error:  # whatever hostile numbers lead to
        reason = f"not a valid picture: {said(error)}"
        raise InputRefusedError("undecodable", reason) from error
    return picture


def _decoded(data: bytearray, picture: Picture) -> Sequence[NDArray[np.generic]]:
    fault = InputRefusedError("undecodable", "the image cannot be decoded")
    try:
        decoded, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise fault from error
    if not decoded or len(pages) != len(picture.pages):
        raise fault
    return pages


def _obeyed(pixels: NDArray[np.generic], page: Page, plane: int | None) -> NDArray[np.generic]:
    """Do what the file says of the values of one page: (H, W), or (H, W, 3) of planes alike."""
    if page.left_out is not None:
        raise InputRefusedError("unsupported-format", page.left_out)
    values = _samples(pixels, page)
    opacity = None
    if page.opacity is not None:
        values, opacity = values[..., :-1], values[..., -1]
    elif page.see_through is not None:
        opacity = (values != page.see_through)[..., 0]
    if page.inverted:
        values = _inverted(values)
    if opacity is not None:
        values = over_air(values, opacity, premultiplied=page.opacity == "premultiplied")
    return _turned(one_plane(values, plane), page.orientation)


def _samples(pixels: NDArray[np.generic], page: Page) -> NDArray[np.generic]:
    """Bring decoded pixels to (H, W, samples), red first and opacity last."""
    across = page.samples if page.side_by_side else 1
    if pixels.shape[:2] != (page.height, page.width * across):
        raise InputRefusedError("undecodable", "the image is not of the size that it says")
    if page.side_by_side:
        return pixels.reshape(page.height, page.width, page.samples)
    if pixels.ndim == 2:  # noqa: PLR2004
        return pixels[..., np.newaxis]
    colour = pixels[..., 2::-1]  # OpenCV decodes it as BGR and BGRA
    if page.copied:
        colour = colour[..., :1]
    if page.opacity is None:
        return colour
    if pixels.shape[2] != 4:  # noqa: PLR2004
        raise InputRefusedError("undecodable", "the image lacks the opacity that it says it has")
    return np.concatenate([colour, pixels[..., 3:]], axis=2)


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
    if orientation >= 5:  # noqa: PLR2004
        values = values.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        values = values[::-1]
    if orientation in {2, 3, 6, 7}:
        values = values[:, ::-1]
    return np.ascontiguousarray(values)
