"""What is drawn on a grid in the patient, brought to the slices of an image.

A mask may be stored from the other end, mirrored, or with other axes first than its image: it is
turned as they lie. Nothing is resampled. A mask whose pixels are not those of its image is refused,
since what a resampled truth marks depends on who resampled it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError
from gliomart.image.geometry import even_step, usual_step
from gliomart.image.slices import Refusal, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.geometry import ImagePlane, Vector

# Pixels are the same where their centres lie this near each other, in pixels, all along an image.
SAME = 0.25
# No image has as many pixels a side; places beyond cannot be counted in pixels.
_FARTHEST = 1e8
NEAREST = "bring it onto the image's own grid first (nearest neighbour)"


@dataclass(frozen=True)
class Drawn:
    """One plane of a mask.

    Attributes
    ----------
    marks
        bool (H, W).
    plane
        Where it lies; None where that is not said.
    name
        What messages call it.
    """

    marks: NDArray[np.bool_]
    plane: ImagePlane | None
    name: str


class NotItsGridError(DatasetError):
    """A plane of a mask does not lie on the grid of an image; the message says how."""


@dataclass(frozen=True)
class Stack:
    """The slices of an image, all of them placed, parallel, of one size and sorted by height."""

    slices: Sequence[Slice]

    @cached_property
    def planes(self) -> list[ImagePlane]:
        """Where they lie."""
        return [plane for each in self.slices if (plane := each.plane) is not None]

    @cached_property
    def heights(self) -> Vector:
        """Their places along the normal, in mm."""
        normal = self.planes[0].axes[0]
        return np.array([float(normal @ plane.position) for plane in self.planes])

    @cached_property
    def step(self) -> float:
        """Distance between neighbours in mm; of a single slice, the size of its pixels."""
        even = even_step(self.planes)
        return even or usual_step(self.heights.tolist()) or min(self.planes[0].spacing)

    def indices(self, drawn: Drawn) -> tuple[NDArray[np.intp], ...] | None:
        """Find the slice, row and column of every pixel of a plane: arrays that fit (H, W).

        They may lie outside the image; None where the plane is parallel to the slices, and at the
        place of none.

        Raises
        ------
        NotItsGridError
            Its pixels are not pixels of the image, wherever that ends.
        """
        plane = drawn.plane
        assert plane is not None  # noqa: S101  # who calls has seen to it
        number = int(np.abs(self.heights - self._axes[0] @ plane.position).argmin())
        near = self.planes[number]
        lengths = np.array([self.step, *near.spacing])
        between_rows, between_columns = plane.spacing
        row, column = np.reshape(plane.orientation, (2, 3))
        offset = self._axes @ np.subtract(plane.position, near.position) / lengths
        height, width = drawn.marks.shape
        along = self._whole(drawn, self._axes @ row * between_columns / lengths, width)
        down = self._whole(drawn, self._axes @ column * between_rows / lengths, height)
        if along[0] or down[0]:
            if even_step(self.planes) is None:
                raise NotItsGridError(f"{drawn.name} crosses slices that have no even distance")
        elif abs(offset[0]) > SAME:
            return None
        if not (np.abs(offset) < _FARTHEST).all():
            raise NotItsGridError(f"{drawn.name} lies elsewhere in the patient than its image")
        first = np.rint(offset).astype(np.intp)
        if np.abs(offset - first).max() > SAME:
            raise NotItsGridError(f"{drawn.name} lies between the image's pixels; {NEAREST}")
        first[0] += number
        x, y = np.arange(width), np.arange(height)[:, np.newaxis]
        return tuple(first[n] + along[n] * x + down[n] * y for n in range(3))

    @property
    def _axes(self) -> Vector:
        return self.planes[0].axes

    def _whole(self, drawn: Drawn, step: Vector, count: int) -> NDArray[np.intp]:
        """Tell along which axis of the image one of a plane runs, as one step to a pixel."""
        if not (np.abs(step) < _FARTHEST).all():
            raise NotItsGridError(f"{drawn.name} has pixels of another size than its image's")
        whole = np.rint(step).astype(np.intp)
        if np.abs(whole).sum() == 1 and np.abs(step - whole).max() * (count - 1) <= SAME:
            return whole
        axis = int(np.abs(step).argmax())
        if np.abs(np.delete(step, axis)).max() * (count - 1) > SAME:
            raise NotItsGridError(f"{drawn.name} is turned against its image; {NEAREST}")
        size = abs(float(step[axis]))
        raise NotItsGridError(
            f"{drawn.name} has pixels of {size:.3g} times the size of its image's; {NEAREST}"
        )

    def put(self, drawn: Drawn, into: Sequence[NDArray[np.bool_]], *, whole: bool) -> bool:
        """Mark in the slices what a plane marks; tell whether that lies in the image.

        Parameters
        ----------
        drawn
            The plane.
        into
            bool (H, W) for each slice of the stack, changed in place.
        whole
            All of the plane has to lie in the image, and not only what it marks.

        Raises
        ------
        NotItsGridError
            As of :meth:`indices`.
        """
        indices = self.indices(drawn)
        counted = np.ones_like(drawn.marks) if whole else drawn.marks
        if not counted.any():
            return True
        if indices is None:
            return False
        every = np.stack([np.broadcast_to(each, counted.shape) for each in indices])
        size = np.array([len(into), *into[0].shape])[:, np.newaxis]
        if (every[:, counted] < 0).any() or (every[:, counted] >= size).any():
            return False
        numbers, rows, columns = every[:, drawn.marks]
        for number in np.unique(numbers).tolist():
            here = numbers == number
            into[number][rows[here], columns[here]] = True
        return True


@dataclass(frozen=True)
class Target:
    """The image that a mask belongs to.

    Attributes
    ----------
    items
        Its slices, those in which nothing is to be seen included, and what cannot be read.
    frames_of_reference, instances
        Frames of Reference and SOP Instances of a DICOM series, by their UIDs; empty of others.
    """

    items: Sequence[Slice | Refusal]
    frames_of_reference: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()

    @cached_property
    def slices(self) -> list[Slice]:
        """The slices among the items."""
        return [item for item in self.items if isinstance(item, Slice)]

    @cached_property
    def stack(self) -> Stack | None:
        """The slices as a stack; None where not all are placed, parallel and of one size."""
        planes = [each.plane for each in self.slices]
        first = planes[0] if planes else None
        if first is None or not all(p is not None and first.parallel_to(p) for p in planes):
            return None
        if len({each.pixels.shape for each in self.slices}) > 1:
            return None
        return Stack(sorted(self.slices, key=lambda each: each.plane.height if each.plane else 0.0))

    def blank(self) -> list[NDArray[np.bool_]]:
        """Make marks of nothing, bool (H, W) for each slice."""
        return [np.zeros(each.pixels.shape, bool) for each in self.slices]

    def of_items(self, marks: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.bool_] | None]:
        """Put marks of the slices in the places of the items; None for what cannot be read."""
        of_slices = iter(marks)
        return [next(of_slices) if isinstance(item, Slice) else None for item in self.items]

    def bring(self, path: Path, planes: Iterable[Drawn], *, whole: bool) -> list[NDArray[np.bool_]]:
        """Bring the planes of a mask to the slices: bool (H, W) for each.

        Parameters
        ----------
        path
            The mask, for messages.
        planes
            Of the mask, all of them placed.
        whole
            They are to cover the image, and nothing but it.

        Raises
        ------
        DatasetError
            They do not fit the image.
        """
        stack = self.stack
        if stack is None:
            raise DatasetError(
                f"{path}: says where it lies, and its image {_name(self.items)} does not in full"
            )
        marks = [np.zeros(each.pixels.shape, bool) for each in stack.slices]
        lost = []
        for drawn in planes:
            try:
                if not stack.put(drawn, marks, whole=whole):
                    lost.append(drawn.name)
            except NotItsGridError as error:
                raise DatasetError(f"{path}: {error}") from error
        if len(lost) > len(self.items) - len(self.slices):  # they may lie on what cannot be read
            raise DatasetError(
                f"{path}: lies elsewhere in the patient than its image {_name(self.items)}, such as"
                f" {lost[0]}"
            )
        of_slice = {id(each): found for each, found in zip(stack.slices, marks, strict=True)}
        return [of_slice[id(each)] for each in self.slices]


def _name(items: Sequence[Slice | Refusal]) -> str:
    return items[0].source if items else ""
