from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart_training.dataset import Ellipse
from gliomart_training.pontine import (
    PontineLesion,
    _came_from,
    draw_lesion,
    implant,
)
from samples import SHARED, needs_real_images

PONS = Ellipse(100.0, 110.0, 18.0, 14.0)
VENTRICLE = Ellipse(100.0, 130.0, 6.0, 4.0)


def _slice(seed: int = 0) -> np.ndarray:
    """Draw brain at 100 with noise, a dark fourth ventricle and a dark cistern in front."""
    pixels = np.full((200, 200), 100.0, np.float32)
    pixels[VENTRICLE.mask(pixels.shape)] = 20
    pixels[70:95, 70:130] = 20
    pixels[PONS.mask(pixels.shape)] = 100
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1)
    return pixels + np.random.default_rng(seed).normal(0, 2, pixels.shape).astype(np.float32)


def _random() -> np.random.Generator:
    return np.random.default_rng(7)


def test_no_lesion_changes_nothing() -> None:
    pixels = _slice()
    done = implant(pixels, PONS, PontineLesion(0.0, 0.0, 1.0), _random())
    assert np.array_equal(done.pixels, pixels)
    assert not done.lesion.any()
    assert np.array_equal(done.pons, PONS.mask(pixels.shape))


@given(
    fraction=st.floats(0, 1), signal=st.floats(0, 0.6), expansion=st.floats(1, 1.6),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_whatever_the_lesion_the_rest_of_the_head_stays(
    fraction: float, signal: float, expansion: float, seed: int
) -> None:
    pixels = _slice()
    random = np.random.default_rng(seed)
    lesion = draw_lesion(random, fraction=fraction, signal=signal, expansion=expansion)
    done = implant(pixels, PONS, lesion, random)
    far = ~Ellipse(PONS.cx, PONS.cy, 2.6 * PONS.rx, 2.6 * PONS.ry).mask(pixels.shape)
    assert np.array_equal(done.pixels[far], pixels[far])
    assert np.isfinite(done.pixels).all()
    assert done.pixels.dtype == np.float32
    assert not done.lesion[far].any()
    assert done.pons.sum() >= PONS.mask(pixels.shape).sum()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("expansion", [1.0, 1.4])
def test_a_lesion_takes_its_share_of_the_pons(fraction: float, expansion: float) -> None:
    shares = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        done = implant(_slice(), PONS, PontineLesion(fraction, 0.3, expansion), random)
        shares.append((done.lesion & done.pons).sum() / done.pons.sum())
    assert np.mean(shares) == pytest.approx(fraction, abs=0.05)


def test_a_lesion_is_as_bright_as_asked_and_fluid_stays_dark() -> None:
    pixels = _slice()
    done = implant(pixels, PONS, PontineLesion(1.0, 0.5, 1.0), _random())
    core = Ellipse(PONS.cx, PONS.cy, 0.5 * PONS.rx, 0.5 * PONS.ry).mask(pixels.shape)
    assert np.median(done.pixels[core] / pixels[core]) == pytest.approx(1.5, abs=0.1)
    cistern = np.s_[72:90, 75:125]
    assert np.allclose(done.pixels[cistern], pixels[cistern], atol=1)


def test_a_swollen_pons_is_wider_and_narrows_the_ventricle() -> None:
    pixels = _slice()
    done = implant(pixels, PONS, PontineLesion(0.0, 0.0, 1.5), _random())
    assert not done.lesion.any()
    columns = np.flatnonzero(done.pons.any(axis=0))
    assert np.ptp(columns) == pytest.approx(1.5 * 2 * PONS.rx, abs=2)
    behind = np.s_[115:150, 95:106]
    assert (done.pixels[behind] < 60).sum() < 0.8 * (pixels[behind] < 60).sum()
    middle = np.s_[105:116, 90:111]
    assert np.median(done.pixels[middle]) == pytest.approx(np.median(pixels[middle]), abs=2)


@given(expansion=st.floats(1, 1.6))
def test_swelling_never_folds(expansion: float) -> None:
    reach = np.linspace(0, 3, 600)
    came_from = _came_from(reach, np.full_like(reach, expansion))
    assert (np.diff(came_from) > 0).all()
    assert came_from[-1] == reach[-1]


def test_the_same_generator_makes_the_same_lesion_in_another_slice() -> None:
    lesion = PontineLesion(0.5, 0.4, 1.0)
    one, other = (implant(_slice(seed), PONS, lesion, _random()) for seed in (1, 2))
    assert (one.lesion == other.lesion).mean() > 0.99
    again = implant(_slice(1), PONS, lesion, _random())
    assert np.array_equal(one.pixels, again.pixels)


def test_signs_change_what_they_should() -> None:
    def change(**signs: object) -> np.ndarray:
        plain = PontineLesion(1.0, 0.4, 1.0)
        with_sign = PontineLesion(1.0, 0.4, 1.0, **signs)  # type: ignore[arg-type]
        before, after = (implant(_slice(), PONS, one, _random()) for one in (plain, with_sign))
        return np.asarray(after.pixels - before.pixels)

    assert change(spread=1.0)[108:118, 116:126].mean() > 5
    assert change(fibres=True)[PONS.mask((200, 200))].min() < -5
    assert change(necrosis=True)[104:117, 93:108].min() < -50
    artery = change(artery=True)[96:102, 97:104]
    assert artery.min() < -60


def test_only_large_lesions_show_signs() -> None:
    random = np.random.default_rng(0)
    small = [draw_lesion(random, fraction=0.1, signal=0.3, expansion=1.2) for _ in range(50)]
    assert not any(one.spread or one.fibres or one.necrosis or one.artery for one in small)
    large = [draw_lesion(random, fraction=0.9, signal=0.3, expansion=1.2) for _ in range(400)]
    assert np.mean([one.spread > 0 for one in large]) == pytest.approx(0.80, abs=0.07)
    assert np.mean([one.necrosis for one in large]) == pytest.approx(0.44, abs=0.08)


@pytest.mark.parametrize(
    "values", [(1.5, 0.3, 1.0), (0.5, -0.1, 1.0), (0.5, 0.3, 0.9), (0.5, 0.3, 1.7)]
)
def test_what_is_no_lesion_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"expansion|share"):
        PontineLesion(*values)


@needs_real_images
def test_on_a_real_slice_the_pons_brightens_and_nothing_else_moves() -> None:
    folder = SHARED / "lgg_flair"
    with (folder / "pons.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "train")
    image = cv2.imread(str(folder / row["image"]), cv2.IMREAD_GRAYSCALE)
    pixels = np.asarray(image, np.float32)
    ellipse = Ellipse(*(float(row[name]) for name in ("cx", "cy", "rx", "ry")))
    done = implant(pixels, ellipse, PontineLesion(0.75, 0.4, 1.25), _random())
    inside = done.lesion & done.pons
    assert 1.15 < np.median(done.pixels[inside]) / np.median(pixels[inside]) < 1.5
    assert (done.pixels != pixels).mean() < 0.2
