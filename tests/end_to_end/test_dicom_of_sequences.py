"""DICOM objects of an examination name the images that were seen beside slices as sources."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from examinations import Change, as_t1, moved, series, t1, tagged
from gliomart import cli
from samples import golden_slice

hd = pytest.importorskip("highdicom")

OBJECTS = ("anomaly-map", "anomalous-regions", "pons")


def infer(study: Path, out: Path, *options: str) -> dict[str, Any]:
    """Write the objects, and hold each to the validator."""
    command = ["infer", str(study), "--out", str(out), "--dicom-out", "--provider", "cpu"]
    assert cli.main([*command, "--model", "flair-t1-dae", *options]) == 0
    for path in (out / "dicom").rglob("*.dcm"):
        if shutil.which("dciodvfy"):
            done = subprocess.run(
                ["dciodvfy", "-new", str(path)], capture_output=True, check=False, text=True
            )
            lines = (done.stdout + done.stderr).splitlines()
            assert [line for line in lines if line.startswith("Error")] == [], path
    document: dict[str, Any] = json.loads((out / "results.json").read_text())
    return document


def read(out: Path, name: str) -> Dataset:
    (path,) = (out / "dicom").rglob(f"{name}.dcm")
    return pydicom.dcmread(path)


def headers(study: Path, name: str) -> dict[str, Dataset]:
    files = sorted(study.glob(f"{name}-*.dcm"))
    found = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    return {str(each.SOPInstanceUID): each for each in found}


def frames(made: Dataset) -> list[tuple[np.ndarray, list[Dataset]]]:
    """Give each frame's place and source images."""
    return [
        (
            np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float),
            [
                item
                for derivation in frame.DerivationImageSequence
                for item in derivation.SourceImageSequence
            ],
        )
        for frame in made.PerFrameFunctionalGroupsSequence
    ]


def referenced(made: Dataset) -> dict[str, list[str]]:
    return {
        each.SeriesInstanceUID: [
            i.ReferencedSOPInstanceUID for i in each.ReferencedInstanceSequence
        ]
        for each in made.ReferencedSeriesSequence
    }


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return series(tmp_path / "study", "flair")


def blank_ends(dataset: Dataset, number: int) -> None:
    if number in {1, 24}:
        dataset.PixelData = bytes(len(dataset.PixelData))


def test_objects_name_the_images_of_both_series(study: Path, tmp_path: Path) -> None:
    t1(study, blank_ends)
    t1(study, name="part", numbers=range(1, 13))  # left out, and never named
    out = tmp_path / "out"
    document = infer(study, out)
    assert document["series"][0]["dicom"]["not_written"] == []
    flair, other = headers(study, "flair"), headers(study, "t1")
    lost = {uid for uid, each in other.items() if each.InstanceNumber in {1, 24}}
    used = other.keys() - lost
    (series_of,) = {each.SeriesInstanceUID for each in flair.values()}
    (series_of_t1,) = {each.SeriesInstanceUID for each in other.values()}
    for name in OBJECTS:
        made = read(out, name)
        named = referenced(made)
        assert list(named) == [series_of, series_of_t1]
        assert set(named[series_of]) == flair.keys()
        assert set(named[series_of_t1]) == used
        sources = [each.ReferencedSOPInstanceUID for each in made.SourceImageSequence]
        assert sorted(sources) == sorted([*flair, *used])
    report = read(out, "report")
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == report.StudyInstanceUID
    named = {
        each.SeriesInstanceUID: {i.ReferencedSOPInstanceUID for i in each.ReferencedSOPSequence}
        for each in evidence.ReferencedSeriesSequence
    }
    assert named[series_of] == flair.keys()
    assert named[series_of_t1] == used


def test_a_frame_names_its_own_image_first_and_then_what_was_seen_with_it(
    study: Path, tmp_path: Path
) -> None:
    t1(study, blank_ends)
    infer(study, tmp_path / "out")
    flair, other = headers(study, "flair"), headers(study, "t1")
    for name in OBJECTS:
        for place, items in frames(read(tmp_path / "out", name)):
            own, *beside = items
            assert np.allclose(flair[own.ReferencedSOPInstanceUID].ImagePositionPatient, place)
            assert own.SpatialLocationsPreserved == "YES"
            assert len(beside) <= 1
            for each in beside:
                assert np.allclose(other[each.ReferencedSOPInstanceUID].ImagePositionPatient, place)
                assert each.SpatialLocationsPreserved == "NO"
    alone = [len(items) for _, items in frames(read(tmp_path / "out", "anomaly-map"))]
    assert Counter(alone) == {2: 22, 1: 2}
    for number in (1, 5):
        capture = read(tmp_path / "out", f"overlay-{number:04d}")
        places = [
            (flair | other)[item.ReferencedSOPInstanceUID].ImagePositionPatient
            for item in capture.SourceImageSequence
        ]
        assert len(places) == (1 if number == 1 else 2)
        assert all(place == places[0] for place in places)


def halfway(dataset: Dataset, number: int) -> None:
    """Let a T1 slice show what lies halfway to the next one, and say that it lies there."""
    above = golden_slice(min(number + 1, 24))
    step = above.ImagePositionPatient[2] - dataset.ImagePositionPatient[2]
    as_t1(above)
    pixels = dataset.pixel_array.astype(np.float32)
    mean = (pixels + np.frombuffer(above.PixelData, pixels_of(dataset)).reshape(pixels.shape)) / 2
    dataset.PixelData = mean.astype(pixels_of(dataset)).tobytes()
    moved(z=0.5 * float(step))(dataset, number)


def pixels_of(dataset: Dataset) -> np.dtype[Any]:
    return np.dtype(np.int16 if dataset.PixelRepresentation else np.uint16)


def test_a_slice_between_two_names_both(study: Path, tmp_path: Path) -> None:
    t1(study, halfway, numbers=range(1, 24))
    (entry,) = infer(study, tmp_path / "out")["series"]
    assert [each["seen"] for each in entry["companions"]] == [True]
    counts = Counter(len(items) - 1 for _, items in frames(read(tmp_path / "out", "anomaly-map")))
    assert counts[2] == 22  # of both ends rounding decides


def in_one_file(study: Path) -> None:
    """Make the T1 series one image of many frames."""
    files = sorted(study.glob("t1-*.dcm"))
    images = [pydicom.dcmread(file) for file in files]
    for image in images:
        image.PixelBandwidth = 100
        if image.file_meta.TransferSyntaxUID.is_compressed:
            image.decompress()
    uid = pydicom.uid.generate_uid()
    made = hd.legacy.LegacyConvertedEnhancedMRImage(
        images, series_instance_uid=images[0].SeriesInstanceUID, series_number=7,
        sop_instance_uid=uid, instance_number=1,
    )  # fmt: skip
    made.SeriesDescription, made.ScanningSequence = "AX T1", ["SE"]
    made.RepetitionTime, made.EchoTime = 500.0, 12.0
    for file in files:
        file.unlink()
    made.save_as(study / "t1-all.dcm")


def test_frames_of_one_image_are_named_by_their_numbers(study: Path, tmp_path: Path) -> None:
    in_one_file(t1(study))
    (other,) = headers(study, "t1").values()
    document = infer(study, tmp_path / "out")
    assert [each["seen"] for each in document["series"][0]["companions"]] == [True]
    for name in OBJECTS:
        made = read(tmp_path / "out", name)
        assert referenced(made)[other.SeriesInstanceUID] == [other.SOPInstanceUID]
        for place, (_, beside) in frames(made):
            group = other.PerFrameFunctionalGroupsSequence[beside.ReferencedFrameNumber - 1]
            assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, place)


@pytest.mark.filterwarnings("ignore:.*VR UI")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d, n: setattr(d, "SOPInstanceUID", f"1.2.{'3' * 70}.{n}"), "no valid SOP Instance"),
        (lambda d, _: setattr(d, "SOPInstanceUID", ""), "no valid SOP Instance UID"),
        (tagged(SeriesInstanceUID="1.2.03"), "no valid Series Instance UID"),
    ],
)
def test_images_that_cannot_be_named_cost_no_object_and_are_told(
    study: Path, tmp_path: Path, change: Change, why: str
) -> None:
    t1(study)
    for number, file in enumerate(sorted(study.glob("t1-*.dcm"))):
        dataset = pydicom.dcmread(file)
        change(dataset, number)
        dataset.save_as(file)
    out = tmp_path / "out"
    (entry,) = infer(study, out)["series"]
    assert [each["seen"] for each in entry["companions"]] == [True]
    (note,) = (each for each in entry["notes"] if each["code"] == "unnamed-source")
    assert why in note["reason"]
    assert entry["dicom"]["not_written"] == []
    assert len(referenced(read(out, "anomaly-map"))) == 1


def test_what_was_registered_is_named_where_the_tissue_lies(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK", reason="needs the extra: registration")
    t1(study, moved(x=6, z=-30), tagged(FrameOfReferenceUID="1.2.9"))
    (entry,) = infer(study, tmp_path / "out", "--register")["series"]
    assert entry["companions"][0]["registration"]["shift_mm"] > 25
    other = headers(study, "t1")
    for place, (_, *beside) in frames(read(tmp_path / "out", "anomaly-map")):
        for each in beside:
            there = np.array(other[each.ReferencedSOPInstanceUID].ImagePositionPatient, float)
            assert abs(there[2] + 30 - place[2]) < 8
