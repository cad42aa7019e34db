"""The values that travel: one slice of one image, or the refusal that takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.colour import merged
from gliomart.errors import InputRefusedError
from gliomart.geometry import Plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SIDE = 32
LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Slice:
    """One greyscale slice, as read.

    Attributes
    ----------
    pixels
        float32 (H, W), finite modality values (DICOM PS3.3 C.11.1: after slope and intercept).
    source
        POSIX path that starts with the input root's own name, or a name the caller chose.
    series
        Series Instance UID of a DICOM slice, otherwise the folder it lies in.
    frame
        Index of the frame, from 0, in a file of several; None in a file of one.
    spacing
        Distance between (rows, columns) in mm (DICOM PS3.3 10.7.1.3), None where unknown.
    position
        Image Position (Patient) in mm, LPS (DICOM PS3.3 C.7.6.2.1.1), None where unknown.
    orientation
        Image Orientation (Patient): row and column direction cosines, None where unknown.
    sop_instance_uid
        SOP Instance UID of the DICOM image or multi-frame object that the slice is; None for a
        slice that was put together from several.
    """

    pixels: NDArray[np.float32]
    source: str = "image"
    series: str = "image"
    frame: int | None = None
    spacing: tuple[float, float] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    sop_instance_uid: str | None = None

    @property
    def plane(self) -> Plane | None:
        """Where it lies in the patient; None where that is not known in full."""
        if self.position is None or self.orientation is None or self.spacing is None:
            return None
        return Plane(self.position, self.orientation, self.spacing)


@dataclass(frozen=True)
class Concern:
    """What speaks against believing results of an image: a stable code, and a sentence.

    Some concerns refuse an image unless they are overruled; others, the notes, are only told.
    """

    code: str
    reason: str


@dataclass(frozen=True)
class Refusal:
    """Why one input was not analysed: a scan nobody looked at must never read as negative."""

    source: str
    frame: int | None
    code: str
    reason: str


def checked(item: Slice | Refusal) -> Slice | Refusal:
    """Refuse a slice in which there is nothing to see; see :func:`greyscale`."""
    if isinstance(item, Slice):
        try:
            _check(item.pixels)
        except InputRefusedError as error:
            return Refusal(item.source, item.frame, error.code, error.reason)
    return item


def greyscale(pixels: NDArray[np.generic], plane: int | None = None) -> NDArray[np.float32]:
    """Bring an image to float32 (H, W), and check that there is something to see in it.

    Parameters
    ----------
    pixels
        (H, W), RGB (H, W, 3) or RGBA (H, W, 4); opacity is laid over black.
    plane
        Which colour plane, from 1; None where all have to be alike.

    Raises
    ------
    InputRefusedError
        ``bad-shape``, ``too-small``, ``too-large``, ``not-finite``, ``blank-slice``,
        ``colour-planes`` or ``missing-plane``.
    """
    grey = luma(merged(pixels, plane))
    _check(grey)
    return grey


def luma(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bring an image to float32 (H, W).

    Parameters
    ----------
    pixels
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), any real dtype; colour is in RGB order and
        becomes luma (ITU-R BT.601), a fourth channel is opacity and is left out.

    Raises
    ------
    InputRefusedError
        ``bad-shape``, ``too-large`` or ``not-finite``.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):  # noqa: PLR2004
        grey = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    elif pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
        grey = pixels[..., 0].astype(np.float32)
    elif pixels.ndim == 2 and pixels.dtype.kind in "buif":  # noqa: PLR2004
        grey = pixels.astype(np.float32)
    else:
        raise InputRefusedError(
            "bad-shape", f"shape {pixels.shape} of {pixels.dtype} is not a greyscale or RGB image"
        )
    height, width = grey.shape
    if max(grey.shape) > LARGEST_SIDE:
        raise InputRefusedError(
            "too-large", f"{width}x{height} pixels; at most {LARGEST_SIDE} a side are read"
        )
    if grey.size and not np.isfinite([grey.min(), grey.max()]).all():
        raise InputRefusedError("not-finite", "some pixels are NaN or infinite")
    return grey


def _check(grey: NDArray[np.float32]) -> None:
    height, width = grey.shape
    if min(grey.shape) < SMALLEST_SIDE:
        raise InputRefusedError(
            "too-small", f"{width}x{height} pixels; at least {SMALLEST_SIDE} a side are needed"
        )
    if grey.min() == grey.max():
        raise InputRefusedError("blank-slice", "every pixel has the same value")
