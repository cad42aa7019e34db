"""Curves beside scikit-learn's, and the pictures that an evaluation leaves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve, roc_curve

from gliomart import cli
from gliomart_training.evaluation import gallery
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.curves import dice_by_threshold, precision_recall, roc
from gliomart_training.evaluation.metrics import Levels, Resamples
from gliomart_training.evaluation.panel import Candidate
from heads import write_heads, write_model

PATIENTS = 5
_SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.8]), st.booleans()),
    min_size=2, max_size=40,
).filter(lambda scored: len({positive for _, positive in scored}) == 2)  # fmt: skip


def _levels(scored: list[tuple[float, bool]]) -> tuple[Levels, np.ndarray, np.ndarray]:
    scores, labels = (np.array(column) for column in zip(*scored, strict=True))
    patients = np.arange(len(scored)) % PATIENTS
    return Levels.of_slices(scores, labels, patients, PATIENTS), scores, labels


@given(_SCORED)
def test_curves_are_those_of_scikit_learn(scored: list[tuple[float, bool]]) -> None:
    levels, scores, labels = _levels(scored)
    resamples = Resamples.draw(PATIENTS, 20, seed=0)

    curve = precision_recall(levels, resamples)
    precision, recall, _ = precision_recall_curve(labels, scores)
    # Both come by rising threshold: the last that still reaches a recall has the highest one.
    reaching = [np.flatnonzero(recall[:-1] >= share)[-1] for share in curve.x]
    np.testing.assert_allclose(curve.y, precision[reaching])

    curve = roc(levels, resamples)
    false, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    allowed = [np.flatnonzero(false <= share)[-1] for share in curve.x]
    np.testing.assert_allclose(curve.y, found[allowed])

    curve = dice_by_threshold(levels, resamples, used=0.2)
    for threshold, dice in zip(curve.x[::20], curve.y[::20], strict=True):
        assert dice == pytest.approx(f1_score(labels, scores >= threshold, zero_division=0.0))


@given(_SCORED, st.integers(0, 9))
def test_bands_lie_where_resamples_do(scored: list[tuple[float, bool]], seed: int) -> None:
    levels, *_ = _levels(scored)
    curve = roc(levels, Resamples.draw(PATIENTS, 40, seed))
    defined = np.isfinite(curve.low)
    assert (curve.low <= curve.high)[defined].all()
    certain = roc(levels, Resamples(np.ones((3, PATIENTS))))
    np.testing.assert_array_equal(certain.low, certain.y)
    np.testing.assert_array_equal(certain.high, certain.y)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "brightness.onnx")


def test_the_command_leaves_plots_where_it_is_told_to(
    data: Path, model: Path, tmp_path: Path
) -> None:
    command = ["evaluate", str(data), "--model", str(model), "--split", "dev"]
    command += ["--provider", "cpu", "--bootstrap", "20"]
    assert cli.main([*command, "--plots", str(tmp_path / "plots")]) == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "curves.png", "scores.png", "dice.png", "gallery.png",
    }  # fmt: skip
    for path in (tmp_path / "plots").iterdir():
        assert min(cv2.imread(str(path)).shape[:2]) > 400
    compare = ["evaluate", str(data), "--compare", str(model), str(model), "--plots", "plots"]
    assert cli.main(compare) == 2


def test_the_gallery_takes_the_best_and_the_worst(data: Path, model: Path) -> None:
    panel = Candidate(data, model, split="dev", provider="cpu").panel()
    cohort: Cohort = panel.observe(Resamples.draw(len(panel.pairs), 5, seed=0))
    chosen = gallery._chosen(cohort)
    every = [
        (outcome.dice, patient, number)
        for patient, one in enumerate(cohort.patients)
        for number, outcome in enumerate(one.slices)
        if outcome.kind == "tumour" and outcome.analysed
    ]
    assert chosen["outlined best"][0] == max(every)[1:]
    assert chosen["outlined worst"][0] == min(every)[1:]
    kinds = {cohort.patients[p].slices[n].kind for p, n in chosen["tumour-free, highest scores"]}
    assert kinds == {"tumour-free"}
    drawn = gallery.gallery(panel, cohort)
    assert len(drawn.subfigs) == 4
