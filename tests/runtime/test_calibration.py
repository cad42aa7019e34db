"""From scores to thresholds: what is promised, and what ill patients among them can do to it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import Detector
from gliomart.errors import DatasetError
from gliomart.findings.calibration import (
    SectionValues,
    SeriesScores,
    calibrated,
    calibrated_pons,
    kept,
)
from gliomart.findings.scoring import p_value
from gliomart.image.slices import Slice
from gliomart.model.contents import PONS
from samples import PONS_RULES, card, draw_head, tiny_model

_PATIENTS = st.lists(
    st.lists(st.integers(0, 9).map(float), min_size=1, max_size=4), min_size=2, max_size=6
)


def _scores(slices: tuple[float, ...], pixels: int = 1000) -> SeriesScores:
    highest = np.linspace(0.5, 1, 100, dtype=np.float32)
    return SeriesScores(slices, slices, max(slices), highest, pixels, (), ())


@given(_PATIENTS, st.integers(-1, 10).map(float), st.sampled_from([0.0, 0.2, 0.34, 0.5]))
def test_no_p_value_is_below_the_one_against_the_healthy_alone_whoever_they_are(
    patients: list[list[float]], score: float, contaminated: float
) -> None:
    ill = int(contaminated * len(patients) + 1e-9)
    p = p_value(score, kept(patients, contaminated))
    for healthy in combinations(patients, len(patients) - ill):
        assert p >= p_value(score, sorted(x for patient in healthy for x in patient)) - 1e-12


def test_without_ill_patients_every_score_counts() -> None:
    assert kept([[0.3, 0.1], [0.2]]) == (0.1, 0.2, 0.3)


def test_the_share_of_ill_patients_is_rounded_down_as_written() -> None:
    assert len(kept([[float(n)] for n in range(100)], 0.29)) == 71


def test_very_many_scores_are_thinned_to_p_values_that_are_hardly_larger() -> None:
    scores = np.random.default_rng(0).random(50_000)
    thinned = kept([scores.tolist()])
    assert len(thinned) <= 20_000
    for score in (0.01, 0.5, 0.95, 0.9999, 1.0):
        p = p_value(score, np.sort(scores).tolist())
        assert p - 1e-9 <= p_value(score, thinned) <= p + 2e-4


def test_a_patient_of_several_series_is_one_patient() -> None:
    known = card().calibration
    assert known is not None
    one, other = _scores((0.1, 0.2)), _scores((0.3,))
    found = calibrated(known, [(one, other), (one,), ()], method="m")
    assert found.patients == 2
    assert len(found.series_scores) == 3
    assert found.slice_scores == (0.1, 0.1, 0.2, 0.2, 0.3)
    assert found.single_scores == found.slice_scores
    assert (found.false_alarm_rate, found.method) == (known.false_alarm_rate, "m")


def test_the_pixel_threshold_rises_with_the_share_that_may_be_ill() -> None:
    known = card().calibration
    assert known is not None
    patients = [(_scores((0.1,), pixels=10_000),) for _ in range(10)]
    clean, careful = (
        calibrated(known, patients, method="", contaminated=share).pixel_threshold
        for share in (0.0, 0.3)
    )
    assert clean < careful


def test_slices_that_have_no_score_by_themselves_leave_that_open() -> None:
    known = card().calibration
    assert known is not None
    alone = replace(_scores((0.1,)), singles=())
    assert calibrated(known, [(alone,)], method="").single_scores is None


def test_no_patient_at_all_is_an_error() -> None:
    known = card().calibration
    assert known is not None
    with pytest.raises(DatasetError, match="not one tumour-free slice"):
        calibrated(known, [()], method="")


def test_scores_of_a_series_are_those_that_the_detector_gives(tmp_path: Path) -> None:
    detector = Detector(tiny_model(tmp_path / "m.onnx", pons=True), provider="cpu")
    result = detector.detect_series([Slice(draw_head(lesion=n / 4, seed=n)) for n in range(4)])
    alone = [detector.detect(each.slice) for each in result.slices]
    numbered = zip(range(4), result.slices, alone, strict=True)
    scores = SeriesScores.of(numbered, detector.card)
    assert scores is not None
    assert result.verdict is not None
    assert scores.score == result.verdict.score
    assert scores.slices == tuple(each.score for each in result.slices)
    assert scores.pixels == sum(each.anomaly_map.size for each in result.slices)
    assert scores.highest.max() == max(each.anomaly_map.max() for each in result.slices)
    assert scores.singles == tuple(each.score for each in alone)
    assert len(scores.sections) == 4
    assert len(scores.single_sections) == 4
    assert SeriesScores.of([], detector.card) is None


def _sections(*numbers: int) -> SeriesScores:
    """Sections of which each is by itself scored as the number of its slice."""
    usual, pixels = PONS_RULES.medians, np.zeros(1, np.float32)
    shown = tuple(
        SectionValues(n, replace(usual, size=usual.size + 0.1 * n), 0.0, pixels) for n in numbers
    )
    return replace(_scores((0.1,)), sections=shown, single_sections=shown)


def test_sections_calibrate_by_their_scores_among_those_beside_them() -> None:
    known = replace(PONS_RULES, neighbours=(0.25, 0.5, 0.25))
    found = calibrated_pons(known, [(_sections(3, 5, 4), _sections(8)), (_sections(1, 3),)])
    assert found.slice_scores == pytest.approx((1.0, 3.0, 10 / 3, 4.0, 14 / 3, 8.0))
    assert found.single_scores == pytest.approx((1.0, 3.0, 3.0, 4.0, 5.0, 8.0))
    assert found.series_scores == pytest.approx((2.0, 13 / 3, 8.0))


def test_sections_of_different_series_do_not_lie_beside_each_other() -> None:
    known = replace(PONS_RULES, neighbours=(0.25, 0.5, 0.25))
    found = calibrated_pons(known, [(_sections(3), _sections(4)), (_sections(5),)])
    assert found.slice_scores == found.single_scores


def test_sections_with_their_own_scores_are_so_wherever_they_are() -> None:
    found = calibrated_pons(PONS_RULES, [(_sections(3, 4, 5),)])
    assert found.slice_scores == pytest.approx((3.0, 4.0, 5.0))
    assert found.single_scores == found.slice_scores


def test_sections_that_are_not_seen_by_themselves_leave_that_open() -> None:
    unseen = replace(_sections(3, 4, 5), single_sections=())
    assert calibrated_pons(PONS_RULES, [(unseen,)]).single_scores is None


def test_a_section_is_calibrated_by_the_score_that_the_detector_gives_it(tmp_path: Path) -> None:
    rules = replace(PONS_RULES, neighbours=(0.25, 0.5, 0.25))
    metadata = {"gliomart": card(pons=rules).to_json()}
    detector = Detector(tiny_model(tmp_path / "m.onnx", metadata=metadata, pons=True))
    slices = [Slice(draw_head(seed=n) * (n != 2), source=str(n)) for n in range(6)]
    result = detector.detect_series(slices)
    assert len(result.slices) == 5
    numbered = [(int(each.slice.source), each, None) for each in result.slices]
    scores = SeriesScores.of(numbered, detector.card)
    assert scores is not None
    given = [each.structures[PONS].score for each in result.slices]
    found = calibrated_pons(rules, [(scores,)])
    assert found.slice_scores == pytest.approx(sorted(given), abs=1e-6)
