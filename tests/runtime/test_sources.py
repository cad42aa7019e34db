from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from gliomart import sources
from gliomart.errors import InputNotFoundError
from gliomart.image.slices import Refusal, Slice
from samples import GOLDEN, SHARED, draw_head, needs_real_images, odd_dicom


def _png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def _read_all(folder: Path) -> tuple[list[Slice], dict[str, str]]:
    inventory = sources.scan([folder])
    refused = list(inventory.refused)
    slices = []
    for series in inventory.series:
        for file in series.files:
            for item in sources.read(file):
                (refused if isinstance(item, Refusal) else slices).append(item)  # type: ignore[arg-type]
    assert all("\n" not in refusal.reason for refusal in refused)
    return slices, {refusal.source: refusal.code for refusal in refused}


def test_bad_files_are_refused_by_name_and_never_stop_the_others(tmp_path: Path) -> None:
    head = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    good = _png(tmp_path / "good.png", head)
    jpeg = tmp_path / "whole.jpg"
    cv2.imwrite(str(jpeg), head)
    (tmp_path / "zero.png").touch()
    (tmp_path / "zero.dcm").touch()
    (tmp_path / "zero").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "noise.dcm").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "cut.jpg").write_bytes(jpeg.read_bytes()[:3000])
    (tmp_path / "named.dcm").write_bytes(good.read_bytes())
    (tmp_path / "scan.nii.gz").write_bytes(b"\x1f\x8b rest")
    _png(tmp_path / "one.png", np.full((1, 1), 7, np.uint8))
    _png(tmp_path / "constant.png", np.full((64, 64), 7, np.uint8))
    nan = tmp_path / "nan.tiff"
    cv2.imwrite(str(nan), np.full((64, 64), np.nan, np.float32))
    whole = (GOLDEN / "slice_005.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "stub.dcm").write_bytes(whole[:140])

    slices, refused = _read_all(tmp_path)
    assert {s.source.split("/")[-1] for s in slices} == {"good.png", "whole.jpg"}
    assert {name.split("/")[-1]: code for name, code in refused.items()} == {
        "zero.png": "empty-file",
        "zero.dcm": "empty-file",
        "zero": "empty-file",
        "text.png": "unrecognised-format",
        "noise.dcm": "unrecognised-format",
        "cut.png": "truncated",
        "cut.jpg": "truncated",
        "named.dcm": "mislabelled",
        "scan.nii.gz": "unreadable",
        "one.png": "too-small",
        "constant.png": "blank-slice",
        "nan.tiff": "not-finite",
        "cut.dcm": "truncated",
        "stub.dcm": "truncated",
    }


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff"])
def test_grey_that_is_stored_in_colour_is_grey(tmp_path: Path, suffix: str) -> None:
    grey = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    for channels in (1, 3, 4) if suffix == ".png" else (1, 3):
        pixels = np.repeat(grey[..., np.newaxis], channels, axis=2)
        pixels[..., 3:] = 255
        _png(tmp_path / f"{channels}{suffix}", pixels)
    slices, refused = _read_all(tmp_path)
    assert not refused
    tolerance = 12 if suffix == ".jpg" else 0.6
    for read in slices:
        assert read.pixels.dtype == np.float32
        assert np.abs(read.pixels - grey).max() <= tolerance


def test_luma_weighs_red_green_and_blue(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (64, 64, 1), np.uint8)
    tinted = np.clip(grey + np.array([4, 0, 2], np.int64), 0, 255).astype(np.uint8)
    _png(tmp_path / "tinted.png", tinted)
    (read,), _ = _read_all(tmp_path)
    expected = cv2.cvtColor(tinted, cv2.COLOR_BGR2GRAY)
    assert np.abs(read.pixels - expected).max() <= 1


def test_sixteen_bits_and_floats_keep_their_values(tmp_path: Path) -> None:
    head = draw_head()
    _png(tmp_path / "deep.png", (head * 20).astype(np.uint16))
    _png(tmp_path / "float.tiff", head)
    slices, _ = _read_all(tmp_path)
    by_name = {s.source.split("/")[-1]: s.pixels for s in slices}
    assert np.array_equal(by_name["float.tiff"], head)
    assert np.array_equal(by_name["deep.png"], (head * 20).astype(np.uint16))


def test_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    pages = [draw_head(seed=number) for number in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "stack.tif"), pages)
    slices, _ = _read_all(tmp_path)
    assert [s.frame for s in slices] == [0, 1, 2]
    assert np.array_equal(slices[2].pixels, pages[2])
    whole = (tmp_path / "stack.tif").read_bytes()
    for part in (0.9, 0.6, 0.3, 0.01):
        (tmp_path / "stack.tif").write_bytes(whole[: int(len(whole) * part)])
        slices, refused = _read_all(tmp_path)
        assert not slices
        assert list(refused.values()) == ["truncated"]


def test_a_folder_is_a_series_in_natural_order(tmp_path: Path) -> None:
    head = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    for name in ("a/10.png", "a/9.png", "b/1.png"):
        _png(tmp_path / "study" / name, head)
    (tmp_path / "study" / "index.csv").write_text("image\n")
    (tmp_path / "study" / ".hidden.png").write_bytes(b"")
    inventory = sources.scan([tmp_path / "study"])
    assert inventory.roots == ("study",)
    assert inventory.ignored == 2
    assert [[f.source for f in series.files] for series in inventory.series] == [
        ["study/a/9.png", "study/a/10.png"],
        ["study/b/1.png"],
    ]


def test_roots_of_one_name_stay_apart(tmp_path: Path) -> None:
    head = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    for parent in ("a", "b"):
        _png(tmp_path / parent / "study" / "1.png", head)
    inventory = sources.scan([tmp_path / "a" / "study", tmp_path / "b" / "study"])
    assert inventory.roots == ("study", "study-2")
    assert [series.id for series in inventory.series] == ["study", "study-2"]


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(InputNotFoundError):
        sources.scan(["nowhere/at/all"])


def test_devices_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    _, refused = _read_all(tmp_path)
    assert refused[f"{tmp_path.name}/pipe.png"] == "not-a-file"


def test_a_dicom_series_is_sorted_by_position(tmp_path: Path) -> None:
    files = sorted(GOLDEN.glob("*.dcm"))
    for number, file in enumerate(reversed(files)):
        (tmp_path / f"{number:03d}").write_bytes(file.read_bytes())
    (series,) = sources.scan([tmp_path]).series
    heights = [pydicom.dcmread(f.path).ImagePositionPatient[2] for f in series.files]
    assert heights == sorted(heights)


def test_dicom_values_are_modality_values(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(GOLDEN / "slice_010.dcm")
    stored = dataset.pixel_array.astype(np.float32)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -100
    dataset.save_as(tmp_path / "scaled.dcm")
    (read,), _ = _read_all(tmp_path)
    assert np.array_equal(read.pixels, stored * 2 - 100)
    assert read.spacing == tuple(map(float, dataset.PixelSpacing))
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(tmp_path / "scaled.dcm")
    (inverted,), _ = _read_all(tmp_path)
    assert np.array_equal(inverted.pixels, -read.pixels)


@odd_dicom
@pytest.mark.parametrize(
    ("keyword", "vr", "value", "code"),
    [
        ("PixelSpacing", "DS", "0\\0", "bad-geometry"),
        ("PixelSpacing", "DS", "-1\\1", "bad-geometry"),
        ("PixelSpacing", "DS", "1e-7\\1", "bad-geometry"),
        ("PixelSpacing", "DS", "abc\\def", "bad-geometry"),
        ("PixelSpacing", "DS", "1", "bad-geometry"),
        ("PixelSpacing", "DS", "", None),
        ("ImagePositionPatient", "DS", "a\\b\\c", None),
        ("InstanceNumber", "IS", "abcd", None),
        ("InstanceNumber", "IS", "1\\12", None),
        ("SOPInstanceUID", "UI", "1.2\\3.4", None),
        ("SeriesInstanceUID", "UI", "", None),
        ("Modality", "CS", "", None),
    ],
)
def test_odd_attributes_are_refused_or_taken_for_missing(
    tmp_path: Path, keyword: str, vr: str, value: str, code: str | None
) -> None:
    dataset = pydicom.dcmread(GOLDEN / "slice_010.dcm")
    number = pydicom.datadict.tag_for_keyword(keyword)
    assert number is not None
    tag = BaseTag(number)
    dataset._dict[tag] = RawDataElement(tag, vr, len(value), value.encode(), 0, False, True)
    dataset.save_as(tmp_path / "odd.dcm")
    slices, refused = _read_all(tmp_path)
    assert list(refused.values()) == ([code] if code else [])
    assert len(slices) == (0 if code else 1)
    json.dumps([s.sop_instance_uid for s in slices])


def test_links_to_folders_are_refused_and_odd_names_written_out(tmp_path: Path) -> None:
    head = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    _png(tmp_path / "study" / "1.png", head)
    (tmp_path / "study" / "loop").symlink_to(tmp_path / "study")
    raw = os.fsencode(tmp_path / "study") + b"/\xff.png"
    Path(os.fsdecode(raw)).write_bytes((tmp_path / "study" / "1.png").read_bytes())
    slices, refused = _read_all(tmp_path / "study")
    assert refused == {"study/loop": "symbolic-link"}
    assert {s.source for s in slices} == {"study/1.png", "study/\\xff.png"}


@needs_real_images
def test_every_real_dicom_file_is_read_or_refused_by_name() -> None:
    slices, refused = _read_all(SHARED / "dicom")
    assert len(slices) > 400
    assert set(refused.values()) <= {
        "duplicate", "missing-file", "no-pixels", "not-greyscale", "blank-slice",
    }  # fmt: skip
