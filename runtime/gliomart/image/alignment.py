"""Whether two series of one head, of whatever contrast, lie on each other.

How well two images agree, as normalised mutual information says it (Studholme, Hill and Hawkes,
*Pattern Recognition* 32, 1999), depends on their contrasts as much as on how they lie. It is
therefore compared with itself: in each eighth of the head, what it is where both lie is held
against what it is when one is displaced by a few millimetres, both ways along each axis. A parabola
through the three tells where it would be best. If both lie on each other, that is nowhere else, and
agreement falls steeply on all sides. From the eighths follows how the head would have to be moved
and turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.geometry import ImagePlane, Vector, usual_step
from gliomart.image.head import HEAD_BRIGHTNESS, head_mask
from gliomart.image.resampling import Rigid, Stack
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Concern

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels are brought near to this size, and smoothed by so many of them, so that what interpolation
# blurs does not look like disagreement.
_PIXEL_MM, _SMOOTHING_PX = 2.0, 1.0
# So many slices of the head are looked at, of those in which it fills this part of the image.
_SLICES, _SMALLEST_HEAD = 10, 0.03
# One is displaced by about this much: by whole slices and whole pixels.
_DISPLACED_MM = 4.0
_LEVELS = 32
_FAINTEST, _BRIGHTEST = 1, 99  # percentiles within the head
# An eighth with fewer pixels says nothing.
_FEWEST = 300
# A sphere as large as a head: how far its points move on average when it is turned (Jenkinson,
# "Measuring transformation error by RMS deviation", FMRIB technical report TR99MJ1, 1999).
_HEAD_RADIUS_MM = 80.0
# Set on true pairs of the training patients: `benchmarks/alignment.py`.
FARTHEST_MM = 2.0
LEAST_SHARPNESS = 0.02
LEAST_COVERED = 0.9


@dataclass(frozen=True)
class Alignment:
    """How two series lie to each other.

    Attributes
    ----------
    offset_mm
        Estimate of how far tissue lies from where it would lie if both agreed best: root of the
        mean square over the head. It says little beyond some millimetres.
    sharpness
        By how much normalised mutual information, 1 to 2, falls on average when one is displaced.
    covered
        The part of the head that the other one shows, 0 to 1.
    """

    offset_mm: float
    sharpness: float
    covered: float

    @property
    def concern(self) -> Concern | None:
        """What speaks against looking at both together; None where both lie on each other."""
        if self.covered < LEAST_COVERED:
            reason = f"it covers {self.covered:.0%} of the head; {LEAST_COVERED:.0%} are needed"
            return Concern("partly-covered", reason)
        if self.sharpness < LEAST_SHARPNESS:
            reason = "it shows no more of the same head than when it is displaced"
            return Concern("not-aligned", f"it does not lie on the other series: {reason}")
        if self.offset_mm > FARTHEST_MM:
            reason = f"they would agree better about {self.offset_mm:.0f} mm from where they lie"
            return Concern("not-aligned", f"it does not lie on the other series: {reason}")
        return None


class _Head(NamedTuple):
    """What is compared, on a coarse grid of N slices.

    Attributes
    ----------
    levels
        int (N, h, w): the lead's.
    pixels
        Indices of the head's pixels in it, flattened.
    eighth
        Which eighth of the head each of them is in, 0 to 7.
    centres
        (8, 3): their centres, along rows, columns and slices, in mm from the head's.
    planes
        Where the slices lie.
    """

    levels: NDArray[np.intp]
    pixels: NDArray[np.intp]
    eighth: NDArray[np.intp]
    centres: Vector
    planes: tuple[ImagePlane, ...]


def alignment(lead: Stack, other: Stack, moved: Rigid | None = None) -> Alignment:
    """Measure how two series of one head lie to each other.

    Parameters
    ----------
    lead
        The one whose slices both are to be seen on.
    other
        The one that is brought onto them.
    moved
        From the lead's places to the other's, as :meth:`Stack.sampled` takes it.

    Raises
    ------
    InputRefusedError
        ``no-head``: there is nothing of a head's size in the lead.
    """
    head = _head(lead)
    coarse = _coarse(other, range(len(other.planes)))
    step = usual_step([plane.height for plane in other.planes]) or _DISPLACED_MM
    across = max(1, round(_DISPLACED_MM / step)) * step
    normal = lead.planes[0].axes[0]
    layers = [_levels_of(coarse, head, n * across * normal, moved) for n in (0, -1, 1)]
    levels, inside = layers[0]
    there = inside.reshape(-1).take(head.pixels)
    covered = float(there.mean())
    width = head.levels.shape[2]
    down, along = (max(1, round(_DISPLACED_MM / mm)) for mm in head.planes[0].spacing)
    lengths = (along * head.planes[0].spacing[1], down * head.planes[0].spacing[0], across)
    displaced = (
        ((0, -along), (0, along)),
        ((0, -down * width), (0, down * width)),
        ((1, 0), (2, 0)),
    )
    gains = np.zeros((8, 3, 2))
    counts = np.zeros((8, 3, 2))
    for axis, pair in enumerate(displaced):
        for side, (layer, by) in enumerate(pair):
            other_levels, other_inside = layers[layer]
            both = there & other_inside.reshape(-1).take(head.pixels + by)
            at, eighth = head.pixels[both], head.eighth[both]
            lies, count = _information(head.levels, levels, at, at, eighth)
            would, _ = _information(head.levels, other_levels, at, at + by, eighth)
            gains[:, axis, side] = would - lies
            counts[:, axis, side] = count
    return Alignment(*_summed_up(gains, counts, head.centres, lengths), covered)


def _head(lead: Stack) -> _Head:
    """Bring some slices of the lead onto a coarse grid, and find the head in them."""
    values = _coarse(lead, evenly_spaced(range(len(lead.planes)), 2 * _SLICES))
    black, bright = np.percentile(values.voxels, (_FAINTEST, _BRIGHTEST))
    if not bright > black:
        raise InputRefusedError("no-head", "nothing brighter than its surroundings is in the image")
    level = HEAD_BRIGHTNESS * float(bright - black)
    heads = [head_mask(image - black, level) for image in values.voxels]
    large = [n for n, mask in enumerate(heads) if mask.mean() > _SMALLEST_HEAD]
    if not large:
        raise InputRefusedError("no-head", "nothing of a head's size is in the image")
    chosen = evenly_spaced(large, _SLICES)
    planes = tuple(values.planes[n] for n in chosen)
    # The outline of the head is looked at, too; displaced pixels must not leave the image.
    mask = np.stack(
        [cv2.dilate(heads[n].view(np.uint8), np.ones((3, 3), np.uint8)) for n in chosen]
    )
    rim = [max(1, round(_DISPLACED_MM / mm)) for mm in planes[0].spacing]
    mask[:, : rim[0]] = mask[:, -rim[0] :] = 0
    mask[:, :, : rim[1]] = mask[:, :, -rim[1] :] = 0
    pixels = np.flatnonzero(mask)
    if not len(pixels):
        raise InputRefusedError("no-head", "nothing of a head's size is in the image")
    number, row, column = np.unravel_index(pixels, mask.shape)
    heights = np.array([plane.height for plane in planes])
    places = np.stack([column * planes[0].spacing[1], row * planes[0].spacing[0], heights[number]])
    places = places - places.mean(axis=1, keepdims=True)
    eighth = np.array([1, 2, 4]) @ (places > 0)
    share = np.maximum(np.bincount(eighth, minlength=8), 1)
    centres = np.stack([np.bincount(eighth, each, minlength=8) / share for each in places], axis=1)
    smooth = _smoothed(values.voxels[chosen])
    return _Head(_in_levels(smooth, smooth.reshape(-1)[pixels]), pixels, eighth, centres, planes)


def _coarse(stack: Stack, numbers: range | list[int]) -> Stack:
    """Take some slices of a stack, their pixels averaged to about the size that is looked at."""
    first = stack.planes[0]
    down, along = (
        min(max(1, round(_PIXEL_MM / mm)), side)
        for mm, side in zip(first.spacing, stack.voxels.shape[1:], strict=True)
    )
    rows, columns = stack.voxels.shape[1] // down, stack.voxels.shape[2] // along
    middle = np.array([[(along - 1) / 2, (down - 1) / 2]])
    spacing = (first.spacing[0] * down, first.spacing[1] * along)
    voxels = [
        cv2.resize(
            stack.voxels[n, : rows * down, : columns * along],
            (columns, rows),
            interpolation=cv2.INTER_AREA,
        )
        for n in numbers
    ]
    planes = [stack.planes[n] for n in numbers]
    return Stack(
        np.stack(voxels),
        tuple(
            ImagePlane(tuple(plane.to_patient(middle)[0].tolist()), plane.orientation, spacing)
            for plane in planes
        ),
    )


def _levels_of(
    other: Stack, head: _Head, displaced: Vector, moved: Rigid | None
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Sample the other series on the lead's slices, displaced by so many mm; levels (N, h, w)."""
    by = Rigid.of(translation=displaced.tolist())
    by = by if moved is None else moved.after(by)
    shape = (head.levels.shape[1], head.levels.shape[2])
    sampled = [other.sampled(plane, shape, by) for plane in head.planes]
    values = _smoothed(np.stack([values for values, _ in sampled]))
    inside = np.stack([inside for _, inside in sampled])
    known = values.reshape(-1)[head.pixels][inside.reshape(-1)[head.pixels]]
    return _in_levels(values, known), inside


def _smoothed(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(image, (0, 0), _SMOOTHING_PX) for image in images])


def _in_levels(images: NDArray[np.float32], within: NDArray[np.float32]) -> NDArray[np.intp]:
    """Count images in levels between the faintest and the brightest value within a head."""
    low, high = np.percentile(within, (_FAINTEST, _BRIGHTEST)) if len(within) else (0.0, 0.0)
    scale = _LEVELS / (high - low) if high > low else 0.0
    return np.clip((images - low) * scale, 0, _LEVELS - 1).astype(np.intp)


def _information(
    one: NDArray[np.intp],
    other: NDArray[np.intp],
    at: NDArray[np.intp],
    there: NDArray[np.intp],
    eighth: NDArray[np.intp],
) -> tuple[Vector, Vector]:
    """Normalised mutual information of pixels of one image and of another, (8,), and of how many.

    It is (H(a) + H(b)) / H(a, b), of the entropies of both and of the two together.
    """
    cell = (eighth * _LEVELS + one.reshape(-1).take(at)) * _LEVELS + other.reshape(-1).take(there)
    together = np.bincount(cell, minlength=8 * _LEVELS**2).reshape(8, _LEVELS, _LEVELS)
    count = together.sum(axis=(1, 2))
    table = np.arange(len(at) + 1.0)
    table[1:] *= np.log(table[1:])  # n log n

    def entropy(counts: NDArray[np.intp]) -> Vector:
        total = np.maximum(count, 1)
        return np.asarray(np.log(total) - table.take(counts.reshape(8, -1)).sum(axis=1) / total)

    joint = entropy(together)
    apart = entropy(together.sum(axis=1)) + entropy(together.sum(axis=2))
    return np.where(joint > 0, apart / np.where(joint > 0, joint, 1), 1.0), count


def _summed_up(
    gains: Vector, counts: Vector, centres: Vector, lengths: tuple[float, ...]
) -> tuple[float, float]:
    """Fit a movement to where the eighths agree best; root mean square in mm, and sharpness.

    Parameters
    ----------
    gains
        (8, 3, 2): what displacing an eighth adds to agreement, along each axis, both ways.
    counts
        (8, 3, 2): pixels that this was counted on.
    centres
        (8, 3): where the eighths are, in mm.
    lengths
        How far it was displaced along each axis, in mm.
    """
    enough = counts.min(axis=2) >= _FEWEST
    if not enough.any():
        return float("inf"), 0.0
    backward, forward = gains[..., 0], gains[..., 1]
    bend = -(backward + forward)
    best = np.where(bend > 0, (forward - backward) / (2 * np.where(bend > 0, bend, 1)), 0)
    best = np.where(bend > 0, np.clip(best, -1, 1), np.sign(forward - backward)) * lengths
    weight = np.sqrt(np.where(enough, counts.mean(axis=2) * np.maximum(bend, 1e-3), 0))
    design = np.zeros((8, 3, 6))
    for axis in range(3):
        design[:, axis, axis] = 1
        design[:, axis, 3:] = np.cross(centres, np.eye(3)[axis])  # of a turn, as omega x centre
    fitted, *_ = np.linalg.lstsq(
        (design * weight[..., np.newaxis]).reshape(-1, 6), (best * weight).reshape(-1), rcond=None
    )
    shift, turn = fitted[:3], fitted[3:]
    square = shift @ shift + 0.4 * _HEAD_RADIUS_MM**2 * (turn @ turn)
    sharpness = -np.average(gains, weights=counts * enough[..., np.newaxis])
    return float(np.sqrt(square)), float(sharpness)
