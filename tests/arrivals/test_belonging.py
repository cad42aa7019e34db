"""What belongs together, whatever Series Instance UIDs say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import generate_uid

from enhanced import enhanced
from gliomart import Detector, cli, sources
from gliomart.image.geometry import doubles, usual_step
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import Inventory
from gliomart.sources.traits import patients, told_apart
from samples import SHARED, golden_slice, needs_real_images, odd_dicom

REAL = SHARED / "dicom" / "flair_axial_lgg"
COUNT = 24

Change = Callable[[Dataset, int], None]


def write(folder: Path, change: Change | None = None, prefix: str = "") -> Path:
    """Write the simulated study with changes to its slices, numbered from 1, each an own instance.

    A slice whose change sets its SOP Instance UID to "" is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, COUNT + 1):
        dataset = golden_slice(number)
        dataset.SOPInstanceUID = generate_uid()
        if change:
            change(dataset, number)
        if dataset.get("SOPInstanceUID"):
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(folder / f"{prefix}{number:03d}.dcm")
    return folder


def sizes(inventory: Inventory) -> list[int]:
    return [sum(len(file.planes) for file in series.files) for series in inventory.series]


def codes(inventory: Inventory) -> list[str]:
    return [refusal.code for refusal in inventory.refused]


def notes(inventory: Inventory) -> set[str]:
    return {note.code for series in inventory.series for note in series.notes}


def infer(study: Path, out: Path, *options: str) -> dict[str, Any]:
    assert cli.main(["infer", str(study), "--out", str(out), "--quiet", *options]) in {0, 11}
    return json.loads((out / "results.json").read_text())


def other_patient(dataset: Dataset, _: int) -> None:
    dataset.PatientID, dataset.PatientName = "OTHER", "Other^Person"


def fields(**values: Any) -> Change:
    def change(dataset: Dataset, _: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


# Two persons, or two examinations of one, to whom de-identification gave one Series Instance UID,
# or none: what is left to tell them apart.
SECOND = {
    "patient": fields(PatientID="OTHER", PatientName="Other^Person"),
    "name alone": fields(PatientName="Other^Person"),
    "birth date alone": fields(PatientBirthDate="20150101"),
    "no patient at all": fields(PatientID="", PatientName=""),
    "study": fields(StudyInstanceUID="1.2.3.4"),
    "frame of reference": fields(FrameOfReferenceUID="1.2.3.5"),
    "study date": fields(StudyDate="20260102"),
    "accession number": fields(AccessionNumber="2"),
    "series number": fields(SeriesNumber=7),
    "series description": fields(SeriesDescription="AX FLAIR 2"),
    "scanner": fields(DeviceSerialNumber="2"),
    "modality": fields(Modality="CT"),
}
FIRST = fields(
    PatientBirthDate="20140101", StudyDate="20260101", AccessionNumber="1", DeviceSerialNumber="1"
)


@pytest.mark.parametrize("without_uid", [False, True])
@pytest.mark.parametrize("second", SECOND)
def test_one_series_uid_does_not_make_one_series(
    second: str, without_uid: bool, tmp_path: Path
) -> None:
    def shared(dataset: Dataset, number: int) -> None:
        FIRST(dataset, number)
        if without_uid:
            del dataset.SeriesInstanceUID

    def changed(dataset: Dataset, number: int) -> None:
        shared(dataset, number)
        SECOND[second](dataset, number)

    write(tmp_path, shared, "a")
    write(tmp_path, changed, "b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert codes(inventory) == []
    first, other = inventory.series
    assert {file.path.name[0] for file in first.files} == {"a"}
    assert {file.path.name[0] for file in other.files} == {"b"}
    assert first.id != other.id
    assert notes(inventory) == {"told-apart"}


def test_nothing_of_one_patient_is_filed_under_another(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    study, out = tmp_path / "study", tmp_path / "out"
    write(study, prefix="a")
    write(study, other_patient, prefix="b")
    of_b = {str(pydicom.dcmread(f).SOPInstanceUID) for f in study.glob("b*.dcm")}
    document = infer(study, out, "--dicom-out")
    assert [series["slices"] for series in document["series"]] == [COUNT, COUNT]
    assert all(series["notes"][0]["code"] == "told-apart" for series in document["series"])
    assert "Other" not in json.dumps(document)  # nobody is named
    found = {}
    for series in document["series"]:
        for name in series["dicom"]["written"]:
            dataset = pydicom.dcmread(out / name)
            referred = {
                str(element.value)
                for element in dataset.iterall()
                if element.keyword == "ReferencedSOPInstanceUID"
            }
            found.setdefault(str(dataset.PatientID), set()).update(referred)
    assert set(found) == {"SIMULATED-4", "OTHER"}
    assert not found["SIMULATED-4"] & of_b
    assert found["OTHER"] & of_b == of_b


@needs_real_images
def test_two_real_patients_under_one_uid_stay_two(tmp_path: Path) -> None:
    for number, folder in enumerate(sorted(REAL.iterdir())[:2]):
        for file in sorted(folder.iterdir()):
            dataset = pydicom.dcmread(file)
            dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.3"
            dataset.FrameOfReferenceUID = "1.2.4"
            dataset.save_as(tmp_path / f"{number}-{file.name}")
    inventory = sources.scan([tmp_path])
    assert len(inventory.series) == 2
    for series in inventory.series:
        assert len({file.path.name[0] for file in series.files}) == 1


def test_a_patient_whose_headers_differ_in_form_is_one(tmp_path: Path) -> None:
    def change(dataset: Dataset, number: int) -> None:
        if number % 2:
            dataset.PatientName = "SIMULATED^HEAD^^"
        if number == 3:
            dataset.PatientName = ""
        if number == 4:
            dataset.PatientID = ""
        if number == 5:
            del dataset.FrameOfReferenceUID
        if number == 6:
            dataset.EchoTime = 120.4
        if number == 7:
            del dataset.EchoTime, dataset.SeriesNumber

    inventory = sources.scan([write(tmp_path, change)])
    assert sizes(inventory) == [COUNT]
    assert notes(inventory) == set()


def test_a_slice_that_names_nobody_is_nobodys(tmp_path: Path) -> None:
    def change(dataset: Dataset, number: int) -> None:
        if number == 9:
            del dataset.PatientID, dataset.PatientName

    inventory = sources.scan([write(tmp_path, change)])
    assert sizes(inventory) == [COUNT - 1, 1]


KINDS: dict[str, dict[str, Any]] = {
    "echo time": {"EchoTime": 240},
    "echo number": {"EchoNumbers": 2},
    "inversion time": {"InversionTime": 2000},
    "image type": {"ImageType": ["DERIVED", "PRIMARY", "ADC"]},
    "flip angle": {"FlipAngle": 20},
    "b-value": {"DiffusionBValue": 1000.0},
    "contrast agent": {"ContrastBolusAgent": "GADOVIST"},
    "temporal position": {"TemporalPositionIdentifier": 2},
    "acquisition number": {"AcquisitionNumber": 2},
    "trigger time": {"TriggerTime": 400},
    "sequence name": {"SequenceName": "*ep_b1000#2"},
    "receive coil": {"ReceiveCoilName": "HE2"},
}
FIRST_KIND = fields(
    EchoNumbers=1, FlipAngle=90, DiffusionBValue=0.0, ContrastBolusAgent="NONE",
    TemporalPositionIdentifier=1, AcquisitionNumber=1, TriggerTime=0,
    SequenceName="*ep_b1000#1", ReceiveCoilName="HE1",
)  # fmt: skip


@pytest.mark.parametrize("beside", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_image_of_every_place_is_a_series_of_its_own(
    kind: str, beside: float, tmp_path: Path
) -> None:
    def second(dataset: Dataset, number: int) -> None:
        FIRST_KIND(dataset, number)
        fields(**KINDS[kind])(dataset, number)
        dataset.InstanceNumber = COUNT + number
        dataset.ImagePositionPatient[2] += beside

    write(tmp_path, FIRST_KIND, "a")
    write(tmp_path, second, "b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert [len(list(series.missing())) for series in inventory.series] == [0, 0]
    assert all(kind in series.notes[0].reason for series in inventory.series)


@pytest.mark.parametrize("keyword", ["ContrastBolusAgent", "TemporalPositionIdentifier"])
def test_to_lack_an_attribute_tells_apart_what_lies_in_one_place(
    keyword: str, tmp_path: Path
) -> None:
    value = "GADOVIST" if keyword == "ContrastBolusAgent" else 2
    write(tmp_path, prefix="a")
    write(tmp_path, fields(**{keyword: value}), prefix="b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert {file.path.name[0] for file in inventory.series[0].files} == {"a"}


def test_counts_are_exact_and_measures_are_not(tmp_path: Path) -> None:
    write(tmp_path, fields(SeriesNumber=1000, EchoTime=119.5), prefix="a")
    write(tmp_path, fields(SeriesNumber=1001, EchoTime=120.5), prefix="b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert "series number" in inventory.series[0].notes[0].reason
    assert "echo time" not in inventory.series[0].notes[0].reason


def test_one_number_of_two_hospitals_is_two_patients(tmp_path: Path) -> None:
    write(tmp_path, fields(IssuerOfPatientID="A", PatientName=""), prefix="a")
    write(tmp_path, fields(IssuerOfPatientID="B", PatientName=""), prefix="b")
    assert sizes(sources.scan([tmp_path])) == [COUNT, COUNT]


def test_a_brighter_second_echo_no_longer_floods_the_first(tmp_path: Path) -> None:
    def echo(dataset: Dataset, _: int) -> None:
        dataset.EchoTime = 240
        dataset.ImagePositionPatient[2] += 0.02
        dataset.PixelData = (dataset.pixel_array * 1.6).clip(0, 4095).astype(np.uint16).tobytes()

    write(tmp_path / "study", prefix="a")
    alone = infer(tmp_path / "study", tmp_path / "alone")
    write(tmp_path / "study", echo, prefix="b")
    document = infer(tmp_path / "study", tmp_path / "both")
    assert [series["slices"] for series in document["series"]] == [COUNT, COUNT]
    scores = [entry["score"] for entry in document["slices"][:COUNT]]
    assert scores == [entry["score"] for entry in alone["slices"]]
    assert [entry["code"] for entry in document["not_analysed"]] == []


def test_numbers_that_count_the_slices_of_one_stack_tell_nothing_apart(tmp_path: Path) -> None:
    def counted(dataset: Dataset, number: int) -> None:
        dataset.AcquisitionNumber = dataset.TriggerTime = number
        dataset.TemporalPositionIdentifier = number % 2

    assert sizes(sources.scan([write(tmp_path, counted)])) == [COUNT]


def test_two_exports_of_one_uid_come_apart_by_folder(tmp_path: Path) -> None:
    write(tmp_path / "first")
    write(tmp_path / "second")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert all("folder" in series.notes[0].reason for series in inventory.series)
    # One stack in two folders, as discs have it, is one.
    for file in sorted((tmp_path / "second").glob("*"))[:12]:
        file.unlink()
    for file in sorted((tmp_path / "first").glob("*"))[12:]:
        file.unlink()
    assert sizes(sources.scan([tmp_path])) == [COUNT]


def test_what_nothing_tells_apart_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    write(tmp_path, prefix="a")
    write(tmp_path, prefix="b")
    items = list(Detector(model).stream([tmp_path]))
    assert {item.code for item in items if isinstance(item, Refusal)} == {"overlapping-slices"}
    assert len(items) == 2 * COUNT


def _shifted(mm: float, **values: Any) -> Change:
    def change(dataset: Dataset, number: int) -> None:
        fields(**values)(dataset, number)
        dataset.ImagePositionPatient[2] += mm

    return change


# What lies between the slices of another scan, or above them, is not of it.
BETWEEN: dict[str, Change] = {
    "contrast agent": _shifted(3.25, ContrastBolusAgent="Gadovist"),
    "contrast agent above": _shifted(156.0, ContrastBolusAgent="Gadovist"),
    "acquisition number": _shifted(3.0, AcquisitionNumber=2),
    "temporal position": _shifted(3.0, TemporalPositionIdentifier=2),
    "pixel spacing": _shifted(3.25, PixelSpacing=[0.5, 0.5]),
    "series description": _shifted(1.7, SeriesDescription="AX FLAIR again"),
}


@pytest.mark.parametrize("kind", BETWEEN)
def test_scans_that_lie_between_each_other_come_apart(kind: str, tmp_path: Path) -> None:
    first = {
        "acquisition number": "AcquisitionNumber",
        "temporal position": "TemporalPositionIdentifier",
    }
    write(tmp_path, fields(**{first[kind]: 1}) if kind in first else None, "a")
    write(tmp_path, BETWEEN[kind], "b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert kind.removesuffix(" above") in inventory.series[0].notes[0].reason


def test_two_folders_of_one_identity_with_places_between_come_apart(tmp_path: Path) -> None:
    write(tmp_path / "first")
    write(tmp_path / "second", _shifted(1.7))
    assert sizes(sources.scan([tmp_path])) == [COUNT, COUNT]


def test_numbers_that_are_there_twice_are_refused_where_nothing_tells(
    model: Path, tmp_path: Path
) -> None:
    write(tmp_path, prefix="a")
    write(tmp_path, _shifted(1.7), prefix="b")
    items = list(Detector(model).stream([tmp_path]))
    assert {item.code for item in items if isinstance(item, Refusal)} == {"mixed-series"}


def _alternating(keyword: str, one: Any, other: Any) -> Change:
    return lambda dataset, number: setattr(dataset, keyword, other if number % 2 else one)


# What scanners and consoles vary within one stack.
WITHIN: dict[str, Change] = {
    "image type": _alternating("ImageType", ["ORIGINAL", "PRIMARY"], ["ORIGINAL", "PRIMARY", "M"]),
    "flip angle": _alternating("FlipAngle", 150, 180),
    "name with a comma": _alternating("PatientName", "DOE^JOHN", "DOE, JOHN"),
    "name cut off": _alternating("PatientName", "SIMULATED^HEAD", "SIMULATED^HE"),
    "number with zeros": _alternating("PatientID", "00123", "123"),
    "date with dots": _alternating("PatientBirthDate", "1980.01.01", "19800101"),
    "frame of reference": lambda d, n: setattr(d, "FrameOfReferenceUID", f"1.2.{n}"),
    "description": _alternating("SeriesDescription", "AX FLAIR", "AX FLAIR_2"),
    "agent": _alternating("ContrastBolusAgent", "", "Gadovist"),
    "acquisition": lambda d, n: setattr(d, "AcquisitionNumber", 1 if n <= 12 else 2),
}


@odd_dicom
@pytest.mark.parametrize("kind", WITHIN)
def test_what_varies_within_one_stack_leaves_it_one(kind: str, tmp_path: Path) -> None:
    inventory = sources.scan([write(tmp_path, WITHIN[kind])])
    assert sizes(inventory) == [COUNT]
    assert notes(inventory) == set()


def test_one_second_image_of_a_slab_costs_that_image_alone(tmp_path: Path) -> None:
    write(tmp_path, WITHIN["acquisition"])
    dataset = golden_slice(12)
    dataset.SOPInstanceUID, dataset.AcquisitionNumber, dataset.InstanceNumber = "1.2.9", 2, 25
    dataset.save_as(tmp_path / "second.dcm")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT]
    assert [(r.source.split("/")[1], r.code) for r in inventory.refused] == [
        ("second.dcm", "overlapping-slices")
    ]


@pytest.mark.parametrize("component", ["PHASE", "REAL", "IMAGINARY"])
def test_only_magnitudes_are_analysed(component: str, model: Path, tmp_path: Path) -> None:
    write(tmp_path, fields(ComplexImageComponent=component))
    items = list(Detector(model).stream([tmp_path]))
    assert {item.code for item in items if isinstance(item, Refusal)} == {"derived-image"}
    assert len(items) == COUNT


def test_a_reason_tells_what_a_series_was_taken_apart_by(model: Path, tmp_path: Path) -> None:
    write(tmp_path, _alternating("EchoTime", 100, 140))
    items = list(Detector(model).stream([tmp_path]))
    assert {item.code for item in items if isinstance(item, Refusal)} == {"coarse-slices"}
    assert all("apart by echo time" in i.reason for i in items if isinstance(i, Refusal))


def test_images_at_the_origin_lost_their_place(tmp_path: Path) -> None:
    def zeroed(dataset: Dataset, number: int) -> None:
        if number in {7, 15}:
            dataset.ImagePositionPatient = [0, 0, 0]

    inventory = sources.scan([write(tmp_path, zeroed)])
    assert sizes(inventory) == [COUNT]
    assert [note.code for note in inventory.series[0].notes] == ["placed-by-neighbours"] * 2
    names = [file.path.stem for file in inventory.series[0].files]
    assert names == sorted(names)


def _lost(*numbers: int) -> Change:
    def change(dataset: Dataset, number: int) -> None:
        if number in numbers:
            del dataset.ImagePositionPatient
        if number in {18, 19}:
            dataset.SOPInstanceUID = ""

    return change


def test_a_slice_that_lost_its_place_is_placed_by_its_neighbours(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    study, out = tmp_path / "study", tmp_path / "out"
    document = infer(write(study, _lost(8)), out, "--dicom-out")
    (series,) = document["series"]
    assert series["slices"] == COUNT - 2
    (note,) = series["notes"]
    assert note["code"] == "placed-by-neighbours"
    assert "study/008.dcm" in note["reason"]
    heights = [entry["geometry"]["position_lps_mm"][2] for entry in document["slices"]]
    assert heights == pytest.approx([-62.75 + 6.5 * n for n in range(COUNT) if n not in (17, 18)])
    (missing,) = document["not_analysed"]
    assert missing["code"] == "missing-slices"
    assert "about 2 missing between study/017.dcm and study/020.dcm" in missing["reason"]
    objects = {Path(name).name for name in series["dicom"]["written"]}
    assert {"anomaly-map.dcm", "report.dcm"} <= objects


@pytest.mark.parametrize(
    ("change", "placed"),
    [
        (fields(ImagePositionPatient=None), True),
        (fields(ImageOrientationPatient=None), True),
        (fields(ImagePositionPatient=None, PixelSpacing=None), True),
        (fields(ImagePositionPatient="0"), True),
        (fields(ImagePositionPatient=None, InstanceNumber=None), False),
        (fields(ImagePositionPatient=None, InstanceNumber=3), False),
        (fields(ImagePositionPatient=None, InstanceNumber=40), False),
    ],
)
def test_a_place_is_filled_in_only_where_it_is_certain(
    change: Change, placed: bool, tmp_path: Path
) -> None:
    inventory = sources.scan([write(tmp_path, lambda d, n: change(d, n) if n == 8 else None)])
    assert sizes(inventory) == [COUNT if placed else COUNT - 1]
    assert codes(inventory) == ([] if placed else ["unplaced"])
    (series,) = inventory.series
    assert len(list(series.missing())) == (0 if placed else 1)


def test_an_end_of_a_stack_has_no_neighbours(tmp_path: Path) -> None:
    inventory = sources.scan([write(tmp_path, _lost(1, 24))])
    assert sizes(inventory) == [COUNT - 4]
    assert codes(inventory) == ["unplaced", "unplaced"]


def test_few_places_are_not_believed_among_many_lost_ones(tmp_path: Path) -> None:
    inventory = sources.scan([write(tmp_path, _lost(*range(5, 25)))])
    assert sizes(inventory) == [COUNT - 2]
    assert notes(inventory) == {"unplaced"}
    (series,) = inventory.series
    assert [file.path.stem for file in series.files] == sorted(f.path.stem for f in series.files)
    assert all(plane is None for file in series.files for plane in file.planes)


def own_uid(dataset: Dataset, _: int) -> None:
    dataset.SeriesInstanceUID = generate_uid()


def test_a_series_uid_per_slice_is_one_series_where_that_is_certain(tmp_path: Path) -> None:
    def numbered(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        dataset.SeriesNumber = 100 + number

    document = infer(write(tmp_path / "study", numbered), tmp_path / "out", "--dicom-out")
    (series,) = document["series"]
    assert series["slices"] == COUNT
    assert [note["code"] for note in series["notes"]] == ["joined-series"]
    reasons = {each["reason"] for each in series["dicom"]["not_written"]}
    assert reasons <= {"there is nothing to show"}
    uids = {pydicom.dcmread(f).SeriesInstanceUID for f in (tmp_path / "study").glob("*.dcm")}
    image = pydicom.dcmread(tmp_path / "out" / "dicom" / "study" / "anomaly-map.dcm")
    assert {each.SeriesInstanceUID for each in image.ReferencedSeriesSequence} == uids


@pytest.mark.parametrize("shift", [0.0, 3.25])
def test_two_scans_of_single_slices_are_two(shift: float, tmp_path: Path) -> None:
    def second(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        _shifted(shift, SeriesNumber=9, ContrastBolusAgent="Gd")(dataset, number)

    write(tmp_path, own_uid, "a")
    write(tmp_path, second, "b")
    assert sizes(sources.scan([tmp_path])) == [COUNT, COUNT]


def test_one_repeated_single_slice_costs_that_slice_alone(tmp_path: Path) -> None:
    write(tmp_path, own_uid)
    dataset = golden_slice(12)
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = "1.2.9", "1.2.8"
    dataset.save_as(tmp_path / "second.dcm")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT]
    assert codes(inventory) == ["overlapping-slices"]


def test_joined_slices_may_lack_some_and_two_kinds_stay_two(tmp_path: Path) -> None:
    def some(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        if number in {7, 15}:
            dataset.SOPInstanceUID = ""

    def other_kind(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        dataset.EchoTime = 20

    write(tmp_path, some, "a")
    write(tmp_path, other_kind, "b")
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT - 2, COUNT]
    assert len(list(inventory.series[0].missing())) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda d, n: setattr(d, "ImagePositionPatient", [-119.5, -119.5, 1.7 * n * n]),
        lambda d, n: setattr(d, "ImagePositionPatient", [-119.5 + 40 * (n % 2), -119.5, 6.5 * n]),
        fields(ImagePositionPatient=[-119.5, -119.5, 6.5]),
    ],
    ids=["uneven", "beside", "one place"],
)
def test_single_slices_that_may_not_belong_together_are_told_of(
    change: Change, model: Path, tmp_path: Path
) -> None:
    def apart(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        change(dataset, number)

    inventory = sources.scan([write(tmp_path, apart)])
    assert sizes(inventory) == [1] * COUNT
    items = list(Detector(model).stream([tmp_path]))
    assert {item.code for item in items if isinstance(item, Refusal)} == {"scattered-series"}
    assert len(items) == COUNT


_OWNERS = ["StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"]


@pytest.mark.parametrize("keyword", _OWNERS)
def test_single_slices_of_different_owners_are_never_joined(keyword: str, tmp_path: Path) -> None:
    def apart(dataset: Dataset, number: int) -> None:
        own_uid(dataset, number)
        setattr(dataset, keyword, f"1.2.{number}")

    assert sizes(sources.scan([write(tmp_path, apart)])) == [1] * COUNT


def _sagittal(folder: Path, change: Change) -> Path:
    """Write 60 thin sagittal slices that turn into axial ones."""
    folder.mkdir()
    volume = np.stack([golden_slice(number).pixel_array for number in range(1, COUNT + 1)])
    tall = np.repeat(volume, 7, axis=0)[::-1]
    for number in range(60):
        dataset = golden_slice(12)
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number + 1
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.PixelSpacing = [0.93, 0.9375]
        dataset.ImagePositionPatient = [-80 + 1.23 * number, -119.5, 100.0]
        dataset.Rows, dataset.Columns = tall.shape[0], tall.shape[1]
        dataset.PixelData = np.ascontiguousarray(tall[:, :, 40 + number]).tobytes()
        change(dataset, number)
        if dataset.SOPInstanceUID:
            dataset.save_as(folder / f"{number:03d}.dcm")
    return folder


def _rounded(dataset: Dataset, _: int) -> None:
    dataset.ImagePositionPatient = [round(float(x), 1) for x in dataset.ImagePositionPatient]


def _reasons(folder: Path, model: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in Detector(model).stream([folder]):
        code, reason = (item.code, item.reason) if isinstance(item, Refusal) else ("ok", "")
        found.setdefault(code, set()).add(reason)
    return found


def test_rounded_places_of_a_thin_volume_are_a_volume(model: Path, tmp_path: Path) -> None:
    found = _reasons(_sagittal(tmp_path / "s", _rounded), model)
    assert "ok" in found
    assert set(found) <= {"ok", "blank-slice"}


@pytest.mark.parametrize("gone", [(30,), (10, 11), (3, 40)])
def test_a_hole_in_a_thin_volume_is_named(
    gone: tuple[int, ...], model: Path, tmp_path: Path
) -> None:
    def change(dataset: Dataset, number: int) -> None:
        _rounded(dataset, number)
        if number in gone:
            dataset.SOPInstanceUID = ""

    found = _reasons(_sagittal(tmp_path / "s", change), model)
    assert set(found) == {"incomplete-volume"}
    (reason,) = found["incomplete-volume"]
    assert f"missing between s/{gone[0] - 1:03d}.dcm and s/" in reason


def test_a_second_image_in_a_thin_volume_is_named_and_left_out(model: Path, tmp_path: Path) -> None:
    folder = _sagittal(tmp_path / "s", _rounded)
    dataset = pydicom.dcmread(folder / "030.dcm")
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = 99
    dataset.save_as(folder / "double.dcm")
    found = _reasons(folder, model)
    assert "ok" in found
    assert found["overlapping-slices"] == {
        "it lies where s/030.dcm lies, of which there can be one only"
    }


def _frames(whole: Dataset, sequence: str, keyword: str, values: list[Any]) -> None:
    """Give every frame a value of its own in a functional group."""
    for group, value in zip(whole.PerFrameFunctionalGroupsSequence, values, strict=True):
        item = group[sequence].value[0] if sequence in group else Dataset()
        setattr(item, keyword, value)
        setattr(group, sequence, [item])


FRAME_KINDS: dict[str, tuple[str, str, Any, Any]] = {
    "echo time": ("MREchoSequence", "EffectiveEchoTime", 120.0, 15.0),
    "frame type": (
        "MRImageFrameTypeSequence", "FrameType",
        ["ORIGINAL", "PRIMARY", "M", "NONE"], ["DERIVED", "PRIMARY", "PHASE", "NONE"],
    ),
    "inversion time": ("MRModifierSequence", "InversionTimes", 2500.0, 800.0),
    "b-value": ("MRDiffusionSequence", "DiffusionBValue", 0.0, 1000.0),
    "stack": ("FrameContentSequence", "StackID", "1", "2"),
    "temporal position": ("FrameContentSequence", "TemporalPositionIndex", 1, 2),
    "contrast phase": (
        "ContrastBolusUsageSequence", "ContrastBolusAgentPhase", "PRE_CONTRAST", "POST_CONTRAST",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_every_frame_is_judged_and_stacks_come_apart(
    kind: str, mixed: bool, model: Path, tmp_path: Path
) -> None:
    order = [n for n in range(1, 25) for _ in (0, 1)] if mixed else [*range(1, 25)] * 2
    second = [bool(n % 2) if mixed else n >= COUNT for n in range(2 * COUNT)]
    whole = enhanced(order)
    sequence, keyword, one, other = FRAME_KINDS[kind]
    _frames(whole, sequence, keyword, [other if is_second else one for is_second in second])
    whole.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    inventory = sources.scan([tmp_path])
    assert sizes(inventory) == [COUNT, COUNT]
    assert inventory.files == 1
    for series, wanted in zip(inventory.series, (False, True), strict=True):
        (file,) = series.files
        assert file.header is not None
        assert file.header.frames == tuple(n for n, each in enumerate(second) if each == wanted)
        read = [s for s in sources.read_series(series.files, series.source) if isinstance(s, Slice)]
        assert [order[s.frame] for s in read if s.frame is not None] == list(range(1, 25))
    items = list(Detector(model).stream([tmp_path]))
    refusals = [item for item in items if isinstance(item, Refusal) and item.code != "blank-slice"]
    expected = {
        "echo time": "wrong-sequence", "frame type": "derived-image",
        "inversion time": "wrong-sequence", "b-value": "wrong-sequence",
    }.get(kind)  # fmt: skip
    assert [item.code for item in refusals] == ([expected] if expected else [])
    assert all("24 of its 48 frames (" in item.reason for item in refusals)


def test_outputs_of_stacks_of_one_file_do_not_take_each_others_place(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    whole = enhanced([*range(1, 25)] * 2)
    _frames(whole, *FRAME_KINDS["echo time"][:2], [120.0] * COUNT + [200.0] * COUNT)
    whole.PatientID, whole.PatientName = "A", "A^A"
    for group in whole.PerFrameFunctionalGroupsSequence:
        del group.PixelValueTransformationSequence
    (tmp_path / "study").mkdir()
    whole.save_as(tmp_path / "study" / "enhanced.dcm", enforce_file_format=True)
    out = tmp_path / "out"
    document = infer(tmp_path / "study", out, "--dicom-out", "--overlays", "all")
    assert [series["slices"] for series in document["series"]] == [COUNT, COUNT]
    written = [entry["overlay"] for entry in document["slices"]]
    written += [name for series in document["series"] for name in series["dicom"]["written"]]
    assert len(set(written)) == len(written)
    assert all((out / name).is_file() for name in written)
    assert {entry["frame"] for entry in document["slices"]} == set(range(2 * COUNT))
    for series, frames in zip(document["series"], (range(1, 25), range(25, 49)), strict=True):
        (name,) = (n for n in series["dicom"]["written"] if n.endswith("anomaly-map.dcm"))
        referred = {
            int(element.value)
            for element in pydicom.dcmread(out / name).iterall()
            if element.keyword == "ReferencedFrameNumber"
        }
        assert referred == set(frames)


def test_different_images_under_one_instance_uid_are_all_there(tmp_path: Path) -> None:
    inventory = sources.scan([write(tmp_path, fields(SOPInstanceUID="1.2.3"))])
    assert sizes(inventory) == [COUNT]
    assert codes(inventory) == []
    assert notes(inventory) == {"shared-instance-uid"}


def test_one_image_under_one_instance_uid_is_there_once(tmp_path: Path) -> None:
    write(tmp_path)
    for file in list(tmp_path.glob("*.dcm")):
        dataset = pydicom.dcmread(file)
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(tmp_path / f"copy-{file.name}")
    dataset = pydicom.dcmread(tmp_path / "005.dcm")
    pixels = dataset.pixel_array.copy()
    pixels[100, 100] += 1
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "other.dcm")
    inventory = sources.scan([tmp_path])
    assert codes(inventory).count("duplicate") == COUNT
    kept = {file.path.name for series in inventory.series for file in series.files}
    # Different pixels are a different image, of which there can be one only in a place.
    (other,) = (each for each in inventory.refused if each.code == "overlapping-slices")
    assert other.source.split("/")[1] not in kept


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b"]), st.floats(0, 1e4))))
def test_every_image_is_told_apart_once(values: list[str | float | None]) -> None:
    groups = told_apart(values)
    assert sorted(index for group in groups for index in group) == list(range(len(values)))
    for group in groups:
        texts = {values[index] for index in group if isinstance(values[index], str)}
        assert len(texts) <= 1


_WORDS = st.one_of(st.none(), st.sampled_from(["a", "b"]))


@given(st.lists(st.tuples(_WORDS, _WORDS, _WORDS, _WORDS)))
def test_contradictory_headers_are_never_one_persons(
    known: list[tuple[str | None, ...]],
) -> None:
    numbers = patients(known)
    for one in known:
        for other in known:
            differ = any(a and b and a != b for a, b in zip(one, other, strict=True))
            if differ:
                assert numbers[one] != numbers[other]


@given(st.floats(0.3, 12), st.integers(3, 60), st.floats(0, 0.15), st.integers(2, 5), st.booleans())
def test_the_step_of_a_stack_survives_what_lies_in_it_twice(
    step: float, count: int, beside: float, times: int, gap: bool
) -> None:
    places = np.arange(count) * step
    if gap and count > 6:
        places = np.delete(places, count // 2)
    shift = beside * step if times == 2 else min(beside * step, 0.09) / times
    heights = np.sort((places[:, np.newaxis] + shift * np.arange(times)).ravel())
    assert usual_step(heights.tolist()) == pytest.approx(step, rel=0.2)
    assert len(doubles(heights.tolist())) == (times - 1) * len(places)
