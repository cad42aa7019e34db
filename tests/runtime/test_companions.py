"""Further sequences of an examination: each with its own brightness, on the leading one's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gliomart import Detector
from gliomart.errors import UsageError
from gliomart.families.analysis import Entered, enter
from gliomart.families.companions import Companion, Leading
from gliomart.families.reading import open_planes
from gliomart.image.normalisation import estimate_normalisations
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing, Shading
from gliomart.model.contents import InputImage
from samples import card, golden_slice, tiny_model

SEQUENCES = (
    InputImage("MR", "FLAIR"),
    InputImage("MR", "T1", required=False),
    InputImage("MR", "T1C", required=False),
)
SPEC = Preprocessing(size=64, shading=Shading())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of three sequences."""
    metadata = {"gliomart": card(images=SEQUENCES, preprocessing=SPEC).to_json()}
    return tiny_model(tmp_path / "three.onnx", size=64, metadata=metadata, channels=3)


def heads(gain: float = 1.0, base: float = 0.0, count: int = 5) -> list[NDArray[np.float32]]:
    pixels = [golden_slice(number).pixel_array for number in range(9, 9 + count)]
    return [(base + gain * each).astype(np.float32) for each in pixels]


def entered(model: Path, companions: dict[str, list[NDArray[np.float32] | None]]) -> list[Entered]:
    detector = Detector(model, provider="cpu")
    opened = open_planes(heads(), detector.card, detector.settings, companions)
    found = [enter(opened, timed, detector._setup) for timed in opened.items]
    assert all(isinstance(each, Entered) for each in found)
    return [each for each in found if isinstance(each, Entered)]


def test_a_companion_fills_its_channel_and_what_is_missing_is_black(model: Path) -> None:
    brighter = heads(gain=7, base=300)
    for each in entered(model, {"T1C": [*brighter[:-1], None]})[:-1]:
        image = each.prepared.image
        assert image.shape == (64, 64, 3)
        assert not image[..., 1].any()
        # The same head at another gain and offset is the same once both are normalised.
        assert np.abs(image[..., 2] - image[..., 0]).max() < 0.05
    assert not entered(model, {"T1C": [*brighter[:-1], None]})[-1].prepared.image[..., 1:].any()


def test_the_series_itself_is_entered_alike_with_and_without_companions(model: Path) -> None:
    alone, beside = entered(model, {}), entered(model, {"T1": heads(3.0)})
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one.prepared.image[..., 0], other.prepared.image[..., 0])
        assert not one.prepared.image[..., 1:].any()
        assert other.prepared.image[..., 1].any()


def test_a_companion_lies_on_the_grid_of_the_series_that_leads() -> None:
    shown = [Slice(pixels) for pixels in heads()]
    smaller = [np.pad(pixels[48:-48, 48:-48], 48) for pixels in heads()]
    norms = estimate_normalisations(shown, SPEC)
    leading = Leading(shown, range(len(shown)), norms)
    companion = Companion.aligned([Slice(pixels) for pixels in smaller], leading, SPEC)
    (own,), (of_companion,) = norms.values(), companion.normalisations.values()
    assert own.box == of_companion.box  # type: ignore[union-attr]
    plain = companion.plain(shown[2], 2, SPEC)
    assert plain is not None
    assert not plain[:4].any()


@pytest.mark.parametrize("what", ["nothing", "noise of no head"])
def test_a_companion_that_shows_no_head_is_as_if_it_were_not_there(model: Path, what: str) -> None:
    dark = np.zeros((256, 256), np.float32)
    dark[3, 4] = 0.0 if what == "nothing" else 1.0
    for each in entered(model, {"T1": [dark] * 5}):
        assert not each.prepared.image[..., 1].any()


def test_companions_that_the_model_does_not_take_or_of_other_slices_are_refused(
    model: Path,
) -> None:
    detector = Detector(model, provider="cpu")
    with pytest.raises(UsageError, match="takes no T2 beside the series, but T1, T1C"):
        detector.detect_series(heads(), {"T2": heads()})
    with pytest.raises(UsageError, match="4 slices of T1 stand beside 5"):
        detector.detect_series(heads(), {"T1": heads(count=4)})
    with pytest.raises(UsageError, match="takes no T1 beside the series, but none"):
        Detector(provider="cpu").detect_series(heads(), {"T1": heads()})
    with pytest.raises(UsageError, match="files bring their own"):
        detector.detect_series(Path(__file__).parent, {"T1": heads()})


def test_a_model_of_several_sequences_does_with_one(model: Path) -> None:
    detector = Detector(model, provider="cpu")
    assert detector.warm_up() > 0
    assert len(detector.detect_series(heads()).slices) == 5
    assert detector.detect(heads()[0]).score >= 0
