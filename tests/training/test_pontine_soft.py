"""The second simulator of pontine gliomas: growth through tissue, without border and swelling."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart_training.dataset import Ellipse
from gliomart_training.pontine_soft import SoftLesion, grow

PONS = Ellipse(100.0, 110.0, 18.0, 14.0)
WHOLE = PONS.mask((200, 200))


def _slice(seed: int = 0) -> np.ndarray:
    """Draw brain at 100 with noise, and a dark cistern in front of the pons."""
    pixels = np.full((200, 200), 100.0, np.float32)
    pixels[70:95, 70:130] = 20
    pixels[WHOLE] = 100
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1)
    return pixels + np.random.default_rng(seed).normal(0, 2, pixels.shape).astype(np.float32)


def _random(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_a_lesion_grows_until_it_fills_its_share_of_the_pons(fraction: float) -> None:
    for seed in range(4):
        done = grow(_slice(), PONS, SoftLesion(fraction, 0.3), _random(seed))
        share = (done.lesion & WHOLE).sum() / WHOLE.sum()
        assert share == pytest.approx(fraction, abs=0.08)


@given(fraction=st.floats(0.01, 1), signal=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_whatever_grows_the_rest_of_the_head_and_the_pons_outline_stay(
    fraction: float, signal: float, seed: int
) -> None:
    pixels = _slice()
    done = grow(pixels, PONS, SoftLesion(fraction, signal), _random(seed))
    far = ~Ellipse(PONS.cx, PONS.cy, 49, 49).mask(pixels.shape)
    assert np.array_equal(done.pixels[far], pixels[far])
    assert np.isfinite(done.pixels).all()
    assert done.pixels.dtype == np.float32
    assert np.array_equal(done.pons, WHOLE)


def test_it_is_as_bright_as_asked_where_it_is_strongest_and_fluid_stays_dark() -> None:
    pixels = _slice()
    done = grow(pixels, PONS, SoftLesion(1.0, 0.4), _random())
    core = Ellipse(PONS.cx, PONS.cy, 7, 6).mask(pixels.shape)
    assert np.median(done.pixels[core]) == pytest.approx(140, abs=6)
    cistern = np.s_[72:90, 75:125]
    assert np.allclose(done.pixels[cistern], pixels[cistern], atol=1.5)


def test_it_has_no_border() -> None:
    """From nine tenths of its strength to one tenth it fades over a third of the pons' radius."""
    still = np.full((200, 200), 100.0, np.float32)
    change = grow(still, PONS, SoftLesion(0.5, 0.4), _random()).pixels - still
    tenths = [(change > share * change.max()).sum() for share in (0.9, 0.1)]
    inner, outer = (np.sqrt(area / np.pi) for area in tenths)
    assert outer - inner > np.sqrt(PONS.rx * PONS.ry) / 3


def test_it_grows_further_along_the_transverse_fibres() -> None:
    """A pons that is round in its pixels is filled wider than high."""
    still = np.full((200, 200), 100.0, np.float32)
    lesion = grow(still, Ellipse(100, 110, 16, 16), SoftLesion(0.3, 0.4), _random()).lesion
    height, width = (np.ptp(places) for places in np.nonzero(lesion))
    assert width > 1.2 * height


def test_the_same_generator_grows_the_same_lesion_in_another_slice() -> None:
    one, other = (grow(_slice(n), PONS, SoftLesion(0.5, 0.4), _random()) for n in (1, 2))
    assert (one.lesion == other.lesion).mean() > 0.99
    again = grow(_slice(1), PONS, SoftLesion(0.5, 0.4), _random())
    assert np.array_equal(one.pixels, again.pixels)


def test_nothing_grows_where_there_is_no_tissue() -> None:
    empty = np.zeros((200, 200), np.float32)
    done = grow(empty, PONS, SoftLesion(0.5, 0.4), _random())
    assert np.array_equal(done.pixels, empty)
    assert not done.lesion.any()


@pytest.mark.parametrize("values", [(0.0, 0.3), (1.5, 0.3), (0.5, 0.0)])
def test_what_is_no_lesion_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="share"):
        SoftLesion(*values)
