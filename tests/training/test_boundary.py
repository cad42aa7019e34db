"""Outlines of masks, against SciPy and against what is plain to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from gliomart_training.evaluation.boundary import TOLERANCE_PX, Outlines, compare_outlines

masks = hnp.arrays(np.bool_, (13, 17)).filter(lambda mask: bool(mask.any()))


def square(left: int, side: int = 20) -> NDArray[np.bool_]:
    mask = np.zeros((40, 60), bool)
    mask[10 : 10 + side, left : left + side] = True
    return mask


def compared(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Outlines:
    outlines = compare_outlines(one, other)
    assert outlines is not None
    return outlines


@given(mask=masks)
def test_a_mask_has_its_own_outline(mask: NDArray[np.bool_]) -> None:
    assert compare_outlines(mask, mask) == Outlines(f1=1, hausdorff_95_px=0)


@given(one=masks, other=masks)
def test_outlines_are_those_of_every_pair_of_pixels(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> None:
    pairs = cdist(*(np.argwhere(mask & ~binary_erosion(mask)) for mask in (one, other)))
    there, back = pairs.min(1), pairs.min(0)
    precision, recall = ((side <= TOLERANCE_PX).mean() for side in (there, back))
    outlines = compared(one, other)
    assert outlines.f1 == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))
    farthest = max(np.percentile(there, 95), np.percentile(back, 95))
    assert outlines.hausdorff_95_px == pytest.approx(farthest, abs=1e-5)


@given(one=masks, other=masks)
def test_neither_mask_comes_first(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    there, back = compared(one, other), compared(other, one)
    assert (there.f1, there.hausdorff_95_px) == pytest.approx((back.f1, back.hausdorff_95_px))


@given(pixels=st.integers(0, 9))
def test_a_shift_is_a_distance(pixels: int) -> None:
    outlines = compared(square(15), square(15 + pixels))
    assert outlines.hausdorff_95_px == pixels
    assert (outlines.f1 == 1) == (pixels <= TOLERANCE_PX)


def test_a_few_stray_pixels_do_not_count_as_distance() -> None:
    strayed = square(15)
    strayed[0, 59] = True
    assert compared(strayed, square(15)).hausdorff_95_px == 0


def test_the_edge_of_the_image_is_an_outline() -> None:
    everything = np.ones((9, 9), bool)
    middle = np.zeros((9, 9), bool)
    middle[4, 4] = True
    outlines = compared(everything, middle)
    assert outlines == Outlines(f1=0, hausdorff_95_px=pytest.approx(np.hypot(4, 4)))


def test_nothing_has_no_outline() -> None:
    nothing = np.zeros((40, 60), bool)
    assert compare_outlines(square(0), nothing) is None
    assert compare_outlines(nothing, square(0)) is None
