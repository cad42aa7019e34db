from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from gliomart.errors import GliomartError, ModelCardError, ModelError, ModelNotFoundError
from gliomart.model.built_in import default_model
from gliomart.model.card import ModelCard
from gliomart.model.contents import InputImage
from gliomart.model.model import Model
from gliomart.providers import Requested
from samples import PONS_RULES, card, tiny_model


def test_a_model_runs_and_knows_itself(model: Path) -> None:
    loaded = Model(model, provider="cpu")
    image = np.random.default_rng(0).random((256, 256, 1), np.float32)
    outputs = loaded.run(image)
    assert np.array_equal(outputs.reconstruction, np.minimum(image[..., 0], 0.5))
    assert outputs.anomaly_map.shape == outputs.brain.shape == (256, 256)
    assert len(loaded.sha256) == 64
    assert loaded.card == card()


def test_a_card_survives_its_json() -> None:
    assert ModelCard.from_json(card().to_json()) == card()


def _changed(**changes: object) -> dict[str, str]:
    values = json.loads(card().to_json()) | changes
    return {"gliomart": json.dumps({k: v for k, v in values.items() if v != "REMOVED"})}


def _nested(part: str, **changes: object) -> dict[str, str]:
    return _changed(**{part: json.loads(card().to_json())[part] | changes})


def _range(role: str, minimum: float | None, maximum: float | None) -> dict[str, str]:
    return _changed(
        outputs=[
            asdict(replace(each, minimum=minimum, maximum=maximum) if each.role == role else each)
            for each in card().outputs
        ]
    )


def _rules(**changes: object) -> dict[str, str]:
    judged = card(pons=replace(PONS_RULES, **changes))  # type: ignore[arg-type]
    return {"gliomart": judged.to_json()}


def _judges_twice() -> dict[str, str]:
    judged = card(pons=PONS_RULES)
    return {"gliomart": replace(judged, judges=judged.judges * 2).to_json()}


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "no gliomart card"),
        ({"gliomart": "{"}, "not valid JSON"),
        ({"gliomart": "[1]"}, "states no schema"),
        (_changed(schema=99), "newer"),
        (_changed(schema=0), "older"),
        (_changed(licence="REMOVED"), "lacks licence"),
        (_changed(colour="red"), "unknown colour"),
        (_changed(name=7), "wrong kind"),
        (_changed(scoring={"top_fraction": "thick"}), "lacks"),
        (_nested("preprocessing", channels=["bogus"]), "channels"),
        (_nested("preprocessing", clahe_tiles=0), "clahe_tiles"),
        (_nested("preprocessing", brain_level=0.0), "brain_level"),
        (_nested("scoring", top_fraction=2.0), "top_fraction"),
        (_nested("scoring", series_top=0), "series_top"),
        (_nested("calibration", slice_scores=[2.0, 1.0]), "slice_scores"),
        (_nested("calibration", series_scores=[float("nan")]), "series_scores"),
        (_nested("calibration", pixel_threshold=float("nan")), "pixel_threshold"),
        (_nested("calibration", false_alarm_rate=7.0), "false_alarm_rate"),
        (_nested("calibration", display_limit=0.0), "display_limit"),
        (_nested("calibration", display_limit=1e300), "display_limit"),
        (_nested("calibration", pixel_threshold=1e300), "pixel_threshold"),
        (_nested("calibration", pixel_false_alarm_rate=-1.0), "pixel_false_alarm_rate"),
        (_nested("calibration", patients=-1), "patients"),
        (_nested("preprocessing", margin=1e300), "margin"),
        (_nested("preprocessing", margin=-0.1), "margin"),
        (_nested("scoring", scalp={"thickness_px": 9.0, "dome_px": 3.0}), "thicker"),
        (_changed(metrics={"dice": float("nan")}), "not finite"),
        (_changed(network={"gain": float("inf")}), "not finite"),
        (_changed(name="\ud800"), "half a character"),
        (_changed(images=[]), "no first image"),
        (_changed(images=[asdict(InputImage("", None))]), "no modality"),
        (_changed(images=[asdict(InputImage("MR", "T1", required=False))]), "no first image"),
        (_range("anomaly_map", None, None), "anomaly_map may be below 0"),
        (_range("brain", 0.0, None), "brain may be above 1"),
        (_range("brain", -1.0, 1.0), "brain may be below 0"),
        (_judges_twice(), "two judges"),
        (_rules(smoothing_px=1e6), "pons smoothing_px"),
        (_rules(border_px=0.1), "pons border_px"),
        (_rules(far_radii=1e300), "pons far_radii"),
        (_rules(far_radii=1.0), "pons far_radii"),
    ],
)
def test_a_bad_card_is_refused_with_its_reason(
    tmp_path: Path, metadata: dict[str, str], says: str
) -> None:
    with pytest.raises(ModelCardError, match=says) as refused:
        Model(tiny_model(tmp_path / "m.onnx", metadata=metadata))
    assert "\n" not in str(refused.value)


def test_a_model_that_masks_taught_runs_and_is_never_taken_as_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_model(tmp_path / "m.onnx", metadata=_changed(training={"saw_masks": True}))
    assert Model(file, provider="cpu").card.saw_masks
    monkeypatch.setattr("gliomart.model.built_in.content_of", lambda _: file.read_bytes())
    with pytest.raises(ModelError, match="masks taught it; such a model is never built in"):
        Model(provider="cpu")


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_no_mask_taught_what_is_built_in(provider: Requested) -> None:
    card = Model(default_model(provider), provider="cpu").card
    assert not card.saw_masks
    assert not card.training.get("built_on")
    assert card.network["name"] == "dae"


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        Model(tmp_path / "none.onnx")
    for content in (b"", b"not onnx" * 100):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            Model(tmp_path / "bad.onnx")
    with pytest.raises(ModelError):
        Model(tmp_path)
    with pytest.raises(ModelError, match="inputs"):
        Model(tiny_model(tmp_path / "small.onnx", size=128))


def test_weights_outside_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_model(tmp_path / "whole.onnx"))
    onnx.save(
        model, tmp_path / "split.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)  # where the weights would be found, were they looked for
    with pytest.raises(ModelError, match="outside"):
        Model("split.onnx")


def test_every_error_is_of_the_family() -> None:
    assert issubclass(ModelNotFoundError, GliomartError)
    assert issubclass(ModelNotFoundError, FileNotFoundError)
