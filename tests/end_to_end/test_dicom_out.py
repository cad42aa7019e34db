"""Results as DICOM objects, from the command to the archive's door."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest

from gliomart import cli
from samples import GOLDEN, SHARED, draw_head, needs_real_images

pytest.importorskip("highdicom")

XA10 = SHARED / "dicom" / "enhanced_mr" / "Siemens" / "XA10" / "6_1.dcm"
TRIO = SHARED / "dicom" / "t1_mprage_trio"


def _infer(study: Path, out: Path, *options: str, status: int = 0) -> dict[str, Any]:
    arguments = ["infer", str(study), "--out", str(out), "--dicom-out", "--maps", *options]
    assert cli.main([*arguments, "--provider", "cpu"]) == status
    document: dict[str, Any] = json.loads((out / "results.json").read_text())
    return document


def _check(out: Path) -> None:
    """Hold every object against the validator and another reader."""
    made = sorted(p for p in (out / "dicom").rglob("*.dcm") if p.is_file())
    captures = [path for path in made if path.name.startswith("overlay")]
    for path in [*(set(made) - set(captures)), captures[0]]:
        if shutil.which("dciodvfy"):
            done = subprocess.run(
                ["dciodvfy", "-new", str(path)], capture_output=True, check=False, text=True
            )
            lines = (done.stdout + done.stderr).splitlines()
            assert [line for line in lines if line.startswith("Error")] == [], path
        if shutil.which("dcmdump"):
            subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, check=True)


def test_results_name_the_objects_that_were_written(tmp_path: Path) -> None:
    document = _infer(GOLDEN, tmp_path / "out")
    (series,) = document["series"]
    there = sorted(
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out" / "dicom").rglob("*.dcm")
    )
    assert sorted(series["dicom"]["written"]) == there
    assert series["dicom"]["not_written"] == []
    assert len(there) == 24 + 4
    _check(tmp_path / "out")
    arguments = ["infer", str(GOLDEN), "--out", str(tmp_path / "out"), "--overwrite"]
    assert cli.main([*arguments, "--provider", "cpu"]) == 0
    assert not (tmp_path / "out" / "dicom").exists()


@needs_real_images
@pytest.mark.parametrize("study", [XA10, pytest.param(TRIO, marks=pytest.mark.slow)])
def test_multi_frame_and_turned_series_have_objects_in_their_own_place(
    study: Path, tmp_path: Path
) -> None:
    document = _infer(study, tmp_path / "out", "--force")
    _check(tmp_path / "out")
    (path,) = (tmp_path / "out" / "dicom").rglob("anomaly-map.dcm")
    made = pydicom.dcmread(path)
    frames = {
        tuple(round(float(v), 1) for v in g.PlanePositionSequence[0].ImagePositionPatient): plane
        for g, plane in zip(made.PerFrameFunctionalGroupsSequence, made.pixel_array, strict=True)
    }
    assert len(frames) == len(document["slices"]) > 0
    for entry in document["slices"]:
        place = tuple(round(v, 1) for v in entry["geometry"]["position_lps_mm"])
        nearest = min(frames, key=lambda other: np.linalg.norm(np.subtract(other, place)))
        assert np.linalg.norm(np.subtract(nearest, place)) < 0.3
        assert np.array_equal(frames[nearest], np.load(tmp_path / "out" / entry["map"]))
    (path,) = (tmp_path / "out" / "dicom").rglob("report.dcm")
    said = [element.value for element in pydicom.dcmread(path).iterall()]
    assert any("Outside the intended use" in value for value in said if isinstance(value, str))


def test_what_cannot_be_written_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    for number in range(1, 25):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        del dataset.ImagePositionPatient
        dataset.save_as(tmp_path / "lost" / f"{number}.dcm")
    lost, options = tmp_path / "lost", ("--model", str(model))
    (series,) = _infer(lost, tmp_path / "a", *options, status=11)["series"]
    missing = {entry["object"] for entry in series["dicom"]["not_written"]}
    assert {"anomalous-regions.dcm", "anomaly-map.dcm"} <= missing
    assert len(series["dicom"]["written"]) == 25

    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "1.png"), draw_head() / 5)
    (series,) = _infer(tmp_path / "pictures", tmp_path / "b", "--model", str(model))["series"]
    assert series["dicom"]["written"] == []
    assert "not DICOM" in series["dicom"]["not_written"][0]["reason"]
    assert not (tmp_path / "b" / "dicom").exists()
