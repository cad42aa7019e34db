"""How unevenly a scanner lights a head: a smooth field of brightness, found in a series and undone.

Receive coils light what is near them more (up to a factor of two), and differently in every
scanner. N4 (Tustison et al., IEEE TMI 2010;29:1310) finds the field without knowing anatomy: the
logarithm of the brightness is the sum of a few sharp tissue values and something smooth. In turn
the histogram is sharpened by deconvolution (N3: Sled et al., IEEE TMI 1998;17:87), what it takes to
get there is fitted by B-splines (Lee et al., IEEE TVCG 1997;3:228), and added to the field. It is
done on 32 × 32 pixels a slice and at most 32 slices, where it takes a hundredth of the time and
gives the field of N4 itself to six digits; finer splines would take lesions for shading.

Where the slices of a series disagree among each other (every second one brighter, or each exported
with a window of its own), that is no smooth field: their levels are first chained together, each to
its neighbour by the median ratio of what both show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gliomart.equality import ByContent
from gliomart.image.grid import Box, crop, depth
from gliomart.image.head import head_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing, Shading

# Heads are told from air at so many times the field's resolution.
_FINER = 2
# A head's fraction of the box, from which on a slice counts; its deep part, as a fraction of its
# shorter side, is taken for brain.
_SMALLEST_HEAD, _BRAIN_DEPTH = 0.02, 0.2
_DARKEST = 1e-3
# Two slices are compared where both show at least so many pixels of brain.
_LEAST_SHARED = 20
# Deconvolution: bins of the histogram, length of its Fourier transform, and Wiener's noise.
_BINS, _LENGTH, _WIENER = 200, 512, 0.01
_PADDING = (_LENGTH - _BINS) // 2
# As OpenCV packs a transform of real numbers: real and imaginary part of each frequency in turn,
# without the imaginary parts of the first and the last, which are 0.
_FREQUENCIES = -((math.pi * ((np.arange(_LENGTH) + 1) // 2) / _LENGTH) ** 2) / (4 * math.log(2))
_PLACES = np.arange(_LENGTH) - _PADDING
_BACK = cv2.DFT_ROWS | cv2.DFT_INVERSE | cv2.DFT_SCALE
# A spline that reaches less of the mask than this is left at 0.
_NO_SUPPORT = 1e-6
# Fewer pairs of neighbours do not tell whether a series' slices disagree.
_LEAST_JUMPS = 4
# Slices end alike from this fraction of the highest value on, and all do where so many do. So few
# of a slice's pixels lie there, or at most so many times as many in one as in another.
_ENDS_ALIKE, _MOST_END, _FEW_AT_END, _EVENLY_CUT = 0.98, 0.8, 1e-3, 3.0


@dataclass(frozen=True, eq=False)
class Field(ByContent):
    """How many times brighter than it should be a series is, in places.

    Attributes
    ----------
    numbers
        Of the slices that it is known for, rising: their places in the series, from 0.
    log
        float32 (S, side, side): natural logarithm, over the model's grid.
    expected
        float32 (S, side, side): logarithm of what each of these slices would show under even light,
        -inf where that is no brain; None unless the series' slices disagree in level.
    gains
        float32 (S,): logarithm of how much brighter each of these slices is as a whole; likewise.
    """

    numbers: tuple[int, ...]
    log: NDArray[np.float32]
    expected: NDArray[np.float32] | None = None
    gains: NDArray[np.float32] | None = None

    def at(self, number: int) -> Field:
        """Give it for one slice of the series, between those that it is known for."""
        if len(self.numbers) == 1:
            return self
        place = float(np.interp(number, self.numbers, np.arange(len(self.numbers))))
        first = min(int(place), len(self.numbers) - 2)
        part = np.float32(place - first)

        def between(known: NDArray[np.float32]) -> NDArray[np.float32]:
            near = known[first : first + 2]
            return near[:1] * (1 - part) + near[1:] * part if 0 < part < 1 else near[[int(part)]]

        expected = None if self.expected is None else between(self.expected)
        gains = None if self.gains is None else between(self.gains)
        return Field((number,), between(self.log), expected, gains)

    def undone(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Divide one slice on the model's grid, (size, size) from black at 0, by the field."""
        (log,) = self.log
        if self.expected is not None and self.gains is not None:
            level = _level_of(plane, log, self.expected[0])
            log = log + (self.gains[0] if level is None else level)
        field = cv2.resize(np.exp(log), plane.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return plane / field


def _level_of(
    plane: NDArray[np.float32], log: NDArray[np.float32], expected: NDArray[np.float32]
) -> np.float32 | None:
    """How much brighter a slice as a whole is than its neighbours let expect.

    None where too little of a brain is in both to tell, as at the vertex.
    """
    side = log.shape[0]
    seen = _coarser(plane, side)
    shared = np.isfinite(expected) & (seen > _DARKEST)
    if np.count_nonzero(shared) < _LEAST_SHARED:
        return None
    return np.float32(np.median(np.log(seen[shared]) - log[shared] - expected[shared]))


def estimate_field(
    planes: Sequence[NDArray[np.float32]],
    numbers: Sequence[int],
    box: Box,
    levels: tuple[float, float],
    spec: Preprocessing,
) -> Field | None:
    """Find the field of a series.

    Parameters
    ----------
    planes
        Slices of one shape, float32 (H, W), in order.
    numbers
        Their places in the series, rising.
    box
        What of them the model sees.
    levels
        Black, and the brain's median, in their values.
    spec
        The model's preprocessing.

    Returns
    -------
    A field under which the brain keeps its median; None where no brain is deep enough to tell.
    """
    rules = spec.shading
    assert rules is not None  # noqa: S101  # the caller has looked
    black, brain = levels
    side, scale = rules.side, spec.brain_level / (brain - black)
    fine = [(crop(p, box, _FINER * side, black) - black) * scale for p in planes]
    heads = [head_mask(np.clip(p, 0, 1), spec.head_level * spec.brain_level) for p in fine]
    low = np.stack([_coarser(plane, side) for plane in fine])
    head = np.stack([_coarser(h.astype(np.float32), side) > 0.5 for h in heads])  # noqa: PLR2004
    counted = head & (low > spec.head_level * spec.brain_level)
    counted &= (head.mean(axis=(1, 2)) >= _SMALLEST_HEAD)[:, np.newaxis, np.newaxis]
    deep = counted & np.stack([depth(h) > _BRAIN_DEPTH * _shorter_side(h) for h in head])
    if not deep.any():
        return None
    log = np.log(np.maximum(low, _DARKEST), dtype=np.float32)
    gains = np.zeros((len(log), 1, 1), np.float32)
    steps, known = _steps(log, counted, deep)
    seen = [p for p, c in zip(planes, counted, strict=True) if c.any()]
    if _jump(steps[known], rules) or _end_alike(seen, black):
        gains[:, 0, 0] = np.cumsum(steps)
    even = log - gains
    field = n4(even, counted, rules)
    field = np.clip(field - np.median(field[deep]), -rules.limit, rules.limit)
    # The brain keeps its median: how bright the series is, is estimated elsewhere.
    field += np.median((even - field)[deep]) - np.float32(np.log(spec.brain_level))
    field = field.astype(np.float32)
    if not gains.any():
        return Field(tuple(numbers), field)
    expected = np.where(deep, even - field, -np.inf).astype(np.float32)
    return Field(tuple(numbers), field, expected, gains[:, 0, 0])


def _coarser(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return cast(
        "NDArray[np.float32]", cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
    )


def _shorter_side(head: NDArray[np.bool_]) -> int:
    return min(cv2.boundingRect(head.view(np.uint8))[2:])


def _steps(
    log: NDArray[np.float32], counted: NDArray[np.bool_], deep: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Tell how much brighter each slice is than the one before, as a logarithm; and where known."""
    steps = np.zeros(len(log), np.float32)
    known = np.zeros(len(log), bool)
    for k in range(1, len(log)):
        shared = deep[k] & deep[k - 1]
        if np.count_nonzero(shared) < _LEAST_SHARED:
            shared = counted[k] & counted[k - 1]
        if np.count_nonzero(shared) >= _LEAST_SHARED:
            steps[k], known[k] = np.median(log[k][shared] - log[k - 1][shared]), True
    return steps, known


def _jump(steps: NDArray[np.float32], rules: Shading) -> bool:
    """Tell whether the ratio of neighbours jumps from one pair to the next (interleaving)."""
    jumps = np.abs(np.diff(steps))
    return len(jumps) >= _LEAST_JUMPS and bool(np.median(jumps) > rules.disagreement)


def _end_alike(planes: Sequence[NDArray[np.float32]], black: float) -> bool:
    """Tell whether each slice ends at its own brightest: it was exported with a window of its own.

    Under a window that they share, what is brightest in a head differs from slice to slice; and
    where it cuts off what is bright, how much it cuts off.
    """
    if len(planes) <= _LEAST_JUMPS:
        return False
    end = black + _ENDS_ALIKE * (max(float(plane.max()) for plane in planes) - black)
    shares = np.array([np.mean(plane >= end) for plane in planes])
    least, usual, most = np.quantile(shares, (0.1, 0.5, 0.9))
    few = usual < _FEW_AT_END or most < _EVENLY_CUT * least
    return bool(np.mean(shares > 0) >= _MOST_END) and few


def n4(log: NDArray[np.float32], mask: NDArray[np.bool_], rules: Shading) -> NDArray[np.float32]:
    """Estimate the bias field of a stack of slices, as ITK's N4 does at this resolution.

    Parameters
    ----------
    log
        float32 (S, H, W): natural logarithm of the brightness.
    mask
        bool (S, H, W): what counts, somewhere true.

    Returns
    -------
    float32 (S, H, W): logarithm of the field, up to a constant.
    """
    field = np.zeros_like(log)
    residual = np.zeros_like(log)
    where = np.flatnonzero(mask)
    values = log.ravel()[where]
    for level in range(rules.levels):
        splines = _Splines.over(mask, elements=2**level)
        for _ in range(rules.steps):
            corrected = values - field.ravel()[where]
            residual.ravel()[where] = corrected - _sharpened(corrected, rules.sharpness)
            field += splines.fitted(residual)
    return field


@dataclass(frozen=True)
class _Splines:
    """Cubic B-splines of one mesh over a stack, fitted as scattered data (Lee et al. 1997).

    Attributes
    ----------
    bases, cubes
        Of each axis: the splines' values at its places, (places, splines), and their cubes.
    weights
        float32 (S, H, W): of what is fitted.
    scale
        Of the coefficients.
    """

    bases: tuple[NDArray[np.float32], ...]
    cubes: tuple[NDArray[np.float32], ...]
    weights: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def over(cls, mask: NDArray[np.bool_], elements: int) -> _Splines:
        """Lay a mesh of so many elements a side over a stack."""
        bases = tuple(_basis(places, elements) for places in mask.shape)
        counted = mask.astype(np.float32)
        squares = [(basis**2).sum(axis=1) for basis in bases]
        total = np.einsum("i,j,k->ijk", *squares)
        support = _along_axes(counted, [basis**2 for basis in bases])
        scale = np.divide(1, support, out=np.zeros_like(support), where=support > _NO_SUPPORT)
        return cls(bases, tuple(basis**3 for basis in bases), counted / total, scale)

    def fitted(self, residual: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fit a residual (S, H, W), and give the fit at the same places."""
        coefficients = _along_axes(residual * self.weights, self.cubes) * self.scale
        return _along_axes(coefficients, [basis.T for basis in self.bases])


def _along_axes(
    stack: NDArray[np.float32], matrices: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Multiply each of the three axes of a stack by a matrix (old length, new length)."""
    first, second, third = matrices
    if len(first) == 1:  # one slice, in which every spline of this axis is 1
        return (second.T @ (stack[0] @ third))[np.newaxis]
    planes = second.T @ (stack @ third)
    rows = first.T @ planes.reshape(len(stack), -1)
    return rows.reshape(-1, *planes.shape[1:])


def _basis(places: int, elements: int) -> NDArray[np.float32]:
    """Values of cubic B-splines over so many elements, at evenly spaced places from end to end."""
    if places == 1:  # whatever the mesh is, a fit of one place is what it is
        return np.ones((1, 1), np.float32)
    at = np.linspace(0, elements, places)
    first = np.minimum(at.astype(np.intp), elements - 1)
    u = at - first
    values = np.zeros((places, elements + 3), np.float32)
    rows = np.arange(places)
    values[rows, first] = (1 - u) ** 3 / 6
    values[rows, first + 1] = (3 * u**3 - 6 * u**2 + 4) / 6
    values[rows, first + 2] = (-3 * u**3 + 3 * u**2 + 3 * u + 1) / 6
    values[rows, first + 3] = u**3 / 6
    return values


def _sharpened(values: NDArray[np.float32], fwhm: float) -> NDArray[np.float32]:
    """Take each value for what it most likely was before a Gaussian widened the histogram (N3)."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return values
    step = (high - low) / (_BINS - 1)
    places = (values - low) / step
    bins = np.minimum(places.astype(np.intp), _BINS - 2)
    part = places - bins
    padded = np.zeros((1, _LENGTH))
    histogram = padded[0, _PADDING : _PADDING + _BINS]
    histogram += np.bincount(bins, minlength=_BINS)
    shifted = np.bincount(bins, part, _BINS)
    histogram -= shifted
    histogram[1:] += shifted[:-1]
    # Of a Gaussian of this width: its Fourier transform, which is real.
    blurring = np.exp(_FREQUENCIES * (fwhm / step) ** 2)
    wiener = blurring / (blurring * blurring + _WIENER)
    both = np.empty((2, _LENGTH))
    np.maximum(_filtered(padded, wiener)[0], 0, out=both[1])
    both[0] = (low + _PLACES * step) * both[1]
    mean, weight = _filtered(both, blurring)[:, _PADDING : _PADDING + _BINS]
    expected = np.divide(mean, weight, out=np.zeros(_BINS), where=weight != 0)
    return expected[bins] + (expected[1:] - expected[:-1])[bins] * part


def _filtered(rows: NDArray[np.float64], spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply the Fourier transform of each row (N, 512) by a real, even one, as packed."""
    transformed = cv2.dft(rows, flags=cv2.DFT_ROWS)
    return cast("NDArray[np.float64]", cv2.dft(transformed * spectrum, flags=_BACK))
