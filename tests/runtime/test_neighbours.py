"""Slices, and sections of the pons, that are scored with their neighbours and outlined without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import Detector
from gliomart.findings.scoring import averaged, averaged_score
from gliomart.image.slices import Slice
from gliomart.model.card import METADATA_KEY
from gliomart.model.contents import Scalp, Scoring
from samples import PONS_RULES, card, draw_head, tiny_model

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


@given(st.lists(st.none() | st.floats(0, 1e3), min_size=3, max_size=3), st.floats(0, 1e3))
def test_an_averaged_score_lies_between_the_least_and_the_greatest(
    beside: list[float | None], own: float
) -> None:
    row = [beside[0], own, beside[1]]
    there = [score for score in row if score is not None]
    found = averaged_score(row, WEIGHTS)
    assert min(there) <= found + 1e-9
    assert found <= max(there) + 1e-9
    assert averaged_score([None, own, None], WEIGHTS) == own


def pons_detector(folder: Path, weights: tuple[float, ...]) -> Detector:
    """Sections are 1 in p by scores of sections by themselves, below it by those in series."""
    alone = (1e3,) * 29 if weights else None
    rules = replace(PONS_RULES, neighbours=weights, single_scores=alone)
    metadata = {METADATA_KEY: card(pons=rules).to_json()}
    return Detector(tiny_model(folder / "pons.onnx", metadata=metadata, pons=True), provider="cpu")


def pons_head(number: int, *, hidden: bool = False, shape: tuple[int, int] = (256, 256)) -> Slice:
    """A head, every third of which has a bright pons; where it is hidden, there is no brain."""
    pixels, place = draw_head(shape, seed=number), (shape[1] // 2 + 1, shape[0] // 2 + 30)
    if number % 3 == 0:
        cv2.circle(pixels, place, 12, 700.0, cv2.FILLED)
    if hidden:
        cv2.circle(pixels, place, 30, 0.0, cv2.FILLED)
    return Slice(pixels, source=str(number))


def pons_scores(detector: Detector, slices: list[Slice]) -> list[float | None]:
    found = detector.detect_series(slices).slices
    assert [each.slice.source for each in found] == [each.source for each in slices]
    return [each.pons.score if each.pons else None for each in found]


def test_a_section_is_scored_with_those_above_and_below_that_show_the_pons(tmp_path: Path) -> None:
    slices = [pons_head(number, hidden=number in {2, 6}) for number in range(9)]
    own = pons_scores(pons_detector(tmp_path, ()), slices)
    found = pons_scores(pons_detector(tmp_path, WEIGHTS), slices)
    assert [score is None for score in own] == [number in {2, 6} for number in range(9)]
    padded = [None, *own, None]
    for number, score in enumerate(found):
        if own[number] is None:
            assert score is None
        else:
            assert score == averaged_score(padded[number : number + 3], WEIGHTS)
    assert found != own


def test_sections_on_different_grids_lie_beside_each_other(tmp_path: Path) -> None:
    slices = [pons_head(0), pons_head(1, shape=(240, 256))]
    one, other = pons_scores(pons_detector(tmp_path, ()), slices)
    assert one is not None
    assert other is not None
    found = pons_scores(pons_detector(tmp_path, WEIGHTS), slices)
    assert found == pytest.approx([(2 * one + other) / 3, (one + 2 * other) / 3])


def test_a_section_by_itself_has_its_own_score_among_those_of_such(tmp_path: Path) -> None:
    detector, blank = pons_detector(tmp_path, WEIGHTS), Slice(np.zeros((256, 256), np.float32))
    alone = detector.detect(pons_head(0)).pons
    (by_itself,) = detector.detect_series([pons_head(0)]).slices
    (between,) = detector.detect_series([blank, pons_head(0), blank]).slices
    assert alone is not None
    assert (alone.p_value, alone.flagged) == (1.0, False)
    assert alone.score == pytest.approx(pons_scores(pons_detector(tmp_path, ()), [pons_head(0)])[0])
    for each in (by_itself, between):
        assert each.pons is not None
        assert (each.pons.score, each.pons.p_value) == (alone.score, 1.0)


def test_a_section_whose_neighbours_show_no_pons_is_still_one_of_a_series(tmp_path: Path) -> None:
    slices = [pons_head(1, hidden=True), pons_head(0), pons_head(2, hidden=True)]
    own = pons_scores(pons_detector(tmp_path, ()), slices)
    found = pons_detector(tmp_path, WEIGHTS).detect_series(slices).slices[1].pons
    assert found is not None
    assert found.score == own[1]
    assert found.p_value is not None
    assert found.p_value < 1
