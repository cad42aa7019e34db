"""Several data sets in one report: each as it is alone, and a total of what can be pooled."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gliomart import cli
from gliomart.errors import DatasetError
from gliomart_training.evaluation import evaluation, several, several_table
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from heads import write_heads, write_model
from truths import affine, save

_BOOTSTRAP = Bootstrap(50, 0)


def as_volumes(heads: Path, folder: Path) -> Path:
    """Write two patients of a data set of pictures as a BIDS data set, a little brighter."""
    for number, name in enumerate(("one", "two"), start=1):
        files = sorted(heads.glob(f"{name}-??.png"))
        voxels = np.stack([cv2.imread(str(file), 0) for file in files]).T.astype(np.int16)
        marks = np.zeros_like(voxels, np.uint8)
        for mask in heads.glob(f"{name}-??-mask.png"):
            marks[:, :, int(mask.name.split("-")[1])] = cv2.imread(str(mask), 0).T > 0
        placed = affine(0.0, (1.0, 1.0, 5.0))
        placed[:2] *= -1  # rows run to the left and back, as those of the pictures
        subject = f"sub-{number}/anat/sub-{number}"
        save(folder / f"{subject}_FLAIR.nii.gz", voxels * 3 + number, placed)
        below = folder / "derivatives" / "reader"
        save(below / f"{subject}_label-lesion_mask.nii.gz", marks, placed)
    return folder


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "pictures"
    folder.mkdir()
    return write_heads(folder)


@pytest.fixture(scope="module")
def volumes(heads: Path) -> Path:
    return as_volumes(heads, heads.parent / "bids")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "brightness.onnx")


@pytest.fixture(scope="module")
def result(heads: Path, volumes: Path, model: Path) -> dict[str, Any]:
    candidates = [Candidate(folder, model, provider="cpu") for folder in (heads, volumes)]
    return several.evaluate(candidates, _BOOTSTRAP)  # type: ignore[return-value]


def test_every_data_set_has_the_figures_that_it_has_alone(
    result: dict[str, Any], volumes: Path, model: Path
) -> None:
    assert list(result["datasets"]) == ["pictures", "bids"]
    alone = evaluation.evaluate(Candidate(volumes, model, provider="cpu"), _BOOTSTRAP)
    assert result["datasets"]["bids"] | {"seconds": None} == alone | {"seconds": None}
    assert alone["dataset"]["counts"]["tumour_slices"] == 5
    assert alone["method"]["slice_auroc"]["value"] is not None


def test_the_same_heads_as_volumes_are_judged_as_they_are_as_pictures(
    result: dict[str, Any],
) -> None:
    pictures, volumes = (result["datasets"][name]["patients"] for name in ("pictures", "bids"))
    for picture, volume in zip(pictures, volumes, strict=False):  # the third one has no tumour
        assert volume["tumour_pixels"] == picture["tumour_pixels"]
        assert volume["dice"] == pytest.approx(picture["dice"], abs=0.02)


def test_the_total_is_over_all_patients_and_of_verdicts_alone(result: dict[str, Any]) -> None:
    total, every = result["total"], result["datasets"].values()
    for name in ("patients", "tumour_slices", "tumour_free_slices"):
        assert total["counts"][name] == sum(each["dataset"]["counts"][name] for each in every)
    flagged = [
        (each["method"]["flag_sensitivity"]["value"], each["dataset"]["counts"]["tumour_slices"])
        for each in every
    ]
    pooled = sum(rate * count for rate, count in flagged) / sum(count for _, count in flagged)
    assert total["figures"]["flag_sensitivity"]["value"] == pytest.approx(pooled, abs=1e-5)
    assert set(total["figures"]) == {
        "flag_sensitivity", "false_alarms", "series_sensitivity", "series_false_alarms",
    }  # fmt: skip
    for figure in total["figures"].values():
        low, high = figure["interval"]
        assert low <= figure["value"] <= high
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_result_is_of_its_published_schema(result: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    made = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "schemas.py"))
    jsonschema.validate(result, made["schema"]("several-evaluation.json", closed=True))


def test_the_table_has_a_row_for_each_data_set(result: dict[str, Any]) -> None:
    lines = several_table.table(result).splitlines()  # type: ignore[arg-type]
    assert [line.split()[0] for line in lines if line.startswith(("pict", "bids"))] == [
        "pictures", "bids",
    ] * 3  # fmt: skip
    assert sum(line.startswith("all patients") for line in lines) == 1
    assert max(map(len, lines)) < 130


def test_the_same_image_in_two_data_sets_is_refused(
    heads: Path, model: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(heads, tmp_path / "copy")
    candidates = [Candidate(folder, model, provider="cpu") for folder in (heads, copy)]
    with pytest.raises(
        DatasetError, match=r"one-00\.png of patient one is the same image as one of"
    ):
        several.evaluate(candidates, _BOOTSTRAP)


def test_folders_of_one_name_are_told_apart() -> None:
    folders = [Path("/a/scans"), Path("/b/scans"), Path("/c")]
    assert several.named(folders) == ["scans", "scans-2", "c"]


def test_the_command_writes_a_row_for_each_data_set(
    heads: Path, volumes: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.csv"
    asked = ["evaluate", str(heads), str(volumes), "--model", str(model), "--provider", "cpu"]
    asked += ["--bootstrap", "20", "--split", "dev", "--out"]
    assert cli.main([*asked, str(out)]) == 0
    assert "all patients" in capsys.readouterr().out
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["dataset"] for row in rows] == ["pictures", "bids", "all patients"]
    assert [row["split"] for row in rows] == ["dev", "", ""]
    assert rows[2]["pixel_average_precision"] == ""
    for row in rows:
        assert 0 <= float(row["false_alarms_low"]) <= float(row["false_alarms"]) <= 1
    assert cli.main([*asked, str(tmp_path / "both.json"), "--json"]) == 0
    document = json.loads((tmp_path / "both.json").read_text())
    assert json.loads(capsys.readouterr().out) == document
    assert list(document["datasets"]) == ["pictures", "bids"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{heads}", "{heads}"], "is, or lies in, or holds the data set"),
        (["{heads}", "{heads}/.."], "is, or lies in, or holds the data set"),
        (["{heads}", "{volumes}", "--stress"], "--stress goes with one data set"),
        (["{heads}", "{volumes}", "--held-out", "x"], "--held-out goes with one data set"),
        (["{heads}", "--pons", "--out", "x.csv"], "goes with none of --compare, --pons and --str"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str],
    reason: str,
    heads: Path,
    volumes: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [each.format(heads=heads, volumes=volumes) for each in arguments]
    assert cli.main(["evaluate", *asked]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_a_split_that_no_data_set_has_is_refused(
    volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    assert cli.main(["evaluate", str(volumes), str(tmp_path / "other"), "--split", "dev"]) == 8
    assert "leave --split out" in capsys.readouterr().err
