from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart.errors import InputRefusedError
from gliomart.image.grid import Box, crop, uncrop
from gliomart.image.normalisation import Normalisation, estimate_normalisation
from gliomart.image.preprocess import equalise, normalise, prepare, stack_channels
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing
from samples import draw_head

boxes = st.builds(
    Box,
    x=st.integers(-300, 600),
    y=st.integers(-300, 600),
    width=st.integers(8, 900),
    height=st.integers(8, 900),
)
points = st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000))


@given(boxes, points, st.sampled_from([64, 256]))
def test_a_point_mapped_in_and_back_returns(
    box: Box, point: tuple[float, float], size: int
) -> None:
    there = box.to_model(np.array([point]), size)
    assert np.abs(box.to_source(there, size) - point).max() < 1e-6


@given(
    st.integers(64, 700),
    st.integers(64, 700),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.8),
    st.floats(0.6, 1.3),
)
def test_pixels_take_the_way_that_points_take(
    height: int, width: int, fx: float, fy: float, scale: float
) -> None:
    """A blob lands where ``to_model`` says, and comes back within half a pixel."""
    side = round(max(height, width) * scale)
    box = Box((width - side) // 2, (height - side) // 2, side, side)
    x, y = box.x + fx * side, box.y + fy * side
    rows, columns = np.mgrid[:height, :width]
    sigma = max(2.0, 3 * side / 256)
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).astype(np.float32)
    margin = 4 * sigma
    if not (margin < x < width - margin and margin < y < height - margin):
        return
    inside = crop(blob, box, 256, 0.0)
    expected = box.to_model(np.array([[x, y]]), 256)[0]
    assert np.abs(_centroid(inside) - expected).max() < 0.5 * max(1, 256 / side)
    back = uncrop(inside, box, (height, width))
    assert np.abs(_centroid(back) - (x, y)).max() < 0.5


def _centroid(image: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    weights = image - image.min()
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def test_the_frame_holds_the_head_and_its_brightness() -> None:
    frame = estimate_normalisation(
        [Slice(draw_head((320, 256), seed=s)) for s in range(5)], Preprocessing()
    )
    box = frame.box
    # The scalp's outline: 0.4 of the height up and down, 0.32 of the width left and right.
    assert box.y < 160 - 128 + 3
    assert box.y + box.height > 160 + 128 - 3
    assert box.height < 1.2 * 256
    assert frame.brain == pytest.approx(400, rel=0.03)


def test_the_box_is_square_in_millimetres() -> None:
    box = estimate_normalisation([Slice(draw_head(), spacing=(2.0, 1.0))], Preprocessing()).box
    assert box.width == pytest.approx(2 * box.height, abs=1)


def test_brightness_does_not_depend_on_the_scanner_scale() -> None:
    spec = Preprocessing()
    prepared = []
    for gain, offset in ((1.0, 0.0), (0.13, 0.0), (7.0, -1024.0)):
        scan = Slice(draw_head() * np.float32(gain) + np.float32(offset))
        prepared.append(prepare(scan, estimate_normalisation([scan], spec), spec).plain)
    assert np.abs(prepared[0] - prepared[1]).max() < 0.01
    assert np.abs(prepared[0] - prepared[2]).max() < 0.01
    assert np.median(prepared[0][100:156, 100:156]) == pytest.approx(0.4, abs=0.02)


def test_channels_follow_the_specification() -> None:
    plain = normalise(draw_head(), Normalisation(Box(0, 0, 256, 256), 0.0, 400.0), Preprocessing())
    spec = Preprocessing(channels=("clahe", "plain"))
    stacked = stack_channels(plain, spec)
    assert stacked.shape == (256, 256, 2)
    assert stacked.dtype == np.float32
    assert np.array_equal(stacked[..., 1], plain)
    assert np.array_equal(stacked[..., 0], equalise(plain, spec))


def test_a_slice_without_a_head_is_refused() -> None:
    spec = Preprocessing()
    frame = estimate_normalisation([Slice(draw_head())], spec)
    nearly_blank = Slice(np.random.default_rng(0).normal(5, 2, (256, 256)).astype(np.float32))
    with pytest.raises(InputRefusedError) as refused:
        prepare(nearly_blank, frame, spec)
    assert refused.value.code == "blank-slice"
