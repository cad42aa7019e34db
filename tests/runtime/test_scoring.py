from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart.findings.scoring import (
    find_regions,
    p_value,
    series_score,
    slice_score,
    without_scalp,
)
from gliomart.image.head import inside_skull
from gliomart.model.contents import Scalp, Scoring

scores = st.lists(st.floats(0, 1), min_size=1, max_size=50).map(sorted)


@given(scores, st.floats(-1, 2))
def test_the_p_value_counts_healthy_scores_at_least_as_high(
    healthy: list[float], score: float
) -> None:
    expected = (1 + sum(h >= score for h in healthy)) / (len(healthy) + 1)
    assert p_value(score, healthy) == pytest.approx(expected)
    assert 0 < p_value(score, healthy) <= 1


def test_p_values_of_exchangeable_scores_hold_their_rate() -> None:
    random = np.random.default_rng(0)
    flagged = [
        p_value(drawn[0], sorted(drawn[1:])) <= 0.05 for drawn in random.gamma(2, size=(4000, 100))
    ]
    assert np.mean(flagged) == pytest.approx(0.05, abs=0.012)


def test_a_score_is_the_mean_of_the_highest_pixels() -> None:
    masked = np.zeros((10, 10), np.float32)
    masked[0, :4] = (4, 3, 2, 1)
    assert slice_score(masked, Scoring(top_fraction=0.02)) == pytest.approx(3.5)
    assert series_score([1, 5, 3, 4], 3) == pytest.approx(4)


@given(st.integers(0, 2**32 - 1), st.floats(1, 30))
def test_regions_are_the_connected_components(seed: int, smallest: float) -> None:
    noise = np.random.default_rng(seed).normal(size=(48, 64)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 2)
    mask, regions = find_regions(image, 0.1, smallest, (0.5, 2.0))
    assert mask.sum() == sum(region.area_px for region in regions)
    assert np.all(image[mask] > 0.1)
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert region.area_px >= smallest
        assert region.area_mm2 == pytest.approx(region.area_px)
        assert region.peak <= image[y0:y1, x0:x1].max()
    assert [r.peak for r in regions] == sorted((r.peak for r in regions), reverse=True)


def test_regions_are_8_connected_and_boxes_half_open() -> None:
    image = np.zeros((8, 8), np.float32)
    image[1, 1] = image[2, 2] = 1
    mask, (region,) = find_regions(image, 0.5, 1, None)
    assert mask.sum() == 2
    assert region.box == (1, 1, 3, 3)
    assert region.area_mm2 is None


@given(st.integers(20, 120), st.floats(5, 25), st.floats(60, 100))
def test_scalp_is_removed_as_from_a_sphere(radius: int, thickness: float, dome: float) -> None:
    rows, columns = np.mgrid[:256, :256]
    distance = np.hypot(rows - 128, columns - 128)
    inside = inside_skull(distance < radius, thickness, dome)
    height_squared = max(dome**2 - radius**2, 0)
    inner = np.sqrt(max((dome - thickness) ** 2 - height_squared, 0))
    if radius >= dome:
        inner = radius - thickness
    # A disc drawn on pixels is off by up to a pixel in radius, so by this much in radius squared.
    assert inside.sum() / np.pi == pytest.approx(inner**2, abs=3 * radius)


def test_a_map_counts_inside_the_scalp_where_there_is_a_rule() -> None:
    anomaly_map = np.ones((64, 64), np.float32)
    head = np.zeros((64, 64), bool)
    head[8:56, 8:56] = True
    assert without_scalp(anomaly_map, head, None) is anomaly_map
    counted = without_scalp(anomaly_map, head, Scalp(thickness_px=4, dome_px=24))
    assert counted[32, 32] == 1
    assert counted[10, 10] == counted[2, 2] == 0
