"""What measures the brain output: its outlines, its changes to slices, its counting."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from samples import SHARED, draw_head, needs_real_images

pytest.importorskip("nilearn", reason="the simulation needs the extra gliomart[simulation]")

import brains
from gliomart import Detector
from gliomart.image.slices import Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult


@pytest.fixture(scope="module")
def head() -> NDArray[np.float32]:
    return draw_head(seed=1)


@pytest.fixture(scope="module")
def brain(head: NDArray[np.float32]) -> NDArray[np.bool_]:
    y, x = np.indices(head.shape)
    middle = np.array(head.shape) / 2
    return np.hypot(y - middle[0], x - middle[1]) < head.shape[0] / 6


@pytest.fixture(scope="module")
def result(head: NDArray[np.float32]) -> SliceResult:
    return Detector(force=True).detect(Slice(head))


def test_every_outlined_slice_is_named_once_and_lies_within_its_image() -> None:
    marked = json.loads(brains.MARKED.read_text())["slices"]
    names = [(entry["image"], entry.get("frame")) for entry in marked]
    assert len(names) == len(set(names)) == 36
    for entry in marked:
        assert entry["level"] in brains.LEVELS
        for outline in entry["brain"]:
            assert len(outline) > 5
            assert 0 <= np.min(outline) <= np.max(outline) < (320 if "frame" in entry else 256)


@needs_real_images
@pytest.mark.slow
def test_outlines_meet_the_slices_that_they_were_drawn_on() -> None:
    for series in brains.marked_series(SHARED / "data"):
        for number, mask in series.brains.items():
            pixels = series.slices[number].pixels
            if mask.any():  # a brain is no air
                assert np.median(pixels[mask]) > 2 * np.median(pixels[:8])


def test_a_lesion_covers_the_share_that_was_asked_for_and_stays_in_the_brain(
    head: NDArray[np.float32], brain: NDArray[np.bool_]
) -> None:
    for size in brains.LESION_SIZES:
        changed, lesion = brains.lesion(size, 3.0)(head, brain, 7)
        assert lesion is not None
        assert lesion.sum() == pytest.approx(size * brain.sum(), rel=0.05)
        np.testing.assert_array_equal(changed[~brain], head[~brain])
        assert np.median(changed[lesion]) > 2 * np.median(head[brain])


@pytest.mark.parametrize("name", brains.SURROUNDINGS)
def test_what_changes_the_surroundings_leaves_the_brain_as_it_is(
    name: str, head: NDArray[np.float32], brain: NDArray[np.bool_]
) -> None:
    changed, lesion = brains.SURROUNDINGS[name](head, brain, 0)
    assert lesion is None
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(changed[brain], head[brain])
    assert not np.array_equal(changed, head)


def test_a_slice_without_a_brain_can_be_changed_as_well(head: NDArray[np.float32]) -> None:
    none = np.zeros(head.shape, bool)
    for change in (brains.lesion(0.1, 2.0), *brains.SURROUNDINGS.values()):
        assert change(head, none, 0)[0].shape == head.shape


def test_the_output_itself_as_outline_has_a_dice_of_one_and_no_leak(result: SliceResult) -> None:
    told = brains.compare(_on_source_grid(result), result.slice.pixels > np.inf, None)
    assert told["dice"] is None
    assert told["leak_px"] == told["found_px"]
    seen = _on_source_grid(result)
    assert seen.brain is not None
    told = brains.compare(seen, seen.brain >= 0.5, seen.brain >= 0.5)
    assert told["dice"] == told["kept"] == 1
    assert told["leak_px"] == 0


def test_a_slice_that_was_not_analysed_is_counted_as_lost() -> None:
    good = {"found_px": 100, "leak_px": 1, "dice": 0.96, "missed": 0.02}
    told = brains.summary([good, {"dice": 0.0}])
    assert (told["slices"], told["not_analysed"], told["dice_at_least_0.95"]) == (2, 1, 0.5)
    assert told["leak"] == 0.01


def _on_source_grid(result: SliceResult) -> SliceResult:
    """Say that the model's grid is the source's, and that half of it is brain."""
    assert result.brain is not None
    size = len(result.brain)
    half = np.zeros((size, size), np.float32)
    half[: size // 2] = 1
    box = replace(result.normalisation.box, x=0, y=0, width=size, height=size)
    return replace(result, brain=half, normalisation=replace(result.normalisation, box=box))
