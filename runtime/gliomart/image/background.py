"""What surrounds a head without having been measured: padding that nobody declared, masks, NaN.

Some exports write a number that no tissue has (-1000, -2000, -9999, 4095) around the circle that
the scanner reconstructs, around a brain without its skull, or as a frame a few pixels wide. Black
and the head are estimated from brightness, so such a number is looked for first, once for a whole
series, and counts as air in all of its slices.

It is constant along the image's border, and far below or far above everything else. The zeros
around a brain without its skull are black, as they always were, however bright that brain begins:
only a negative number is taken for padding below. Only what borders on air is taken for padding
above: the background of a negative picture borders on its head. Where values are negative as well,
as in z-scores, zero or any other number may have been written around the head: it is in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from gliomart.image.head import outermost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.slices import Slice

# Of the pixels along the border of some slice, padding takes at least this fraction.
_OF_BORDER = 0.02
# It is constant up to this fraction of the range of all values: lossy compression makes it waver.
_TOLERANCE = 0.02
# How far it is from the rest, in units of the rest's own range (quantiles .01 to .99), where
# magnitudes (nothing else is negative) surround it; how far where values may be negative anyway,
# as in Hounsfield units and z-scores (what was zero lies up to two ranges below a brain's), and
# from where on it is doubtful there; and how far above.
_FAR_BELOW_MAGNITUDES = 0.05
_FAR_BELOW, _DOUBTFUL = 2.2, 0.5
_FAR_ABOVE = 0.2
# Of all borders, a constant that surrounds a picture takes at least this.
_SURROUNDS = 0.5
# The mean of z-scores of everything is 0, up to this many standard deviations in part of it.
_CENTRED = 0.1
# Filters make zeros a little negative: by less than this, in the same units.
_NEGATIVE = 0.05
# What borders on it is air where three quarters are darker than this, between dark and bright.
_AIR = 0.12
# All this is looked at with about so many pixels along the shorter side. Pixels so near to padding
# may be a mixture of both, where the image was resampled, and the next ones border on it.
_SIDE = 128
_MIXED_PX, _BESIDE_PX = 2, 4


@dataclass(frozen=True)
class Background:
    """What is no part of the picture in a series, beside what its slices call air.

    Attributes
    ----------
    black
        Value of air in the picture.
    below
        Values up to this are padding; None where there is none.
    above
        Values from this on are padding where they are connected to the image's border; None where
        there is none.
    around
        Exactly this is padding where it is connected to the image's border; None where there is
        none.
    """

    black: float
    below: float | None = None
    above: float | None = None
    around: float | None = None


def find(slices: Sequence[Slice]) -> Background | None:
    """Find what is no part of the picture in slices of a series, all of one shape.

    Returns
    -------
    None where black can be told from the pixels as they are, as in every usual picture: these cost
    a look at their extremes, and no more.
    """
    borders = [outermost(s.pixels) for s in slices]
    low, high = _extremes(slices, borders)
    constant = _constant(borders)
    if constant is not None and not min(float(s.pixels.min()) for s in slices) < constant:
        constant = None
    empty = any(s.air is not None for s in slices)
    if low is None and high is None and constant is None and not empty:
        return None
    thin = [_thinned(s) for s in slices]
    found = _padding_below(thin, *low) if low else None
    if high is not None:
        found = _padding_above(thin, high, found) or found
    if constant is not None:
        found = found or _padding_between(thin, constant)
    return found or (_around_a_brain(thin) if empty else None)


def doubtful(slices: Sequence[Slice]) -> float | None:
    """Tell the constant around a picture that may be its air or not; None where there is none.

    Parameters
    ----------
    slices
        Those in which :func:`find` found no padding below.
    """
    borders = [outermost(s.pixels) for s in slices]
    low, _ = _extremes(slices, borders)
    if low is None or _constant(borders) != low[0]:
        return None
    value, level = low
    rest = _rest([_thinned(s) for s in slices], Background(level, below=level))
    if rest is None or not rest.negative or rest.dark - value <= _DOUBTFUL * rest.range:
        return None
    return value


def filled(source: Slice, background: Background | None) -> NDArray[np.float32]:
    """Give a slice's pixels with black where there is no picture; themselves where it all is."""
    if background is None:
        return source.pixels
    outside = _outside(source.pixels, source.air, background)
    if background.below is None and not outside.any():
        return source.pixels
    black = np.float32(background.black)
    pixels = np.where(outside, black, source.pixels)
    # What was mixed with padding lies below black as well.
    return pixels if background.below is None else np.maximum(pixels, black)


def _extremes(
    slices: Sequence[Slice], borders: Sequence[NDArray[np.float32]]
) -> tuple[tuple[float, float] | None, float | None]:
    """Tell the lowest value and the level of all like it, and the level of the highest ones.

    Each only where it lies along a border, and the lowest where it is negative.
    """
    darkest = min(float(border.min()) for border in borders)
    lightest = max(float(border.max()) for border in borders)
    plain = lightest - _TOLERANCE * (lightest - darkest)
    if darkest >= 0 and not _fills([border >= plain for border in borders]):
        return None, None
    lowest = min(float(s.pixels.min()) for s in slices)
    highest = max(float(s.pixels.max()) for s in slices)
    below = lowest + _TOLERANCE * (highest - lowest)
    above = highest - _TOLERANCE * (highest - lowest)
    low = lowest < 0 and _fills([border <= below for border in borders])
    high = _fills([border >= above for border in borders])
    return (lowest, below) if low else None, above if high else None


class _Thinned(NamedTuple):
    pixels: NDArray[np.float32]
    air: NDArray[np.bool_] | None


class _Rest(NamedTuple):
    """What is picture: its dark and bright, and whether air in it borders on what is none."""

    dark: float
    bright: float
    in_air: bool

    @property
    def range(self) -> float:
        return self.bright - self.dark

    @property
    def negative(self) -> bool:
        return self.dark < -_NEGATIVE * self.range


def _padding_below(thin: Sequence[_Thinned], value: float, level: float) -> Background | None:
    rest = _rest(thin, Background(level, below=level))
    if rest is None:
        return None
    far = _FAR_BELOW if rest.negative else _FAR_BELOW_MAGNITUDES
    if rest.dark - value <= far * rest.range:
        return None
    if not (rest.negative or rest.in_air) and _is_standardised(thin):
        return None  # what is negative was zero, around a brain without its skull
    return Background(_black(rest), below=level)


def _is_standardised(thin: Sequence[_Thinned]) -> bool:
    """Tell whether the mean of everything, also of what surrounds the picture, has become zero."""
    values = np.concatenate([pixels.ravel() for pixels, _ in thin])
    return bool(abs(values.mean(dtype=np.float64)) < _CENTRED * values.std(dtype=np.float64))


def _padding_above(
    thin: Sequence[_Thinned], level: float, below: Background | None
) -> Background | None:
    trial = replace(below, above=level) if below else Background(level, above=level)
    rest = _rest(thin, trial)
    if rest is None or not rest.in_air or level - rest.bright <= _FAR_ABOVE * rest.range:
        return None
    return replace(trial, black=rest.dark)


def _padding_between(thin: Sequence[_Thinned], value: float) -> Background | None:
    """Take a constant for padding that values of the picture lie below and above, and below 0."""
    rest = _rest(thin, Background(value, around=value))
    if rest is None or not rest.negative:
        return None
    least = _NEGATIVE * rest.range
    if not rest.dark + least < value < rest.bright - least:
        return None
    return Background(rest.dark, around=value)


def _around_a_brain(thin: Sequence[_Thinned]) -> Background | None:
    """Tell black where pixels without value surround a brain, not air that could tell it."""
    rest = _rest(thin, Background(-np.inf))
    return None if rest is None or rest.in_air else Background(_black(rest))


def _black(rest: _Rest) -> float:
    """Take air's value where there is air; zero in magnitudes; else the darkest there is."""
    return rest.dark if rest.in_air or rest.negative else min(rest.dark, 0.0)


def _rest(thin: Sequence[_Thinned], trial: Background) -> _Rest | None:
    """Look at what is left of slices without their background; None where nothing is."""
    inside, beside = [], []
    for pixels, air in thin:
        outside = _outside(pixels, air, trial)
        mixed, near = _grown(outside, _MIXED_PX), _grown(_from_border(outside), _BESIDE_PX)
        inside.append(pixels[~mixed])
        beside.append(pixels[near & ~mixed])
    values, bordering = np.concatenate(inside), np.concatenate(beside)
    if not (len(values) and len(bordering)):
        return None
    dark, bright = map(float, np.percentile(values, (1, 99)))
    if not bright > dark:
        return None
    in_air = float(np.percentile(bordering, 75)) < dark + _AIR * (bright - dark)
    return _Rest(dark, bright, in_air)


def _outside(
    pixels: NDArray[np.float32], air: NDArray[np.bool_] | None, background: Background
) -> NDArray[np.bool_]:
    outside = np.zeros(pixels.shape, bool) if air is None else air.copy()
    if background.below is not None:
        outside |= pixels <= background.below
    if background.above is not None:
        outside |= _grown(_from_border(pixels >= background.above), _MIXED_PX)
    if background.around is not None:
        outside |= _from_border(pixels == np.float32(background.around))
    return outside


def _thinned(source: Slice) -> _Thinned:
    step = max(1, min(source.pixels.shape) // _SIDE)
    air = None if source.air is None else source.air[::step, ::step]
    return _Thinned(source.pixels[::step, ::step], air)


def _constant(borders: Sequence[NDArray[np.float32]]) -> float | None:
    """Tell the value that most pixels along all borders have exactly; None where there is none."""
    values = np.concatenate(borders)
    middle = np.partition(values, len(values) // 2)[len(values) // 2]
    share = np.count_nonzero(values == middle) / len(values)
    return float(middle) if share >= _SURROUNDS else None


def _fills(borders: Sequence[NDArray[np.bool_]]) -> bool:
    return max(float(border.mean()) for border in borders) >= _OF_BORDER


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return cv2.dilate(mask.view(np.uint8), kernel) > 0


def _from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the parts of a mask that reach the image's border."""
    labels = np.asarray(cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1])
    kept = np.isin(np.arange(labels.max() + 1), outermost(labels))
    kept[0] = False
    return np.asarray(kept[labels])
