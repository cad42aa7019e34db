"""The figures of an evaluation, against scikit-learn and against doing it the long way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from gliomart_training.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    BEST_DICE,
    BINS,
    Levels,
    Ranking,
    Resamples,
    histogram,
    sensitivity_at,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANKINGS = {
    "average precision": AVERAGE_PRECISION,
    "auroc": AUROC,
    "best dice": BEST_DICE,
    "sensitivity at 90 %": sensitivity_at(0.9),
    "sensitivity at 95 %": sensitivity_at(0.95),
}


def once(patients: int) -> Resamples:
    """Everyone once: a single resample."""
    return Resamples(np.ones((1, patients)))


@pytest.mark.parametrize("ranking", RANKINGS.values(), ids=RANKINGS.keys())
@given(
    # Few distinct scores, so that ties are common.
    scores=hnp.arrays(np.float64, 40, elements=st.integers(-1, 9).map(float)),
    positive=hnp.arrays(np.bool_, 40).filter(lambda labels: labels.any() and not labels.all()),
)
def test_counts_say_what_scikit_learn_says(
    ranking: Ranking, scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> None:
    levels = Levels.of_slices(scores, positive, np.arange(40) % 7, patients=8)
    expected = ranking.measure(positive, scores, sample_weight=np.ones(40))
    counted = ranking.of_counts(levels.positives.sum(0), levels.negatives.sum(0))
    assert counted == pytest.approx(expected)
    assert once(8).rank(levels, ranking).value == pytest.approx(expected, abs=1e-6)


def test_rankings_are_the_known_ones() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(500) < 0.2
    scores = generator.normal(positive, 1.0)
    levels = Levels.of_slices(scores, positive, np.zeros(500, np.intp), patients=1)
    measured = {name: once(1).rank(levels, ranking).value for name, ranking in RANKINGS.items()}
    dice = max(f1_score(positive, scores >= threshold) for threshold in scores)
    cut = np.sort(scores[~positive])[::-1]
    allowed = int(0.1 * len(cut))
    assert measured["average precision"] == pytest.approx(
        average_precision_score(positive, scores), abs=1e-6
    )
    assert measured["auroc"] == pytest.approx(roc_auc_score(positive, scores), abs=1e-6)
    assert measured["best dice"] == pytest.approx(dice, abs=1e-6)
    assert measured["sensitivity at 90 %"] == pytest.approx(
        (scores[positive] > cut[allowed]).mean(), abs=1e-6
    )


def test_a_rate_just_at_its_limit_is_within_it() -> None:
    scores, positive = np.array([3.0, 2, *[1] * 9]), np.array([False, True, *[False] * 9])
    levels = Levels.of_slices(scores, positive, np.zeros(11, np.intp), patients=1)
    figure = once(1).rank(levels, sensitivity_at(0.9))
    assert figure.described() == {"value": 1.0, "interval": [1.0, 1.0]}


@given(st.floats(2.0**-16, 2.0**15, width=32), st.floats(2.0**-16, 2.0**15, width=32))
def test_bins_keep_the_order_and_a_thousandth(one: float, other: float) -> None:
    low, high = sorted((one, other))
    pixels = np.array([[low, high]], np.float32)
    counted = histogram(pixels, np.array([[False, True]]))
    levels = Levels.of_pixels(counted[np.newaxis])
    below, above = levels.scores[[-1, 0]]
    assert below <= low <= below * (1 + 1 / 1024)
    assert above <= high <= above * (1 + 1 / 1024)


def test_nothing_is_lost_outside_the_bins() -> None:
    pixels = np.array([[-5.0, 0.0, 1e-9, 1e9]], np.float32)
    counted = histogram(pixels, np.array([[True, False, False, True]]))
    assert counted.dtype == np.uint32
    assert counted.shape == (2, BINS)
    assert (counted[0, 0], counted[1, 0], counted[1, -1]) == (2, 1, 1)
    assert counted.sum() == pixels.size


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("skew", [0.3, 1.0, 4.0])
def test_binning_moves_average_precision_by_less_than_a_thousandth(
    scale: float, skew: float
) -> None:
    generator = np.random.default_rng(1)
    positive = generator.random((300, 300)) < 0.02
    values = scale * generator.beta(1 + 3 * positive, 4) ** skew
    pixels = (values * (generator.random(values.shape) > 0.6)).astype(np.float32)
    levels = Levels.of_pixels(histogram(pixels, positive)[np.newaxis])
    for ranking in (AVERAGE_PRECISION, BEST_DICE):
        exact = ranking.measure(positive.ravel(), pixels.ravel(), sample_weight=None)
        assert once(1).rank(levels, ranking).value == pytest.approx(exact, abs=1e-3)


def test_eight_bit_pixels_are_not_binned_at_all() -> None:
    generator = np.random.default_rng(2)
    positive = generator.random((64, 64)) < 0.1
    pixels = generator.integers(0, 256, (64, 64)).astype(np.float32)
    levels = Levels.of_pixels(histogram(pixels, positive)[np.newaxis])
    assert set(levels.scores) == set(pixels.ravel())
    exact = average_precision_score(positive.ravel(), pixels.ravel())
    assert once(1).rank(levels, AVERAGE_PRECISION).value == pytest.approx(exact, abs=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16))
def test_a_resample_is_its_patients_put_together(seed: int) -> None:
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(5), 30)
    positive = generator.random(150) < 0.4
    scores = generator.normal(positive, 1.0).round(1)
    levels = Levels.of_slices(scores, positive, patient, patients=5)
    weights = Resamples.draw(5, 1, seed).weights[0]
    drawn = np.concatenate(
        [np.flatnonzero(patient == p) for p in range(5) for _ in range(int(weights[p]))]
    )
    assert weights.sum() == 5
    for ranking in RANKINGS.values():
        literal = ranking.measure(positive[drawn], scores[drawn], sample_weight=np.ones(len(drawn)))
        counted = ranking.of_counts(weights @ levels.positives, weights @ levels.negatives)
        assert counted == pytest.approx(literal)


def test_intervals_are_those_of_an_unvectorised_bootstrap() -> None:
    generator = np.random.default_rng(3)
    patient = np.repeat(np.arange(12), 20)
    positive = generator.random(240) < 0.3
    scores = generator.normal(positive, 1.0)
    resamples = Resamples.draw(12, 200, seed=4)
    levels = Levels.of_slices(scores, positive, patient, patients=12)
    literal = [
        roc_auc_score(positive, scores, sample_weight=weights[patient])
        for weights in resamples.weights
    ]
    figure = resamples.rank(levels, AUROC).described()
    assert figure["interval"] == pytest.approx(np.percentile(literal, (2.5, 97.5)), abs=1e-6)
    assert figure["interval"][0] < figure["value"] < figure["interval"][1]


def test_the_seed_decides_the_resamples() -> None:
    first, second = Resamples.draw(9, 50, seed=1), Resamples.draw(9, 50, seed=1)
    np.testing.assert_array_equal(first.weights, second.weights)
    assert (Resamples.draw(9, 50, seed=2).weights != first.weights).any()


def test_a_ratio_divides_sums() -> None:
    figure = Resamples(np.array([[1.0, 1], [2, 0], [0, 2]])).ratio([1, 3], [4, 4]).described()
    assert figure["value"] == 0.5
    assert figure["interval"] == pytest.approx(np.percentile([0.5, 0.25, 0.75], (2.5, 97.5)))


def test_what_cannot_be_measured_is_none() -> None:
    undefined = {"value": None, "interval": None}
    levels = Levels.of_slices(np.ones(3), np.zeros(3, bool), np.arange(3), patients=3)
    for ranking in RANKINGS.values():
        assert once(3).rank(levels, ranking).described() == undefined
    assert once(2).ratio([0, 0], [0, 0]).described() == undefined


def test_resamples_without_a_tumour_are_left_out_of_intervals() -> None:
    positive, patient = np.array([True, False, False]), np.array([0, 0, 1])
    levels = Levels.of_slices(np.array([2.0, 1, 1]), positive, patient, patients=2)
    figure = Resamples(np.array([[2.0, 0], [0, 2]])).rank(levels, AUROC)
    assert figure.described() == {"value": 1.0, "interval": [1.0, 1.0]}


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    generator = np.random.default_rng(5)
    hard = generator.random(40)
    one, other = hard, hard + generator.normal(0.05, 0.02, 40)
    everyone = np.ones(40)
    resamples = Resamples.draw(40, 500, seed=6)
    paired = resamples.ratio(other, everyone) - resamples.ratio(one, everyone)
    unpaired = Resamples.draw(40, 500, seed=7).ratio(other, everyone) - resamples.ratio(
        one, everyone
    )
    assert paired.value == pytest.approx((other - one).mean())
    widths = [np.ptp(figure.described()["interval"]) for figure in (paired, unpaired)]
    assert 0 < widths[0] < 0.3 * widths[1]


def test_a_difference_from_what_cannot_be_measured_is_none() -> None:
    resamples = Resamples.draw(3, 20, seed=8)
    undefined, defined = resamples.ratio([0] * 3, [0] * 3), resamples.ratio([1] * 3, [2] * 3)
    assert (defined - undefined).described() == {"value": None, "interval": None}
    assert (defined - defined).described() == {"value": 0, "interval": [0, 0]}
