"""DICOM segmentations, by two writers' habits, reach the series that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from enhanced import enhanced
from gliomart.errors import DatasetError
from gliomart.model.card import ModelCard
from gliomart_training import dataset
from gliomart_training.patients import Patient, doubts
from gliomart_training.truth.marks import Choice
from samples import card
from truths import drawn, segmentation, write_series

pytest.importorskip("highdicom")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def as_dcmqi_writes(seg: Any) -> Any:
    """Change what dcmqi does otherwise: frames in falling order, geometry shared, no derivation."""
    count, size = int(seg.NumberOfFrames), int(seg.Rows) * int(seg.Columns)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: count * size].reshape(count, size)[::-1]
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    seg.PixelData = packed + b"\0" * (len(packed) % 2)
    groups = list(seg.PerFrameFunctionalGroupsSequence)[::-1]
    for group in groups:
        group.pop("DerivationImageSequence", None)
    seg.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return seg


def truths(patient: Patient) -> NDArray[np.bool_]:
    return np.stack([example.truth() for example in patient.examples])


def test_a_segmentation_by_highdicom_marks_its_series_wherever_both_lie(tmp_path: Path) -> None:
    images = write_series(tmp_path / "p1" / "flair")
    (tmp_path / "seg").mkdir()
    segmentation(images, drawn()).save_as(tmp_path / "seg" / "anything.dcm")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(truths(patient), drawn() > 0)
    assert [example.tumour_free for example in patient.examples] == [n > 7 for n in range(12)]
    assert doubts([patient]) == []


@pytest.mark.parametrize("chosen", [(), ("core",), ("2",), ("OEDEMA ", "core"), ("none",)])
def test_a_segmentation_by_dcmqi_has_segments_to_choose_from(
    chosen: tuple[str, ...], tmp_path: Path
) -> None:
    images = write_series(tmp_path / "flair")
    labels = drawn()
    labels[4] *= 2
    labels[7, 30:33, 30:35] = 1
    seg = as_dcmqi_writes(segmentation(images, labels, "core", "oedema"))
    assert int(seg.NumberOfFrames) == 3  # those that mark something
    seg.save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path, choice=Choice(chosen))
    wanted = {
        (): [1, 2], ("core",): [1], ("2",): [2], ("OEDEMA ", "core"): [1, 2], ("none",): [],
    }[chosen]  # fmt: skip
    assert np.array_equal(truths(patient), np.isin(labels, wanted))
    told = doubts([patient])
    assert any("(core, oedema)" in each for each in told) == (len(wanted) == 2)
    assert any("none of the 1 masks marks anything" in each for each in told) == (not wanted)


def test_fractions_count_from_half_of_the_most(tmp_path: Path) -> None:
    images = write_series(tmp_path / "flair")
    fractions = drawn().astype(np.float32) * 0.4
    fractions[3, 22:25] *= 2
    seg = segmentation(images, fractions, kind="FRACTIONAL", max_fractional_value=200)
    seg.save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(truths(patient), fractions > 0.5)


def test_a_label_map_is_read_like_segments(tmp_path: Path) -> None:
    images = write_series(tmp_path / "flair")
    labels = drawn()
    labels[4] *= 2
    seg = segmentation(images, labels, "core", "oedema", kind="LABELMAP")
    seg.save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path, choice=Choice(("oedema",)))
    assert np.array_equal(truths(patient), labels == 2)


def test_a_frame_without_a_place_lies_on_the_image_that_it_was_drawn_on(tmp_path: Path) -> None:
    images = write_series(tmp_path / "flair")
    seg = segmentation(images, drawn())
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    seg.save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(truths(patient), drawn() > 0)
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DatasetError, match="says neither where it lies nor on which"):
        dataset.load(tmp_path)


def test_frames_of_a_multi_frame_image_are_told_apart(tmp_path: Path) -> None:
    whole = enhanced([n % 24 + 1 for n in range(5, 29)])  # not in the order in which they lie
    whole.PatientID, whole.PatientName, whole.PatientBirthDate = "P", "P^", ""
    whole.PatientSex = whole.StudyID = whole.StudyDate = whole.StudyTime = ""
    whole.AccessionNumber = whole.ReferringPhysicianName = whole.PositionReferenceIndicator = ""
    shared = whole.SharedFunctionalGroupsSequence[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        for group in whole.PerFrameFunctionalGroupsSequence:
            shared[name] = group[name]
            del group[name]
    shared.PixelMeasuresSequence[0].SliceThickness = 5.0
    (tmp_path / "flair").mkdir()
    whole.save_as(tmp_path / "flair" / "whole.dcm", enforce_file_format=True)
    marks = np.zeros((24, 256, 256), np.uint8)
    marks[2, 100:120, 90:150] = 1  # of the third frame, the eighth slice
    segmentation([whole], marks).save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path)
    assert [bool(e.truth().any()) for e in patient.examples] == [n == 7 for n in range(24)]
    assert np.array_equal(truths(patient)[7], marks[2] > 0)


def test_sagittal_frames_mark_the_axial_slices_that_are_analysed(tmp_path: Path) -> None:
    images = write_series(tmp_path / "flair", slices=36, orientation=(0, 1, 0, 0, 0, -1))
    segmentation(images, drawn(36)).save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path)
    found = truths(patient)
    assert found.shape == (56, 64, 36)  # rows of the sagittal slices, from below
    stored = np.stack([image.pixel_array for image in images])
    bright = np.concatenate([e.slice.pixels[e.truth()] for e in patient.examples])
    assert sorted(bright.tolist()) == sorted(stored[drawn(36) > 0].tolist())


def _elsewhere(seg: Any) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0]
        x, y, z = position.ImagePositionPatient
        position.ImagePositionPatient = [x, y, float(z) + 5]


def _between(seg: Any) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0]
        x, y, z = position.ImagePositionPatient
        position.ImagePositionPatient = [float(x) + 0.6, y, z]


def _coarser(seg: Any) -> None:
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [2.0, 2.5]


def _other_space(seg: Any) -> None:
    seg.FrameOfReferenceUID = generate_uid()


def _another_image(seg: Any) -> None:
    group = seg.PerFrameFunctionalGroupsSequence[0]
    source = group.DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = generate_uid()


def _other_images(seg: Any) -> None:
    """Leave of all references the series'."""
    seg.pop("SourceImageSequence", None)
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = []
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = generate_uid()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_elsewhere, "lies elsewhere than the image that it refers to"),
        (_between, "lies between the image's pixels"),
        (_coarser, "has pixels of 2 times the size"),
        (_other_space, "lies in another frame of reference"),
        (_another_image, "frame 1 was drawn on an image of another series"),
        (_other_images, "refers to other images than those of its series"),
    ],
)
def test_a_segmentation_that_fits_its_series_not_is_refused_by_name(
    change: Any, reason: str, tmp_path: Path
) -> None:
    seg = segmentation(write_series(tmp_path / "flair"), drawn())
    change(seg)
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DatasetError, match=rf"seg\.dcm: .*{reason}") as refused:
        dataset.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_segmentations_without_or_with_too_many_series_are_refused(tmp_path: Path) -> None:
    images = write_series(tmp_path / "one")
    other = segmentation(write_series(tmp_path / "gone"), drawn())
    for path in (tmp_path / "gone").iterdir():
        path.unlink()
    other.save_as(tmp_path / "seg.dcm")
    with pytest.raises(DatasetError, match=r"seg\.dcm: refers to no series that is there"):
        dataset.load(tmp_path)
    for name in ("seg.dcm", "seg2.dcm"):
        segmentation(images, drawn()).save_as(tmp_path / name)
    with pytest.raises(DatasetError, match=r"seg2\.dcm: both are segmentations of the series"):
        dataset.load(tmp_path)


def test_series_without_a_segmentation_or_of_another_sequence_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flair: ModelCard = card()
    for name, patient, attributes in (
        ("a", "P1", {}),
        ("b", "P1", {}),
        ("c", "P2", {"EchoTime": "10", "InversionTime": "", "RepetitionTime": "500",
                     "SeriesDescription": "T1", "ProtocolName": "T1"}),
        ("d", "P3", {}),
    ):  # fmt: skip
        images = write_series(tmp_path / name, patient=patient, **attributes)
        if name != "d":
            segmentation(images, drawn()).save_as(tmp_path / f"{name}.dcm")
    (patient,) = dataset.load(tmp_path, card=flair)
    assert patient.examples[0].slice.source.endswith("a/00.dcm")
    said = capsys.readouterr().err
    assert "1 segmentations are of series that the model is not made for" in said
    assert "1 series are further ones of patients" in said


def test_a_segmentation_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmentation(write_series(tmp_path / "flair"), drawn()).save_as(tmp_path / "seg.dcm")
    content = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "seg.dcm").write_bytes(content[:-300])
    dataset.load(tmp_path)
    assert "1 files or places are refused, such as" in capsys.readouterr().err


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_segmentation_holds_it_is_read_or_refused(
    data: st.DataObject, tmp_path: Path
) -> None:
    if not (tmp_path / "flair").is_dir():
        made = segmentation(write_series(tmp_path / "flair"), drawn())
        made.save_as(tmp_path / "whole.bin")
        (tmp_path / "index.csv").write_text("image,mask,patient\nflair,seg.dcm,p\n")
    content = bytearray((tmp_path / "whole.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(400, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 32, 45, 48, 57, 101, 127, 255]))
    (tmp_path / "seg.dcm").write_bytes(content)
    try:
        dataset.load(tmp_path)
    except DatasetError as refused:
        assert "\n" not in str(refused)  # noqa: PT017


def test_an_index_may_list_a_segmentation(tmp_path: Path) -> None:
    segmentation(write_series(tmp_path / "flair"), drawn()).save_as(tmp_path / "seg.dcm")
    (tmp_path / "index.csv").write_text("image,mask,patient\nflair,seg.dcm,p\n")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(truths(patient), drawn() > 0)


def test_frames_that_mark_nothing_change_nothing(tmp_path: Path) -> None:
    images = write_series(tmp_path / "flair")
    seg = segmentation(images, drawn(), omit_empty_frames=False)
    assert int(seg.NumberOfFrames) == 12
    seg.save_as(tmp_path / "seg.dcm")
    (patient,) = dataset.load(tmp_path)
    assert np.array_equal(truths(patient), drawn() > 0)
