"""Two models on the same heads, patient by patient."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gliomart import cli
from gliomart.errors import DatasetError
from gliomart_training.evaluation import comparison, evaluation, text_table
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from heads import CALIBRATION, write_heads, write_model, write_run

NOTHING = {"value": None, "interval": None}


def compare(data: Path, a: Path, b: Path) -> dict[str, Any]:
    candidates = (Candidate.of(data, path, "dev", "cpu") for path in (a, b))
    return comparison.compare(*candidates, Bootstrap(50, 0))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that marks and flags much, with too few patients behind it to judge series."""
    few = replace(CALIBRATION, slice_scores=(0.0,) * 99, series_scores=(0.1, 0.2), patients=2)
    return write_model(tmp_path_factory.mktemp("model") / "eager.onnx", few)


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same map, but nothing is marked or flagged."""
    never = replace(CALIBRATION, pixel_threshold=9.0, slice_scores=(9.0,) * 99)
    return write_model(tmp_path_factory.mktemp("model") / "wary.onnx", never)


@pytest.fixture(scope="module")
def result(data: Path, eager: Path, wary: Path) -> dict[str, Any]:
    return compare(data, eager, wary)


def pairs(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [pair for figures in result["figures"].values() for pair in figures.values()]


def test_a_model_does_not_differ_from_itself(data: Path, eager: Path, tmp_path: Path) -> None:
    # The run's folds have the patients in another order than the dataset.
    run = write_run(tmp_path / "own.run", eager, [["two"], ["one", "three"]])
    for other in (eager, run):
        result = compare(data, eager, other)
        defined = [pair for pair in pairs(result) if pair["a"]["value"] is not None]
        assert len(defined) > 12
        for pair in defined:
            assert pair["a"] == pair["b"]
            assert pair["difference"] == {"value": 0, "interval": [0, 0]}
            assert pair["better"] == 0
    assert result["a"]["dataset"] == result["b"]["dataset"] | {"held_out_by": None}
    assert result["b"]["dataset"]["held_out_by"] == "own.run"


def test_either_side_is_what_an_evaluation_says(
    data: Path, eager: Path, wary: Path, result: dict[str, Any]
) -> None:
    for side, model in (("a", eager), ("b", wary)):
        alone = evaluation.evaluate(Candidate.of(data, model, "dev", "cpu"), Bootstrap(50, 0))
        figures = result["figures"]
        assert {name: pair[side] for name, pair in figures["method"].items()} == alone["method"]
        assert figures["false_alarm"]["realised"][side] == alone["false_alarm"]["realised"]
        assert figures["series"]["sensitivity"][side] == alone["series"]["sensitivity"]
        for third, height in alone["heights"].items():
            of_third = {name: pair[side] for name, pair in figures[third].items()}
            assert of_third == height["columns"]["model"]
        for part in ("model", "provider", "dataset"):
            assert result[side][part] == alone[part]


def test_a_difference_is_b_less_a(result: dict[str, Any]) -> None:
    method = result["figures"]["method"]
    for name in ("dice_per_tumour_slice", "boundary_f1", "flag_sensitivity"):
        a, b, difference = (method[name][key] for key in ("a", "b", "difference"))
        assert b["value"] == 0 < a["value"]
        assert difference["value"] == -a["value"]
        assert difference["interval"] == [-bound for bound in reversed(a["interval"])]
        assert method[name]["better"] == 0
    ranked = method["pixel_average_precision"]
    assert ranked["difference"] == {"value": 0, "interval": [0, 0]}


def test_fewer_false_alarms_are_better(
    data: Path, eager: Path, wary: Path, result: dict[str, Any]
) -> None:
    alarms = result["figures"]["false_alarm"]["realised"]
    assert alarms["difference"]["value"] < 0
    assert alarms["better"] > 0.5
    swapped = compare(data, wary, eager)["figures"]
    assert swapped["false_alarm"]["realised"]["better"] == 0
    assert swapped["method"]["dice"]["better"] > 0.5


@pytest.mark.parametrize(("threshold", "better"), [(0.02, 0), (0.05, 1)])
def test_shorter_distances_are_better(
    data: Path, eager: Path, tmp_path: Path, threshold: float, better: float
) -> None:
    other = write_model(tmp_path / "b.onnx", replace(CALIBRATION, pixel_threshold=threshold))
    distance = compare(data, eager, other)["figures"]["method"]["hausdorff_95_px"]
    assert distance["better"] == better
    assert (distance["difference"]["value"] < 0) == (better == 1)


def test_what_either_lacks_is_missing(result: dict[str, Any]) -> None:
    figures = result["figures"]
    distance = figures["method"]["hausdorff_95_px"]  # B outlines nothing
    assert distance["a"]["value"] > 0
    assert distance["b"] == distance["difference"] == NOTHING
    assert distance["better"] is None
    judged = figures["series"]["sensitivity"]  # A cannot tell
    assert judged["a"] == judged["difference"] == NOTHING
    assert judged["b"]["value"] is not None
    assert judged["better"] is None
    (row,) = [
        line for line in text_table.comparison(result).splitlines() if line.startswith("95 % Haus")
    ]
    assert row.split()[-3:] == ["-", "-", "-"]


def test_the_table_is_for_people(result: dict[str, Any]) -> None:
    table = text_table.comparison(result)
    assert table.startswith("A: brightness 1.2.3 (")
    assert len(table.splitlines()) == 5 + len(pairs(result)) + 1
    dice = result["figures"]["method"]["dice"]["difference"]
    low, high = dice["interval"]
    assert f"{dice['value']:+.3f} [{low:+.3f}, {high:+.3f}]" in table
    assert max(map(len, table.splitlines())) < 130


def test_both_have_to_cover_the_same_patients(data: Path, eager: Path, tmp_path: Path) -> None:
    part = write_run(tmp_path / "part.run", eager, [["one"], ["three"]])
    for a, b in ((eager, part), (part, eager)):
        with pytest.raises(DatasetError, match="do not cover the same patients") as error:
            compare(data, a, b)
        assert "\n" not in str(error.value)


def test_the_command(
    data: Path, eager: Path, wary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "difference.json"
    command = ["evaluate", str(data), "--compare", str(eager), str(wary)]
    command += ["--split", "dev", "--provider", "cpu", "--bootstrap", "20", "--out", str(file)]
    assert cli.main(command) == 0
    assert "B - A" in capsys.readouterr().out
    assert cli.main([*command, "--json"]) == 0
    timeless = {"seconds": None}
    printed = json.loads(capsys.readouterr().out)
    assert printed | timeless == json.loads(file.read_text()) | timeless
    assert printed["bootstrap"]["resamples"] == 20


@pytest.mark.parametrize(
    "options",
    [
        ["--compare", "a.onnx"],
        ["--compare", "a.onnx", "b.onnx", "--model", "c.onnx"],
        ["--compare", "a.onnx", "b.onnx", "--held-out", "c.run"],
    ],
)
def test_what_cannot_be_asked_for(
    data: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(data), *options]) == 2
    assert "--compare" in capsys.readouterr().err


def test_a_file_needs_a_split_and_a_run_has_one(
    data: Path, eager: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "two splits"
    shutil.copytree(data, folder)
    shutil.copy(folder / "one-00.png", folder / "four-00.png")
    with (folder / "index.csv").open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(("four-00.png", "", "test", "four"))
    run = write_run(tmp_path / "own.run", eager, [["one", "two", "three"]])
    command = ["evaluate", str(folder), "--bootstrap", "20", "--provider", "cpu", "--compare"]
    assert cli.main([*command, str(eager), str(run)]) == 2
    assert "give --split (dev, test)" in capsys.readouterr().err
    assert cli.main([*command, str(run), str(run)]) == 0
    assert cli.main([*command, str(eager), str(run), "--split", "dev"]) == 0
    assert cli.main([*command, str(eager), str(run), "--split", "test"]) == 8
    assert "same patients" in capsys.readouterr().err
