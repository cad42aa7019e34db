"""The values that travel: one slice of one image, or the refusal that takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import InputRefusedError

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
    modality
        DICOM Modality, such as ``MR``; None where the file does not say.
    sop_instance_uid
        SOP Instance UID of a DICOM slice.
    """

    pixels: NDArray[np.float32]
    source: str = "image"
    series: str = "image"
    frame: int | None = None
    spacing: tuple[float, float] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    modality: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why one input was not analysed: a scan nobody looked at must never read as negative."""

    source: str
    frame: int | None
    code: str
    reason: str


def greyscale(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Check an image and bring it to float32 (H, W).

    Parameters
    ----------
    pixels
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), any real dtype; colour is in RGB order and
        becomes luma (ITU-R BT.601), a fourth channel is opacity and is left out.

    Raises
    ------
    InputRefusedError
        ``bad-shape``, ``too-small``, ``too-large``, ``not-finite`` or ``blank-slice``.
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
    if min(grey.shape) < SMALLEST_SIDE:
        raise InputRefusedError(
            "too-small", f"{width}x{height} pixels; at least {SMALLEST_SIDE} a side are needed"
        )
    if max(grey.shape) > LARGEST_SIDE:
        raise InputRefusedError(
            "too-large", f"{width}x{height} pixels; at most {LARGEST_SIDE} a side are read"
        )
    low, high = float(grey.min()), float(grey.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputRefusedError("not-finite", "some pixels are NaN or infinite")
    if low == high:
        raise InputRefusedError("blank-slice", "every pixel has the same value")
    return grey
