from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from gliomart import Detector, sources
from gliomart.findings.pons import STRUCTURE
from gliomart.findings.results import SeriesResult
from gliomart.findings.structures import StructureVerdict
from gliomart.image.slices import Slice
from gliomart.outputs import pictures
from samples import GOLDEN

hd = pytest.importorskip("highdicom")
Rotation = pytest.importorskip("scipy.spatial.transform").Rotation

from gliomart.outputs import dicom  # noqa: E402
from gliomart.outputs.dicom import terms  # noqa: E402
from gliomart.outputs.dicom.grid import Grid  # noqa: E402

_PATIENT_GROUP = 0x0010
_RECOGNISED = {"Segmentation", "ParametricMap", "Comprehensive3DSR", "SCImage"}


@cache
def _golden() -> tuple[SeriesResult, tuple[Dataset, ...], float]:
    """Analyse the study that comes along, with a second lesion, and read its headers."""
    detector = Detector(provider="cpu")
    files = sorted(GOLDEN.glob("*.dcm"))
    headers = tuple(pydicom.dcmread(file, stop_before_pixels=True) for file in files)
    (found,) = sources.scan([GOLDEN]).series
    read = sources.read_series(found.files, found.source)
    slices = [item for item in read if isinstance(item, Slice)]
    for number in (12, 13, 14):
        pixels = slices[number].pixels.copy()
        cv2.circle(pixels, (100, 100), 12, 2.0 * float(np.median(pixels[90:170, 90:170])), -1)
        slices[number] = replace(slices[number], pixels=pixels)
    return detector.detect_series(slices), headers, detector.calibration.display_limit


def _stack(**changes: Any) -> dicom.Stack:
    """One image per slice."""
    series, headers, limit = _golden()
    assert series.verdict is not None
    stack = dicom.Stack(series.slices, headers, series.verdict, series.structures, limit)
    return replace(stack, **changes)


def _many_frames() -> dicom.Stack:
    """Make one image of all: the frames of an enhanced MR."""
    headers = [pydicom.dcmread(file) for file in sorted(GOLDEN.glob("*.dcm"))]
    for header in headers:
        header.decompress()
        header.PixelBandwidth = 100
    enhanced = hd.legacy.LegacyConvertedEnhancedMRImage(
        headers,
        series_instance_uid=generate_uid(),
        series_number=7,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient
        for frame in enhanced.PerFrameFunctionalGroupsSequence
    ]
    results = []
    for result in _golden()[0].slices:
        frame = next(
            i for i, place in enumerate(places) if np.allclose(place, result.slice.position)
        )
        shown = replace(result.slice, frame=frame, sop_instance_uid=str(enhanced.SOPInstanceUID))
        results.append(replace(result, slice=shown))
    return _stack(results=results, sources=[enhanced])


def _cut_anew() -> dicom.Stack:
    """Make the images sagittal ones of the same voxels, of which the slices were cut."""
    series, headers, _ = _golden()
    first, last = (result.slice for result in (series.slices[0], series.slices[-1]))
    assert first.position is not None
    assert last.position is not None
    height, width = first.pixels.shape
    step = (last.position[2] - first.position[2]) / (len(series.slices) - 1)
    sagittal = []
    for column in range(width):
        header = pydicom.Dataset()
        header.update(headers[0])
        header["SOPInstanceUID"] = pydicom.DataElement("SOPInstanceUID", "UI", generate_uid())
        for name, value in {
            "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
            "ImagePositionPatient": [
                first.position[0] + column * headers[0].PixelSpacing[1],
                first.position[1],
                last.position[2],
            ],
            "PixelSpacing": [step, headers[0].PixelSpacing[0]],
            "SliceThickness": 0.9375,
            "Rows": len(series.slices),
            "Columns": height,
        }.items():
            header[name] = pydicom.DataElement(name, header[name].VR, value)
        sagittal.append(header)
    results = [
        replace(result, slice=replace(result.slice, sop_instance_uid=None))
        for result in series.slices
    ]
    return _stack(results=results, sources=sagittal)


_KINDS: dict[str, Callable[[], dicom.Stack]] = {
    "one image a slice": _stack,
    "one image of many frames": _many_frames,
    "cut anew": _cut_anew,
}


@dataclass(frozen=True)
class Case:
    """A series, and its objects as they are read back."""

    kind: str
    stack: dicom.Stack
    folder: Path
    objects: dict[str, Dataset]

    @property
    def of_each_kind(self) -> list[str]:
        """Names of all objects, of the overlays of the first and the last only."""
        between = {f"overlay-{number:04d}.dcm" for number in range(2, 24)}
        return sorted(self.objects.keys() - between)

    @property
    def overlays(self) -> list[Dataset]:
        return [made for name, made in sorted(self.objects.items()) if name.startswith("overlay")]


def _write(stack: dicom.Stack, folder: Path) -> dict[str, Dataset]:
    for made in dicom.objects(stack):
        assert made.dataset is not None, made
        (folder / made.name).write_bytes(dicom.encoded(made.dataset))
    return {path.name: pydicom.dcmread(path) for path in folder.iterdir()}


@pytest.fixture(scope="module", params=_KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("dicom")
    stack = _KINDS[request.param]()
    return Case(request.param, stack, folder, _write(stack, folder))


def _made(stack: dicom.Stack) -> dict[str, Dataset | None]:
    return {made.name: made.dataset for made in dicom.objects(stack)}


def _planes(case: Case, image: Dataset) -> list[int]:
    """Tell which slice each frame shows, by its place."""
    places = np.array([result.slice.position for result in case.stack.results])
    found = []
    for frame in image.PerFrameFunctionalGroupsSequence:
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        distance = np.linalg.norm(places - place, axis=1)
        assert distance.min() < 1e-3
        found.append(int(distance.argmin()))
    return found


def test_all_kinds_of_objects_are_made(case: Case) -> None:
    classes = {name: made.SOPClassUID.name for name, made in case.objects.items()}
    assert classes == {
        "anomalous-regions.dcm": "Segmentation Storage",
        "pons.dcm": "Segmentation Storage",
        "anomaly-map.dcm": "Parametric Map Storage",
        "report.dcm": "Comprehensive 3D SR Storage",
        **{
            f"overlay-{number:04d}.dcm": "Secondary Capture Image Storage"
            for number in range(1, 25)
        },
    }


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_the_validator_finds_no_error(case: Case) -> None:
    for name in case.of_each_kind:
        done = subprocess.run(
            ["dciodvfy", "-new", str(case.folder / name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert not [line for line in said.splitlines() if line.startswith(("Error", "Abort"))], name
        assert _RECOGNISED & set(said.splitlines())  # it tells what it took the object for


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="dcmtk is not installed")
def test_another_reader_reads_everything(case: Case) -> None:
    for name in case.of_each_kind:
        made = case.objects[name]
        done = subprocess.run(
            ["dcmdump", "-q", str(case.folder / name)],
            capture_output=True, check=True,
        )  # fmt: skip
        assert made.SOPInstanceUID.encode() in done.stdout
        assert done.stderr == b""


def test_patient_and_study_are_the_source_s_and_series_are_new(case: Case) -> None:
    source = case.stack.sources[0]
    series: dict[str, set[int]] = {}
    for made in case.objects.values():
        for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientSex", "StudyID"):
            assert made.get(name) == (source.get(name) or "")
        of_patient = {e.tag for e in made if e.tag.group == _PATIENT_GROUP}
        assert of_patient <= {e.tag for e in source}
        assert not [element for element in made.iterall() if element.tag.is_private]
        series.setdefault(made.SeriesInstanceUID, set()).add(made.SeriesNumber)
    assert len(series) == 4
    assert source.SeriesInstanceUID not in series
    numbers = [number for found in series.values() for number in found]
    assert len(set(numbers)) == 4
    assert all(number % 1000 in range(901, 905) for number in numbers)
    assert len({made.SOPInstanceUID for made in case.objects.values()}) == len(case.objects)


def test_another_run_has_other_uids() -> None:
    runs = [[made for made in _made(_stack()).values() if made is not None] for _ in range(2)]
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        first, second = ({made[name].value for made in run} for run in runs)
        assert not first & second


def test_the_geometry_is_the_slices(case: Case) -> None:
    for name in ("anomalous-regions.dcm", "pons.dcm", "anomaly-map.dcm"):
        image = case.objects[name]
        shared = image.SharedFunctionalGroupsSequence[0]
        shown = case.stack.results[0].slice
        assert image.FrameOfReferenceUID == case.stack.sources[0].FrameOfReferenceUID
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == pytest.approx(
            shown.orientation
        )
        measures = shared.PixelMeasuresSequence[0]
        assert measures.PixelSpacing == pytest.approx(shown.spacing)
        assert measures.SpacingBetweenSlices == pytest.approx(6.5)
        # Of axial images their own thickness; of slices cut anew, the step between them.
        assert measures.SliceThickness == (6.5 if case.kind == "cut anew" else 5.0)


_angles = st.floats(-np.pi, np.pi)


@given(
    st.tuples(_angles, _angles, _angles),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.tuples(*[st.floats(0.1, 5)] * 2),
    st.tuples(*[st.integers(0, 511)] * 2),
)
def test_a_pixel_s_place_is_what_the_standard_says(
    angles: tuple[float, ...],
    position: tuple[float, ...],
    spacing: tuple[float, float],
    pixel: tuple[int, int],
) -> None:
    orientation = tuple(Rotation.from_euler("xyz", angles).as_matrix()[:, :2].T.ravel().tolist())
    grid = Grid(orientation, np.array([position]), spacing, 1.0, 1.0, ())
    to_patient = hd.spatial.PixelToReferenceTransformer(position, orientation, spacing)

    assert grid.place(0, *pixel) == pytest.approx(to_patient(np.array([pixel[::-1]]))[0], abs=1e-6)


def test_the_anomaly_map_is_exact(case: Case) -> None:
    image = case.objects["anomaly-map.dcm"]
    frames = image.pixel_array
    assert frames.dtype == np.float32
    planes = _planes(case, image)
    assert sorted(planes) == list(range(24))
    for frame, index in zip(frames, planes, strict=True):
        assert np.array_equal(frame, case.stack.results[index].anomaly_map)
    (mapping,) = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == frames.max()


def test_segments_add_up_to_the_masks_and_the_pons(case: Case) -> None:
    for name, masks in (
        ("anomalous-regions.dcm", [result.mask for result in case.stack.results]),
        ("pons.dcm", [r.pons.mask for r in case.stack.results if r.pons is not None]),
    ):
        image = case.objects[name]
        found = np.zeros((24, *masks[0].shape), np.uint8)
        for frame, index in zip(image.pixel_array, _planes(case, image), strict=True):
            found[index] += frame
        assert np.array_equal(found, np.stack(masks))
    segments = case.objects["anomalous-regions.dcm"].SegmentSequence
    assert len(segments) == len(case.stack.lesions)
    for segment in segments:
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.SCT.Lesion.value
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert case.stack.settings.model_sha256 in algorithm.AlgorithmParameters
    (pons,) = case.objects["pons.dcm"].SegmentSequence
    assert pons.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Pons"


def test_images_refer_to_what_they_come_from(case: Case) -> None:
    sources = {dataset.SOPInstanceUID for dataset in case.stack.sources}
    for name in ("anomalous-regions.dcm", "pons.dcm", "anomaly-map.dcm"):
        image = case.objects[name]
        assert {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence} == sources
        for frame, index in zip(
            image.PerFrameFunctionalGroupsSequence, _planes(case, image), strict=True
        ):
            shown = case.stack.results[index].slice
            if case.kind == "cut anew":
                assert not frame.DerivationImageSequence
                continue
            (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
            assert reference.ReferencedSOPInstanceUID == shown.sop_instance_uid
            assert reference.get("ReferencedFrameNumber") == (
                None if shown.frame is None else shown.frame + 1
            )
    for result, overlay in zip(case.stack.results, case.overlays, strict=True):
        references = overlay.SourceImageSequence
        if case.kind == "cut anew":
            assert {item.ReferencedSOPInstanceUID for item in references} == sources
            continue
        assert len(references) == 1
        assert references[0].ReferencedSOPInstanceUID == result.slice.sop_instance_uid
        frame = result.slice.frame
        assert references[0].get("ReferencedFrameNumber") == (None if frame is None else frame + 1)


def test_captures_are_the_overlays(case: Case) -> None:
    for number, (result, made) in enumerate(
        zip(case.stack.results, case.overlays, strict=True), start=1
    ):
        picture = pictures.overlay(result, case.stack.display_limit)
        assert np.array_equal(made.pixel_array, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        assert made.InstanceNumber == number
        assert list(made.PatientOrientation) == ["L", "P"]
        assert made.BurnedInAnnotation == "NO"
        assert terms.RESEARCH_ONLY in made.DerivationDescription


def _report(made: Dataset) -> Any:
    return hd.sr.Comprehensive3DSR.from_dataset(made).content


def _numbers(group: Any) -> dict[tuple[str, str | None], float]:
    found = {}
    for measurement in group.get_measurements():
        derivation = measurement.derivation
        name = (measurement.name.meaning, derivation.meaning if derivation else None)
        found[name] = float(measurement.value)
    return found


def _answers(group: Any) -> dict[str, str]:
    return {
        evaluation.name.value: evaluation.value.meaning
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.scheme_designator == terms.SCHEME
    }


def test_the_report_says_what_results_say(case: Case) -> None:
    report, stack = _report(case.objects["report.dcm"]), case.stack
    (series,) = report.get_image_measurement_groups()
    assert _numbers(series) == {
        (terms.SCORE.meaning, None): pytest.approx(stack.verdict.score),
        (terms.P_VALUE.meaning, None): pytest.approx(stack.verdict.p_value),
        (terms.FALSE_ALARM_RATE.meaning, None): pytest.approx(0.05),
    }
    assert _answers(series) == {"flagged": "Yes"}
    assert len(series.source_images) == len(stack.sources)
    said = {e.value for e in case.objects["report.dcm"].iterall() if e.keyword == "TextValue"}
    assert terms.RESEARCH_ONLY in said
    assert f"sha256={stack.settings.model_sha256}" in said

    (pons,) = report.get_volumetric_roi_measurement_groups(finding_type=terms.concept_of(STRUCTURE))
    verdict = stack.structures[STRUCTURE.name]
    fraction = terms.fraction_anomalous(STRUCTURE)
    assert _answers(pons) == {"coverage": "pons covered", "flagged": "Yes"}
    pixels = sum(int(r.pons.mask.sum()) for r in stack.results if r.pons)
    voxel_ml = 0.9375 * 0.9375 * 6.5 / 1000
    assert _numbers(pons) == {
        (terms.SCORE.meaning, None): pytest.approx(verdict.score),
        (terms.P_VALUE.meaning, None): pytest.approx(verdict.p_value),
        (fraction.meaning, None): pytest.approx(verdict.fraction_anomalous),
        ("Volume", None): pytest.approx(pixels * voxel_ml),
    }


def test_lesions_are_measured_where_they_lie(case: Case) -> None:
    report, stack = _report(case.objects["report.dcm"]), case.stack
    groups = report.get_volumetric_roi_measurement_groups(finding_type=codes.SCT.Lesion)
    segmentation = case.objects["anomalous-regions.dcm"]
    segments = {segment.TrackingUID: segment for segment in segmentation.SegmentSequence}
    assert len(groups) == len(segments) == len(stack.lesions) > 1
    planes = _planes(case, segmentation)
    for group in groups:
        segment = segments[group.tracking_uid]
        reference = group.referenced_segment[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        frames = [
            (index, pixels.astype(bool))
            for frame, pixels, index in zip(
                segmentation.PerFrameFunctionalGroupsSequence,
                segmentation.pixel_array,
                planes,
                strict=True,
            )
            if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            == segment.SegmentNumber
        ]
        pixels = [int(mask.sum()) for _, mask in frames]
        pixel_mm2 = 0.9375 * 0.9375
        peak = max(stack.results[index].anomaly_map[mask].max() for index, mask in frames)
        assert _numbers(group) == {
            ("Volume", None): pytest.approx(sum(pixels) * pixel_mm2 * 6.5 / 1000),
            ("Area", "Maximum"): pytest.approx(max(pixels) * pixel_mm2),
            (terms.SCORE.meaning, "Maximum"): pytest.approx(float(peak), rel=1e-6),
        }
        (centre,) = report.get_planar_roi_measurement_groups(
            tracking_uid=group.tracking_uid, graphic_type=hd.sr.GraphicTypeValues3D.POINT
        )
        everywhere = np.concatenate(
            [
                np.argwhere(mask)[:, ::-1] * 0.9375 @ np.eye(2, 3)
                + np.array(stack.results[index].slice.position)
                for index, mask in frames
            ]
        )
        assert centre.roi.value[0] == pytest.approx(everywhere.mean(axis=0), abs=1e-3)


@pytest.mark.parametrize("coverage", [STRUCTURE.not_covered, STRUCTURE.not_judged])
def test_what_is_not_covered_is_never_answered_with_no(coverage: str) -> None:
    stack = _stack(
        structures={STRUCTURE.name: StructureVerdict(STRUCTURE, coverage, slices=0)},
        results=[replace(result, structures={}) for result in _golden()[0].slices],
        verdict=replace(_stack().verdict, flagged=None),
    )
    made = _made(stack)
    assert made["pons.dcm"] is None
    assert made["report.dcm"] is not None
    series, pons = _report(made["report.dcm"]).get_image_measurement_groups()
    assert _answers(series) == {"flagged": "Not Evaluated"}
    assert _answers(pons) == {"coverage": coverage, "flagged": "Not Evaluated"}
    assert _numbers(pons) == {}


def test_there_is_no_segmentation_of_nothing() -> None:
    results = [
        replace(result, mask=np.zeros_like(result.mask), regions=())
        for result in _golden()[0].slices
    ]
    made = {each.name: each for each in dicom.objects(_stack(results=results))}
    assert made["anomalous-regions.dcm"].dataset is None
    assert made["anomalous-regions.dcm"].reason
    assert made["report.dcm"].dataset is not None
    assert not _report(made["report.dcm"].dataset).get_planar_roi_measurement_groups()


def _without(*names: str) -> dicom.Stack:
    headers = []
    for header in _golden()[1]:
        changed = pydicom.Dataset()
        changed.update(header)
        for name in names:
            del changed[name]
        headers.append(changed)
    return _stack(sources=headers)


def test_without_a_place_there_are_a_report_and_overlays_and_it_is_said_why() -> None:
    placeless = [
        replace(result, slice=replace(result.slice, position=None, orientation=None))
        for result in _golden()[0].slices
    ]
    for stack in (
        _stack(results=placeless),
        _without("FrameOfReferenceUID"),
        _stack(results=[_golden()[0].slices[0]] * 2),
    ):
        made = {each.name: each for each in dicom.objects(stack)}
        for name in ("anomalous-regions.dcm", "pons.dcm", "anomaly-map.dcm"):
            assert made[name].dataset is None
            assert made[name].reason
        assert made["report.dcm"].dataset is not None
        assert sum(each.dataset is not None for each in made.values()) == len(stack.results) + 1


def test_without_an_identity_nothing_is_made() -> None:
    for made in dicom.objects(_without("StudyInstanceUID")):
        assert made.dataset is None
        assert "StudyInstanceUID" in made.reason


def test_odd_values_of_the_source_stop_nothing() -> None:
    stack = _without("PatientName", "AccessionNumber", "SliceThickness", "BodyPartExamined")
    for header in stack.sources:
        for name, value in (
            ("PatientBirthDate", "unknown"),
            ("StudyTime", "noon"),
            ("PatientSex", "X"),
        ):
            header[name] = pydicom.DataElement(
                name, header[name].VR, value, validation_mode=pydicom.config.IGNORE
            )
    made = _made(stack)
    assert None not in made.values()
    overlay, anomaly_map = made["overlay-0001.dcm"], made["anomaly-map.dcm"]
    for image in (overlay, anomaly_map):
        assert image is not None
        assert image.PatientName in ("", None)
        # Which part it is, and so whether that is paired, is not known.
        assert image["Laterality"].is_empty
    assert anomaly_map is not None
    measures = anomaly_map.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == 6.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOPClassUID", "1.2.3.4"),
        ("SpecificCharacterSet", "KLINGON"),
        ("SeriesNumber", -7),
        ("SeriesNumber", 2**31 - 1),
        ("PatientName", "^" * 70),
        ("AccessionNumber", "long" * 30),
        ("LossyImageCompression", "perhaps"),
        ("BodyPartExamined", "Gehirn"),
        ("FrameOfReferenceUID", "none"),
    ],
)
def test_what_a_header_does_not_allow_is_said_and_never_raised(name: str, value: Any) -> None:
    headers = []
    for header in _golden()[1][:3]:
        changed = pydicom.Dataset()
        changed.update(header)
        changed[name] = pydicom.DataElement(
            name, pydicom.datadict.dictionary_VR(name), value, validation_mode=pydicom.config.IGNORE
        )
        headers.append(changed)
    for made in dicom.objects(_stack(results=_golden()[0].slices[:3], sources=headers)):
        assert (made.dataset is None) == bool(made.reason)
        assert "\n" not in made.reason
        if made.dataset is not None:
            assert dicom.encoded(made.dataset)
            assert 0 < made.dataset.SeriesNumber < 2**31


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("long" * 30, "long" * 16),
        ("a\\b", "a/b 7"),
        ("a\nb\x1b", "a/nb/x1b 7"),
        ("é", "/xe9 7"),
    ],
)
def test_any_model_can_be_named(name: str, shown: str) -> None:
    settings = replace(_golden()[0].settings, model_name=name)
    results = [replace(result, settings=settings) for result in _golden()[0].slices[:3]]
    made = _made(_stack(results=results, sources=_golden()[1][:3]))
    for dataset in filter(None, made.values()):
        assert dicom.encoded(dataset)
        assert dataset.SoftwareVersions[1] == shown
    assert made["report.dcm"] is not None


def test_an_image_of_an_unpaired_part_has_no_side(case: Case) -> None:
    for name in ("anomaly-map.dcm", "overlay-0001.dcm"):
        made = case.objects[name]
        assert "Laterality" not in made
        if case.kind == "one image of many frames":
            assert made.AnatomicRegionSequence[0].CodeMeaning == "Brain"
        else:
            assert made.BodyPartExamined == "BRAIN"


def test_the_absence_of_the_extra_is_said() -> None:
    code = (
        "import sys; sys.modules['highdicom'] = None\n"
        "from gliomart.errors import MissingExtraError\n"
        "try: import gliomart.outputs.dicom\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "gliomart[dicom]" in done.stdout
