from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("keras", reason="needs the extra: training")
metrics = pytest.importorskip("sklearn.metrics", reason="needs the extra: evaluate")

from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training.batches import PreparedImages  # noqa: E402
from gliomart_training.validation import WithLesions, average_precision  # noqa: E402

SIZE = 64
SPEC = Preprocessing(size=SIZE)


class Perfect:
    """What a network would be that knows the untouched images."""

    def __init__(self, lesions: WithLesions) -> None:
        self.known = dict(
            zip(map(bytes, lesions.seen), lesions.untouched, strict=True)
        )  # fmt: skip

    def predict_on_batch(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"reconstruction": np.stack([self.known.get(bytes(x), x) for x in batch])}


class Blind:
    """What a network would be that leaves everything as it is."""

    def predict_on_batch(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"reconstruction": batch}


@pytest.fixture(scope="module")
def lesions() -> WithLesions:
    plain = np.zeros((20, SIZE, SIZE), np.float32)
    brain = np.zeros((20, SIZE, SIZE), bool)
    plain[:, 8:56, 8:56] = 0.4
    brain[:, 12:52, 12:52] = True
    return WithLesions.of(PreparedImages(plain, brain), range(len(plain)), SPEC, side=48, seed=0)


def test_lesions_are_bright_and_in_the_brain(lesions: WithLesions) -> None:
    assert lesions.seen.shape == (20, 48, 48, 1)
    assert lesions.lesions.any(axis=(1, 2)).mean() > 0.5
    assert not lesions.lesions[~lesions.brain].any()
    added = (lesions.seen - lesions.untouched)[..., 0]
    assert added[lesions.lesions].min() > 0.01
    assert np.abs(added[~lesions.brain]).max() == 0


def test_who_removes_lesions_finds_them(lesions: WithLesions) -> None:
    found = lesions.average_precision(Perfect(lesions))  # type: ignore[arg-type]
    missed = lesions.average_precision(Blind())  # type: ignore[arg-type]
    assert found == pytest.approx(1, abs=1e-3)
    assert missed < 0.5
    scores = lesions.scores(Perfect(lesions))  # type: ignore[arg-type]
    assert max(scores["untouched"]) == 0
    assert np.mean(scores["with lesions"]) > 0.02


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, unique_by=lambda x: x[0])
)
def test_average_precision_is_that_of_scikit_learn(scored: list[tuple[int, bool]]) -> None:
    scores, positive = (np.array(column) for column in zip(*scored, strict=True))
    ours = average_precision(scores.astype(np.float32), positive)
    if not positive.any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(metrics.average_precision_score(positive, scores))
