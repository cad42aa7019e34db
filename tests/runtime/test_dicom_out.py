from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset

from gliomart import Detector, cli, sources
from gliomart.outputs.dicom.codes import CENTRE, PEAK, TERMS
from gliomart.outputs.dicom.lesions import connected
from samples import GOLDEN, SHARED, draw_head, needs_real_images

hd = pytest.importorskip("highdicom")
label = pytest.importorskip("scipy.ndimage").label

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not here"
)
needs_dcmdump = pytest.mark.skipif(
    shutil.which("dcmdump") is None, reason="dcmdump (Debian package dcmtk) is not here"
)
PHILIPS = SHARED / "dicom" / "enhanced_mr" / "Philips"
TRIO = SHARED / "dicom" / "t1_mprage_trio"


def _infer(study: Path, out: Path, *options: str) -> dict[str, object]:
    arguments = ["infer", str(study), "--out", str(out), "--dicom-out", "--maps", *options]
    assert cli.main([*arguments, "--provider", "cpu"]) == 0
    document: dict[str, object] = json.loads((out / "results.json").read_text())
    return document


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("golden") / "out"
    _infer(GOLDEN, out)
    return out


def _objects(out: Path) -> dict[str, Dataset]:
    return {path.name: pydicom.dcmread(path) for path in sorted((out / "dicom").rglob("*.dcm"))}


def _slices(out: Path) -> list[dict[str, object]]:
    document = json.loads((out / "results.json").read_text())
    slices: list[dict[str, object]] = document["slices"]
    return slices


def test_every_series_has_its_objects_and_results_name_them(golden: Path) -> None:
    (series,) = json.loads((golden / "results.json").read_text())["series"]
    there = sorted(str(p.relative_to(golden)) for p in (golden / "dicom").rglob("*.dcm"))
    assert sorted(series["dicom"]["written"]) == there
    assert series["dicom"]["not_written"] == []
    assert len(there) == 24 + 3


def test_objects_are_of_the_same_patient_and_study_and_of_series_of_their_own(
    golden: Path,
) -> None:
    source = pydicom.dcmread(GOLDEN / "slice_001.dcm")
    objects = _objects(golden)
    for made in objects.values():
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyID"):
            assert made.get(keyword) == source.get(keyword)
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert "research" in made.SeriesDescription
        assert made.SeriesNumber > 1000
        if "FrameOfReferenceUID" in made:
            assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert len({made.SeriesInstanceUID for made in objects.values()}) == 4
    assert len({made.SOPInstanceUID for made in objects.values()}) == len(objects)
    known = {str(pydicom.dcmread(f).SOPInstanceUID) for f in GOLDEN.glob("*.dcm")}
    for name in ("segmentation.dcm", "parametric-map.dcm", "report.dcm", "overlay-0001.dcm"):
        dumped = str(objects[name])
        assert any(uid in dumped for uid in known)


def _by_place(made: Dataset) -> dict[tuple[float, ...], list[np.ndarray]]:
    """Frames of a map by where they lie: an object may hold them in any order."""
    found: dict[tuple[float, ...], list[np.ndarray]] = {}
    groups = made.PerFrameFunctionalGroupsSequence
    for group, plane in zip(groups, made.pixel_array, strict=True):
        position = group.PlanePositionSequence[0].ImagePositionPatient
        found.setdefault(tuple(round(float(v), 2) for v in position), []).append(plane)
    return found


def _check_map(out: Path) -> Dataset:
    made = _objects(out)["parametric-map.dcm"]
    frames = _by_place(made)
    slices = _slices(out)
    assert sum(map(len, frames.values())) == len(slices) > 0
    for entry in slices:
        place = entry["geometry"]["position_lps_mm"]  # type: ignore[index]
        there = [p for p in frames if np.allclose(p, place, atol=0.02)]
        values = np.load(out / str(entry["map"]))
        assert any(np.array_equal(values, plane) for p in there for plane in frames[p])
    return made


def test_the_map_is_the_anomaly_map_on_the_source_geometry(golden: Path) -> None:
    made = _check_map(golden)
    shared = made.SharedFunctionalGroupsSequence[0]
    assert [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == [0.9375, 0.9375]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(v) for v in orientation] == [1, 0, 0, 0, 1, 0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)


def test_the_segments_together_are_the_masks(golden: Path) -> None:
    seg = hd.seg.segread(golden / "dicom" / "golden" / "segmentation.dcm")
    uids = [str(entry["sop_instance_uid"]) for entry in _slices(golden)]
    planes = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    labels = [seg.get_segment_description(n).segment_label for n in range(1, planes.shape[3] + 1)]
    assert labels[-1] == "pons"
    assert all(name.startswith("anomaly") for name in labels[:-1])
    anomalous = planes[..., :-1].any(axis=3)
    assert planes[..., :-1].sum(axis=3).max() == 1  # lesions do not overlap
    for plane, pons, entry in zip(anomalous, planes[..., -1], _slices(golden), strict=True):
        mask = cv2.imread(str(golden / str(entry["mask"])), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(plane, mask > 0)
        assert pons.any() == entry["pons"]["visible"]  # type: ignore[index]


def test_captures_are_the_overlays(golden: Path) -> None:
    objects = _objects(golden)
    for number, entry in enumerate(_slices(golden), start=1):
        made = objects[f"overlay-{number:04d}.dcm"]
        picture = cv2.imread(str(golden / str(entry["overlay"])))
        assert np.array_equal(made.pixel_array, picture[..., ::-1])
        (reference,) = made.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == entry["sop_instance_uid"]


def _named(measurements: Sequence[object]) -> dict[str, float]:
    return {m.name.value: float(m.value) for m in measurements}  # type: ignore[attr-defined]


def test_the_report_says_what_the_results_say(golden: Path) -> None:
    report = hd.sr.srread(golden / "dicom" / "golden" / "report.dcm")
    document = json.loads((golden / "results.json").read_text())
    (series,) = document["series"]
    groups = {
        group.tracking_identifier: group for group in report.content.get_image_measurement_groups()
    }
    for name, entry in (("series", series), ("pons", series["pons"])):
        values = _named(groups[name].get_measurements())
        assert values == pytest.approx(
            {"SCORE": entry["score"], "P_VALUE": entry["p_value"]}, abs=1e-6
        )
    said = [e.value for e in report.iterall() if e.keyword in {"TextValue", "CodeMeaning"}]
    assert "Research use only. Not for diagnosis." in said
    assert f"model SHA-256 {document['model']['sha256']}" in said

    lesions = report.content.get_volumetric_roi_measurement_groups()
    stack = np.stack(
        [cv2.imread(str(golden / str(e["mask"])), cv2.IMREAD_UNCHANGED) for e in _slices(golden)]
    )
    maps = np.stack([np.load(golden / str(entry["map"])) for entry in _slices(golden)])
    labels, count = label(stack > 0, structure=np.ones((3, 3, 3)))
    assert len(lesions) == count > 0
    sizes = sorted(((labels == n).sum() for n in range(1, count + 1)), reverse=True)
    volumes = [_named(group.get_measurements())["118565006"] for group in lesions]
    assert volumes == pytest.approx([n * 0.9375**2 * 6.5 / 1000 for n in sizes], rel=1e-4)
    largest = labels == 1 + int(np.argmax([(labels == n).sum() for n in range(1, count + 1)]))
    values = _named(lesions[0].get_measurements())
    assert values[PEAK.value] == pytest.approx(float(maps[largest].max()), rel=1e-5)
    first = np.array(pydicom.dcmread(GOLDEN / "slice_001.dcm").ImagePositionPatient, float)
    z, y, x = np.argwhere(largest).mean(axis=0)
    centre = first + np.array([x * 0.9375, y * 0.9375, z * 6.5])
    assert [values[term.value] for term in CENTRE] == pytest.approx(centre, abs=1e-2)


def _errors(path: Path) -> list[str]:
    done = subprocess.run(
        ["dciodvfy", "-new", str(path)], capture_output=True, check=False, text=True
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def _one_of_each(out: Path) -> list[Path]:
    names = ("segmentation.dcm", "parametric-map.dcm", "report.dcm", "overlay-0001.dcm")
    found = [path for name in names for path in (out / "dicom").rglob(name)]
    assert len(found) == len(names)
    return found


@needs_dciodvfy
def test_objects_are_valid(golden: Path) -> None:
    for path in _one_of_each(golden):
        assert _errors(path) == []


@needs_dcmdump
def test_dcmtk_reads_every_object(golden: Path) -> None:
    for path in _one_of_each(golden):
        done = subprocess.run(
            ["dcmdump", "-q", str(path)], capture_output=True, check=False, text=True
        )
        assert done.returncode == 0
        assert "SOPInstanceUID" in done.stdout
        assert done.stderr == ""


@needs_real_images
@needs_dciodvfy
@pytest.mark.parametrize("study", [PHILIPS, pytest.param(TRIO, marks=pytest.mark.slow)])
def test_objects_of_multi_frame_and_turned_series_are_valid(study: Path, tmp_path: Path) -> None:
    _infer(study, tmp_path / "out", "--force")
    for path in _one_of_each(tmp_path / "out"):
        assert _errors(path) == []
    _check_map(tmp_path / "out")
    assert "Outside the intended use" in str(_objects(tmp_path / "out")["report.dcm"])


def test_what_cannot_be_written_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    for number in range(1, 25):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        del dataset.ImagePositionPatient
        dataset.save_as(tmp_path / "lost" / f"{number}.dcm")
    document = _infer(tmp_path / "lost", tmp_path / "a", "--model", str(model))
    (series,) = document["series"]  # type: ignore[misc]
    missing = {entry["object"] for entry in series["dicom"]["not_written"]}  # type: ignore[index]
    assert missing == {"segmentation.dcm", "parametric-map.dcm"}
    assert len(series["dicom"]["written"]) == 25  # type: ignore[index]

    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "1.png"), draw_head() / 5)
    document = _infer(tmp_path / "pictures", tmp_path / "b", "--model", str(model))
    (series,) = document["series"]  # type: ignore[misc]
    assert series["dicom"]["written"] == []  # type: ignore[index]
    assert "not DICOM" in series["dicom"]["not_written"][0]["reason"]  # type: ignore[index]
    assert not (tmp_path / "b" / "dicom").exists()


@given(arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12))))
def test_lesions_are_the_connected_voxels(stack: np.ndarray) -> None:
    labels, count = label(stack, structure=np.ones((3, 3, 3)))
    found = connected(stack)
    assert len(found) == count
    expected = {(labels == n).tobytes() for n in range(1, count + 1)}
    assert {lesion.mask.tobytes() for lesion in found} == expected
    sizes = [int(lesion.mask.sum()) for lesion in found]
    assert sizes == sorted(sizes, reverse=True)
    for lesion in found:
        there = np.flatnonzero(lesion.mask.any(axis=(1, 2)))
        assert (lesion.first, lesion.last) == (there[0], there[-1])


def test_private_terms_are_short_enough_and_differ() -> None:
    assert len({term.value for term in TERMS}) == len(TERMS)
    for term in TERMS:  # PS3.5 6.2: SH, LO
        assert len(term.value) <= 16
        assert len(term.meaning) <= 64


def test_headers_follow_the_results() -> None:
    (series,) = sources.scan([GOLDEN]).series
    results = Detector(provider="cpu").detect_series(GOLDEN).slices[::-1]
    headers = sources.headers(series.files, results)
    assert [h.SOPInstanceUID for h in headers] == [r.slice.sop_instance_uid for r in results]
    assert all("PixelData" not in header for header in headers)
