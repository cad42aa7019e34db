"""Whether images look like what a model knows: appearance, alterations, and the brain it finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gliomart import Detector, cli
from gliomart.errors import InputRefusedError, ModelCardError
from gliomart.findings.familiar import FEWEST, unfamiliar
from gliomart.findings.suitability import CODES, TOLD
from gliomart.image.appearance import EDGES, NUMBERS, SIDE, appearance
from gliomart.image.steps import Preprocessing
from gliomart.model.card import ModelCard
from gliomart.model.familiar import Code, ExpectedBrain, Familiar, Unfamiliar
from samples import GOLDEN, card, draw_head, golden_slice, tiny_model

NOTHING = (0.0,) * NUMBERS


def _plain(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(np.asarray(small, np.float32) * (0.4 / np.quantile(small, 0.7)), 0, 1)


def _golden() -> NDArray[np.float32]:
    return np.stack([golden_slice(n).pixel_array.astype(np.float32) for n in range(5, 21)])


def _model(path: Path, familiar: Familiar) -> Path:
    return tiny_model(path, metadata={"gliomart": card(familiar=familiar).to_json()})


def _told_by(upright: NDArray[np.float32], other: NDArray[np.float32], code: Code) -> Familiar:
    """Tell one stack of slices from another by the difference of their appearance."""
    means = [np.mean([appearance(_plain(p)) for p in stack], axis=0) for stack in (upright, other)]
    weights = means[1] - means[0]
    offset = -float(weights @ (means[0] + means[1])) / 2
    numbers = tuple(map(float, weights))
    kind = Unfamiliar(code, "a head upside down", numbers, offset, 0.0, None)
    return Familiar((kind,), None, "made up for tests")


def test_what_a_slice_looks_like_does_not_depend_on_its_gain_and_hardly_on_its_gamma() -> None:
    upright = [_plain(p) for p in _golden()]
    own = np.stack([appearance(p) for p in upright])
    assert own.shape == (16, NUMBERS)
    assert own.dtype == np.float32
    assert (own >= 0).all()
    darker = np.stack([appearance(p ** np.float32(1.15)) for p in upright])
    turned = np.stack([appearance(np.ascontiguousarray(p[::-1])) for p in upright])
    edges = np.s_[:, :EDGES]
    assert np.abs(darker - own)[edges].mean() < 0.4 * np.abs(turned - own)[edges].mean()


def test_a_series_that_looks_turned_is_refused_and_analysed_by_force(tmp_path: Path) -> None:
    upright = _golden()
    upside_down = np.ascontiguousarray(upright[:, ::-1])
    model = _model(tmp_path / "m.onnx", _told_by(upright, upside_down, "turned"))
    assert not Detector(model).detect_series(upright).not_analysed
    refused = Detector(model).detect_series(upside_down)
    assert {item.code for item in refused.not_analysed} == {"turned"}
    assert "looks like a head upside down" in refused.not_analysed[0].reason
    assert refused.verdict is None
    forced = Detector(model, force=True).detect_series(upside_down)
    assert {c.code for result in forced.slices for c in result.concerns} == {"turned"}


def test_another_contrast_is_analysed_and_told_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upright = _golden()
    other = np.ascontiguousarray(upright[:, ::-1])
    model = _model(tmp_path / "m.onnx", _told_by(other, upright, "unusual-contrast"))
    out = tmp_path / "out"
    assert cli.main(["infer", str(GOLDEN), "--model", str(model), "--out", str(out)]) == 0
    document = json.loads((out / "results.json").read_text())
    assert document["series"][0]["outside_intended_use"] == ["unusual-contrast"]
    assert not document["settings"]["forced"]
    said = capsys.readouterr().out
    assert f"OUTSIDE THE INTENDED USE: unusual-contrast ({CODES['unusual-contrast']})" in said
    assert CODES["unusual-contrast"] in (out / "report.html").read_text()


def test_a_slice_whose_brain_is_not_found_is_not_analysed_and_the_share_is_told(
    tmp_path: Path,
) -> None:
    heads = np.stack([draw_head(seed=n) for n in range(8)])
    heads[3, np.arange(256) % 8 < 2] *= 0.3  # tiny_model finds no brain near what is dark
    familiar = Familiar((), ExpectedBrain(NOTHING, 0.3, 0.2), "made up for tests")
    model = _model(tmp_path / "m.onnx", familiar)
    result = Detector(model).detect_series(heads)
    assert [item.code for item in result.not_analysed] == ["brain-not-found"]
    assert len(result.slices) == 7
    (note,) = [note for note in result.notes if note.code == "brain-not-found"]
    assert "in 1 of 8 slices" in note.reason
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(heads[3])
    assert refused.value.code == "brain-not-found"
    forced = Detector(model, force=True).detect_series(heads)
    assert [c.code for c in forced.slices[3].concerns] == ["brain-not-found"]
    assert not forced.slices[2].concerns


def test_a_slice_that_shows_no_brain_is_not_blamed_for_it(tmp_path: Path) -> None:
    heads = np.stack([draw_head(seed=n) for n in range(8)])
    heads[3, np.arange(256) % 8 < 2] *= 0.3
    none = Familiar((), ExpectedBrain(NOTHING, 0.1, 0.2), "made up for tests")
    assert not Detector(_model(tmp_path / "m.onnx", none)).detect_series(heads).not_analysed


def _codes(model: Path, pixels: NDArray[np.float32]) -> set[str]:
    result = Detector(model).detect_series(pixels)
    told = {c.code for item in result.slices for c in item.concerns}
    return told | {item.code for item in result.not_analysed}


def test_masks_and_wrapped_values_are_refused_and_cut_heads_told(model: Path) -> None:
    golden = _golden()
    assert _codes(model, golden) == set()
    top = float(np.quantile(golden, 0.99))
    assert _codes(model, np.where(golden > top / 4, np.float32(1), np.float32(0))) & {
        "few-values", "clipped",
    }  # fmt: skip
    assert "wrapped" in _codes(model, np.floor(golden * (400 / top)) % 256)
    filled = np.flatnonzero((golden > top / 10).any(axis=(0, 1)))
    cut = golden[:, :, filled[0] + len(filled) // 3 :]
    result = Detector(model).detect_series(cut)
    assert {c.code for item in result.slices for c in item.concerns} == {"cut-off"}


@pytest.mark.parametrize("side", [48, 64])
def test_sharp_edges_of_few_pixels_are_no_alteration(side: int, model: Path) -> None:
    coarse = [cv2.resize(p, (side, side), interpolation=cv2.INTER_NEAREST) for p in _golden()]
    drawn = [draw_head((side, side), seed=n) for n in range(8)]
    assert _codes(model, np.stack(coarse)) == set()
    assert _codes(model, np.stack(drawn)) == set()


def test_what_is_no_head_is_nothing_else() -> None:
    alike = [
        Unfamiliar(code, code, NOTHING, offset, 0.0, 0.0)
        for code, offset in (("turned", 2.0), ("not-a-head", 1.0), ("unusual-contrast", -1.0))
    ]
    looks = np.ones((FEWEST, NUMBERS), np.float32)
    found = unfamiliar(looks, Familiar(tuple(alike), None, "none"))
    assert [concern.code for concern in found] == ["not-a-head"]
    found = unfamiliar(looks, Familiar((alike[0], alike[2]), None, "none"))
    assert [concern.code for concern in found] == ["turned"]
    unbounded = replace(alike[0], series_bound=None)
    assert unfamiliar(looks, Familiar((unbounded,), None, "none")) == []
    assert len(unfamiliar(looks[:1], Familiar((unbounded,), None, "none"))) == 1


def test_every_code_that_is_only_told_is_a_code() -> None:
    assert set(CODES) >= TOLD


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"weights": (0.0,)}, f"has 1 weights, not {NUMBERS}"),
        ({"offset": 1e300}, "not finite"),
        ({"code": "fruit"}, "wrong kind"),
    ],
)
def test_a_card_with_what_tells_nothing_is_refused(changes: dict[str, object], says: str) -> None:
    kind = Unfamiliar("turned", "a turned head", NOTHING, 0.0, 0.0, 0.0)
    broken = replace(kind, **changes)  # type: ignore[arg-type]
    text = card(familiar=Familiar((broken,), None, "none")).to_json()
    with pytest.raises(ModelCardError, match=says):
        ModelCard.from_json(text)
    whole = card(familiar=Familiar((kind,), ExpectedBrain(NOTHING, 0.0, 0.1), "none"))
    assert ModelCard.from_json(whole.to_json()) == whole


def test_the_appearance_is_of_the_side_that_the_model_has_too() -> None:
    assert Preprocessing().size % SIDE == 0
