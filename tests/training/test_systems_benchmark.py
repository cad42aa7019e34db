"""What sets systems side by side: the same patients, one analysis each, and what is subtle."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="counting operations needs the extra gliomart[bench]")

import curves
import systems
from gliomart_training import dataset
from gliomart_training.evaluation import evaluation
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from heads import write_departure_model, write_heads, write_model, write_run
from side_by_side import System, cell, ended, markdown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    # Runs a script's ``main`` with these words.
    Run = Callable[[Callable[[], None], *tuple[object, ...]], None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a model of brightness, the same in a run, and one without a reconstruction."""
    folder = tmp_path_factory.mktemp("models")
    bright = write_model(folder / "bright.onnx")
    write_departure_model(folder / "departure.onnx")
    write_run(folder / "again.run", bright, [["two"], ["one", "three"]])
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def main(script: Callable[[], None], *words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
        script()

    return main


SHORT = ("--split", "dev", "--resamples", 50, "--rounds", 2)


@pytest.fixture(scope="module")
def result(data: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("result") / "systems.json"
    runs = [f"bright={models / 'bright.onnx'}", models / "again.run", models / "departure.onnx"]
    with pytest.MonkeyPatch.context() as patch:
        words = ["systems", data, "--runs", *runs, "--against", "bright", *SHORT, "--out", out]
        patch.setattr(sys, "argv", [str(word) for word in words])
        systems.main()
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_each_system_has_the_figures_of_an_evaluation(
    result: dict[str, Any], data: Path, models: Path
) -> None:
    for name in ("bright", "departure"):
        candidate = Candidate(data, models / f"{name}.onnx", split="dev", provider="cpu")
        alone = evaluation.evaluate(candidate, Bootstrap(50))
        figures = result["systems"][name]["figures"]
        for figure, each in alone["method"].items():
            assert figures["method"][figure]["value"] == pytest.approx(each["value"], abs=1e-5)
            assert figures["method"][figure]["interval"] == pytest.approx(
                each["interval"], abs=1e-5
            )
        assert figures["false_alarm"]["realised"] == alone["false_alarm"]["realised"]
        assert result["systems"][name]["model"]["sha256"] == [alone["model"]["sha256"]]
    brightness = result["systems"]["equalised and smoothed"]["figures"]["method"]
    candidate = Candidate(data, models / "bright.onnx", split="dev", provider="cpu")
    baselines = evaluation.evaluate(candidate, Bootstrap(50))["baselines"]
    assert brightness == baselines["equalised and smoothed"]


def test_a_system_does_not_differ_from_itself_in_a_run(result: dict[str, Any]) -> None:
    less = result["systems"]["again"]["less"]["bright"]
    values = [figure["value"] for group in less.values() for figure in group.values()]
    assert set(values) <= {0, None}
    assert "bright" not in result["systems"]["bright"]["less"]
    other = result["systems"]["departure"]["less"]["bright"]["method"]["pixel_average_precision"]
    assert other["value"] != 0
    assert other["interval"][0] <= other["value"] <= other["interval"][1]


def test_every_tumour_slice_is_in_one_bin_of_its_area(result: dict[str, Any]) -> None:
    bins = result["systems"]["bright"]["slices_in_bins"]["area_px"]
    assert bins == {"below 250": 5, "250 to 800": 0, "800 to 2000": 0, "from 2000": 0}
    figures = result["systems"]["bright"]["figures"]
    small = figures["area_px: below 250"]
    assert small["flag_sensitivity"] == figures["method"]["flag_sensitivity"]
    ranked = "sensitivity_at_95_specificity"
    assert small[ranked] == figures["method"][ranked]
    assert figures["area_px: from 2000"]["flag_sensitivity"] == {"value": None, "interval": None}


def test_what_is_marked_is_told_by_its_size_and_by_the_brain_around_it(
    data: Path, models: Path
) -> None:
    panel = Candidate(data, models / "bright.onnx", split="dev", provider="cpu").panel()
    patient = next(patient for patient in panel.patients if patient.id == "one")
    found = systems.subtlety(patient, panel)
    assert [n for n, each in enumerate(found) if each is not None] == [4, 5]
    for number in (4, 5):
        each = found[number]
        assert each is not None
        assert each.area_px == patient.examples[number].truth().sum()
        assert each.contrast == pytest.approx(1.8, abs=0.1)  # as it is drawn
    assert dataset.load(data, "dev")[0].id == "one"


def test_what_a_system_costs_is_counted_from_its_file(result: dict[str, Any], models: Path) -> None:
    for name in ("bright", "departure"):
        each = result["systems"][name]
        file = models / f"{name}.onnx"
        # The reach of the pons, and the constants of its arithmetic.
        assert 64 * 64 < each["cost"]["parameters"] < 64 * 64 + 9
        assert each["cost"]["megabytes"] == round(file.stat().st_size / 1e6, 3)
        assert each["cost"]["gflop"] == 0
        assert each["ms"]["p50"] > 0
    assert result["systems"]["bright"]["ms"]["ratio"]["bright"] == 1
    assert result["systems"]["bright"]["training"]["hours"] is None


def test_hours_are_those_of_all_trainings_of_a_run(
    models: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "long.run"
    shutil.copytree(models / "again.run", folder)
    record = json.loads((folder / "record.json").read_text())
    half = {"seconds": 1800.0, "slices": 40}
    record["fits"] = {
        "fold-1": half | {"brain": {"seconds": 900.0}, "slices": 20},
        "fold-2": half,
        "final": half,
    }
    (folder / "record.json").write_text(json.dumps(record))
    panel = Candidate(data, run=folder, provider="cpu").panel()
    told = systems.training(System.of(str(folder)), panel)
    assert told["hours"] == {"network": 0.5, "run": 1.75}
    # Two folds of three patients: each learned from one or two of them, and as many slices.
    assert (told["patients"], told["slices"]) == (2, 30)


def test_a_system_is_measured_as_another_scanner_would_show_the_series(
    run: Run, result: dict[str, Any], data: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stressed.json"
    bright = f"bright={models / 'bright.onnx'}"
    run(systems.main, data, "--runs", bright, *SHORT, "--stress", "noise", "--out", out)
    stressed = json.loads(out.read_text())
    assert stressed["dataset"]["stress"]["noise"]["noise"] == pytest.approx(0.025)
    assert result["dataset"]["stress"] is None
    figures = [each["systems"]["bright"]["figures"] for each in (stressed, result)]
    assert figures[0]["method"] != figures[1]["method"]


def test_tables_have_a_row_for_each_system(result: dict[str, Any]) -> None:
    lines = "\n".join(systems.tables(result)).splitlines()
    for name in ("bright", "again", "departure"):
        assert sum(line.startswith(f"| {name} |") for line in lines) >= 3
    widths = [line.count("|") for line in lines if line.startswith("| bright |")]
    assert widths[0] == 8


def test_a_cell_is_as_pages_write_figures() -> None:
    assert cell({"value": 0.5, "interval": [0.25, 1.0]}) == ".500 [.250, 1.000]"
    assert cell({"value": -0.25, "interval": [-0.5, 10.5]}, "+z.3f") == "-.250 [-.500, +10.500]"
    assert cell({"value": None, "interval": None}) == cell(None) == "–"
    assert markdown(["a", "b"], [[1, 2]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_what_is_asked_wrongly_ends_in_one_line(
    run: Run, data: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bright, out = models / "bright.onnx", tmp_path / "out.json"
    for words, says in (
        (("--runs", bright, "--against", "dae"), "--against dae: is none of bright"),
        (("--runs", bright, bright), "two systems are called bright"),
        (("--runs", f"a={bright}", f"b={tmp_path}"), "not the record of a training run"),
    ):
        with pytest.raises(SystemExit) as ending:
            ended(lambda given=words: run(systems.main, data, *given, *SHORT, "--out", out))
        assert ending.value.code not in {0, 1}
        said = capsys.readouterr().err.strip()
        assert says in said
        assert len(said.splitlines()) == 1
        assert not out.exists()


def test_curves_stand_by_recipe_and_by_how_many_patients_taught(
    run: Run, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for number, patients in enumerate((20, 5)):
        bright = result["systems"]["bright"]
        each = {
            **bright,
            "model": bright["model"] | {"sha256": [str(number)]},
            "training": bright["training"] | {"patients": patients, "saw_masks": patients == 20},
        }
        files.append(tmp_path / f"{patients}.json")
        files[-1].write_text(json.dumps(result | {"systems": {"own": each}}))
    out, plot = tmp_path / "curves.json", tmp_path / "curves.png"
    run(curves.main, *files, "--out", out, "--plot", plot)
    points = json.loads(out.read_text())["points"]
    assert [(point["recipe"], point["patients"]) for point in points] == [
        ("none, labelled", 20),
        ("none, tumour-free alone", 5),
    ]
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert "| none, labelled | 20 |" in capsys.readouterr().out


def test_what_differs_in_the_seed_alone_has_a_mean_and_a_deviation(
    run: Run, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "seeds.json", tmp_path / "curves.json"
    each = {}
    for seed, dice in ((0, 0.5), (1, 0.7)):
        system = json.loads(json.dumps(result["systems"]["bright"]))
        system["model"]["sha256"] = [str(seed)]
        system["training"] |= {"patients": 5, "epochs": 3, "seed": seed}
        system["figures"]["method"]["dice"]["value"] = dice
        each[f"seed-{seed}"] = system
    file.write_text(json.dumps(result | {"systems": each}))
    run(curves.main, file, "--out", out)
    (told,) = json.loads(out.read_text())["seeds"]
    assert told["seeds"] == [0, 1]
    assert told["figures"]["dice"]["mean"] == pytest.approx(0.6)
    assert told["figures"]["dice"]["deviation"] == pytest.approx(0.1 * 2**0.5)
    assert ".600 ± .141" in capsys.readouterr().out


def test_curves_of_other_patients_are_refused(
    run: Run, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, broken = (tmp_path / name for name in ("one.json", "other.json", "broken.json"))
    known = result["systems"]["bright"]["training"] | {"patients": 5}
    systems_of_one = {"own": result["systems"]["bright"] | {"training": known}}
    one.write_text(json.dumps(result | {"systems": systems_of_one}))
    dataset_of_other = result["dataset"] | {"patients": ["four"]}
    other.write_text(json.dumps(result | {"systems": systems_of_one, "dataset": dataset_of_other}))
    broken.write_text("[]")
    for second, says in (
        (other, "of other patients or resamples"),
        (one, "holds own, which"),
        (broken, "is not what systems.py writes"),
    ):
        words = (one, second, "--out", tmp_path / "curves.json")
        with pytest.raises(SystemExit) as ending:
            ended(lambda given=words: run(curves.main, *given))
        assert ending.value.code not in {0, 1}
        assert says in capsys.readouterr().err
    assert not (tmp_path / "curves.json").exists()
    assert np.isfinite(result["seconds"])
