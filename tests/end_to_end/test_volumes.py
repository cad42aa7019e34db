"""Series as volumes from the shell: of few slices, of many, with gaps, and images among them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examinations import series
from gliomart.model.contents import Limits, Slab
from niftis import affine, nibabel
from samples import GOLDEN, draw_head
from slabs import slab_model

SLAB = Slab(seen=10, given=6)


def gliomart(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gliomart", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def infer(study: Path, out: Path, *options: object, status: int = 0) -> dict[str, Any]:
    done = gliomart("infer", study, "--out", out, *options)
    assert done.returncode == status, done.stderr
    document: dict[str, Any] = json.loads((out / "results.json").read_text())
    return document


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slab_model(tmp_path_factory.mktemp("model") / "slab.onnx", SLAB, pons=True)


def test_auto_takes_the_model_of_neighbouring_slices_for_a_series_and_says_so(
    tmp_path: Path,
) -> None:
    done = gliomart("infer", GOLDEN, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "model: flair-dae-volume 1" in done.stdout
    assert not done.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["model"]["name"] == "flair-dae-volume"
    assert len(document["slices"]) == 24
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(GOLDEN / "slice_012.dcm", alone)
    assert infer(alone, tmp_path / "one", status=3)["model"]["name"] == "flair-dae"


def test_a_series_of_four_slices_is_no_basis_for_a_verdict(model: Path, tmp_path: Path) -> None:
    few = series(tmp_path / "few", "flair", numbers=range(10, 14))
    document = infer(few, tmp_path / "out", "--model", model, status=3)
    assert {item["code"] for item in document["not_analysed"]} == {"coverage"}
    forced = infer(few, tmp_path / "forced", "--model", model, "--force")
    assert len(forced["slices"]) == 4


def test_a_gap_in_the_middle_is_told_and_slices_beside_it_are_analysed(
    model: Path, tmp_path: Path
) -> None:
    numbers = [number for number in range(1, 25) if number not in {11, 12}]
    gap = series(tmp_path / "gap", "flair", numbers=numbers)
    document = infer(gap, tmp_path / "out", "--model", model)
    assert [item["code"] for item in document["not_analysed"]] == ["missing-slices"]
    assert len(document["slices"]) == 22


@pytest.mark.slow
def test_seven_hundred_thin_slices_are_analysed(model: Path, tmp_path: Path) -> None:
    plane = draw_head((160, 160)).T
    noise = np.random.default_rng(0).normal(0, 4, (700, 1, 1))
    voxels = np.stack([plane + change for change in noise[:, 0]], axis=-1).astype("i2")
    placed = affine(spacing=(1.4, 1.4, 0.25))
    folder = tmp_path / "study"
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels, placed), folder / "sub-1_FLAIR.nii.gz")
    document = infer(folder, tmp_path / "out", "--model", model, "--overlays", "none")
    assert len(document["slices"]) == 700
    assert not document["not_analysed"]


def test_two_flair_series_are_two_volumes(model: Path, tmp_path: Path) -> None:
    study = series(tmp_path / "study", "first")
    series(study, "second")
    document = infer(study, tmp_path / "out", "--model", model, "--dicom-out")
    assert [len(each["dicom"]["not_written"]) for each in document["series"]] == [0, 0]
    assert Counter(each["series"] for each in document["slices"]).most_common() == [
        (each["id"], 24) for each in document["series"]
    ]


def test_no_slice_is_a_neighbour_of_one_of_another_shape(model: Path, tmp_path: Path) -> None:
    def cut(dataset: Any, number: int) -> None:
        if number > 12:  # the lower half has fewer rows
            pixels = dataset.pixel_array[8:-8]
            dataset.Rows, dataset.PixelData = len(pixels), pixels.tobytes()

    mixed = series(tmp_path / "mixed", "flair", cut)
    document = infer(mixed, tmp_path / "out", "--model", model, "--force")
    assert len(document["slices"]) + len(document["not_analysed"]) >= 24


def test_limits_of_a_card_are_those_of_its_family_too(model: Path) -> None:
    card = json.loads(gliomart("info", model, "--json").stdout)
    assert card["family"] == "volume"
    assert card["limits"]["least_coverage_mm"] == Limits().least_coverage_mm
    assert "of the head, neighbouring slices together" in gliomart("info", model).stdout
