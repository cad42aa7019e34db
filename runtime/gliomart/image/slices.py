"""The values that travel: one slice of one image, or the refusal that takes its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gliomart.equality import ByContent
from gliomart.errors import InputRefusedError
from gliomart.image.colour import merged
from gliomart.image.geometry import ImagePlane
from gliomart.image.greyscale import check_largest, luma, settle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Concern", "Refusal", "Slice", "checked", "luma", "of_array", "settled"]


@dataclass(frozen=True, eq=False)
class Slice(ByContent):
    """One greyscale slice, as read.

    Attributes
    ----------
    pixels
        float32 (H, W), finite modality values (DICOM PS3.3 C.11.1: after slope and intercept).
        A slice that a reader has just read may hold NaN; :func:`settled` decides about them.
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
    air
        bool (H, W): pixels that nothing was measured in (padding, a mask, NaN around the head).
        They count as air whatever their value is. None where there are none.
    """

    pixels: NDArray[np.float32]
    source: str = "image"
    series: str = "image"
    frame: int | None = None
    spacing: tuple[float, float] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    sop_instance_uid: str | None = None
    air: NDArray[np.bool_] | None = None

    @property
    def plane(self) -> ImagePlane | None:
        """Where it lies in the patient; None where that is not known in full."""
        if self.position is None or self.orientation is None or self.spacing is None:
            return None
        return ImagePlane(self.position, self.orientation, self.spacing)


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
    """Refuse a slice in which there is nothing to see; see :func:`settled`."""
    if isinstance(item, Slice):
        try:
            return settled(item)
        except InputRefusedError as error:
            return Refusal(item.source, item.frame, error.code, error.reason)
    return item


def of_array(pixels: NDArray[Any], plane: int | None = None, frame: int | None = None) -> Slice:
    """Take an array as a slice.

    Parameters
    ----------
    pixels
        (H, W), RGB (H, W, 3) or RGBA (H, W, 4), any real dtype; opacity is laid over black. What a
        masked array masks is air.
    plane
        Which colour plane, from 1; None where all have to be alike.
    frame
        Its number, where it is one of several.

    Raises
    ------
    InputRefusedError
        ``too-large``, ``colour-planes``, ``missing-plane``, or as :func:`settled`.
    """
    check_largest(pixels)
    grey: Any = merged(pixels, plane)
    return settled(Slice(grey, frame=frame))


def settled(item: Slice) -> Slice:
    """Check that there is something to see in a slice, and that all of it is finite.

    Pixels that have no value become the darkest value of those that have one, and air.

    Raises
    ------
    InputRefusedError
        As :func:`gliomart.image.greyscale.settle`.
    """
    pixels, air = settle(item.pixels, item.air)
    if pixels is item.pixels and air is item.air:
        return item
    return replace(item, pixels=pixels, air=air)
