"""How the slices of a stack lie: a lattice along rows and columns, and from slice to slice.

What is inside of it, and between which slices, is said in :mod:`gliomart.image.resampling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.image.geometry import COARSEST_MM, ROUNDED_MM, ImagePlane, Vector, gaps, usual_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A slice whose share of a value is less, as rounded places bring about, takes no part in it.
_SHARE_DIGITS = 3


class Along(NamedTuple):
    """Where heights lie in a stack: the slice below, the share of the one above, whether inside.

    ``free`` is the share that the line through both has there, which goes on beyond them.
    """

    below: NDArray[np.intp]
    share: Vector
    free: Vector
    inside: NDArray[np.bool_]


class Lattice(NamedTuple):
    """How a stack's voxels lie.

    Attributes
    ----------
    normal
        (3,): along the slices' heights.
    heights
        (Z,), rising, in mm.
    to_pixels
        (2, 3): from mm in the plane to x and y in pixels.
    origins
        (Z, 2): the first pixels' places, by ``to_pixels``.
    reach
        How many mm a slice reaches beyond itself where it has no neighbour.
    apart
        bool (Z - 1,): whether slices are missing between a slice and the next one.
    """

    normal: Vector
    heights: Vector
    to_pixels: Vector
    origins: Vector
    reach: float
    apart: NDArray[np.bool_]

    @classmethod
    def of(cls, planes: Sequence[ImagePlane]) -> Lattice:
        """Find how parallel slices lie, which are in the order of their heights."""
        first = planes[0]
        normal = first.axes[0] / np.linalg.norm(first.axes[0])
        row, column = np.reshape(first.orientation, (2, 3))
        down, along = first.spacing
        to_pixels = np.linalg.pinv(np.stack([along * row, down * column], axis=1))
        positions = np.array([plane.position for plane in planes])
        heights = positions @ normal
        steps = np.diff(heights)
        apart = steps > COARSEST_MM
        apart[[number for number, _ in gaps(heights.tolist())]] = True
        usual = min(usual_step(heights.tolist()), COARSEST_MM)
        reach = usual / 2 or ROUNDED_MM  # of one slice, whose thickness nobody knows
        return cls(normal, heights, to_pixels, positions @ to_pixels.T, reach, apart)

    def along(self, height: Vector) -> Along:
        """Find between which slices heights, of any shape, lie."""
        heights, reach, apart = self.heights, self.reach, self.apart
        if len(heights) == 1:
            none = np.zeros(height.shape)
            return Along(none.astype(np.intp), none, none, np.abs(height - heights[0]) <= reach)
        ends = np.searchsorted(heights, (height.min(), height.max()), side="right") - 1
        if ends[0] == ends[1]:  # all of them between the same two
            below = np.full(height.shape, ends[0])
        else:
            below = np.searchsorted(heights, height, side="right") - 1
        below = np.clip(below, 0, len(heights) - 2)
        from_below, from_above = height - heights[below], height - heights[below + 1]
        free = from_below / (from_below - from_above)
        hole = apart[below]
        share = np.clip(np.where(hole, np.round(free), free), 0, 1)
        between = (free >= 0) & (free <= 1) & ~hole
        # The lower end belongs to it, the upper one does not, as in SimpleITK.
        near = (np.abs(from_below) <= reach) & (from_below < reach)
        near |= (from_above >= -reach) & (from_above < reach)
        return Along(below, share, free, between | near)

    def shift(self, along: Along) -> tuple[Vector, Vector]:
        """Give where the first pixel would lie at these heights: x and y, in pixels."""
        origins = self.origins
        steps = np.diff(origins, axis=0, append=origins[-1:])
        x, y = (
            origin.take(along.below) + along.free * step.take(along.below)
            for origin, step in zip(origins.T, steps.T, strict=True)
        )
        return x, y

    def reached(self, points: Vector) -> range:
        """Tell which slices values at points (N, 3), LPS mm, and between them are made from."""
        heights = points @ self.normal
        low, high = heights.min(), heights.max()
        first, last = self.heights[0] - self.reach, self.heights[-1] + self.reach
        ends = self.along(np.clip(np.array([low, high]), first, last))
        parallel = high - low < ROUNDED_MM
        if low > last or high < first or (parallel and not ends.inside.any()):
            return range(0)
        below, share = ends.below, ends.share.round(_SHARE_DIGITS)
        return range(int(below[0] + (share[0] >= 1)), int(below[1] + (share[1] > 0)) + 1)
