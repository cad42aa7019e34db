"""A model's card for people, whatever the card holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import Detector
from gliomart.cli.leaflet import leaflet
from gliomart.model.contents import InputImage
from samples import card, tiny_model

_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
        ["method", "slice_auroc", "value", "interval", "dataset", "counts", "model", "name"]
    ), inner),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), provider="cpu")


def _shown(detector: Detector, width: int = 80, **changes: object) -> str:
    why_not = {"cpu": None, "cuda": "no such card"}
    return leaflet(card(**changes), detector.calibration, detector.settings, why_not, width)


def test_it_says_what_the_card_says_and_what_it_does_not(detector: Detector) -> None:
    shown = _shown(detector)
    assert shown.startswith("tiny 1\n")
    for line in (
        "  tests; not a medical device",
        "  The card does not say.",
        "  Nothing that the card tells of.",
        "  not on cuda: no such card",
        "  licence of the weights: none",
    ):
        assert line in shown.splitlines()
    assert "not on cpu" not in shown


def test_it_says_whether_masks_taught_the_model_and_what_it_is_built_on(
    detector: Detector,
) -> None:
    base = {"role": "teacher", "network": "dae", "seed": 3, "sha256": "ab" * 32, "saw_masks": False}
    told = _shown(detector, training={"saw_masks": False, "built_on": [base]})
    assert "  No tumour mask taught it." in told.splitlines()
    assert "  Built on dae, seed 3, as its teacher: abababababab." in told.splitlines()
    bases = [base | {"saw_masks": True}]
    told = _shown(detector, 200, training={"saw_masks": True, "built_on": bases})
    assert "Tumour masks taught it, or a network that it is built on" in told
    assert "as its teacher, which saw masks: abab" in told


def test_it_says_which_sequences_a_model_needs_and_which_may_stand_beside(
    detector: Detector,
) -> None:
    images = [InputImage("MR", name, required=name == "FLAIR") for name in ("FLAIR", "T1", "T2")]
    shown = " ".join(_shown(detector, images=tuple(images)).split())
    told = (
        "axial FLAIR (MR) of the head, and beside it, as far as they are there, T1 (MR) and T2 (MR)"
    )
    assert f"Made for {told}." in shown
    assert "Made for axial FLAIR (MR) of the head." in _shown(detector)


def test_figures_come_with_intervals_and_with_the_model_they_were_measured_on(
    detector: Detector,
) -> None:
    metrics: dict[str, Any] = {
        "model": {"name": "tiny", "version": "0"},
        "dataset": {"folder": "scans", "split": None, "counts": {"patients": 7}},
        "method": {"slice_auroc": {"value": 0.9, "interval": [0.8, 0.95]}, "dice": None},
    }
    shown = _shown(detector, metrics=metrics)
    assert "  slice AUROC" in shown
    assert "0.900 [0.800, 0.950]" in shown
    assert "On scans, 7 patients:" in shown
    assert "were measured on tiny 0" in shown
    assert "Dice" not in shown


def test_no_text_of_a_card_reaches_the_terminal_unescaped(detector: Detector) -> None:
    shown = _shown(detector, intended_use="\x1b[2J", name="\u202e", licence="a\x07b")
    assert all(line.isprintable() for line in shown.splitlines())


@given(_JSON, st.integers(1, 200))
def test_any_card_can_be_shown(detector: Detector, values: object, width: int) -> None:
    held = values if isinstance(values, dict) else {"method": values}
    assert _shown(detector, width, metrics=held, training=held)
