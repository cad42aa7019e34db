"""Slices of a series that are scored with their neighbours, and outlined without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gliomart import Detector
from gliomart.findings.scoring import averaged
from gliomart.image.slices import Slice
from gliomart.model.card import METADATA_KEY
from gliomart.model.contents import Scalp, Scoring
from samples import card, draw_head, tiny_model

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = (0.25, 0.5, 0.25)
SLICES, LESION = 7, 3


def detector(folder: Path, scoring: Scoring, **changes: object) -> Detector:
    known = card(scoring=scoring, **changes)
    path = tiny_model(folder / "m.onnx", metadata={METADATA_KEY: known.to_json()})
    return Detector(path, provider="cpu")


def head(number: int) -> Slice:
    pixels = draw_head(lesion=0.9 * (number == LESION), seed=number)
    return Slice(pixels, source=str(number))


def test_a_lesion_raises_the_scores_of_its_neighbours_and_no_outline(tmp_path: Path) -> None:
    heads = [head(number) for number in range(SLICES)]
    apart = detector(tmp_path, Scoring()).detect_series(heads).slices
    beside = detector(tmp_path, Scoring(neighbours=WEIGHTS)).detect_series(heads).slices
    gains = np.array([b.score - a.score for a, b in zip(apart, beside, strict=True)])
    assert gains[LESION] < -0.4 * apart[LESION].score
    assert (gains[[LESION - 1, LESION + 1]] > 0.2 * apart[LESION].score).all()
    assert np.abs(gains[[0, 1, 5, 6]]).max() < 0.01 * apart[LESION].score
    for a, b in zip(apart, beside, strict=True):
        assert np.array_equal(a.anomaly_map, b.anomaly_map)
        assert a.regions == b.regions


def test_an_image_by_itself_has_no_neighbours(tmp_path: Path) -> None:
    apart = detector(tmp_path, Scoring()).detect(head(LESION))
    assert detector(tmp_path, Scoring(neighbours=WEIGHTS)).detect(head(LESION)).score == apart.score


def p_values(folder: Path, weights: tuple[float, ...], slices: list[Slice]) -> list[float]:
    """Of slices that are analysed; 1 by scores of slices alone, .1 by those in their series."""
    calibration = card().calibration
    assert calibration is not None
    low, high = (0.0,) * 9, (1.0,) * 9
    apart = replace(calibration, slice_scores=low, single_scores=high)
    model = detector(folder, Scoring(neighbours=weights), calibration=apart)
    if len(slices) == 1:
        return [model.detect(slices[0]).p_value]
    return [result.p_value for result in model.detect_series(slices).slices]


def test_a_slice_without_analysed_neighbours_is_held_against_slices_alone(tmp_path: Path) -> None:
    blank = Slice(np.zeros((256, 256), np.float32), source="blank")
    slices = [head(LESION), blank, head(LESION), head(LESION), blank, head(LESION), blank]
    assert p_values(tmp_path, WEIGHTS, slices) == pytest.approx([1.0, 0.1, 0.1, 1.0])
    assert p_values(tmp_path, WEIGHTS, slices[:1]) == pytest.approx([1.0])


def test_where_neighbours_count_nothing_a_series_is_held_against_series(tmp_path: Path) -> None:
    assert p_values(tmp_path, (), [head(LESION)] * 2) == pytest.approx([0.1] * 2)
    assert p_values(tmp_path, (), [head(LESION)]) == pytest.approx([1.0])


def test_the_scalp_counts_no_more_with_neighbours_than_without(tmp_path: Path) -> None:
    everything = Scalp(thickness_px=200.0, dome_px=200.0)  # of such a head nothing lies inside
    heads = [head(number) for number in range(SLICES)]
    for weights in ((), WEIGHTS):
        scoring = Scoring(scalp=everything, neighbours=weights)
        found = detector(tmp_path, scoring).detect_series(heads)
        assert [result.score for result in found.slices] == [0.0] * SLICES


@pytest.mark.parametrize("missing", [(), (0,), (2,), (0, 2)])
def test_neighbours_that_are_not_there_weigh_nothing(missing: tuple[int, ...]) -> None:
    maps = [np.full((4, 4), value, np.float32) for value in (1.0, 2.0, 4.0)]
    known = [None if number in missing else values for number, values in enumerate(maps)]
    there = [number for number in range(3) if number not in missing]
    expected = np.average([2.0**number for number in there], weights=[WEIGHTS[n] for n in there])
    assert averaged(known, WEIGHTS) == pytest.approx(np.full((4, 4), expected))
