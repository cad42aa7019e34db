from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence

from enhanced import enhanced
from gliomart import Detector, SliceResult, sources
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import codecs, dicom
from gliomart.sources.header import Header
from samples import GOLDEN, SHARED, draw_head, golden_slice, needs_real_images, odd_dicom

CODECS = SHARED / "dicom" / "codecs"


def _one(dataset: Dataset) -> Slice:
    (read,) = dicom.slices_of(dataset, Header.of(dataset), "image", "image", sources.DEFAULT)
    assert isinstance(read, Slice), read
    return read


def test_signed_values_and_bits_below_those_allocated() -> None:
    dataset = golden_slice()
    values = dataset.pixel_array.astype(np.int16) - 300
    dataset.PixelRepresentation = 1
    # Twelve bits stored; the four above are an overlay of old, and no part of the value.
    stored = (values & 0x0FFF).astype(np.uint16) | 0x5000
    dataset.PixelData = stored.tobytes()
    for group, bit in ((0x6000, 12), (0x6002, 14)):
        dataset.add_new((group, 0x0100), "US", 16)
        dataset.add_new((group, 0x0102), "US", bit)
    assert np.array_equal(_one(dataset).pixels, values)


def test_padding_is_as_dark_as_the_darkest_tissue() -> None:
    dataset = golden_slice()
    values = dataset.pixel_array.copy()
    values[:40] = 4000
    values[-40:] = 4003
    dataset.PixelData = values.tobytes()
    dataset.PixelPaddingValue = 4000
    dataset.PixelPaddingRangeLimit = 4003
    read = _one(dataset).pixels
    assert np.array_equal(read[40:-40], values[40:-40])
    assert set(np.unique(read[:40])) == set(np.unique(read[-40:])) == {values[40:-40].min()}
    dataset.PhotometricInterpretation = "MONOCHROME1"
    inverted = _one(dataset).pixels
    assert np.array_equal(inverted[40:-40], -values[40:-40].astype(np.float32))
    assert set(np.unique(inverted[:40])) == {-float(values[40:-40].max())}


def test_a_modality_look_up_table_counts_and_a_window_does_not() -> None:
    dataset = golden_slice()
    stored = dataset.pixel_array
    dataset.WindowCenter, dataset.WindowWidth = 10, 5
    assert np.array_equal(_one(dataset).pixels, stored)
    table = (np.arange(4096) * 3 % 4001).astype(np.uint16)
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.ModalityLUTType = "US"
    lut.LUTData = table.tobytes()
    lut["LUTData"].VR = "OW"
    dataset.ModalityLUTSequence = Sequence([lut])
    assert np.array_equal(_one(dataset).pixels, table[stored])
    lut.LUTDescriptor = [0, 0, 7]
    (read,) = dicom.slices_of(dataset, Header.of(dataset), "image", "image", sources.DEFAULT)
    assert isinstance(read, Refusal)
    assert read.code == "undecodable"


def test_frames_of_an_enhanced_image_have_their_own_place_and_scale(
    model: Path, tmp_path: Path
) -> None:
    order = [*range(24, 0, -2), *range(1, 24, 2)]
    whole = enhanced(order)
    whole.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    (series,) = sources.scan([tmp_path]).series
    header = series.files[0].header
    assert header is not None
    assert (header.repetition_time, header.echo_time, header.inversion_time) == (9000, 120, 2500)
    assert any(isinstance(item, SliceResult) for item in Detector(model).stream([tmp_path]))
    read = list(sources.read_series(series.files, series.source))
    slices = [item for item in read if isinstance(item, Slice)]
    assert [order[s.frame] for s in slices if s.frame is not None] == list(range(1, 25))
    for number, one in enumerate(slices, start=1):
        source = golden_slice(number)
        assert np.array_equal(one.pixels, source.pixel_array.astype(np.float32) * number - number)
        assert one.position == pytest.approx(tuple(map(float, source.ImagePositionPatient)))
        assert one.sop_instance_uid == whole.SOPInstanceUID


def test_more_frames_than_groups_and_groups_that_are_empty_are_no_surprise() -> None:
    whole = enhanced([1, 2, 3])
    del whole.PerFrameFunctionalGroupsSequence[1:]
    header = Header.of(whole)
    assert [plane is None for plane in header.planes] == [False, True, True]
    whole.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence = Sequence([])
    assert Header.of(whole).planes == (None, None, None)


def _disc(folder: Path) -> Path:
    files = FileSet()
    for number in range(1, 25):
        dataset = golden_slice(number)
        dataset.StudyDate, dataset.StudyTime = "20260101", "120000"
        files.add(dataset)
    files.write(folder)
    return folder / "DICOMDIR"


def test_a_dicomdir_stands_for_the_files_that_it_lists(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    (tmp_path / "disc" / "other.dcm").write_bytes((GOLDEN / "slice_001.dcm").read_bytes())
    for given in (directory, tmp_path / "disc"):
        inventory = sources.scan([given])
        (series,) = inventory.series
        assert len(series.files) == 24
        assert inventory.ignored == 1
        heights = [file.order for file in series.files]
        assert heights == sorted(heights)
    listed = pydicom.dcmread(directory).DirectoryRecordSequence
    first = next(r.ReferencedFileID for r in listed if "ReferencedFileID" in r)
    (tmp_path / "disc").joinpath(*first).unlink()
    (refusal,) = sources.scan([directory]).refused
    assert (refusal.source, refusal.code) == ("DICOMDIR", "missing-file")


@odd_dicom
@pytest.mark.parametrize(
    "reference", [["..", "secret"], ["/etc/passwd"], ["A/../../secret"], ["."], ["C:", "secret"]]
)
def test_a_dicomdir_cannot_lead_out_of_its_folder(tmp_path: Path, reference: list[str]) -> None:
    (tmp_path / "secret").write_bytes((GOLDEN / "slice_001.dcm").read_bytes())
    directory = _disc(tmp_path / "disc")
    dataset = pydicom.dcmread(directory)
    records = [r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r]
    records[0].ReferencedFileID = reference
    dataset.save_as(directory)
    inventory = sources.scan([directory])
    assert [refusal.code for refusal in inventory.refused] == ["path-escapes"]
    assert sum(len(series.files) for series in inventory.series) == 23


def test_a_link_in_a_disc_cannot_lead_out_either(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    records = pydicom.dcmread(directory).DirectoryRecordSequence
    listed = next(r.ReferencedFileID for r in records if "ReferencedFileID" in r)
    file = directory.parent.joinpath(*listed)
    file.rename(tmp_path / "outside.dcm")
    file.symlink_to(tmp_path / "outside.dcm")
    assert [refusal.code for refusal in sources.scan([directory]).refused] == ["path-escapes"]


def test_images_without_a_series_or_a_place_keep_their_order(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        dataset = golden_slice(number)
        del dataset.SeriesInstanceUID, dataset.ImagePositionPatient
        dataset.InstanceNumber = 10 - number
        dataset.save_as(tmp_path / f"{number}.dcm")
    (series,) = sources.scan([tmp_path]).series
    assert [file.path.stem for file in series.files] == ["3", "2", "1"]
    assert series.source == tmp_path.name


def test_a_data_set_in_memory_may_be_bare(model: Path) -> None:
    dataset = Dataset()
    pixels = (draw_head() * 4).astype(np.uint16)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.tobytes()
    result = Detector(model, force=True).detect(dataset)
    assert {concern.code for concern in result.concerns} == {"wrong-modality"}


# Colours and floating-point maps are no image of a scanner, whoever insists.
NOT_DECODED = {
    "HTJ2KLossless_08_RGB.dcm": "not-greyscale",
    "SC_rgb.dcm": "not-greyscale",
    "SC_rgb_16bit.dcm": "not-greyscale",
    "parametric_map_float.dcm": "no-pixels",
}


@needs_real_images
@pytest.mark.parametrize(
    "name",
    [p.name for p in sorted(CODECS.glob("*.dcm")) if p.name != "dwv-test_no-number-rows.dcm"],
)
def test_every_codec_file_is_decoded_or_refused_by_its_pixels(name: str) -> None:
    (series,) = sources.scan([CODECS / name]).series
    items = [item for file in series.files for item in sources.read(file)]
    dataset = pydicom.dcmread(CODECS / name, stop_before_pixels=True)
    if name not in NOT_DECODED:
        assert len(items) == int(dataset.get("NumberOfFrames", 1))
    # A segmentation's frame may hold nothing.
    refused = {item.code for item in items if isinstance(item, Refusal)} - {"blank-slice"}
    assert refused == ({NOT_DECODED[name]} if name in NOT_DECODED else set())
    for item in items:
        if isinstance(item, Slice):
            assert item.pixels.shape == (dataset.Rows, dataset.Columns)


@needs_real_images
def test_what_the_model_was_not_made_for_asks_for_no_decoder(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "find_spec", lambda _: None)
    file = CODECS / "nema-ct1_j2ki.dcm"
    (item,) = Detector(model).stream([file])
    assert isinstance(item, Refusal)
    assert item.code == "wrong-modality"
    (item,) = Detector(model, force=True).stream([file])
    assert isinstance(item, Refusal)
    assert item.code == "missing-codec"


def test_meta_information_that_cannot_be_parsed_counts_as_missing(tmp_path: Path) -> None:
    whole = (GOLDEN / "slice_010.dcm").read_bytes()
    tag = b"\x02\x00\x02\x00UI"
    assert whole.count(tag) == 1
    (tmp_path / "odd.dcm").write_bytes(whole.replace(tag, tag[:4] + b"U\x09"))
    inventory = sources.scan([tmp_path])
    assert len(inventory.series) + len(inventory.refused) == 1


@odd_dicom
def test_pixels_beyond_the_frames_that_are_promised_are_left_out(tmp_path: Path) -> None:
    whole = enhanced([1, 2, 3])
    whole.NumberOfFrames = 2
    whole.save_as(tmp_path / "more.dcm", enforce_file_format=True)
    (series,) = sources.scan([tmp_path]).series
    assert len(list(sources.read(series.files[0]))) == 2
    single = golden_slice()
    single.PixelData += single.PixelData
    single.save_as(tmp_path / "more.dcm")
    (series,) = sources.scan([tmp_path]).series
    (read,) = sources.read(series.files[0])
    assert isinstance(read, Slice)
    assert np.array_equal(read.pixels, golden_slice().pixel_array)
