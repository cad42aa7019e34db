"""What scanners do to a series, on heads that are drawn, and what a model then says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gliomart import cli
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing
from gliomart_training.evaluation import evaluation, stress_table, stresses
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from gliomart_training.patients import Ellipse, Example, Patient
from gliomart_training.stress import (
    BETWEEN_SLICES,
    EFFECTS,
    MODERATE,
    Effect,
    Stress,
    at_drawn_scanner,
)
from heads import write_heads, write_model
from samples import draw_head

ACCURACY = Path(__file__).parents[2] / "docs" / "accuracy.md"
SLICES = 8


def head(number: int) -> Slice:
    return Slice(draw_head((128, 128), seed=number), source=f"{number}")


@pytest.fixture
def patient() -> Patient:
    marks = draw_head((128, 128), lesion=9.0) > 2500
    pons = Ellipse(70.0, 60.0, 6.0, 5.0)
    examples = [Example(head(n), None, tumour_free=True, pons=pons) for n in range(SLICES)]
    examples[3] = replace(examples[3], mask=Path("mask.png"), marks=marks)
    return Patient("somebody", tuple(examples), ())


def volume(patient: Patient) -> NDArray[np.float32]:
    return np.stack([s.pixels for s in patient.slices])


def brain_of_each(patient: Patient) -> NDArray[np.float64]:
    """Brightness of the brain of every slice, each looked at by itself."""
    norms = [estimate_normalisation([s], Preprocessing()) for s in patient.slices]
    return np.array([norm.brain - norm.black for norm in norms])


def test_no_stress_leaves_every_pixel(patient: Patient) -> None:
    # But for the noise of the air below the 1 % that count as black.
    assert volume(Stress().apply(patient)) == pytest.approx(volume(patient), rel=1e-5, abs=0.3)


@pytest.mark.parametrize("name", [*MODERATE, *BETWEEN_SLICES])
def test_every_stress_changes_pixels_and_the_same_ones_at_every_call(
    name: str, patient: Patient
) -> None:
    stress = (MODERATE | BETWEEN_SLICES)[name]
    changed = stress.apply(patient)
    assert not np.allclose(volume(changed), volume(patient), rtol=1e-3)
    assert volume(changed).dtype == np.float32
    assert np.isfinite(volume(changed)).all()
    assert np.array_equal(volume(stress.apply(patient)), volume(changed))
    assert [s.source for s in changed.slices] == [s.source for s in patient.slices]


def test_a_moderate_stress_is_half_of_the_most_that_is_drawn() -> None:
    of_name = {effect.name: effect for effect in EFFECTS}
    for stress in MODERATE.values():
        (name,) = (name for name in of_name if getattr(stress, name) != getattr(Stress(), name))
        neutral, value = getattr(Stress(), name), getattr(stress, name)
        limit = of_name[name].most if value > neutral else of_name[name].least
        assert value - neutral == pytest.approx((limit - neutral) / 2)


def test_draws_stay_within_what_is_written() -> None:
    drawn = [Stress.draw(np.random.default_rng(seed)) for seed in range(400)]
    for effect in EFFECTS:
        values = np.array([getattr(stress, effect.name) for stress in drawn])
        there = values != getattr(Stress(), effect.name)
        assert there.mean() == pytest.approx(effect.often, abs=0.08)
        assert effect.least <= values[there].min() < values[there].max() <= effect.most
    assert 0 < sum(stress.windowed for stress in drawn) < 60


def documented(effect: Effect) -> str:
    """Write an effect as a row of the table in the documentation."""
    span = f"{effect.least:g} to {effect.most:g}"
    return f"| `{effect.name}` | {span} | {effect.often:.0%} | {effect.source} |"


def test_every_effect_is_written_in_the_documentation() -> None:
    rows = ACCURACY.read_text(encoding="utf-8").splitlines()
    assert [row for row in rows if row in map(documented, EFFECTS)] == [*map(documented, EFFECTS)]


def test_a_coil_that_darkens_with_height_does_so_on_a_line(patient: Patient) -> None:
    gains = np.log(brain_of_each(Stress(along=-0.25).apply(patient)) / brain_of_each(patient))
    assert gains == pytest.approx(np.linspace(0.25, -0.25, SLICES), abs=0.02)


def test_interleaving_brightens_every_second_slice(patient: Patient) -> None:
    gains = brain_of_each(Stress(interleaving=0.1).apply(patient)) / brain_of_each(patient)
    assert gains == pytest.approx([1.0, 1.1] * (SLICES // 2), abs=0.01)


def test_shading_across_has_the_range_that_it_says(patient: Patient) -> None:
    before, after = volume(patient), volume(Stress(across=0.1).apply(patient))
    inside = before > 0.5 * before.max()
    gains = np.log(after[inside] / before[inside])
    low, high = np.percentile(gains, (5, 95))
    assert high - low == pytest.approx(0.2, abs=0.04)


def test_gamma_and_contrast_leave_the_brains_median(patient: Patient) -> None:
    for stress in (Stress(gamma=0.16), Stress(contrast=0.75)):
        kept = brain_of_each(stress.apply(patient)) / brain_of_each(patient)
        assert kept == pytest.approx(np.ones(SLICES), abs=0.03)


def test_thicker_slices_are_averages_of_their_neighbours(patient: Patient) -> None:
    before, after = volume(patient), volume(Stress(thickness=2.0).apply(patient))
    expected = before[1] / 4 + before[2] / 2 + before[3] / 4
    assert after[2] == pytest.approx(expected, rel=1e-3, abs=1.0)


def test_noise_is_that_of_a_magnitude(patient: Patient) -> None:
    unit = np.median(brain_of_each(patient))
    black = np.zeros((SLICES, 128, 128), np.float32)
    padded = [replace(e, slice=replace(e.slice, pixels=black[n])) for n, e in
              enumerate(patient.examples)]  # fmt: skip
    nothing = Stress(noise=0.05).apply(replace(patient, examples=tuple(padded)))
    assert not volume(nothing).any()  # in which there is no head
    air = np.s_[:, :8, :8]
    noisy = volume(Stress(noise=0.05).apply(patient))[air] - volume(patient)[air].min()
    # Of a Rayleigh distribution, the mean is 1.25 of the deviation of either channel.
    assert 0.05 < noisy.mean() / unit < 0.08


def test_marks_and_pons_move_with_a_wider_field_of_view(patient: Patient) -> None:
    wide = Stress(field=1.2).apply(patient)
    before, after = patient.examples[3], wide.examples[3]
    assert after.truth().sum() == pytest.approx(before.truth().sum() / 1.44, rel=0.05)
    assert after.pons is not None
    middle = (128 - 1) / 2
    assert after.pons.cx == pytest.approx(middle + (70 - middle) / 1.2)
    assert after.pons.rx == pytest.approx(5.0)


def test_a_wider_field_of_view_keeps_every_point_of_the_patient_where_it_is(
    patient: Patient,
) -> None:
    placed = replace(
        patient.examples[0].slice,
        spacing=(1.0, 0.5),
        position=(-10.0, 20.0, 30.0),
        orientation=(1.0, 0, 0, 0, 1, 0),
    )
    one = replace(patient, examples=(replace(patient.examples[0], slice=placed),))
    wide = Stress(field=1.2).apply(one).slices[0]
    assert wide.spacing == pytest.approx((1.2, 0.6))
    assert placed.plane is not None and wide.plane is not None  # noqa: PT018
    middle = np.array([[63.5, 63.5]])
    assert wide.plane.to_patient(middle) == pytest.approx(placed.plane.to_patient(middle))


def test_a_window_of_its_own_makes_every_slice_eight_bits(patient: Patient) -> None:
    pixels = volume(Stress(windowed=True).apply(patient))
    assert np.array_equal(pixels, np.rint(pixels))
    assert (pixels.min(axis=(1, 2)) == 0).all()
    assert (pixels.max(axis=(1, 2)) == 255).all()


def test_two_names_draw_two_scanners(patient: Patient) -> None:
    one, again, other = (volume(at_drawn_scanner(patient, name)) for name in "aab")
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, rtol=1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "brightness.onnx")


@pytest.fixture(scope="module")
def result(data: Path, model: Path) -> dict[str, Any]:
    candidate = Candidate(data, model, split="dev", provider="cpu")
    return stresses.evaluate(candidate, Bootstrap(50, 0))  # type: ignore[return-value]


def test_every_stress_is_a_row(result: dict[str, Any]) -> None:
    names = [row["name"] for row in result["rows"]]
    assert names == ["as scanned", *MODERATE, *BETWEEN_SLICES, "drawn scanners"]
    for row in result["rows"]:
        defined = [figure for figure in row["figures"].values() if figure["value"] is not None]
        assert all(0 <= figure["value"] <= 1 and figure["interval"] for figure in defined)
        assert (len(defined) == len(row["figures"])) == (row["analysed"] > 0)
    changes = {row["name"]: row["changes"] for row in result["rows"]}
    assert changes["darkens with height"] == {"along": -0.2}
    assert changes["as scanned"] == {}


def test_the_row_as_scanned_is_what_an_evaluation_says(
    data: Path, model: Path, result: dict[str, Any]
) -> None:
    candidate = Candidate(data, model, split="dev", provider="cpu")
    alone: Any = evaluation.evaluate(candidate, Bootstrap(50, 0))
    row = result["rows"][0]
    figures = row["figures"]
    for name in ("dice", "flag_sensitivity", "pixel_average_precision", "slice_auroc"):
        assert figures[name] == alone["method"][name]
    assert figures["false_alarms"] == alone["false_alarm"]["realised"]
    assert figures["series_false_alarms"] == alone["series"]["false_alarm"]
    assert row["analysed"] == alone["dataset"]["counts"]["analysed"]
    assert result["dataset"] == alone["dataset"]
    assert set(map(str, row["less_as_scanned"]["dice"].values())) == {"0.0", "[0.0, 0.0]"}


def test_a_difference_is_that_of_the_figures(result: dict[str, Any]) -> None:
    first, *others = result["rows"]
    for row in filter(lambda row: row["analysed"], others):
        for name, difference in row["less_as_scanned"].items():
            expected = row["figures"][name]["value"] - first["figures"][name]["value"]
            assert difference["value"] == pytest.approx(expected, abs=2e-6)


def test_the_table_is_for_people(result: dict[str, Any]) -> None:
    table = stress_table.table(result)  # type: ignore[arg-type]
    for row in result["rows"]:
        assert f"\n{row['name']} " in table
    assert "nominal false alarms 0.05; 5 tumour and 18 tumour-free slices of 3 patients" in table
    assert "\nrefused as scanned: " in table
    odd = result["rows"][0] | {"name": "odd", "refused": {"no-head": 2}}
    table = stress_table.table(result | {"rows": [*result["rows"], odd]})  # type: ignore[arg-type]
    assert "\nrefused, odd: no-head 2\n" in table


def test_the_command_writes_it(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stress.json"
    given = ["evaluate", str(data), "--model", str(model), "--split", "dev", "--stress"]
    assert cli.main([*given, "--bootstrap", "20", "--out", str(out)]) == 0
    assert "drawn scanners" in capsys.readouterr().out
    assert json.loads(out.read_text())["rows"][0]["name"] == "as scanned"


@pytest.mark.parametrize("other", [["--pons"], ["--plots", "plots"]])
def test_stress_goes_by_itself(
    other: list[str], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(data), "--stress", *other]) == 2
    assert "--stress goes with none of" in capsys.readouterr().err


def test_no_training_framework_is_imported() -> None:
    check = (
        "import sys; from gliomart_training.evaluation import stresses, stress_table;"
        " assert not {'tensorflow', 'keras', 'torch', 'jax'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
