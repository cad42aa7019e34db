from __future__ import annotations

import cv2
import numpy as np
import pytest

from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing
from gliomart_training.brain import brain_masks
from samples import draw_head


def _prepared(
    pixels: list[np.ndarray], size: int = 256
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    spec = Preprocessing(size=size)
    slices = [Slice(plane) for plane in pixels]
    frame = estimate_normalisation(slices, spec)
    inputs = [prepare(one, frame, spec) for one in slices]
    return [i.plain for i in inputs], [i.head for i in inputs]


def test_the_brain_is_what_lies_inside_the_skull() -> None:
    planes, heads = _prepared([draw_head(seed=seed) for seed in range(5)])
    for plane, mask in zip(planes, brain_masks(planes, heads), strict=True):
        truth = cv2.erode((cv2.blur(plane, (3, 3)) > 0.3).astype(np.uint8), np.ones((25, 25)))
        assert mask[truth > 0].all()  # deep in the head there is only brain
        assert not mask[plane > 0.75].any()  # the scalp
        assert 0.5 < mask.sum() / heads[0].sum() < 0.85


def test_the_brain_is_the_same_on_a_coarser_grid() -> None:
    pixels = [draw_head(seed=seed) for seed in range(5)]
    fine, coarse = (brain_masks(*_prepared(pixels, size)) for size in (256, 64))
    for one, other in zip(fine, coarse, strict=True):
        assert other.shape == (64, 64)
        assert other.mean() == pytest.approx(one.mean(), rel=0.1)


def test_a_bright_piece_beside_the_brain_is_not_followed_downwards() -> None:
    pixels = [draw_head(seed=seed) for seed in range(5)]
    neck = pixels[0] * 0
    cv2.circle(neck, (128, 128), 90, 100, cv2.FILLED)
    for x in (80, 176):  # muscles, as bright as brain, beside where it was
        cv2.circle(neck, (x, 60), 22, 400, cv2.FILLED)
    planes, heads = _prepared([neck, *pixels])
    lowest = brain_masks(planes, heads)[0]
    assert lowest.mean() < 0.01


def test_no_slices_have_no_brains() -> None:
    assert brain_masks([], []) == []
