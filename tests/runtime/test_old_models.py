"""Model files of every schema that there has been.

``tests/models`` holds one of each: a few operators with the card of a model that was shipped, byte
for byte (see ``freeze.py`` there).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliomart import Detector
from gliomart.errors import ModelCardError
from gliomart.findings.results import SeriesResult
from gliomart.model.card import METADATA_KEY, SCHEMA, ModelCard
from gliomart.model.contents import Scalp
from gliomart.model.model import Model
from processes import finish, searched
from samples import GOLDEN, PONS_RULES, card, tiny_model

MODELS = Path(__file__).parents[1] / "models"
OLD = range(1, SCHEMA)
OUTPUTS = ["reconstruction", "anomaly_map", "brain", "pons"]
# Scores and numbers of regions that the software of its day gave, by slice of the golden study.
THEN = {
    1: {1: (0.2153617888689041, 17), 7: (0.18095895648002625, 1), 8: (0.06056215986609459, 1)},
    2: {1: (0.4938378930091858, 14), 7: (0.4813375771045685, 2), 8: (0.4763071835041046, 2)},
    3: {1: (0.4938378930091858, 14), 7: (0.4813375771045685, 2), 8: (0.4763071835041046, 2)},
    4: {1: (0.4938378930091858, 14), 7: (0.4813375771045685, 2), 8: (0.4763071835041046, 2)},
    5: {1: (0.4938378930091858, 14), 7: (0.4813375771045685, 2), 8: (0.4763071835041046, 2)},
}
SERIES_THEN = {
    1: 0.5,
    2: 0.4971380591392517,
    3: 0.4971380591392517,
    4: 0.4971380472183228,
    5: 0.4971380472183228,
}
PONS_THEN = {1: 0.8697438846256941, 7: 10.804174106519428, 8: 4.363136810402851}
# Keys of a pons' calibration under schema 3 as software wrote them later.
LATER_SIGNS = {"smoothing_px": 1.5, "near_radii": 1.3, "far_radii": 3.0}

IMAGES_SAID = 5

each_schema = pytest.mark.parametrize("schema", OLD)


def file_of(schema: int) -> Path:
    return MODELS / f"schema-{schema}.onnx"


@cache
def text_of(schema: int) -> str:
    session = onnxruntime.InferenceSession(file_of(schema).read_bytes())
    text: str = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
    return text


@cache
def golden(schema: int) -> SeriesResult:
    return Detector(file_of(schema), provider="cpu").detect_series(GOLDEN)


@each_schema
def test_a_card_of_any_schema_says_what_its_model_has(schema: int) -> None:
    written = json.loads(text_of(schema))
    read = Model(file_of(schema), provider="cpu").card
    assert written["schema"] == schema
    assert read.schema == SCHEMA
    assert read.family == "slice"
    (image,) = read.images
    said = written["images"][0] if schema >= IMAGES_SAID else written
    assert (image.modality, image.sequence) == (said["modality"], said["sequence"])
    assert image.window is None
    assert image.required
    assert [output.name for output in read.outputs] == OUTPUTS[: min(schema + 1, 4)]
    assert read.calibration is not None
    assert list(read.calibration.slice_scores) == written["calibration"]["slice_scores"]
    assert read.scoring.top_fraction == written["scoring"]["top_fraction"]
    assert read.scoring.scalp == (Scalp(thickness_px=17.0, dome_px=80.0) if schema == 1 else None)
    assert [judge.rules is not None for judge in read.judges] == {
        3: [False],
        4: [True],
        5: [True],
    }.get(schema, [])
    assert ModelCard.from_json(read.to_json()) == read


@each_schema
def test_an_old_model_scores_as_it_did(schema: int) -> None:
    result = golden(schema)
    assert not result.not_analysed
    assert result.verdict.score == pytest.approx(SERIES_THEN[schema], rel=1e-5)
    for number, (score, regions) in THEN[schema].items():
        found = result.slices[number - 1]
        assert found.score == pytest.approx(score, rel=1e-5)
        assert len(found.regions) == regions


@each_schema
def test_a_brain_and_a_pons_that_a_model_does_not_give_are_absent(schema: int) -> None:
    found = golden(schema).slices[6]
    assert (found.brain is not None) == (schema >= 2)
    assert list(found.structures) == (["pons"] if schema >= 3 else [])


def test_a_pons_is_found_and_not_judged_where_its_signs_were_others() -> None:
    found = golden(3).slices[6].structures["pons"]
    assert found.visible
    assert found.box == (115, 147, 142, 175)
    assert (found.score, found.p_value, found.flagged, found.fraction_anomalous) == (None,) * 4
    (verdict,) = golden(3).structures.values()
    assert verdict.coverage == "pons covered"
    assert (verdict.score, verdict.p_value, verdict.flagged) == (None,) * 3


def test_a_pons_of_four_signs_is_judged_as_it_was() -> None:
    for number, score in PONS_THEN.items():
        found = golden(4).slices[number - 1].structures["pons"]
        assert found.score == pytest.approx(score, rel=1e-5)


@pytest.mark.sampled(2)
@each_schema
def test_commands_take_a_model_of_any_schema(schema: int, tmp_path: Path) -> None:
    gliomart = [sys.executable, "-m", "gliomart"]
    model, out = file_of(schema), tmp_path / "out"
    run = [*gliomart, "infer", GOLDEN, "--model", model, "--provider", "cpu", "--out", out]
    finish([*run, "--maps", "--dicom-out"], env=searched())
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["model"]["version"] == json.loads(text_of(schema))["version"]
    for number, (score, _) in THEN[schema].items():
        assert results["slices"][number - 1]["score"] == pytest.approx(score, abs=1e-5)
    shown = finish([*gliomart, "info", model], env=searched()).stdout
    assert "Not a medical device" in " ".join(shown.split())
    as_json = json.loads(finish([*gliomart, "info", "--json", model], env=searched()).stdout)
    assert as_json["schema"] == SCHEMA


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    values = json.loads(card().to_json()) | {"schema": SCHEMA + 1}
    model = tiny_model(tmp_path / "new.onnx", metadata={METADATA_KEY: json.dumps(values)})
    with pytest.raises(ModelCardError, match=f"schema {SCHEMA + 1}, newer than the 1 to {SCHEMA}"):
        Model(model)


def changed(schema: int, change: Callable[[dict[str, object]], object]) -> str:
    values = json.loads(text_of(schema))
    change(values)
    return json.dumps(values)


def test_every_card_that_schema_3_wrote_is_read() -> None:
    first = ModelCard.from_json(text_of(3))
    assert ModelCard.from_json(changed(3, lambda c: c["pons"].update(LATER_SIGNS))) == first
    without = ModelCard.from_json(changed(3, lambda c: c.update(pons=None)))
    assert without.judges == ()
    assert [output.name for output in without.outputs] == OUTPUTS[:3]


@pytest.mark.parametrize(
    ("schema", "change", "says"),
    [
        (1, lambda c: c["scoring"].pop("dome_px"), "scoring lacks dome_px"),
        (1, lambda c: c.update(pons=None), "unknown pons"),
        (1, lambda c: c["scoring"].update(scalp_px="thick"), "scalp.thickness_px"),
        (2, lambda c: c["scoring"].update(scalp_px=17.0), "unknown scalp_px"),
        (2, lambda c: c["scoring"].update(scalp=None), "unknown scalp"),
        (2, lambda c: c.pop("sequence"), "lacks sequence"),
        (2, lambda c: c.pop("calibration"), "lacks calibration"),
        (3, lambda c: c.pop("pons"), "lacks pons"),
        (3, lambda c: c.update(pons=[]), "pons is not an object"),
        (3, lambda c: c["pons"].pop("minimum_area_px"), "pons lacks minimum_area_px"),
        (4, lambda c: c.update(scoring=7), "scoring is not an object"),
        (4, lambda c: c.update(outputs=[], judges=[]), "unknown judges, outputs"),
        (4, lambda c: c["pons"].pop("medians"), "lacks medians"),
        (4, lambda c: c.update(schema=3, modality=7), "modality"),
        (4, lambda c: c.update(schema=0), "older"),
        (4, lambda c: c.update(schema=True), "no schema"),
    ],
)
def test_an_old_card_that_is_not_what_its_schema_was_is_refused(
    schema: int, change: Callable[[dict[str, object]], object], says: str
) -> None:
    with pytest.raises(ModelCardError, match=says):
        ModelCard.from_json(changed(schema, change))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Take a key of a card, at any depth, and remove, replace or rename it, or add another."""
    schema = draw(st.sampled_from([*OLD, SCHEMA]))
    values = json.loads(card(pons=PONS_RULES).to_json() if schema == SCHEMA else text_of(schema))
    values["training"] = values["metrics"] = {}  # anything may be in them
    values["calibration"] |= {"slice_scores": [0.0, 0.1], "series_scores": [0.0]}  # short to print
    for _ in range(draw(st.integers(1, 3))):
        inside = values
        while draw(st.booleans()):
            lists = [part for part in inside.values() if isinstance(part, list)]
            parts = [*inside.values(), *chain.from_iterable(lists)]
            parts = [part for part in parts if part and isinstance(part, dict)]
            if not parts:
                break
            inside = draw(st.sampled_from(parts))
        key = draw(st.sampled_from(sorted(inside) or ["schema"]))
        match draw(st.sampled_from(["remove", "replace", "rename", "add"])):
            case "remove":
                inside.pop(key, None)
            case "rename":
                inside[draw(st.text(max_size=8))] = inside.pop(key, None)
            case "add":
                inside[draw(st.sampled_from([*OUTPUTS, "scalp", "judges", "images"]))] = 1
            case _:
                inside[key] = draw(ANYTHING | st.integers(1, SCHEMA))
    return json.dumps(values)


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_card_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        ModelCard.from_json(text)
    except ModelCardError as refused:
        assert "\n" not in str(refused)  # noqa: PT017
