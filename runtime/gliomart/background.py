"""What surrounds a head without having been measured: padding that nobody declared.

Some exports write a number that no tissue has (-1000, -2000, -9999, 4095) around the circle that
the scanner reconstructs, around a skull-stripped brain, or as a frame a few pixels wide. Black and
the head are estimated from brightness, so such a number is found first, for a whole series, and
counts as air.

A number is padding where it is constant along the image's border and far below, or far above, the
rest of the series. Far is what no picture of a head does by itself: air with its noise reaches down
to the darkest value, and nothing at the border is as bright as the brightest tissue. The zeros
around a skull-stripped brain are black, as they always were, however bright the brain begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.slices import Slice

# Of the pixels along the border of some slice, padding takes at least this fraction.
_OF_BORDER = 0.02
# It is constant up to this fraction of what lies between it and the brightest, or darkest, pixels:
# lossy compression makes it waver.
_TOLERANCE = 0.02
# Below: the gap to the darkest rest, in units of the rest's own range. Real air has a gap of .00 to
# .02 above zeros that a scanner fills in.
_GAP_BELOW = 0.2
# Above the brightest rest, likewise.
_GAP_ABOVE = 0.3
# Pixels next to padding may be a mixture of both, where the image was resampled.
_MIXED_PX = 2
# The rest is air where it borders on padding and is darker than this, between its dark and bright.
_AIR = 0.12


@dataclass(frozen=True)
class Background:
    """What is no part of the picture in a series.

    Attributes
    ----------
    below
        Values up to this are padding. None where there is none.
    above
        Values from this on are padding, where they are connected to the image's border.
    black
        Value of air, where padding or pixels without value hide it; None where air speaks for
        itself.
    """

    below: float | None = None
    above: float | None = None
    black: float | None = None


def find(slices: Sequence[Slice]) -> Background | None:
    """Find what is no part of the picture in the slices of a series; None where nothing is.

    Pictures that are only dark around the head cost a look at their borders, and no more.
    """
    borders = [_border(s.pixels) for s in slices]
    low, high = _constant(borders, np.min), _constant(borders, np.max)
    empty = any(s.air is not None for s in slices)
    if high is not None and high < max(float(s.pixels.max()) for s in slices):
        high = None
    if low is not None and low > min(float(s.pixels.min()) for s in slices):
        low = None
    if low is None and high is None and not empty:
        return None
    thin = [_thinned(s) for s in slices]
    if not empty and high is None and low is not None and not _is_hollow(thin, low):
        return None
    return _judge(slices, low, high, empty=empty)


def filled(source: Slice, background: Background | None, black: float) -> NDArray[np.float32]:
    """Give a slice's pixels, with black where there is no picture; the same where it all is."""
    outside = outside_of(source, background)
    if outside is None:
        return source.pixels
    pixels = source.pixels.copy()
    pixels[outside] = black
    if background is not None and background.below is not None:
        np.maximum(pixels, np.float32(black), out=pixels)  # what was mixed with padding
    return pixels


def outside_of(source: Slice, background: Background | None) -> NDArray[np.bool_] | None:
    """Tell where a slice is no picture, (H, W); None where it is one everywhere."""
    outside = source.air
    if background is not None and background.below is not None:
        outside = _joined(outside, source.pixels <= background.below)
    if background is not None and background.above is not None:
        outside = _joined(outside, _from_border(source.pixels >= background.above))
    return outside


def _joined(one: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    if one is None:
        return other if other.any() else None
    return one | other


def _border(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def _constant(borders: Sequence[NDArray[np.float32]], extreme: np.ufunc) -> float | None:
    """Return the lowest, or highest, value of all borders, if it fills a part of one of them."""
    value = extreme([extreme(border) for border in borders])
    share = max(float(np.mean(border == value)) for border in borders)
    return float(value) if share >= _OF_BORDER else None
