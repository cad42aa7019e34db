"""Whether pictures were altered: made of two values, wrapped around, or cut along a straight line.

Bounds were set on the training series (lgg_flair/train, 45 series, 8 bit as published), and none of
these is past one. Edges are told by pixels, thinned where a slice has many, and not in slices of
few pixels; brightness is in units of the brain's, above black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.image.grid import depth
from gliomart.image.head import head_mask
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Concern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation

_SIDE, _FEW = 128, 8
# Edges are judged in slices with at least so many pixels along the shorter side. Of the training
# series, brought to 96 pixels by averaging, none is past a bound; at 64 two of 45 look cut off, at
# 48 almost half, and of every n-th pixel alone, up to six have edges as sharp as wrapped values.
_COARSE = 96
# The head is brighter than this; what is looked at for values is brighter than air.
_HEAD, _AIR = 0.25, 0.1
# Values this near to each other count as one.
_ALIKE = 0.004
# Where so much of what is no air has one value, there is no picture.
_ONE_VALUE = 0.5
# The highest value but for so small a part of the head. From a pixel to the next, brightness falls
# by so much of it, at such a part of the pixels deep in the head, where values wrapped around.
_HIGHEST, _FALL, _FALLING = 0.995, 0.75, 0.01
# Deep in the head is deeper than so many pixels.
_INSIDE_PX = 3.0
# A head touches a side of its bounding box with less than this share of it, where it is as wide and
# high as this part of the image's shorter side. Where there are as many slices, their median does.
_STRAIGHT, _STRAIGHT_ALONE, _LARGE, _FEWEST = 0.45, 0.5, 0.4, 6


def alterations(shown: Sequence[NDArray[np.float32]], norm: Normalisation) -> Iterator[Concern]:
    """Look for what was done to slices (H, W) of one shape that share a normalisation."""
    few = [
        (pixels - np.float32(norm.black)) / np.float32(norm.brain - norm.black)
        for pixels in evenly_spaced(shown, _FEW)
    ]
    one = usual_share(few)
    if one > _ONE_VALUE:
        reason = f"{one:.0%} of what is no air have one value: a mask or a drawing"
        yield Concern("few-values", reason)
        return
    if min(few[0].shape) < _COARSE:
        return
    falling = falling_share(few)
    if falling > _FALLING:
        reason = (
            f"brightness falls to black from a pixel to the next in {falling:.1%} of the head:"
            " values that were too large began again at 0"
        )
        yield Concern("wrapped", reason)
    straight = float(np.median([straight_share(pixels) for pixels in few]))
    if straight > (_STRAIGHT if len(few) >= _FEWEST else _STRAIGHT_ALONE):
        reason = f"the head has a straight edge, {straight:.0%} of its width: a part is cut off"
        yield Concern("cut-off", reason)


def usual_share(few: Sequence[NDArray[np.float32]]) -> float:
    """Share, in [0, 1], of what is no air that has the commonest value."""
    step = max(1, min(few[0].shape) // _SIDE)
    values = np.concatenate([pixels[::step, ::step].ravel() for pixels in few])
    bins = np.rint(values[values > _AIR] / _ALIKE).astype(np.int64)
    if not len(bins):
        return 1.0
    _, counts = np.unique(bins, return_counts=True)
    return float(counts.max() / len(bins))


def falling_share(few: Sequence[NDArray[np.float32]]) -> float:
    """Share of pixels deep in the head next to which brightness falls by most of its range.

    Where the head ends, it may: a brain without its skull ends sharply.
    """
    head = np.concatenate([pixels[pixels > _HEAD] for pixels in few])
    if not len(head):
        return 0.0
    fall = np.float32(_FALL * np.quantile(head, _HIGHEST))
    falls, looked_at = 0, 0
    for pixels in few:
        inside = depth(head_mask(pixels, _HEAD)) > _INSIDE_PX
        looked_at += int(np.count_nonzero(inside))
        for axis in (0, 1):
            both = inside & np.roll(inside, -1, axis)
            step = np.abs(np.roll(pixels, -1, axis) - pixels)
            falls += int(np.count_nonzero(step[both] > fall))
    return falls / max(looked_at, 1)


def straight_share(pixels: NDArray[np.float32]) -> float:
    """Largest share of a side of the head's bounding box that it lies along; 0 of a small head."""
    step = max(1, min(pixels.shape) // _SIDE)
    plane = cv2.blur(pixels, (step, step))[::step, ::step]
    head = head_mask(np.asarray(plane, np.float32), _HEAD)
    left, top, width, height = cv2.boundingRect(head.view(np.uint8))
    if min(width, height) < _LARGE * min(plane.shape):
        return 0.0
    within = head[top : top + height, left : left + width]
    sides = (within[1:2], within[-2:-1], within[:, 1:2], within[:, -2:-1])
    return max((float(side.mean()) for side in sides if side.size), default=0.0)
