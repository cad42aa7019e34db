"""Whether two series of one head, of whatever contrast, lie on each other.

How well two images agree, as normalised mutual information says it (Studholme, Hill and Hawkes,
*Pattern Recognition* 32, 1999), depends on their contrasts as much as on how they lie. It is
therefore compared with itself: in each eighth of the head, what it is as both lie is held against
what it is when one is displaced by a few millimetres, both ways along each axis. A parabola through
the three tells where it would be largest. Series that lie on each other agree nowhere else better,
and agree much less on all sides. From the eighths follows how far the head has moved and turned.
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
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Set by pairs of the training patients, of which all pass (benchmarks/alignment.py). How much has
# to be covered is a choice: half a head is told from one that is cut off at the neck.
FARTHEST_MM = 0.8
LEAST_SHARPNESS = 0.02
LEAST_COVERED = 0.75

# Pixels are brought near to this size, and smoothed by so many of them, so that what interpolation
# blurs does not look like disagreement.
_PIXEL_MM, _SMOOTHING_PX = 2.0, 1.0
# So many slices are looked at, of those in which the head fills at least this part of the image.
_SLICES, _SMALLEST_HEAD = 10, 0.03
# One is displaced by about so much: by whole slices and whole pixels.
_DISPLACED_MM = 4.0
_LEVELS = 32
_FAINTEST, _BRIGHTEST = 1, 99  # percentiles
_EIGHTHS = 8
# An eighth with fewer pixels says nothing, and one that bends less is taken to bend so much.
_FEWEST, _FLATTEST = 300, 1e-3
# How far points of a sphere as large as a head move when it is turned (Jenkinson, "Measuring
# transformation error by RMS deviation", FMRIB technical report TR99MJ1, 1999).
_HEAD_RADIUS_MM = 80.0


@dataclass(frozen=True)
class Alignment:
    """How two series lie to each other.

    Attributes
    ----------
    offset_mm
        Estimate of how far tissue lies in one from where it lies in the other: root of the mean
        square over a head. It grows with the distance up to some millimetres, and makes turns out
        to be about half of what they are. None where too little is covered to tell.
    sharpness
        By how much normalised mutual information, 1 to 2, falls on average where one is displaced.
    covered
        The part of the head that the other one shows, 0 to 1.
    """

    offset_mm: float | None
    sharpness: float
    covered: float

    @property
    def concern(self) -> Concern | None:
        """What speaks against seeing both together; None where they lie on each other.

        Its code is ``partly-covered`` or ``not-aligned``; the reason is said of the other series.
        """
        if self.offset_mm is None or self.covered < LEAST_COVERED:
            needed = f"{LEAST_COVERED:.0%} are needed"
            return Concern("partly-covered", f"it covers {self.covered:.1%} of the head; {needed}")
        if self.sharpness < LEAST_SHARPNESS:
            return Concern("not-aligned", "it agrees hardly better as it lies than when displaced")
        if self.offset_mm > FARTHEST_MM:
            away = f"about {self.offset_mm:.1f} mm"
            return Concern("not-aligned", f"it would agree better {away} from where it lies")
        return None


class _Head(NamedTuple):
    """The lead's head on a coarse grid of N slices.

    Attributes
    ----------
    levels
        int (N, h, w): its brightness.
    pixels
        Indices of the head's pixels in that, flattened.
    eighth
        Which eighth of the head each of them is in.
    centres
        (8, 3): the eighths' middles, along rows, columns and slices, in mm from the head's.
    planes
        Where the slices lie.
    """

    levels: NDArray[np.intp]
    pixels: NDArray[np.intp]
    eighth: NDArray[np.intp]
    centres: Vector
    planes: tuple[ImagePlane, ...]


class _Layer(NamedTuple):
    """The other series on the lead's grid: int levels (N, h, w), and bool (N, h, w) inside."""

    levels: NDArray[np.intp]
    inside: NDArray[np.bool_]


def alignment(lead: Stack, other: Stack, moved: Rigid | None = None) -> Alignment:
    """Measure how two series of one head lie to each other.

    Parameters
    ----------
    lead
        The one on whose slices both are to be seen.
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
    spacing, width = head.planes[0].spacing, head.levels.shape[2]
    down, along = _whole_pixels(spacing)
    step = usual_step([plane.height for plane in other.planes]) or _DISPLACED_MM
    across = max(1, round(_DISPLACED_MM / step)) * step
    coarse, normal = other.coarser(_PIXEL_MM), head.planes[0].axes[0]
    lies, below, above = (_layer(coarse, head, n * across * normal, moved) for n in (0, -1, 1))
    # Along rows, columns and slices, both ways: what is seen, and how many pixels further on.
    displaced = (
        ((lies, -along), (lies, along)),
        ((lies, -down * width), (lies, down * width)),
        ((below, 0), (above, 0)),
    )
    there = lies.inside.reshape(-1).take(head.pixels)
    gains, counts = np.zeros((_EIGHTHS, 3, 2)), np.zeros((_EIGHTHS, 3, 2))
    for axis, ways in enumerate(displaced):
        for way, (layer, by) in enumerate(ways):
            both = there & layer.inside.reshape(-1).take(head.pixels + by)
            at, eighth = head.pixels[both], head.eighth[both]
            one = eighth * _LEVELS + head.levels.reshape(-1).take(at)
            gains[:, axis, way] = _information(one, layer.levels.reshape(-1).take(at + by))
            gains[:, axis, way] -= _information(one, lies.levels.reshape(-1).take(at))
            counts[:, axis, way] = np.bincount(eighth, minlength=_EIGHTHS)
    lengths = np.array([along * spacing[1], down * spacing[0], across])
    enough = counts.min(axis=2) >= _FEWEST
    if not enough.any():
        return Alignment(None, 0.0, float(there.mean()))
    sharpness = -np.average(gains, weights=counts * enough[..., np.newaxis])
    offset = _offset(gains, counts.mean(axis=2) * enough, head.centres, lengths)
    return Alignment(offset, float(sharpness), float(there.mean()))


def _whole_pixels(spacing: tuple[float, float]) -> tuple[int, int]:
    """How many rows and columns to displace by."""
    down, along = (max(1, round(_DISPLACED_MM / mm)) for mm in spacing)
    return down, along


def _head(lead: Stack) -> _Head:
    """Find the head in some slices of the lead."""
    no_head = InputRefusedError("no-head", "nothing of a head's size is in the image")
    coarse = lead.coarser(_PIXEL_MM, evenly_spaced(range(len(lead.planes)), 2 * _SLICES))
    black, bright = np.percentile(coarse.voxels, (_FAINTEST, _BRIGHTEST))
    if not bright > black:
        raise no_head
    level = HEAD_BRIGHTNESS * float(bright - black)
    heads = [head_mask(image - black, level) for image in coarse.voxels]
    large = [n for n, mask in enumerate(heads) if mask.mean() > _SMALLEST_HEAD]
    chosen = evenly_spaced(large, _SLICES)
    planes = tuple(coarse.planes[n] for n in chosen)
    if not chosen:
        raise no_head
    # Its outline belongs to what is looked at; what is displaced must not leave the image.
    ring = np.ones((3, 3), np.uint8)
    mask = np.stack([cv2.dilate(heads[n].view(np.uint8), ring) for n in chosen])
    down, along = _whole_pixels(planes[0].spacing)
    mask[:, :down] = mask[:, -down:] = 0
    mask[:, :, :along] = mask[:, :, -along:] = 0
    pixels = np.flatnonzero(mask)
    if not len(pixels):
        raise no_head
    smooth = _smoothed(coarse.voxels[chosen])
    levels = _in_levels(smooth, smooth.reshape(-1)[pixels])
    return _Head(levels, pixels, *_eighths(pixels, mask.shape, planes), planes)


def _eighths(
    pixels: NDArray[np.intp], shape: tuple[int, ...], planes: Sequence[ImagePlane]
) -> tuple[NDArray[np.intp], Vector]:
    """Part a head at its middle: the eighth of each pixel, and their own middles (8, 3) in mm."""
    number, row, column = np.unravel_index(pixels, shape)
    heights = np.array([plane.height for plane in planes])
    down, along = planes[0].spacing
    places = np.stack([column * along, row * down, heights[number]])
    places = places - places.mean(axis=1, keepdims=True)
    eighth = np.array([1, 2, 4]) @ (places > 0)
    count = np.maximum(np.bincount(eighth, minlength=_EIGHTHS), 1)
    sums = [np.bincount(eighth, weights=each, minlength=_EIGHTHS) for each in places]
    return eighth, np.stack(sums, axis=1) / count[:, np.newaxis]


def _layer(other: Stack, head: _Head, displaced: Vector, moved: Rigid | None) -> _Layer:
    """See the other series on the lead's slices, displaced by so many mm."""
    by = Rigid.of(translation=displaced.tolist())
    by = by if moved is None else moved.after(by)
    shape = (head.levels.shape[1], head.levels.shape[2])
    sampled = [other.sampled(plane, shape, by) for plane in head.planes]
    values = _smoothed(np.stack([values for values, _ in sampled]))
    inside = np.stack([inside for _, inside in sampled])
    within = values.reshape(-1)[head.pixels][inside.reshape(-1)[head.pixels]]
    return _Layer(_in_levels(values, within), inside)


def _smoothed(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(image, (0, 0), _SMOOTHING_PX) for image in images])


def _in_levels(images: NDArray[np.float32], within: NDArray[np.float32]) -> NDArray[np.intp]:
    """Count images in levels between the faintest and the brightest value within a head."""
    low, high = np.percentile(within, (_FAINTEST, _BRIGHTEST)) if len(within) else (0.0, 0.0)
    scale = _LEVELS / (high - low) if high > low else 0.0
    return np.clip((images - low) * scale, 0, _LEVELS - 1).astype(np.intp)


def _information(one: NDArray[np.intp], other: NDArray[np.intp]) -> Vector:
    """Normalised mutual information (8,): (H(a) + H(b)) / H(a, b) of entropies.

    Parameters
    ----------
    one
        Level of each pixel in one image, and _LEVELS times its eighth.
    other
        Level of each pixel in the other one.
    """
    cells = np.bincount(one * _LEVELS + other, minlength=_EIGHTHS * _LEVELS**2)
    cells = cells.reshape(_EIGHTHS, _LEVELS, _LEVELS)
    total = np.maximum(cells.sum(axis=(1, 2)), 1)
    n_log_n = np.arange(len(one) + 1.0)
    n_log_n[1:] *= np.log(n_log_n[1:])

    def entropy(counts: NDArray[np.intp]) -> Vector:
        sums = n_log_n.take(counts.reshape(_EIGHTHS, -1)).sum(axis=1)
        return np.asarray(np.log(total) - sums / total)

    joint = entropy(cells)
    apart = entropy(cells.sum(axis=1)) + entropy(cells.sum(axis=2))
    some = joint > 0
    return np.where(some, apart / np.where(some, joint, 1), 1.0)


def _offset(gains: Vector, counts: Vector, centres: Vector, lengths: Vector) -> float:
    """Fit a movement to where the eighths agree best, and tell how far it moves a head, in mm.

    Parameters
    ----------
    gains
        (8, 3, 2): what displacing an eighth adds to agreement, along each axis, back and forth.
    counts
        (8, 3): pixels that this was seen on.
    centres
        (8, 3): where the eighths are, in mm.
    lengths
        (3,): how far they were displaced, in mm.
    """
    back, forth = gains[..., 0], gains[..., 1]
    bend = -(back + forth)
    peak = (forth - back) / (2 * np.maximum(bend, _FLATTEST))
    best = np.where(bend > 0, np.clip(peak, -1, 1), np.sign(forth - back)) * lengths
    weight = np.sqrt(counts * np.maximum(bend, _FLATTEST))
    design = np.zeros((_EIGHTHS, 3, 6))
    for axis, direction in enumerate(np.eye(3)):
        design[:, axis, axis] = 1
        design[:, axis, 3:] = np.cross(centres, direction)  # (turn x centre) along it
    fitted, *_ = np.linalg.lstsq(
        (design * weight[..., np.newaxis]).reshape(-1, 6), (best * weight).reshape(-1), rcond=None
    )
    shift, turn = fitted[:3], fitted[3:]
    return float(np.sqrt(shift @ shift + 0.4 * _HEAD_RADIUS_MM**2 * (turn @ turn)))
