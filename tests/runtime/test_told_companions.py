"""Results tell of every series that was to be seen beside another one what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from examinations import Change, moved, series, t1, tagged
from gliomart import CompanionResult, Detector, StudyResult, scan
from gliomart.image.steps import Preprocessing, Shading
from gliomart.model.contents import InputImage
from gliomart.run import Run
from samples import card, golden_slice, tiny_model

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


def companions(result: StudyResult) -> tuple[CompanionResult, ...]:
    (only,) = result.series
    assert all(each.companions == only.companions for each in only.slices)
    return only.companions


def seen(model: Path, study: Path, **options: Any) -> tuple[CompanionResult, ...]:
    return companions(Detector(model, provider="cpu", **options).detect_study(study))


def blank(dataset: Dataset, number: int) -> None:
    if number in {1, 24}:
        dataset.PixelData = bytes(len(dataset.PixelData))


def test_what_was_seen_is_told_by_sequence_series_and_slices(model: Path, flair: Path) -> None:
    t1(flair)
    (found,) = seen(model, flair)
    (other,) = (each for each in scan([flair]).series if each.id == found.id)
    assert found == CompanionResult("T1", other.id, other.source, slices=24)
    assert found.seen
    assert found.lost_slices == {}


@pytest.mark.parametrize(
    ("change", "numbers", "code", "slices"),
    [
        (tagged(FrameOfReferenceUID="1.2.9"), range(1, 25), "other-frame-of-reference", 24),
        (moved(x=12), range(1, 25), "not-aligned", 24),
        (moved(), range(1, 13), "partly-covered", 12),
        (tagged(ImageType=["DERIVED", "SECONDARY", "MIP"]), range(1, 25), "derived-image", 0),
    ],
)
def test_what_was_left_out_is_told_with_the_code_of_why(
    model: Path, flair: Path, change: Change, numbers: range, code: str, slices: int
) -> None:
    t1(flair, change, numbers=numbers)
    (found,) = seen(model, flair)
    assert not found.seen
    assert found.left_out is not None
    assert found.left_out.code == code
    assert found.slices == slices
    assert found.movement is None


def test_slices_that_are_refused_or_missing_are_counted_by_their_codes(
    model: Path, flair: Path
) -> None:
    t1(flair, blank, numbers=[*range(1, 12), *range(13, 25)])
    (found,) = seen(model, flair)
    assert found.seen
    assert found.slices == 21
    assert found.lost_slices == {"blank-slice": 2, "missing-slices": 1}
    places = {(each.source, each.frame) for each in found.refused if each.code == "blank-slice"}
    assert places == {("study/t1-01.dcm", None), ("study/t1-24.dcm", None)}


def test_a_series_of_which_all_is_refused_is_left_out_and_counted(model: Path, flair: Path) -> None:
    t1(flair, lambda d, _: setattr(d, "PixelData", bytes(len(d.PixelData))))
    (found,) = seen(model, flair)
    assert found.left_out is not None
    assert found.left_out.code == "blank-slice"
    assert (found.slices, found.lost_slices) == (0, {"blank-slice": 24})


def test_every_series_of_a_sequence_is_told_the_seen_one_among_them(
    model: Path, flair: Path
) -> None:
    t1(flair, name="part", numbers=range(1, 13))
    t1(flair, name="whole")
    t1(flair, tagged(ContrastBolusAgent="Gadovist", SeriesDescription="AX T1 +C"), name="gd")
    found = seen(model, flair)
    told = [(each.sequence, each.slices, each.left_out and each.left_out.code) for each in found]
    assert told == [("T1", 24, None), ("T1", 0, "another-seen"), ("T1C", 24, None)]


def test_t1_without_contrast_needs_no_note_and_is_listed(model: Path, flair: Path) -> None:
    t1(flair)
    result = Detector(model, provider="cpu").detect_study(flair)
    assert [each.sequence for each in companions(result)] == ["T1"]
    assert [note.code for note in result.series[0].notes] == ["seen-together"]


def test_registration_tells_how_far_the_head_moved(model: Path, flair: Path) -> None:
    pytest.importorskip("SimpleITK", reason="needs the extra: registration")
    t1(flair, moved(x=6, y=-3))
    (found,) = seen(model, flair, register=True)
    assert found.seen
    assert found.movement is not None
    assert found.movement.shift == pytest.approx(np.hypot(6, 3), abs=0.5)
    assert found.movement.angle < 0.5


def test_nothing_is_listed_where_nothing_stands_beside_or_one_sequence_is_taken(
    model: Path, flair: Path
) -> None:
    assert seen(model, flair) == ()
    t1(flair)
    alone = Detector(provider="cpu").detect_study(flair)
    assert alone.series[0].companions == ()


def test_companions_in_memory_are_told_with_what_is_missing_of_them(model: Path) -> None:
    heads = [golden_slice(number).pixel_array.astype(np.float32) for number in range(9, 14)]
    others = [*heads[:3], None, np.zeros_like(heads[0])]
    result = Detector(model, provider="cpu").detect_series(heads, {"T1": others})
    (found,) = result.companions
    assert (found.sequence, found.id, found.seen, found.slices) == ("T1", "T1", True, 3)
    assert found.lost_slices == {"missing-slices": 1, "blank-slice": 1}


def document(model: Path, study: Path, out: Path, **options: Any) -> dict[str, Any]:
    detector = Detector(model, provider="cpu", **options)
    Run(detector, scan([study]), out).write()
    content: dict[str, Any] = json.loads((out / "results.json").read_text())
    return content


def test_results_json_holds_what_became_of_each(model: Path, flair: Path, tmp_path: Path) -> None:
    t1(flair, blank)
    gd = tagged(ContrastBolusAgent="Gadovist", SeriesDescription="AX T1 +C")
    t1(flair, gd, moved(x=60), name="gd")
    (entry,) = document(model, flair, tmp_path / "out")["series"]
    first, second = entry["companions"]
    ids = {each.id for each in scan([flair]).series}
    assert {entry["id"], first.pop("id"), second.pop("id")} == ids
    assert first == {
        "source": "study", "sequence": "T1", "seen": True, "code": None, "reason": None,
        "registration": None, "slices": 22, "lost_slices": {"blank-slice": 2},
    }  # fmt: skip
    assert second.pop("reason")
    assert second == {
        "source": "study", "sequence": "T1C", "seen": False, "code": "not-aligned",
        "registration": None, "slices": 24, "lost_slices": {},
    }  # fmt: skip


def test_results_json_tells_a_registration_in_mm_and_degrees(
    model: Path, flair: Path, tmp_path: Path
) -> None:
    pytest.importorskip("SimpleITK", reason="needs the extra: registration")
    t1(flair, moved(x=6, y=-3))
    (entry,) = document(model, flair, tmp_path / "out", register=True)["series"]
    moves = entry["companions"][0]["registration"]
    assert moves["shift_mm"] == pytest.approx(np.hypot(6, 3), abs=0.5)
    assert 0 <= moves["angle_deg"] < 0.5


def test_the_report_tells_of_each_once_and_hides_whose_it_is(
    model: Path, flair: Path, tmp_path: Path
) -> None:
    t1(flair, blank)
    gd = tagged(ContrastBolusAgent="Gadovist", SeriesDescription="AX T1 +C")
    t1(flair, gd, moved(x=60), name="gd")
    (entry,) = document(model, flair, tmp_path / "out")["series"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("left out: not-aligned") == 1
    assert page.count("22 slices, 2 lost (blank-slice)") == 1
    assert "seen-together" not in page
    for each in entry["companions"]:
        assert each["id"] not in page
        assert not each["reason"] or each["reason"] not in page
    assert "t1-01.dcm" not in page
