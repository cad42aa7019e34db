from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gliomart.errors import GliomartError, ModelCardError, ModelError, ModelNotFoundError
from gliomart.model.card import ModelCard
from gliomart.model.model import Model
from samples import card, tiny_model


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
    ],
)
def test_a_bad_card_is_refused_with_its_reason(
    tmp_path: Path, metadata: dict[str, str], says: str
) -> None:
    with pytest.raises(ModelCardError, match=says) as refused:
        Model(tiny_model(tmp_path / "m.onnx", metadata=metadata))
    assert "\n" not in str(refused.value)


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
