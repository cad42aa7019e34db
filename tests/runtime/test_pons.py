from __future__ import annotations

import csv
import json
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from gliomart import Detector, cli
from gliomart.errors import ModelCardError, ModelError
from gliomart.findings import pons
from gliomart.findings.pons import STRUCTURE
from gliomart.findings.structures import score_of_sections
from gliomart.image.slices import Slice
from gliomart.model.contents import Scales, Signs
from gliomart.model.model import Model
from gliomart.model.prediction import Prediction
from samples import PONS, PONS_RULES, card, draw_head, needs_real_images, pons_judge, tiny_model
from samples import SHARED as REAL

# Where the head's frame puts the pons of ``tiny_model``.
PONS_IN_SOURCE = (129, 158)


@pytest.fixture
def knowing(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "knowing.onnx", pons=True)


def _head(*, lesion: float = 0.0, seed: int = 0) -> np.ndarray:
    """Draw a head whose bright spot, if any, is where the model sees the pons."""
    head = draw_head(seed=seed)
    if lesion:
        cv2.circle(head, PONS_IN_SOURCE, 12, 400 * (1 + lesion), cv2.FILLED)
    return head


def _disk(place: tuple[int, int, int] = PONS) -> np.ndarray:
    y, x = np.ogrid[:256, :256]
    return np.asarray(np.hypot(x - place[0], y - place[1]) <= place[2])


def _outputs(pons: np.ndarray) -> Prediction:
    """A model's idea of a slice that is brain all over."""
    flat = np.zeros((256, 256), np.float32)
    return Prediction(
        {
            "reconstruction": (flat,),
            "anomaly_map": (flat,),
            "brain": (np.ones_like(flat),),
            "pons": (pons.astype(np.float32),),
        }
    )


def test_a_bright_pons_is_flagged_and_a_usual_one_is_not(knowing: Path) -> None:
    detector = Detector(knowing, provider="cpu")
    usual, bright = (detector.detect(_head(lesion=lesion)).pons for lesion in (0.0, 0.9))
    assert usual is not None
    assert bright is not None
    assert usual.visible
    assert usual.flagged is False
    assert bright.flagged is True
    assert bright.score > usual.score
    assert bright.p_value == pytest.approx(1 / 60)
    assert usual.fraction_anomalous < 0.05
    assert bright.fraction_anomalous > 0.3
    x0, y0, x1, y1 = bright.box
    rows, columns = np.nonzero(bright.mask)
    assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def _signs(image: np.ndarray, outputs: Prediction) -> Signs:
    section = pons.find_section(image.astype(np.float32), outputs, pons_judge())
    assert section is not None
    return section.signs


def _flat(value: float = 0.4) -> np.ndarray:
    return np.full((256, 256), value, np.float32)


def test_the_signs_add_up_what_is_more_than_usual() -> None:
    usual = PONS_RULES.medians
    assert pons.sum_of_signs(usual, PONS_RULES) == 0
    bright = replace(usual, brightness=0.2)
    assert pons.sum_of_signs(bright, PONS_RULES) == pytest.approx(2.0)
    swollen = replace(bright, size=usual.size + 0.3)
    assert pons.sum_of_signs(swollen, PONS_RULES) == pytest.approx(5.0)
    # Less than usual takes nothing off.
    even = replace(swollen, unevenness=-9.0, crowding=-1.0)
    assert pons.sum_of_signs(even, PONS_RULES) == pytest.approx(5.0)
    halved = replace(PONS_RULES, weights=Signs(0.5, 1.0, 0.5, 1.0))
    assert pons.sum_of_signs(swollen, halved) == pytest.approx(4.0)


def test_the_score_is_the_greater_of_two_tests_each_by_its_scale() -> None:
    rules = replace(PONS_RULES, scales=Scales(signs=4.0, anomaly=0.02))
    swollen = replace(PONS_RULES.medians, size=PONS_RULES.medians.size + 0.6)
    assert pons.section_score(swollen, 0.01, rules) == pytest.approx(6.0 / 4.0)
    assert pons.section_score(swollen, 0.05, rules) == pytest.approx(0.05 / 0.02)


def test_without_scales_the_signs_alone_are_the_score() -> None:
    bright = replace(PONS_RULES.medians, brightness=0.2)
    assert pons.section_score(bright, 9.0, PONS_RULES) == pytest.approx(2.0)


def test_the_anomaly_is_that_of_the_quarter_of_the_section_where_the_map_is_highest() -> None:
    outputs = _outputs(_disk())
    spot = _disk((128, 160, 8))  # a quarter of the section has twice its radius
    outputs.anomaly_map[spot & _disk()] = 0.3
    section = pons.find_section(_flat(), outputs, pons_judge())
    assert section is not None
    quarter = round(PONS_RULES.top_fraction * section.mask.sum())
    highest = 0.3 * min(1, (spot & section.mask).sum() / quarter)
    assert section.anomaly == pytest.approx(highest / PONS_RULES.elsewhere_least, rel=1e-5)


def _anomaly(in_the_pons: float, elsewhere: float, spot: float = 0.0) -> float:
    outputs = _outputs(_disk())
    outputs.anomaly_map[:] = np.where(_disk(), np.float32(in_the_pons), np.float32(elsewhere))
    outputs.anomaly_map[_disk((60, 60, 8))] += np.float32(spot)
    section = pons.find_section(_flat(), outputs, pons_judge())
    assert section is not None
    assert section.anomaly is not None
    return section.anomaly


def test_a_scanner_that_raises_the_map_everywhere_raises_the_pons_little() -> None:
    usual, raised = _anomaly(0.01, 0.001), _anomaly(0.1, 0.01)
    assert usual == pytest.approx(0.01 / 0.002, rel=1e-4)
    assert raised < 2 * usual


def test_a_lesion_elsewhere_hides_none_in_the_pons() -> None:
    assert _anomaly(0.1, 0.001, spot=0.5) == pytest.approx(_anomaly(0.1, 0.001), rel=1e-4)


def test_a_lesion_that_the_map_shows_is_flagged_whatever_the_signs_say(tmp_path: Path) -> None:
    """The same file, with and without the second test; a brightness that signs are used to."""
    usual = replace(PONS_RULES.medians, brightness=1.0, unevenness=1.0, crowding=1.0)
    by_signs = replace(PONS_RULES, medians=usual)
    by_both = replace(by_signs, scales=Scales(signs=1.0, anomaly=1e-3))
    found = []
    for name, rules in (("signs", by_signs), ("both", by_both)):
        path = tiny_model(tmp_path / f"{name}.onnx", pons=True)
        values = json.loads(card(pons=rules).to_json())
        graph = onnx.load(path)
        onnx.helper.set_model_props(graph, {"gliomart": json.dumps(values)})
        onnx.save(graph, path)
        found.append(Detector(path, provider="cpu").detect(_head(lesion=0.9)).pons)
    signs, both = found
    assert signs is not None
    assert both is not None
    assert signs.flagged is False
    assert both.flagged is True
    assert np.array_equal(signs.mask, both.mask)
    assert signs.fraction_anomalous == both.fraction_anomalous


def test_the_section_is_the_largest_part_and_has_a_smallest_size() -> None:
    speck = _disk((60, 60, 5))
    section = pons.find_section(_flat(), _outputs(_disk() | speck), pons_judge())
    assert section is not None
    assert np.array_equal(section.mask, _disk())
    assert section.signs.size == pytest.approx(np.log(_disk().sum()))
    assert section.signs.brightness == pytest.approx(0, abs=1e-6)
    assert pons.find_section(_flat(), _outputs(speck), pons_judge()) is None
    assert pons.find_section(_flat(), _outputs(0 * speck), pons_judge()) is None


def test_brightness_is_that_of_the_brightest_quarter_beside_its_surroundings() -> None:
    image = _flat()
    image[_disk((128, 160, 12))] = 0.6  # more than half of the section
    outputs = _outputs(_disk())
    signs = _signs(image, outputs)
    assert signs.brightness == pytest.approx(np.log(0.6 / 0.4), abs=0.01)
    # What brightens section and surroundings alike is the coil's doing.
    brighter = _signs(1.3 * image, outputs)
    assert astuple(brighter) == pytest.approx(astuple(signs), abs=1e-5)


def test_surroundings_are_brain_between_two_distances() -> None:
    image = _flat()
    # Further than 3 radii, and nearer than 1.3 of them.
    image[~_disk((128, 160, 48))] = 0.9
    image[_disk((128, 160, 20)) & ~_disk((128, 160, 19))] = 0.9
    clear = _signs(_flat(), _outputs(_disk()))
    assert _signs(image, _outputs(_disk())).brightness == pytest.approx(clear.brightness, abs=0.05)
    nowhere = Prediction(_outputs(_disk()).by_role | {"brain": (_disk().astype(np.float32),)})
    assert pons.find_section(image, nowhere, pons_judge()) is None


def test_unevenness_is_of_the_inside_alone() -> None:
    outputs, random = _outputs(_disk()), np.random.default_rng(0)
    image = _flat() + cv2.GaussianBlur(random.normal(0, 0.6, (256, 256)), (0, 0), 4)
    inside = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5)[_disk((128, 160, 12))]
    signs = _signs(image, outputs)
    assert np.exp(signs.unevenness) == pytest.approx(inside.std() / inside.mean(), rel=0.1)
    # A vessel or fluid at the border is no sign.
    dark = np.where(_disk() & ~_disk((128, 160, 15)), 0.1, _flat())
    assert _signs(dark, outputs).unevenness < signs.unevenness - 1
    cored = np.where(_disk((128, 160, 5)), 0.2, _flat())
    assert _signs(cored, outputs).unevenness > signs.unevenness


def test_a_pons_that_has_room_lies_in_fluid() -> None:
    outputs = _outputs(_disk())
    assert _signs(_flat(), outputs).crowding == 0
    fluid = np.where(_disk((128, 160, 20)) & ~_disk(), 0.1, _flat())
    assert _signs(fluid, outputs).crowding == pytest.approx(-0.75, abs=0.02)
    narrow = np.where(_disk((128, 160, 18)) & ~_disk(), 0.1, _flat())
    assert _signs(fluid, outputs).crowding < _signs(narrow, outputs).crowding < 0


def test_a_ring_far_from_its_own_centre_is_no_section() -> None:
    ring = _disk((128, 128, 80)) & ~_disk((128, 128, 78))
    assert pons.find_section(_flat(), _outputs(ring), pons_judge()) is None


def test_a_series_without_the_pons_is_not_covered_rather_than_negative(knowing: Path) -> None:
    detector = Detector(knowing, provider="cpu")
    result = detector.detect_series([Slice(_head(seed=seed)) for seed in range(3)])
    assert result.pons is not None
    assert (result.pons.coverage, result.pons.slices) == (STRUCTURE.covered, 3)
    assert result.pons.flagged is False
    assert result.pons.fraction_anomalous == pytest.approx(
        np.mean([s.pons.fraction_anomalous for s in result.slices if s.pons]), abs=1e-6
    )
    # Where the model sees the pons there is no brain.
    hollow = _head()
    cv2.circle(hollow, PONS_IN_SOURCE, 30, 0, cv2.FILLED)
    axial = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    placed = Slice(hollow, spacing=(1.0, 1.0), position=(0.0, 0.0, 0.0), orientation=axial)
    hidden = detector.detect_series([placed])
    assert hidden.pons is not None
    assert hidden.pons.coverage == STRUCTURE.not_covered
    assert hidden.pons.flagged is None
    assert hidden.pons.fraction_anomalous is None
    assert hidden.slices[0].pons is not None
    assert not hidden.slices[0].pons.visible
    assert not hidden.slices[0].pons.mask.any()


def test_too_few_patients_give_no_flag(tmp_path: Path) -> None:
    few = replace(PONS_RULES, series_scores=(0.0, 1.0))
    metadata = {"gliomart": card(pons=few).to_json()}
    model = tiny_model(tmp_path / "few.onnx", metadata=metadata, pons=True)
    result = Detector(model, provider="cpu").detect_series([Slice(_head(lesion=0.9))])
    assert result.pons is not None
    assert result.pons.flagged is None
    assert result.slices[0].pons is not None
    assert result.slices[0].pons.flagged is True


def test_a_model_without_a_pons_says_nothing(model: Path) -> None:
    result = Detector(model, provider="cpu").detect_series([Slice(_head())])
    assert result.pons is None
    assert result.slices[0].pons is None


def test_card_and_graph_have_to_agree(tmp_path: Path) -> None:
    claims = {"gliomart": card(pons=PONS_RULES).to_json()}
    with pytest.raises(ModelError, match="outputs"):
        Model(tiny_model(tmp_path / "claims.onnx", metadata=claims))
    hides = {"gliomart": card().to_json()}
    with pytest.raises(ModelError, match="outputs"):
        Model(tiny_model(tmp_path / "hides.onnx", metadata=hides, pons=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_fraction", 0.0), ("level_quantile", 1.0), ("far_radii", 1.0), ("border_px", 0.0),
        ("minimum_area_px", -1.0), ("series_top", 0), ("slice_scores", (2.0, 1.0)),
        ("single_scores", (2.0, 1.0)), ("neighbours", (0.5, 0.5)), ("neighbours", (0.5, 2.0, 0.5)),
        ("medians", Signs(0.0, 0.0, 0.0, float("inf"))),
    ],
)  # fmt: skip
def test_a_bad_calibration_of_the_pons_is_refused(tmp_path: Path, name: str, value: object) -> None:
    rules, area = PONS_RULES, 300.0
    if name == "minimum_area_px":
        area = float(str(value))
    else:
        rules = replace(rules, **{name: value})  # type: ignore[arg-type]
    bad = replace(card(pons=PONS_RULES), judges=(pons_judge(rules, area),))
    with pytest.raises(ModelCardError, match=f"pons {name}"):
        Model(tiny_model(tmp_path / "m.onnx", metadata={"gliomart": bad.to_json()}, pons=True))


def test_results_carry_the_pons_and_overlays_show_it(
    knowing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number, lesion in enumerate((0.0, 0.9)):
        cv2.imwrite(str(scans / f"{number}.png"), (_head(lesion=lesion) / 5).clip(0, 255))
    arguments = ["infer", str(scans), "--model", str(knowing), "--out", str(out)]
    assert cli.main([*arguments, "--overlays", "all"]) == 0
    assert "pons: FLAGGED" in capsys.readouterr().out
    document = json.loads((out / "results.json").read_text())
    entry = document["slices"][1]["pons"]
    assert list(entry) == [
        "visible", "score", "p_value", "flagged", "fraction_anomalous", "box",
    ]  # fmt: skip
    assert entry["flagged"] is True
    assert document["series"][0]["pons"]["coverage"] == STRUCTURE.covered
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["pons_flagged"] for row in rows] == ["False", "True"]
    x0, y0, x1, y1 = document["slices"][0]["pons"]["box"]
    drawn = cv2.imread(str(out / document["slices"][0]["overlay"])).astype(int)
    green = (drawn[..., 1] - drawn[..., 2] > 60) & (drawn[..., 1] - drawn[..., 0] > 60)
    rows_, columns = np.nonzero(green)
    assert (columns.min(), rows_.min()) == (x0, y0)
    assert (columns.max(), rows_.max()) == (x1 - 1, y1 - 1)


@needs_real_images
def test_the_built_in_model_finds_the_pons_in_real_slices() -> None:
    folder = REAL / "lgg_flair"
    with (folder / "pons.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if row["split"] == "train")
    found = Detector(provider="cpu").detect(folder / row["image"]).pons
    assert found is not None
    assert found.visible
    centre = np.argwhere(found.mask).mean(axis=0)
    assert np.hypot(centre[1] - float(row["cx"]), centre[0] - float(row["cy"])) < 6


def test_the_ends_of_a_structure_do_not_count_in_a_series() -> None:
    sections = [(1.0, 700), (3.0, 900), (9.0, 500), (2.0, 540)]
    assert score_of_sections(sections, 2, 0.6) == pytest.approx(2.5)
    assert score_of_sections(sections, 2, 0.0) == pytest.approx(6.0)
    assert score_of_sections([(9.0, 10)], 2, 0.6) == pytest.approx(9.0)
