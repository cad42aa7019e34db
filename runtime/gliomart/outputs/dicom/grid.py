"""Where the slices of one series lie, as objects have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import highdicom
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.geometry import ImagePlane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.findings.results import SliceResult

_SAME_MM = 1e-3
# Slices are neighbours up to this many times the usual distance.
_GAP = 1.5


@dataclass(frozen=True)
class Grid:
    """Where the slices of a series lie in the patient.

    Attributes
    ----------
    orientation
        Row and column direction cosines (PS3.3 C.7.6.2.1.1).
    positions
        float64 (slices, 3): Image Position (Patient), LPS mm.
    spacing
        Distance between (rows, columns) in mm.
    distance, thickness
        Between neighbouring slices, and of one, in mm.
    adjacent
        Whether each slice but the first follows the one before without a gap.
    """

    orientation: tuple[float, ...]
    positions: NDArray[np.float64]
    spacing: tuple[float, float]
    distance: float
    thickness: float
    adjacent: tuple[bool, ...]

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel."""
        return self.spacing[0] * self.spacing[1]

    def place(self, index: int, row: float, column: float) -> NDArray[np.float64]:
        """Bring a pixel of a slice to the patient's coordinates (PS3.3 C.7.6.2.1.1)."""
        plane = ImagePlane(tuple(self.positions[index]), self.orientation, self.spacing)
        return np.asarray(plane.to_patient(np.array([[column, row]]))[0])

    def measures(self) -> highdicom.PixelMeasuresSequence:
        """State the size of a pixel."""
        return highdicom.PixelMeasuresSequence(self.spacing, self.thickness)

    def plane_orientation(self) -> highdicom.PlaneOrientationSequence:
        """State the orientation of all slices."""
        patient = highdicom.CoordinateSystemNames.PATIENT
        return highdicom.PlaneOrientationSequence(patient, self.orientation)


def grid_of(results: Sequence[SliceResult], used: Sequence[Dataset]) -> Grid:
    """Find where slices lie; ``used`` are the headers of the images that they come from.

    Raises
    ------
    InputRefusedError
        ``no-geometry`` or ``mixed-geometry``.
    """
    slices = [result.slice for result in results]
    orientation, spacing = slices[0].orientation, slices[0].spacing
    if orientation is None or spacing is None or not all(s.position for s in slices):
        raise InputRefusedError("no-geometry", "slices lack position, orientation or pixel spacing")
    for shown in slices:
        if (
            shown.pixels.shape != slices[0].pixels.shape
            or not np.allclose(shown.orientation or np.nan, orientation, atol=1e-4)
            or not np.allclose(shown.spacing or np.nan, spacing, rtol=1e-3)
        ):
            raise InputRefusedError("mixed-geometry", "slices differ in size or orientation")
    positions = np.array([shown.position for shown in slices], np.float64)
    heights = positions @ np.cross(orientation[:3], orientation[3:])
    steps = np.abs(np.diff(np.sort(heights)))
    if len(steps) and steps.min() < _SAME_MM:
        raise InputRefusedError("mixed-geometry", "several slices lie in the same place")
    # Where slices were cut anew, a source's thickness is not theirs.
    anew = slices[0].sop_instance_uid is None
    thickness = None if anew else next(_thicknesses(used[0]), None)
    distance = float(np.median(steps)) if len(steps) else thickness
    if distance is None:
        raise InputRefusedError("no-geometry", "a single slice of unknown thickness")
    adjacent = np.abs(np.diff(heights)) < _GAP * distance
    return Grid(
        orientation, positions, spacing, distance, thickness or distance, tuple(adjacent.tolist())
    )


def _thicknesses(dataset: Dataset) -> Iterator[float]:
    """Read Slice Thickness, in mm, wherever a header gives it."""
    for holder in [dataset, *shared_groups(dataset, "PixelMeasuresSequence")]:
        try:
            thickness = float(holder.SliceThickness)
        except (AttributeError, TypeError, ValueError):
            continue
        if thickness > 0:
            yield thickness


def shared_groups(dataset: Dataset, name: str) -> Iterator[Dataset]:
    """Find what all frames, or at least the first, say in a functional group (PS3.3 C.7.6.16)."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups, [])[:1]:
            yield from group.get(name, [])
