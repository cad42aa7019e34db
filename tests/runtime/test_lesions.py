from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

ndimage = pytest.importorskip("scipy.ndimage")
pytest.importorskip("highdicom")

from gliomart.outputs.dicom.lesions import connect  # noqa: E402

# Regions touch at corners within a slice, and share a pixel with the slices beside it.
_TOUCHING = np.zeros((3, 3, 3), bool)
_TOUCHING[1] = True
_TOUCHING[:, 1, 1] = True

_stacks = hnp.arrays(
    bool, st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()
)


def _maps(masks: NDArray[np.bool_], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(masks.shape, np.float32) + masks


@given(_stacks)
def test_lesions_are_the_connected_parts_of_the_whole_stack(masks: NDArray[np.bool_]) -> None:
    maps = _maps(masks)
    labels, lesions = connect(masks, maps, [True] * (len(masks) - 1))
    expected, count = ndimage.label(masks, structure=_TOUCHING)
    assert len(lesions) == count
    assert np.array_equal(labels > 0, masks)
    for lesion in lesions:
        inside = labels == lesion.number
        (number,) = np.unique(expected[inside])
        assert np.array_equal(inside, expected == number)
        assert sum(lesion.pixels) == inside.sum()
        assert lesion.slices == tuple(np.flatnonzero(inside.any(axis=(1, 2))))
        assert lesion.pixels == tuple(inside[list(lesion.slices)].sum(axis=(1, 2)))
        assert lesion.peak == maps[inside].max()
        rows, columns = np.average(lesion.centres, axis=0, weights=lesion.pixels)
        assert (rows, columns) == pytest.approx(ndimage.center_of_mass(inside)[1:])
    assert [lesion.number for lesion in lesions] == list(range(1, count + 1))
    peaks = [lesion.peak for lesion in lesions]
    assert peaks == sorted(peaks, reverse=True)


@given(_stacks, st.data())
def test_nothing_connects_across_a_gap(masks: NDArray[np.bool_], data: st.DataObject) -> None:
    between = len(masks) - 1
    adjacent = data.draw(st.lists(st.booleans(), min_size=between, max_size=between))
    _, lesions = connect(masks, _maps(masks), adjacent)
    starts = [0, *(i + 1 for i, touches in enumerate(adjacent) if not touches), len(masks)]
    runs = [masks[a:b] for a, b in pairwise(starts)]
    assert len(lesions) == sum(ndimage.label(run, structure=_TOUCHING)[1] for run in runs)
