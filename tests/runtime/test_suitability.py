from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from gliomart import Detector, Refusal, SliceResult, cli
from gliomart.errors import InputRefusedError
from gliomart.findings.suitability import CODES, SEQUENCES, concerns_of_image, sequence_of
from gliomart.sources.header import Header
from samples import GOLDEN, SHARED, card, needs_real_images

DICOM = SHARED / "dicom"

FLAIR = Header(
    sop_class="1.2.840.10008.5.1.4.1.1.4",
    modality="MR",
    image_type=("ORIGINAL", "PRIMARY", "OTHER"),
    description="ax flair",
    body_part="brain",
    repetition_time=9000.0,
    echo_time=120.0,
    inversion_time=2500.0,
    scanning_sequence=frozenset({"SE", "IR"}),
    spacing=(0.9, 0.9),
)


def test_a_flair_is_what_a_flair_model_was_made_for() -> None:
    assert concerns_of_image(FLAIR, card()) == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"modality": "CT"}, "wrong-modality"),
        ({"modality": ""}, "wrong-modality"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7.3"}, "secondary-capture"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.66.4"}, "no-scanner-image"),
        ({"body_part": "pelvis"}, "wrong-body-part"),
        ({"body_part": "", "examination": "mrt becken"}, "wrong-body-part"),
        ({"body_part": "", "examination": "mrt kopf und hws"}, None),
        ({"body_part": "", "examination": ""}, None),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localiser"),
        ({"description": "3-plane localizer"}, "localiser"),
        ({"image_type": ("DERIVED", "PRIMARY", "ADC")}, "derived-image"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, "derived-image"),
        ({"image_type": ("DERIVED", "SECONDARY", "OTHER")}, "derived-image"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, None),
        ({"image_type": ("DERIVED", "PRIMARY", "OTHER")}, None),
        ({"inversion_time": 850.0, "echo_time": 4.0}, "wrong-sequence"),
        ({"spacing": (3.0, 3.0)}, "coarse-pixels"),
        ({"spacing": None}, None),
        ({"lossy": True}, "lossy-compression"),
        ({"burned_in": True}, "burned-in-annotation"),
    ],
)
def test_what_a_model_was_not_made_for_has_a_code(
    changes: dict[str, object], code: str | None
) -> None:
    concerns = concerns_of_image(replace(FLAIR, **changes), card())  # type: ignore[arg-type]
    assert (concerns[0].code if concerns else None) == code
    assert all(concern.code in CODES and "\n" not in concern.reason for concern in concerns)


BARE = Header(modality="MR")


@pytest.mark.parametrize(
    ("header", "sequence"),
    [
        (FLAIR, "FLAIR"),
        # A 3D FLAIR of Siemens (SPACE), one of GE (Cube) without a description.
        (replace(BARE, repetition_time=5000, echo_time=388, inversion_time=1800), "FLAIR"),
        (replace(BARE, repetition_time=6300, echo_time=107, inversion_time=1700), "FLAIR"),
        (replace(BARE, description="t2_tirm_tra_dark-fluid"), "FLAIR"),
        (replace(BARE, description="ax flair", repetition_time=9000, echo_time=120), "FLAIR"),
        (replace(BARE, acquisition_contrast="FLUID_ATTENUATED"), "FLAIR"),
        # T2 is what some scanners call a FLAIR's contrast; its inversion time tells better.
        (replace(FLAIR, acquisition_contrast="T2"), "FLAIR"),
        (replace(BARE, description="ax t1 flair"), "T1"),
        (replace(FLAIR, inversion_time=900, echo_time=9, repetition_time=2500), "T1"),
        (replace(BARE, echo_time=60, inversion_time=160, repetition_time=4000), "STIR"),
        (replace(BARE, scanning_sequence=frozenset({"GR", "IR"}), echo_time=3), "T1"),
        (replace(BARE, scanning_sequence=frozenset({"GR"}), echo_time=25), "T2*"),
        (replace(BARE, repetition_time=500, echo_time=12), "T1"),
        (replace(BARE, repetition_time=4000, echo_time=100), "T2"),
        (replace(BARE, repetition_time=3000, echo_time=20), "PD"),
        (replace(BARE, description="ep2d_diff_3scan_trace"), "DWI"),
        (replace(BARE, description="gre_field_mapping", repetition_time=488), "field map"),
        (replace(BARE, acquisition_contrast="UNKNOWN"), None),
        (BARE, None),
    ],
)
def test_the_sequence_is_told_from_what_the_header_has(header: Header, sequence: str) -> None:
    assert sequence_of(header) == sequence
    assert sequence is None or sequence in SEQUENCES


def test_a_header_that_tells_nothing_is_refused_and_a_model_of_other_kind_asks_nothing() -> None:
    assert [c.code for c in concerns_of_image(BARE, card())] == ["unknown-sequence"]
    assert concerns_of_image(BARE, card(sequence="a new one")) == ()
    assert concerns_of_image(replace(BARE, description="t1 mprage"), card(sequence="T1")) == ()


def test_force_analyses_and_says_so(model: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    dataset.InversionTime, dataset.EchoTime = 850, 4
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(dataset)
    assert refused.value.code == "wrong-sequence"
    result = Detector(model, force=True).detect(dataset)
    assert [concern.code for concern in result.concerns] == ["wrong-sequence"]
    assert result.settings.forced
    assert Detector(model).detect(GOLDEN / "slice_012.dcm").concerns == ()

    study = tmp_path / "study"
    study.mkdir()
    dataset.save_as(study / "t1.dcm")
    arguments = ["infer", str(study), "--model", str(model), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 3
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    (entry,) = document["not_analysed"]
    assert entry["code"] == "wrong-sequence"
    assert "coverage" in entry["reason"]
    assert cli.main([*arguments, "--overwrite", "--force"]) == 0
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["settings"]["forced"]
    assert document["slices"][0]["outside_intended_use"] == ["wrong-sequence", "coverage"]
    assert document["series"][0]["outside_intended_use"] == ["wrong-sequence", "coverage"]


def _copies(folder: Path, numbers: range) -> list[pydicom.Dataset]:
    folder.mkdir(exist_ok=True)
    datasets = []
    for number in numbers:
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        dataset.save_as(folder / f"{number}.dcm")
        datasets.append(dataset)
    return datasets


def _codes(folder: Path, model: Path) -> dict[str, str]:
    items = list(Detector(model).stream([folder]))
    assert items
    return {
        item.source.rsplit("/", 1)[-1]: item.code for item in items if isinstance(item, Refusal)
    }


def test_a_series_with_a_hole_is_analysed_and_the_hole_reported(
    model: Path, tmp_path: Path
) -> None:
    _copies(tmp_path / "study", range(1, 25))
    (tmp_path / "study" / "12.dcm").unlink()
    items = list(Detector(model).stream([tmp_path / "study"]))
    assert sum(isinstance(item, SliceResult) for item in items) == 23
    (refusal,) = (item for item in items if isinstance(item, Refusal))
    assert (refusal.source, refusal.code) == ("study", "missing-slices")
    assert "about 1 missing between study/11.dcm and study/13.dcm" in refusal.reason


def test_too_little_of_a_head_and_several_images_of_one_place_are_refused(
    model: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    datasets = _copies(study, range(1, 6))
    assert set(_codes(study, model).values()) == {"coverage"}
    datasets = _copies(study, range(1, 25))
    assert _codes(study, model) == {}
    # A second echo of one slice.
    datasets[3].SOPInstanceUID = pydicom.uid.generate_uid()
    datasets[3].save_as(study / "echo.dcm")
    assert set(_codes(study, model).values()) == {"overlapping-slices"}
    # The very same image twice is one image.
    (study / "echo.dcm").write_bytes((study / "4.dcm").read_bytes())
    assert _codes(study, model) == {"echo.dcm": "duplicate"}


def test_localisers_of_several_orientations_are_refused(model: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    datasets = _copies(study, range(1, 25))
    datasets[5].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    datasets[5].save_as(study / "6.dcm")
    assert set(_codes(study, model).values()) == {"mixed-orientations"}


def test_thick_coronal_slices_are_refused_and_thin_ones_turned(model: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    volume = np.stack([pydicom.dcmread(f).pixel_array for f in sorted(GOLDEN.glob("*.dcm"))])
    # 24 slices of 6.5 mm as 156 of 1 mm, then cut the other way.
    fine = np.repeat(volume, 6, axis=0)[:144]
    for step, name in ((1, "thin"), (5, "thick")):
        study = tmp_path / name
        study.mkdir()
        for y in range(0, 256, step):
            dataset = pydicom.dcmread(GOLDEN / "slice_012.dcm")
            dataset.decompress()
            dataset.SOPInstanceUID = pydicom.uid.generate_uid()
            dataset.ImagePositionPatient = [-119.5, -119.5 + 0.9375 * y, 80.0]
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
            dataset.PixelSpacing = [1.0833, 0.9375]
            dataset.PixelData = np.ascontiguousarray(fine[::-1, y]).tobytes()
            dataset.Rows, dataset.Columns = fine.shape[0], fine.shape[2]
            dataset.save_as(study / f"{255 - y:03d}.dcm")
    assert set(_codes(tmp_path / "thick", model).values()) == {"wrong-plane"}
    items = [i for i in Detector(model).stream([tmp_path / "thin"]) if isinstance(i, SliceResult)]
    assert len(items) > 100
    assert {item.slice.pixels.shape for item in items} == {(256, 256)}
    assert {item.slice.source for item in items} == {"thin"}
    middle = items[len(items) // 2].slice
    assert middle.frame is not None
    assert np.array_equal(middle.pixels, fine[middle.frame])
    out = tmp_path / "out"
    arguments = ["infer", str(tmp_path / "thin"), "--model", str(model), "--out", str(out)]
    assert cli.main([*arguments, "--overlays", "all"]) == 0
    document = json.loads((out / "results.json").read_text())
    assert len({entry["overlay"] for entry in document["slices"]}) == len(document["slices"])
    assert all((out / entry["overlay"]).is_file() for entry in document["slices"])


def test_regions_are_placed_in_the_patient() -> None:
    file = GOLDEN / "slice_005.dcm"
    result = Detector(provider="cpu").detect(file)
    dataset = pydicom.dcmread(file)
    assert result.regions
    for region in result.regions:
        x, y = region.centroid
        left, top, right, bottom = region.box
        assert left <= x <= right - 1
        assert top <= y <= bottom - 1
        first = np.array(dataset.ImagePositionPatient, float)
        row, column = dataset.PixelSpacing[1], dataset.PixelSpacing[0]
        expected = first + np.array([x * row, y * column, 0])
        assert region.centroid_lps_mm == pytest.approx(expected)


EXPECTED = {
    "not_for_analysis/pelvis_mr": {"wrong-body-part"},
    "not_for_analysis/fruit_mr": {"wrong-sequence"},
    "not_for_analysis/phantom_ct": {"wrong-modality"},
    "t1_mprage_trio": {"wrong-sequence"},
    "t1_mprage_trio_fieldmap": {"wrong-sequence"},
    "head_ct_ge": {"wrong-modality"},
    "enhanced_mr": {"wrong-sequence", "derived-image"},
}


@needs_real_images
@pytest.mark.parametrize("folder", EXPECTED)
def test_real_images_of_other_kinds_are_refused_for_the_right_reason(
    folder: str, model: Path
) -> None:
    files = [path for path in (DICOM / folder).rglob("*") if path.is_file()]
    items = list(Detector(model).stream([DICOM / folder]))
    refused = {item.source for item in items if isinstance(item, Refusal)}
    assert len(refused) == len(files)  # of a file, once for every kind of image in it
    assert {item.code for item in items if isinstance(item, Refusal)} == EXPECTED[folder]


CODECS = {
    "693_J2KR.dcm": "wrong-modality",
    "693_UNCR.dcm": "wrong-modality",
    "DICOMDIR": "missing-file",
    "HTJ2KLossless_08_RGB.dcm": "secondary-capture",
    "JLSL_16_15_1_1F.dcm": "secondary-capture",
    "JPEG-LL.dcm": "secondary-capture",
    "MR2_J2KI.dcm": "wrong-body-part",
    "MR2_UNCR.dcm": "wrong-body-part",
    "RG3_J2KR.dcm": "no-scanner-image",
    "SC_rgb.dcm": "secondary-capture",
    "SC_rgb_16bit.dcm": "secondary-capture",
    "dwv-test_no-number-rows.dcm": "no-pixels",
    "emri_small.dcm": "wrong-sequence",
    "emri_small_RLE.dcm": "wrong-sequence",
    "emri_small_big_endian.dcm": "wrong-sequence",
    "emri_small_jpeg_2k_lossless.dcm": "wrong-sequence",
    "emri_small_jpeg_ls_lossless.dcm": "wrong-sequence",
    "liver.dcm": "no-scanner-image",
    "liver_deflate.dcm": "no-scanner-image",
    "mlut_18.dcm": "secondary-capture",
    "multiframe-test1.dcm": "wrong-sequence",
    "nema-ct1_j2ki.dcm": "wrong-modality",
    "nema-ct1_jpll.dcm": "wrong-modality",
    "nema-mr1_jply.dcm": "derived-image",
    "parametric_map_float.dcm": "no-scanner-image",
}


@needs_real_images
@pytest.mark.parametrize("name", CODECS)
def test_every_codec_file_is_refused_by_its_own_code(name: str, model: Path) -> None:
    (item,) = Detector(model).stream([DICOM / "codecs" / name])
    assert isinstance(item, Refusal)
    assert item.code == CODECS[name]


@needs_real_images
def test_the_flair_series_are_accepted(model: Path) -> None:
    items = list(Detector(model).stream([DICOM / "flair_axial_lgg"]))
    assert len(items) == 73
    assert {item.code for item in items if isinstance(item, Refusal)} <= {"blank-slice"}
