"""Where images lie in the patient: coordinates, order, gaps, and the way to axial slices.

Everything is in millimetres in the patient's own directions, LPS: x runs to the patient's left, y
to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1). A series that was not acquired in axial slices
is brought into them by exchanging and turning the axes of its voxels. Nothing is interpolated, so
that every analysed pixel is a pixel of the source, and its place is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

PlaneName = Literal["sagittal", "coronal", "axial"]
Vector = NDArray[np.floating[Any]]
Points = NDArray[np.floating[Any] | np.integer[Any]]

PLANES: tuple[PlaneName, ...] = ("sagittal", "coronal", "axial")  # by the axis they are across
# Where slices, columns and rows of each plane run to, in LPS: axial ones to head, back and left.
# The others have the head above, as radiologists look at them.
_DIRECTIONS: dict[PlaneName, NDArray[np.float64]] = {
    "axial": np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]),
    "coronal": np.array([[0.0, 1, 0], [0, 0, -1], [1, 0, 0]]),
    "sagittal": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}
_PARALLEL = math.cos(math.radians(1))  # directions this near are the same
# Pixels of no scanner are smaller or larger than this.
FINEST_MM, COARSEST_MM = 0.05, 20.0
# No scanner's patient lies farther from where it counts from.
_FARTHEST_MM = 1e6
# Positions in headers may be rounded to a tenth of a millimetre, those of both ends as well.
ROUNDED_MM = 0.11
_UNEVEN, _MOST_UNEVEN = 0.02, 0.25  # of a step
_UNEVEN_STEP = 0.1  # how far steps may be from a multiple of the usual one, in units of it
# A step of this many times those beside it leaves at least one slice out.
_GAP = 1.5
SAME_PLACE_MM = 0.01
# Images nearer than this part of the usual step show the same place; no scanner makes steps as
# small as this many millimetres.
_BESIDE, _BESIDE_MM = 0.2, 0.1


@dataclass(frozen=True)
class ImagePlane:
    """Where one image lies.

    Attributes
    ----------
    position
        Centre of the first pixel (Image Position (Patient)), LPS mm.
    orientation
        Unit vectors along a row, then along a column (Image Orientation (Patient)).
    spacing
        Distance between (rows, columns) in mm (Pixel Spacing).
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]

    @cached_property
    def axes(self) -> Vector:
        """Directions (3, 3) of the axes of a stack of such images: across it, down, along a row.

        The first is the images' normal, turned towards left, back or head, whichever it is nearest
        to, so that stacks run alike however their images are turned.
        """
        row, column = np.reshape(self.orientation, (2, 3))
        normal = np.cross(row, column)
        return np.stack([normal * np.sign(normal[np.abs(normal).argmax()]), column, row])

    @property
    def name(self) -> PlaneName:
        """The anatomical plane that it is nearest to."""
        return PLANES[int(np.abs(self.axes[0]).argmax())]

    @property
    def tilt(self) -> float:
        """Angle, in degrees, between it and that plane."""
        return math.degrees(math.acos(min(1.0, float(np.abs(self.axes[0]).max()))))

    @property
    def height(self) -> float:
        """Place along the normal, in mm: what a series is sorted by."""
        return float(self.axes[0] @ self.position)

    def to_patient(self, points: Points) -> Vector:
        """Map points (N, 2), as (x, y) with pixel centres at integers, to LPS mm (N, 3)."""
        row, column = np.reshape(self.orientation, (2, 3))
        between_rows, between_columns = self.spacing
        x, y = np.asarray(points, np.float64).T[..., np.newaxis]
        return np.asarray(self.position + x * between_columns * row + y * between_rows * column)

    def parallel_to(self, other: ImagePlane) -> bool:
        """Tell whether both are turned alike, rows and columns included."""
        return bool(np.all(np.sum(self.axes * other.axes, axis=1) > _PARALLEL))


def is_place(position: Sequence[float]) -> bool:
    """Tell whether a patient may lie there; places beyond cannot be calculated with."""
    return max(map(abs, position)) <= _FARTHEST_MM


def is_plane(orientation: Sequence[float]) -> bool:
    """Tell whether six numbers are two unit vectors at right angles, as headers write them."""
    if max(map(abs, orientation)) > 2:  # noqa: PLR2004  # whose square may be none
        return False
    row, column = np.reshape(orientation, (2, 3))
    unit = np.allclose([row @ row, column @ column], 1, atol=0.02)
    return bool(unit and abs(row @ column) < 0.02)  # noqa: PLR2004


def even_step(planes: Sequence[ImagePlane]) -> float | None:
    """Distance in mm between neighbours of a sorted stack; None where they form no even one.

    An even stack is at least two parallel images, each right above the one before, at equal steps:
    the voxels of a volume.
    """
    first, last = planes[0], planes[-1]
    if len(planes) < 2 or not all(first.parallel_to(plane) for plane in planes):  # noqa: PLR2004
        return None
    places = np.array([plane.position for plane in planes])
    step = (places[-1] - places[0]) / (len(planes) - 1)
    length = float(np.linalg.norm(step))
    expected = places[0] + np.arange(len(planes))[:, np.newaxis] * step
    most = max(min(ROUNDED_MM, _MOST_UNEVEN * length), _UNEVEN * length)
    uneven = np.abs(places - expected).max() > most
    if uneven or last.height - first.height < _PARALLEL * length * (len(planes) - 1):
        return None
    return length if length > SAME_PLACE_MM else None


def usual_step(heights: Sequence[float]) -> float:
    """Tell the step of a sorted stack, whatever it lacks and whatever lies in it twice; 0 for none.

    Of every two neighbouring steps the larger one counts, so that images beside others, or stacks
    pushed into each other, do not halve it; and of those the lower median, so that gaps do not.
    """
    steps = np.diff(heights)
    steps = steps[steps > _BESIDE_MM]
    if len(steps) == 0:
        return 0.0
    larger = np.sort(np.maximum(steps[1:], steps[:-1])) if len(steps) > 2 else np.sort(steps)  # noqa: PLR2004
    return float(larger[(len(larger) - 1) // 2])


def whole_steps(heights: Sequence[float]) -> Vector | None:
    """Count the steps between neighbours of a sorted stack; None where they are not even.

    A stack is even where its images lie at multiples of one step, some of which may be missing.
    """
    step = usual_step(heights)
    if not step:
        return None
    steps = np.diff(heights) / step
    counts = np.rint(steps)
    even = (counts >= 1).all() and (np.abs(steps - counts) <= _UNEVEN_STEP).all()
    return counts if even else None


def doubles(heights: Sequence[float]) -> list[int]:
    """Find images of a sorted stack that lie where the next one lies, or nearly."""
    near = max(_BESIDE * usual_step(heights), SAME_PLACE_MM)
    return [number for number, step in enumerate(np.diff(heights)) if step < near]


def gaps(heights: Sequence[float]) -> list[tuple[int, int]]:
    """Find where a sorted stack lacks images: the index before each gap, and how many are missing.

    A step is held against the two on either side of it, because some protocols change the step
    between skull base and vertex.
    """
    steps = np.diff(heights)
    found = []
    for number, step in enumerate(steps):
        beside = np.concatenate(
            [steps[max(number - 2, 0) : number], steps[number + 1 : number + 3]]
        )
        usual = float(np.median(beside)) if len(beside) else 0.0
        if usual > SAME_PLACE_MM and step > _GAP * usual:
            found.append((number, max(1, round(float(step) / usual) - 1)))
    return found


def overlaps(heights: Sequence[float]) -> bool:
    """Tell whether several images of a sorted stack lie at one place."""
    return bool(doubles(heights))


@dataclass(frozen=True)
class Turn:
    """How the voxels (across, down, along) of a stack become slices of an anatomical plane.

    Attributes
    ----------
    order
        Which axis of the stack becomes the first, second and third one of the result: across its
        slices, down and along their rows.
    flipped
        Which axes of the result run the other way round than in the stack.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    @classmethod
    def into(cls, name: PlaneName, plane: ImagePlane) -> Turn:
        """Find the turn that brings a stack of such images nearest to an anatomical plane."""
        # Cosines of the angles between the stack's axes and those of the result.
        cosines = plane.axes @ _DIRECTIONS[name].T
        order = max(
            permutations(range(3)), key=lambda axes: np.abs(cosines[list(axes), range(3)]).sum()
        )
        return cls(order, tuple(bool(cosines[axis, n] < 0) for n, axis in enumerate(order)))

    @property
    def nothing(self) -> bool:
        """The stack lies so as it is."""
        return self == Turn((0, 1, 2), (False, False, False))

    @property
    def within_images(self) -> bool:
        """Images stay the images they are; only their rows and columns are turned."""
        return self.order[0] == 0

    def voxels(self, stack: NDArray[Any]) -> NDArray[Any]:
        """Turn an array (slices, rows, columns)."""
        turned = stack.transpose(self.order)
        return np.flip(turned, tuple(axis for axis, flip in enumerate(self.flipped) if flip))

    def planes(
        self, plane: ImagePlane, shape: tuple[int, int, int], step: float
    ) -> list[ImagePlane]:
        """Place the resulting slices.

        Parameters
        ----------
        plane
            Of the stack's first image.
        shape
            Of the stack: slices, rows, columns.
        step
            Between its images, in mm.
        """
        axes, lengths = plane.axes[list(self.order)], np.array([step, *plane.spacing])
        lengths, counts = lengths[list(self.order)], np.array(shape)[list(self.order)]
        flipped = np.array(self.flipped)[:, np.newaxis]
        edges = axes * (lengths * (counts - 1))[:, np.newaxis]
        origin = plane.position + np.where(flipped, edges, 0).sum(axis=0)
        up, down, along = np.where(flipped, -axes, axes)
        orientation = tuple(np.concatenate([along, down]).tolist())
        spacing = (float(lengths[1]), float(lengths[2]))
        return [
            ImagePlane(tuple((origin + number * lengths[0] * up).tolist()), orientation, spacing)
            for number in range(counts[0])
        ]
