"""Bringing one series onto the slices of another one, by where both lie in the patient.

The slices of a series are taken for a lattice: along rows and columns as each image says, and from
one slice to the next along the line between their positions, which a tilted gantry lets run aslant.
Values between the points of the lattice are linear in each of its three coordinates (trilinear).

What is inside is what SimpleITK's ``Resample`` takes for it: a slice reaches half a pixel beyond
the centres of its outermost pixels, and the stack half a step beyond its outermost slices; there
the nearest value counts (ITK, ``itk::ImageFunction::IsInsideBuffer`` and
``itk::LinearInterpolateImageFunction``). Slices on both sides of a gap end as outermost ones do, so
that nothing is made up for slices that are missing. Steps that are not even, of which ITK knows
nothing, are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart.equality import ByContent
from gliomart.errors import InputRefusedError
from gliomart.image.geometry import ROUNDED_MM, ImagePlane, Vector, overlaps
from gliomart.image.lattice import Lattice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.slices import Slice

# Images whose places differ by less over a whole slice lie as parallel ones do.
_PARALLEL_MM = 1e-4
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Rigid(ByContent):
    """A movement of a rigid body: a turn about a centre, and then a shift.

    Attributes
    ----------
    rotation
        float64 (3, 3), orthonormal.
    translation
        float64 (3,), mm.
    centre
        float64 (3,): the point that the turn leaves where it is, mm.

    All are in the patient's directions, LPS.
    """

    rotation: Vector
    translation: Vector
    centre: Vector

    @classmethod
    def of(
        cls,
        turn: Sequence[float] = (0, 0, 0),
        translation: Sequence[float] = (0, 0, 0),
        centre: Sequence[float] = (0, 0, 0),
    ) -> Rigid:
        """Make one of a turn about an axis: its direction, its length being the angle in degrees.

        The turn is right-handed about its axis, the shift is in mm (LPS), as the centre is.
        """
        rotation, _ = cv2.Rodrigues(np.radians(np.asarray(turn, np.float64)))
        return cls(*(np.asarray(each, np.float64) for each in (rotation, translation, centre)))

    @property
    def shift(self) -> float:
        """How far it moves its centre, in mm."""
        return float(np.linalg.norm(self.translation))

    @property
    def angle(self) -> float:
        """How far it turns, in degrees."""
        turn, _ = cv2.Rodrigues(self.rotation)
        return float(np.degrees(np.linalg.norm(turn)))

    def __call__(self, points: Vector) -> Vector:
        """Move points (N, 3), LPS mm."""
        return (points - self.centre) @ self.rotation.T + self.centre + self.translation

    def after(self, first: Rigid) -> Rigid:
        """Do another movement first, and this one then; the centre is the other one's."""
        (moved,) = self(first(first.centre[np.newaxis]))
        return Rigid(self.rotation @ first.rotation, moved - first.centre, first.centre)


@dataclass(frozen=True, eq=False)
class Stack(ByContent):
    """The slices of one series, in the order of their heights.

    Attributes
    ----------
    voxels
        float32 (Z, H, W), finite.
    planes
        Where each slice lies. All are parallel, of one spacing, and no two are at one place.
    """

    voxels: NDArray[np.float32]
    planes: tuple[ImagePlane, ...]

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> Stack:
        """Sort slices that were checked (:func:`gliomart.image.slices.checked`) into a stack.

        Raises
        ------
        InputRefusedError
            ``no-images``: there is none. ``unplaced``: one does not say where it lies.
            ``mixed-orientations``, ``mixed-sizes``: they are turned differently, or of several
            sizes or spacings. ``overlapping-slices``: several lie at one place.
        """
        if not slices:
            raise InputRefusedError("no-images", "there is no slice")
        known = [(each.plane, each.pixels) for each in slices if each.plane is not None]
        if len(known) < len(slices):
            unknown = next(each for each in slices if each.plane is None)
            reason = f"nothing says where {unknown.source} lies in the patient"
            raise InputRefusedError("unplaced", reason)
        known.sort(key=lambda each: each[0].height)
        planes = tuple(plane for plane, _ in known)
        shapes = {pixels.shape for _, pixels in known}
        _check_alike(planes, shapes)
        if overlaps([plane.height for plane in planes]):
            raise InputRefusedError("overlapping-slices", "several of its slices lie at one place")
        return cls(np.stack([pixels for _, pixels in known]), planes)

    @property
    def centre(self) -> Vector:
        """The middle of all voxels, (3,), LPS mm."""
        height, width = self.voxels.shape[1:]
        middle = np.array([[(width - 1) / 2, (height - 1) / 2]])
        ends = [plane.to_patient(middle)[0] for plane in (self.planes[0], self.planes[-1])]
        return np.asarray(np.mean(ends, axis=0))

    def sampled(
        self, plane: ImagePlane, shape: tuple[int, int], moved: Rigid | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give the stack's values at the centres of an image's pixels.

        Parameters
        ----------
        plane
            Where the image lies; it may be turned in any way.
        shape
            Its rows and columns (H, W).
        moved
            From the image's places to those of the same tissue in the stack, where the head has
            moved in between (:func:`gliomart.image.registration.registered`).

        Returns
        -------
        values
            float32 (H, W), interpolated trilinearly; 0 where there are none.
        inside
            bool (H, W): where the stack has values.
        """
        lattice = self._lattice
        corners = plane.to_patient(np.array([[0, 0], [1, 0], [0, 1]]))
        corners = corners if moved is None else moved(corners)
        # Steps (3, 3) along x and y, and from the origin, as height and pixels of this stack.
        origin = np.array([lattice.normal @ corners[0], *(lattice.to_pixels @ corners[0])])
        axes = np.vstack([lattice.normal, lattice.to_pixels]) @ (corners[1:] - corners[0]).T
        scale = np.array([1.0, *self.planes[0].spacing[::-1]])[:, np.newaxis]
        far = np.abs(axes * scale) * (shape[1], shape[0])
        height_by_x_y, x_by_y, y_by_x = far[0].sum(), far[1, 1], far[2, 0]
        if max(height_by_x_y, x_by_y, y_by_x) < _PARALLEL_MM:
            return self._straight(origin, (axes[1, 0], axes[2, 1]), shape)
        return self._aslant(origin, axes, shape)

    def coarser(self, pixel_mm: float, numbers: Sequence[int] | None = None) -> Stack:
        """Average pixels of its slices, or of some of them, to about a size in mm.

        Pixels at the end of rows and columns that fill none are left out.
        """
        first, (rows, columns) = self.planes[0], self.voxels.shape[1:]
        down = min(max(1, round(pixel_mm / first.spacing[0])), rows)
        along = min(max(1, round(pixel_mm / first.spacing[1])), columns)
        size = (columns // along, rows // down)
        middle = np.array([[(along - 1) / 2, (down - 1) / 2]])
        spacing = (first.spacing[0] * down, first.spacing[1] * along)
        voxels, planes = [], []
        for number in range(len(self.planes)) if numbers is None else numbers:
            plane, image = self.planes[number], self.voxels[number]
            whole = image[: size[1] * down, : size[0] * along]
            voxels.append(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
            place = tuple(plane.to_patient(middle)[0].tolist())
            planes.append(ImagePlane(place, plane.orientation, spacing))
        return Stack(np.stack(voxels), tuple(planes))

    @cached_property
    def _lattice(self) -> Lattice:
        return Lattice.of(self.planes)

    def _straight(
        self, origin: Vector, steps: tuple[float, float], shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Sample where rows and columns run as those of the stack do, at one height."""
        along = self._lattice.along(origin[:1])
        if not along.inside[0]:
            return np.zeros(shape, np.float32), np.zeros(shape, bool)
        x, y = (
            origin[1 + n] - shift[0] + steps[n] * np.arange(shape[1 - n])
            for n, shift in enumerate(self._lattice.shift(along))
        )
        x0, x_share, x_inside = _between(x, self.voxels.shape[2])
        y0, y_share, y_inside = _between(y, self.voxels.shape[1])
        rows = slice(y0.min(), y0.max() + 2)
        below, share = int(along.below[0]), np.float32(along.share[0])
        image = self.voxels[below, rows]
        if share:
            image = image + (self.voxels[below + 1, rows] - image) * share
        image = _mixed(image, y0 - rows.start, y_share, axis=0)
        image = _mixed(image, x0, x_share, axis=1)
        inside = y_inside[:, np.newaxis] & x_inside
        return np.where(inside, image, np.float32(0)), inside

    def _aslant(
        self, origin: Vector, axes: Vector, shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Sample wherever the points lie."""
        down, right = np.ogrid[: shape[0], : shape[1]]
        height, x, y = (
            start + by_x * right + by_y * down
            for start, (by_x, by_y) in zip(origin, axes, strict=True)
        )
        along = self._lattice.along(height)
        x_shift, y_shift = self._lattice.shift(along)
        x0, x_share, x_inside = _between(x - x_shift, self.voxels.shape[2])
        y0, y_share, y_inside = _between(y - y_shift, self.voxels.shape[1])
        count, rows, columns = self.voxels.shape
        flat = self.voxels.reshape(-1)
        first = (along.below * rows + y0) * columns + x0
        right_of, below_of = int(columns > 1), columns * int(rows > 1)

        def mixed(at: NDArray[np.intp]) -> NDArray[np.float32]:
            upper = _lerp(flat.take(at), flat.take(at + right_of), x_share)
            at = at + below_of
            return _lerp(upper, _lerp(flat.take(at), flat.take(at + right_of), x_share), y_share)

        values = mixed(first)
        if count > 1:
            above = mixed(first + rows * columns)
            values = _lerp(values, above, along.share.astype(np.float32))
        inside = along.inside & x_inside & y_inside
        return np.where(inside, values, np.float32(0)), inside


def sampled_slices(
    planes: Sequence[ImagePlane],
    plane: ImagePlane,
    shape: tuple[int, int],
    moved: Rigid | None = None,
) -> range:
    """Tell from which slices of a stack an image's values are made, as :meth:`Stack.sampled` does.

    Parameters
    ----------
    planes
        Where the stack's slices lie, in the order of their heights.
    plane, shape, moved
        As there.
    """
    height, width = shape
    corners = plane.to_patient(np.array([[0, 0], [width - 1, 0], [0, height - 1]]))
    corners = np.vstack([corners, corners[1:2] + corners[2:] - corners[:1]])
    return Lattice.of(planes).reached(corners if moved is None else moved(corners))


def _check_alike(planes: Sequence[ImagePlane], shapes: set[tuple[int, ...]]) -> None:
    """See that the pixels of all slices lie above each other, as nearly as headers write places."""
    if len(shapes) > 1:
        sizes = " and ".join(sorted(f"{width}x{height}" for height, width in shapes))
        raise InputRefusedError("mixed-sizes", f"its slices are of several sizes ({sizes})")
    ((height, width),) = shapes
    edges = np.array([[0, 0], [width, 0], [0, height]])
    expected = planes[0].to_patient(edges) - planes[0].position
    for plane in planes:
        away = plane.to_patient(edges) - plane.position - expected
        if np.abs(away).max() <= ROUNDED_MM:
            continue
        if not np.allclose(plane.spacing, planes[0].spacing, atol=0, rtol=1e-3):
            raise InputRefusedError("mixed-sizes", "its slices have pixels of several sizes")
        raise InputRefusedError("mixed-orientations", "its slices are turned differently")


def _between(
    places: Vector, count: int
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]:
    """Find between which two of so many pixels places lie, the second one's share, and if they do.

    Half a pixel beyond the outermost ones is still inside, and their value counts.
    """
    inside = (places >= -_HALF) & (places < count - _HALF)
    first = np.clip(np.floor(places), 0, max(count - 2, 0))
    share = np.clip(places - first, 0, 1 if count > 1 else 0)
    return first.astype(np.intp), share.astype(np.float32), inside


def _mixed(
    image: NDArray[np.float32], first: NDArray[np.intp], share: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Interpolate along one axis of an image (H, W)."""
    second = np.minimum(first + 1, image.shape[axis] - 1)
    weight = share[:, np.newaxis] if axis == 0 else share
    return _lerp(image.take(first, axis), image.take(second, axis), weight)


def _lerp(
    one: NDArray[np.float32], other: NDArray[np.float32], share: NDArray[Any]
) -> NDArray[np.float32]:
    return one + (other - one) * share
