"""Series of one examination are seen together where they belong together, and told where not."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from examinations import Change, moved, series, t1, tagged
from gliomart import Detector, StudyResult, scan
from gliomart.cli.options import DetectorOptions
from gliomart.errors import MissingExtraError, UsageError
from gliomart.families import companion_files
from gliomart.families.pairing import paired, suited
from gliomart.image.steps import Preprocessing, Shading
from gliomart.model.contents import InputImage
from gliomart.site.calibration import measure
from samples import card, tiny_model

WANTED = ("FLAIR", "T1", "T1C")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three sequences, whose map is the first one's brightness."""
    images = tuple(InputImage("MR", name, required=name == "FLAIR") for name in WANTED)
    spec = Preprocessing(size=64, shading=Shading())
    metadata = {"gliomart": card(images=images, preprocessing=spec).to_json()}
    file = tmp_path_factory.mktemp("model") / "three.onnx"
    return tiny_model(file, size=64, metadata=metadata, channels=3)


@pytest.fixture
def flair(tmp_path: Path) -> Path:
    return series(tmp_path / "study", "flair")


def seen(model: Path, study: Path) -> StudyResult:
    return Detector(model, provider="cpu").detect_study(study)


def notes(result: StudyResult) -> list[tuple[str, str]]:
    found = [[(note.code, note.reason) for note in each.notes] for each in result.series]
    return found[0]


def test_t1_of_the_examination_is_seen_beside_flair(model: Path, flair: Path) -> None:
    t1(flair)
    result = seen(model, flair)
    (only,) = result.series
    assert len(only.slices) == 24
    assert notes(result) == [("seen-together", "T1, study/t1-01.dcm, on the pixels of this series")]
    assert not result.not_analysed


def test_an_examination_without_t1_is_told(model: Path, flair: Path) -> None:
    result = seen(model, flair)
    ((code, reason),) = notes(result)
    assert code == "missing-sequence"
    assert reason == "no T1 or T1C of the examination stands beside it: FLAIR is seen alone"
    assert len(result.series[0].slices) == 24


def test_t1_of_another_patient_or_examination_is_not_seen_beside_flair(
    model: Path, flair: Path
) -> None:
    t1(flair, tagged(StudyInstanceUID="1.2.5"))
    t1(flair, tagged(PatientID="another", PatientName="Another^One"), name="person")
    result = seen(model, flair)
    first, *others = result.series
    assert [note.code for note in first.notes] == ["missing-sequence"]
    refused = {item.code for each in others for item in each.not_analysed}
    assert len(others) == 2
    assert refused == {"wrong-sequence"}


@pytest.mark.parametrize(
    ("change", "numbers", "code"),
    [
        (tagged(FrameOfReferenceUID="1.2.9"), range(1, 25), "other-frame-of-reference"),
        (moved(x=12), range(1, 25), "not-aligned"),
        (moved(z=15), range(1, 25), "not-aligned"),
        (moved(), range(1, 13), "partly-covered"),
        (moved(), range(9, 13), "partly-covered"),
        (moved(), [*range(1, 9), *range(15, 25)], "partly-covered"),
        (tagged(ImageType=["DERIVED", "SECONDARY", "MIP"]), range(1, 25), "derived-image"),
        (tagged(BodyPartExamined="KNEE"), range(1, 25), "wrong-body-part"),
    ],
)
def test_what_does_not_lie_on_the_series_or_shows_too_little_is_left_out_by_name(
    model: Path, flair: Path, change: object, numbers: range, code: str
) -> None:
    t1(flair, change, numbers=numbers)  # type: ignore[arg-type]
    result = seen(model, flair)
    ((told, reason),) = notes(result)
    assert told == "left-out"
    assert reason.startswith(f"T1, study/t1-{numbers[0]:02}.dcm: {code}, ")
    alone = seen(model, series(flair.parent / "alone" / "study", "flair"))
    for one, other in zip(result.series[0].slices, alone.series[0].slices, strict=True):
        assert one.score == other.score


def test_t1_that_moved_is_registered_where_that_is_asked_for(model: Path, flair: Path) -> None:
    pytest.importorskip("SimpleITK", reason="needs the extra: registration")
    t1(flair, moved(x=6, y=-3))
    result = Detector(model, provider="cpu", register=True).detect_study(flair)
    ((code, reason),) = notes(result)
    assert code == "seen-together"
    assert re.search(r"moved onto it by registration \(6\.[4-9] mm, 0\.[0-4]°\)", reason)
    assert result.settings.registered


def test_registering_without_its_extra_is_refused_at_once(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingExtraError, match=r"gliomart\[registration\]"):
        Detector(model, provider="cpu", register=True)


def test_a_companion_of_which_a_slice_is_broken_shows_the_others_and_that_is_told(
    model: Path, flair: Path
) -> None:
    t1(flair)
    file = flair / "t1-07.dcm"
    file.write_bytes(file.read_bytes()[:-5000])
    result = seen(model, flair)
    assert len(result.series[0].slices) == 24
    assert [code for code, _ in notes(result)] == ["seen-together"]
    assert [each.source for each in result.not_analysed] == ["study/t1-07.dcm"]


def test_two_flair_series_share_one_t1(model: Path, flair: Path) -> None:
    series(flair, "later")
    t1(flair)
    result = seen(model, flair)
    assert [len(each.slices) for each in result.series] == [24, 24]
    assert [[n.code for n in each.notes] for each in result.series] == [["seen-together"]] * 2


def test_of_two_t1_series_the_one_that_covers_more_is_seen(model: Path, flair: Path) -> None:
    t1(flair, name="part", numbers=range(1, 13))
    t1(flair, name="whole")
    result = seen(model, flair)
    assert notes(result) == [
        ("seen-together", "T1, study/whole-01.dcm, on the pixels of this series"),
        ("left-out", "T1, study/part-01.dcm: another-seen, another series of the sequence is seen"),
    ]
    assert len(result.series) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (tagged(ImageType=["DERIVED", "SECONDARY", "MIP"]), "derived-image"),
        (moved(x=12), "not-aligned"),
    ],
)
def test_where_one_t1_series_cannot_be_seen_the_next_one_is(
    model: Path, flair: Path, change: Change, code: str
) -> None:
    first, second = sorted(["t1", "again"], key=lambda name: generate_uid(entropy_srcs=[name]))
    t1(flair, change, name=first)
    t1(flair, name=second)
    (left_out, reason), together = notes(seen(model, flair))
    assert left_out == "left-out"
    assert reason.startswith(f"T1, study/{first}-01.dcm: {code}, ")
    assert reason.count(code) == 1
    assert together == (
        "seen-together", f"T1, study/{second}-01.dcm, on the pixels of this series",
    )  # fmt: skip


def test_slices_that_a_companion_lacks_are_told(model: Path, flair: Path) -> None:
    t1(flair, numbers=[*range(1, 12), *range(13, 25)])
    ((code, reason),) = notes(seen(model, flair))
    assert code == "seen-together"
    assert "about 1 missing between study/t1-11.dcm and study/t1-13.dcm" in reason


def test_slices_of_a_companion_that_are_blank_are_missing_and_that_is_told(
    model: Path, flair: Path
) -> None:
    def blank(dataset: Dataset, number: int) -> None:
        if number in {1, 24}:
            dataset.PixelData = bytes(len(dataset.PixelData))

    t1(flair, blank)
    ((code, reason),) = notes(seen(model, flair))
    assert code == "seen-together"
    assert "2 of its 24 slices are refused, first study/t1-01.dcm: blank-slice" in reason


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (tagged(ImageType=["DERIVED", "SECONDARY", "MIP"]), "derived-image"),
        (lambda d, _: setattr(d, "PixelData", bytes(len(d.PixelData))), "blank-slice"),
    ],
)
def test_files_beside_a_series_that_cannot_be_analysed_are_refused_as_well(
    model: Path, tmp_path: Path, change: Change, code: str
) -> None:
    study = series(tmp_path / "study", "flair", change, numbers=range(1, 9))
    t1(study, numbers=range(1, 9))
    (only,) = seen(model, study).series
    assert not only.slices
    assert Counter(each.code for each in only.not_analysed) == {code: 8, "left-out": 8}
    assert {each.source for each in only.not_analysed} == {
        f"study/{name}-{number:02}.dcm" for name in ("flair", "t1") for number in range(1, 9)
    }


def test_t1_after_contrast_stands_beside_as_well(model: Path, flair: Path) -> None:
    t1(flair)
    t1(flair, tagged(ContrastBolusAgent="Gadovist", SeriesDescription="AX T1 +C"), name="gd")
    result = seen(model, flair)
    assert [code for code, _ in notes(result)] == ["seen-together"] * 2
    assert "T1C, study/gd-01.dcm" in notes(result)[1][1]


def test_a_companion_of_another_matrix_lies_where_the_head_does(flair: Path) -> None:
    def halved(dataset: object, _: int) -> None:
        pixels = dataset.pixel_array  # type: ignore[attr-defined]
        rows, columns = pixels.shape
        coarse = pixels.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
        spacing = [float(each) for each in dataset.PixelSpacing]  # type: ignore[attr-defined]
        dataset.PixelData = coarse.astype(pixels.dtype).tobytes()  # type: ignore[attr-defined]
        dataset.Rows, dataset.Columns = coarse.shape  # type: ignore[attr-defined]
        dataset.PixelSpacing = [2 * each for each in spacing]  # type: ignore[attr-defined]
        along, down = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)  # type: ignore[attr-defined]
        place = np.array(dataset.ImagePositionPatient, float)  # type: ignore[attr-defined]
        place += 0.5 * (spacing[1] * along + spacing[0] * down)
        dataset.ImagePositionPatient = [f"{each:.4f}" for each in place]  # type: ignore[attr-defined]

    t1(flair, halved)
    inventory = scan([flair])
    (lead,) = paired(inventory.series, WANTED)
    (other,) = lead.companions
    first = other.files[0].planes[0]
    assert first is not None
    assert first.spacing[0] > 1.5


def test_the_model_is_chosen_by_what_stands_beside_series(flair: Path) -> None:
    assert suited(scan([flair]).series) == ("flair-dae-volume", 1)
    t1(flair)
    assert suited(scan([flair]).series) == ("flair-t1-dae", 1)


@pytest.mark.parametrize("given", [None, Path("auto")])
def test_a_model_is_chosen_where_none_was_asked_for(flair: Path, given: Path | None) -> None:
    wanted = DetectorOptions(model=given)
    t1(flair)
    assert wanted.suited(scan([flair]), quiet=True).model == Path("flair-t1-dae")
    assert wanted.suited(None).model is None
    asked_for = DetectorOptions(model=Path("mine.onnx"))
    assert asked_for.suited(scan([flair])) is asked_for


def test_thresholds_of_a_site_are_of_flair_alone_and_t1_is_counted(
    model: Path, flair: Path
) -> None:
    detector = Detector(model, provider="cpu")
    alone = measure(detector, scan([flair]))
    t1(flair)
    beside = measure(detector, scan([flair]))
    assert beside.left_out == {**alone.left_out, "wrong-sequence": 24}
    assert beside.scores == alone.scores


def test_a_companion_of_more_voxels_than_fit_is_averaged_and_of_far_more_left_out(
    model: Path, flair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    t1(flair)
    whole = seen(model, flair)
    monkeypatch.setattr(companion_files, "_MOST_VOXELS", 24 * 256 * 256 // 2)
    assert notes(seen(model, flair)) == notes(whole)  # it still lies where it should
    monkeypatch.setattr(companion_files, "_MOST_VOXELS", 24 * 64)
    ((code, reason),) = notes(seen(model, flair))
    assert code == "left-out"
    assert "too-large, more than 1536 voxels of 1.5 mm" in reason


def test_a_study_of_arrays_says_nothing_of_what_they_are(model: Path) -> None:
    with pytest.raises(UsageError, match="paths or data sets"):
        Detector(model, provider="cpu").detect_study([np.zeros((64, 64))])  # type: ignore[list-item]
