"""Morphology of maps, held against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra: training")

from gliomart_training.morphology import filled, highest, opened  # noqa: E402
from gliomart_training.residual import Residual  # noqa: E402


def _of(function: object, plane: np.ndarray, side: int) -> np.ndarray:
    values = function(plane[np.newaxis, ..., np.newaxis].astype(np.float32), side)  # type: ignore[operator]
    return np.asarray(keras.ops.convert_to_numpy(values)[0, ..., 0])


def _windows(plane: np.ndarray, side: int, reduce: object, outside: float) -> np.ndarray:
    reach = side // 2
    padded = np.pad(plane, reach, constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    return np.asarray(reduce(windows, axis=(2, 3)))  # type: ignore[operator]


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_opening_is_the_highest_of_the_lowest(side: int) -> None:
    plane = np.random.default_rng(side).random((32, 40)).astype(np.float32)
    assert np.array_equal(_of(highest, plane, side), _windows(plane, side, np.max, -np.inf))
    lowest = _windows(plane, side, np.min, np.inf)
    assert np.array_equal(_of(opened, plane, side), _windows(lowest, side, np.max, -np.inf))


def test_opening_takes_specks() -> None:
    plane = np.zeros((32, 32))
    plane[2:5, 2:5] = plane[10:26, 10:26] = 1
    assert np.array_equal(_of(opened, plane, 5)[:9, :9], np.zeros((9, 9)))
    assert _of(opened, plane, 5)[10:26, 10:26].all()


def test_a_gap_within_a_lesion_is_filled_up_to_the_weakest_side() -> None:
    plane = np.zeros((64, 64))
    plane[10:50, 10:50] = 1.0
    plane[40:50, 10:50] = 0.5  # the side below
    plane[16:40, 16:44] = 0.0
    shown = _of(filled, plane, 31)
    assert np.allclose(shown[16:40, 16:44], 0.5)
    assert np.array_equal(shown[:10], plane[:10])


def test_two_lesions_beside_each_other_are_not_joined() -> None:
    plane = np.zeros((64, 64))
    plane[20:40, 10:20] = plane[20:40, 30:40] = 1.0
    assert np.array_equal(_of(filled, plane, 31), plane)


def test_a_gap_that_is_too_wide_stays() -> None:
    plane = np.zeros((64, 64))
    plane[4:60, 4:60] = 1.0
    plane[10:54, 10:54] = 0.0
    assert np.array_equal(_of(filled, plane, 31), plane)
    assert _of(filled, plane, 61)[10:54, 10:54].all()


def test_a_map_reaches_a_lesion_s_border_and_not_beyond() -> None:
    """A correction that ends softly, within a lesion that does not."""
    image = np.full((1, 64, 64, 1), 0.4, np.float32)
    image[0, 20:40, 20:40] = 0.7
    expected = image.copy()
    expected[0, 23:37, 23:37] = 0.4
    outputs = {"reconstruction": expected, "brain": np.ones_like(image)}
    shown = keras.ops.convert_to_numpy(Residual(smoothing_px=0.3).anomaly_map(image, outputs))
    assert (shown[0, 20:40, 20:40] > 0.2).all()
    assert (np.delete(shown[0, ..., 0], np.s_[20:40], axis=0) < 0.01).all()
