"""Folders for training and evaluation as people and programs write them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gliomart import cli
from gliomart.errors import DatasetError
from gliomart.image.slices import Slice
from gliomart.printable import printable
from gliomart_training import dataset, tables
from gliomart_training.patients import count_masks, doubts
from gliomart_training.record import folds_of
from gliomart_training.truth import pictures
from samples import GOLDEN, draw_head

SIDE = 64
TRUTH = np.zeros((SIDE, SIDE), bool)
TRUTH[20:28, 30:40] = True
LABELS = TRUTH.astype(np.uint8)


def png(pixels: NDArray[np.generic]) -> bytes:
    written, content = cv2.imencode(".png", pixels)
    assert written
    return content.tobytes()


def tif(pixels: NDArray[np.generic]) -> bytes:
    written, content = cv2.imencode(".tif", pixels)
    assert written
    return content.tobytes()


def head(seed: int = 0) -> bytes:
    return png((draw_head((SIDE, SIDE), seed=seed) / 5).clip(0, 255).astype(np.uint8))


def palette_png(*, bits: int = 8, colours: bytes = bytes(6), clear: bool = True) -> bytes:
    """Write labels as indices into a palette in which every colour may be black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        code = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", code)

    rows = LABELS if bits == 8 else np.packbits(LABELS, axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    size = struct.pack(">IIBBBBB", SIDE, SIDE, bits, 3, 0, 0, 0)
    parts = [(b"IHDR", size), (b"PLTE", colours), (b"tRNS", b"\0"), (b"IDAT", zlib.compress(raw))]
    if not clear:
        del parts[2]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts) + chunk(b"IEND", b"")


def plain_tiff(
    pixels: NDArray[np.uint8],
    photometric: int,
    *,
    bits: int = 8,
    big: bool = False,
    samples: int = 1,
) -> bytes:
    """Write a TIFF in which 0 is white (0), black (1), or an index into a palette of black (3)."""
    raw = (np.packbits(pixels, axis=1) if bits == 1 else pixels).tobytes()
    height, width = pixels.shape[:2]
    count, link, entry = ("<Q", "<Q", "<HHQQ") if big else ("<H", "<I", "<HHII")
    header = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    )
    tags = 10 if photometric == 3 else 9
    after = (
        len(header) + struct.calcsize(count) + tags * struct.calcsize(entry) + struct.calcsize(link)
    )
    fields = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, bits), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, after), (277, 3, 1, samples), (278, 3, 1, height),
        (279, 4, 1, len(raw)),
    ]  # fmt: skip
    if photometric == 3:
        fields.append((320, 3, 3 * 2**bits, after + len(raw)))
    directory = struct.pack(count, len(fields))
    directory += b"".join(struct.pack(entry, *field) for field in fields) + struct.pack(link, 0)
    return header + directory + raw + bytes(2 * 3 * 2**bits)


def rgba(colour: NDArray[np.generic], opacity: NDArray[np.generic]) -> NDArray[np.uint8]:
    planes = [np.broadcast_to(plane, TRUTH.shape) for plane in (colour, colour, colour, opacity)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def dicom_mask(labels: NDArray[np.uint8], folder: Path) -> bytes:
    made = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    made.decompress()
    made.Rows, made.Columns = labels.shape
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 0
    made.RescaleIntercept, made.RescaleSlope = -1024, 1
    made.PixelData = labels.astype("<u2").tobytes()
    made.save_as(folder / "made.dcm")
    return (folder / "made.dcm").read_bytes()


ZERO, FULL = np.uint8(0), np.uint8(255)
MASKS = {
    "8 bit of 0 and 255": ("png", png(LABELS * 255)),
    "8 bit of 0 and 1": ("png", png(LABELS)),
    "16 bit of 0 and 1": ("png", png(LABELS.astype(np.uint16))),
    "16 bit labels of several kinds": ("png", png((LABELS * 3).astype(np.uint16))),
    "16 bit in tiff": ("tif", tif(LABELS.astype(np.uint16))),
    "32 bit integers": ("tif", tif(LABELS.astype(np.int32))),
    "negative labels": ("tif", tif(-LABELS.astype(np.int32))),
    "float of 0 and 1": ("tif", tif(LABELS.astype(np.float32))),
    "float of halves": ("tif", tif(LABELS.astype(np.float32) / 2)),
    "double": ("tif", tif(LABELS.astype(np.float64))),
    "blue alone": ("png", png(np.stack([LABELS, 0 * LABELS, 0 * LABELS], -1))),
    "red alone": ("png", png(np.stack([0 * LABELS, 0 * LABELS, LABELS], -1))),
    "16 bit in colour": ("png", png(np.stack([0 * LABELS, LABELS, LABELS], -1).astype(np.uint16))),
    "opacity of black": ("png", png(rgba(ZERO, LABELS * 255))),
    "opacity of white": ("png", png(rgba(FULL, LABELS * 255))),
    "faint opacity": ("png", png(rgba(ZERO, LABELS))),
    "colour, opaque everywhere": ("png", png(rgba(LABELS, FULL))),
    "colour, clear everywhere": ("png", png(rgba(LABELS, ZERO))),
    "colour where it is opaque": ("png", png(rgba(LABELS * 9, LABELS * 255))),
    "a palette of black": ("png", palette_png()),
    "a palette, 1 bit": ("png", palette_png(bits=1)),
    "a palette with white for 0": ("png", palette_png(colours=bytes([255] * 3 + [0] * 3))),
    "a palette of colours": (
        "png", palette_png(colours=bytes([0, 0, 0, 9, 0, 0]), clear=False),
    ),
    "a palette of two colours": (
        "png", palette_png(colours=bytes([255, 255, 255, 0, 0, 9]), clear=False),
    ),
    "a palette in tiff": ("tif", plain_tiff(LABELS, 3)),
    "a palette in big tiff": ("tif", plain_tiff(LABELS, 3, big=True)),
    "boolean tiff": ("tif", plain_tiff(LABELS, 1, bits=1)),
    "boolean tiff, 0 is white": ("tif", plain_tiff(1 - LABELS, 0, bits=1)),
    "tiff, 0 is white": ("tif", plain_tiff(255 - LABELS * 255, 0)),
    "bmp": ("bmp", cv2.imencode(".bmp", LABELS * 255)[1].tobytes()),
    "webp": ("webp", cv2.imencode(".webp", np.dstack([LABELS * 255] * 3))[1].tobytes()),
    "jpeg": ("jpg", cv2.imencode(".jpg", LABELS * 255)[1].tobytes()),
    "png by another name": ("tif", png(LABELS)),
}  # fmt: skip


def write_index(folder: Path, rows: list[list[str]], **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    header = changes.get("header", "image,mask,patient,split")
    lines = [str(header), *(",".join(row) for row in rows)]
    text = "\n".join(lines) + "\n"
    (folder / "index.csv").write_text(text, encoding="utf-8")
    return folder


def study(folder: Path, *, slices: int = 9, mask: tuple[str, bytes] | None = None) -> Path:
    """Write one patient with an index; slice 4 has the mask."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix, content = mask or ("png", png(LABELS * 255))
    rows = []
    for number in range(slices):
        (folder / f"{number}.png").write_bytes(head(number))
        rows.append([f"{number}.png", f"m4.{suffix}" if number == 4 else "", "p", "train"])
    (folder / f"m4.{suffix}").write_bytes(content)
    return write_index(folder, rows)


@pytest.mark.parametrize("kind", MASKS)
def test_any_label_but_0_marks_in_whatever_form_a_mask_comes(kind: str, tmp_path: Path) -> None:
    (patient,) = dataset.load(study(tmp_path / "data", mask=MASKS[kind]))
    truth = patient.examples[4].truth()
    assert truth.dtype == bool
    if kind == "jpeg":  # it blurs borders
        assert (truth != TRUTH).mean() < 0.01
    else:
        assert np.array_equal(truth, TRUTH)
    assert [example.tumour_free for example in patient.examples] == [n in (0, 8) for n in range(9)]
    assert doubts([patient]) == []
    assert count_masks([patient]) == {"read": 1, "mark_nothing": 0, "mark_most": 0}


def test_a_dicom_image_is_a_mask_by_its_stored_labels(tmp_path: Path) -> None:
    mask = ("dcm", dicom_mask(LABELS, tmp_path))
    (patient,) = dataset.load(study(tmp_path / "data", mask=mask))
    assert np.array_equal(patient.examples[4].truth(), TRUTH)


def _segmentation(folder: Path) -> bytes:
    made = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    made.save_as(folder / "seg.dcm")
    return (folder / "seg.dcm").read_bytes()


nan = LABELS.astype(np.float32)
nan[0, 0] = np.nan
UNREADABLE = {
    "cut off": ("png", png(LABELS * 255)[:-30], "ends in the middle"),
    "empty": ("png", b"", "holds no bytes"),
    "text": ("png", b"not an image", "cannot be decoded"),
    "a palette with black for 1": (
        "png", palette_png(colours=bytes([255] * 3 + [0] * 3), clear=False), "palette",
    ),
    "a palette cut off": ("png", palette_png()[:40], "ends in the middle"),
    "numpy": ("npy", b"\x93NUMPY\x01\0v\0", "cannot be decoded"),
    "NaN": ("tif", tif(nan), "NaN"),
    "all white": ("png", png(np.full_like(LABELS, 255)), "every pixel"),
    "all ones": ("png", png(np.ones((SIDE, SIDE), np.uint16)), "every pixel"),
    "of another size": ("png", png(np.zeros((32, 48), np.uint8)), "48x32 pixels.*64x64"),
    "turned": ("png", png(np.zeros((64, 65), np.uint8)), "65x64 pixels.*64x64"),
    "faint jpeg": ("jpg", cv2.imencode(".jpg", LABELS * 9)[1].tobytes(), "lossy|compression"),
    "grey with opacity in tiff": (
        "tif", plain_tiff(np.dstack([0 * LABELS, LABELS]), 1, samples=2), "opacity",
    ),
    "two pages": (
        "tif",
        cv2.imencodemulti(".tif", [LABELS * 255, LABELS * 0])[1].tobytes(),
        "has 2 slices, its image 1",
    ),
    "nifti of a png": ("nii", b"\0" * 400, "NIfTI"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_mask_that_cannot_be_read_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    suffix, content, reason = UNREADABLE[kind]
    folder = study(tmp_path / "data", mask=(suffix, content))
    with pytest.raises(DatasetError, match=reason) as refused:
        dataset.load(folder)
    assert f"m4.{suffix}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dicom_segmentation_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="segmentation"):
        dataset.load(study(tmp_path / "data", mask=("dcm", _segmentation(tmp_path))))


def test_a_mask_that_is_missing_or_the_image_itself_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "data")
    (folder / "m4.png").unlink()
    with pytest.raises(DatasetError, match=r"m4.png: listed in the index but not there.*line 6"):
        dataset.load(folder)
    write_index(folder, [["4.png", "./4.png", "p", "train"]])
    with pytest.raises(DatasetError, match="own mask"):
        dataset.load(folder)
    (folder / "dir").mkdir()
    write_index(folder, [["4.png", "dir", "p", "train"]])
    with pytest.raises(DatasetError, match="not there"):
        dataset.load(folder)


def test_masks_that_mark_nothing_or_nearly_everything_are_said(tmp_path: Path) -> None:
    folder = study(tmp_path / "data", mask=("png", png(LABELS * 0)))
    (patient,) = dataset.load(folder)
    (said,) = doubts([patient])
    assert "none of the 1 masks marks anything" in said
    assert count_masks([patient]) == {"read": 1, "mark_nothing": 1, "mark_most": 0}
    # The mask may be the wrong file: its slices are neither tumour nor tumour-free.
    assert not patient.examples[4].tumour_free
    assert not patient.examples[4].truth().any()

    (patient,) = dataset.load(study(tmp_path / "inverted", mask=("png", png(255 - LABELS * 255))))
    (said,) = doubts([patient])
    assert "1 of 1 masks mark more than half" in said
    assert "inverted" in said
    assert "m4.png" in said

    folder = study(tmp_path / "some")
    (folder / "empty.png").write_bytes(png(LABELS * 0))
    rows = [["0.png", "empty.png", "p", ""], ["4.png", "m4.png", "p", ""]]
    (said,) = doubts(dataset.load(write_index(folder, rows)))
    assert "1 of 2 masks mark nothing" in said
    assert "empty.png" in said


# Tables.


def encoded(text: str) -> dict[str, bytes]:
    plain = text.encode()
    return {
        "as documented": plain,
        "byte order mark": b"\xef\xbb\xbf" + plain,
        "utf-16": text.encode("utf-16"),
        "utf-16 big endian": b"\xfe\xff" + text.encode("utf-16-be"),
        "semicolons": text.replace(",", ";").encode(),
        "tabs": text.replace(",", "\t").encode(),
        "bars": text.replace(",", "|").encode(),
        "windows": text.replace("\n", "\r\n").encode(),
        "old mac": text.replace("\n", "\r").encode(),
        "windows with semicolons and mark": b"\xef\xbb\xbf"
        + text.replace(",", ";").replace("\n", "\r\n").encode(),
        "hint for a spreadsheet": ("sep=;\n" + text.replace(",", ";")).encode(),
        "hint in quotes with semicolons": ('"sep=;"\n' + text.replace(",", ";")).encode(),
        "hint by excel with semicolons": ('\ufeff"SEP=;"\n' + text.replace(",", ";")).encode(),
        "empty lines": (text + "\n\n,,,\n").encode(),
        "no last line break": text.strip().encode(),
        "spaces": text.replace(",", " , ").encode(),
        "quoted": "\n".join(
            ",".join(f'"{value}"' for value in line.split(",")) for line in text.split("\n")[:-1]
        ).encode(),
        "upper case": (text.split("\n", maxsplit=1)[0].upper() + text[text.index("\n") :]).encode(),
        "other columns": "\n".join(
            ",".join([f"x{n}", *line.split(",")[::-1], "y"])
            for n, line in enumerate(text.strip().split("\n"))
        ).encode(),
        "separators behind": text.replace("\n", ",,\n").encode(),
        "paths of windows": text.replace("a/", "a\\").encode(),
        "paths with dots": text.replace("a/", "./a//").encode(),
    }


INDEX = "image,mask,patient,split\n" + "".join(
    f"a/{number}.png,{'a/m4.png' if number == 4 else ''},p,train\n" for number in range(9)
)


@pytest.mark.parametrize("kind", encoded(INDEX))
def test_an_index_is_read_however_a_spreadsheet_writes_it(kind: str, tmp_path: Path) -> None:
    study(tmp_path / "data" / "a")
    (tmp_path / "data" / "a" / "index.csv").unlink()
    (tmp_path / "data" / "index.csv").write_bytes(encoded(INDEX)[kind])
    (patient,) = dataset.load(tmp_path / "data", "train")
    assert patient.id == "p"
    assert len(patient.examples) == 9
    assert np.array_equal(patient.examples[4].truth(), TRUTH)
    assert dataset.splits(tmp_path / "data") == {"train"}


PONS = "image,cx,cy,rx,ry\na/2.png,30.5,31,6,5\n"


@pytest.mark.parametrize("kind", encoded(PONS))
def test_a_table_of_the_pons_is_read_however_a_spreadsheet_writes_it(
    kind: str, tmp_path: Path
) -> None:
    study(tmp_path / "data" / "a")
    (tmp_path / "data" / "a" / "index.csv").unlink()
    (tmp_path / "data" / "index.csv").write_text(INDEX)
    content = encoded(PONS)[kind]
    if "semicolons" in kind or kind == "tabs":
        content = content.replace(b"30.5", b"30,5")
    (tmp_path / "data" / "PONS.csv").write_bytes(content)
    (patient,) = dataset.load(tmp_path / "data", "train")
    assert [n for n, e in enumerate(patient.examples) if e.pons] == [2]
    assert patient.examples[2].pons == dataset.Ellipse(30.5, 31, 6, 5)


def test_a_mark_of_the_pons_that_fits_nothing_is_said_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study(tmp_path / "data")
    (folder / "pons.csv").write_text("image,cx,cy,rx,ry\nb/2.png,3,3,6,5\n2.png,3,3,6,5\n")
    dataset.load(folder)
    assert "1 of 2 images are not in index.csv, such as b/2.png" in capsys.readouterr().err
    for row in ("2.png,4,3,6,5", "3.png,,3,6,5", "3.png,1,2,0,4", "3.png,nan,2,3,4", "3.png,1,2,3"):
        (folder / "pons.csv").write_text(f"image,cx,cy,rx,ry\n2.png,3,3,6,5\n{row}\n")
        with pytest.raises(DatasetError, match="line 3"):
            dataset.load(folder)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["0.png,,p,train", "1.png,,p,test"], "line 3 puts patient p into split test as well"),
        (["0.png,,p,train", "0.png,,p,train"], "line 3 repeats line 2"),
        (["0.png,,p,train", "./0.png,,p,train"], "line 3 contradicts line 2"),
        (["0.png,,p,train", "0.png,m4.png,p,train"], "line 3 contradicts line 2"),
        (["0.png,,p,train", "0.png,,q,test"], "line 3 contradicts line 2"),
        (["0.png,,p,train", "1.png,,,train"], "line 3 lacks an image or a patient"),
        (["0.png,,p,train", ",m4.png,p,train"], "line 3 lacks an image or a patient"),
        (["0.png,,p,train", "1.png,,  ,train"], "line 3 lacks an image or a patient"),
        (["0.png,,p"], "line 2 has 3 values for 4 columns"),
        (["0.png,,p,train,more"], "line 2 has 5 values for 4 columns"),
        (['0.png,"m4.png,p,train', "1.png,,p,train"], "not a table that can be read"),
        (["C:\\data\\0.png,,p,train"], "relative to the dataset folder"),
        (["/nowhere/0.png,,p,train"], "relative to the dataset folder"),
        (["0.png,\\\\server\\m4.png,p,train"], "not there"),
        (["0.png,nanny,p,train"], "not there"),
        ([], "has no rows"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused_by_line(
    rows: list[str], reason: str, tmp_path: Path
) -> None:
    folder = study(tmp_path / "data")
    (folder / "index.csv").write_text("\n".join(["image,mask,patient,split", *rows]) + "\n")
    with pytest.raises(DatasetError, match=reason.replace("\\", ".")):
        dataset.load(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (INDEX.replace("p,", "Müller,").encode("latin-1"), "not in UTF-8"),
        (INDEX.replace("p,", "Müller,").encode("cp1252"), "not in UTF-8"),
        (INDEX.encode("utf-16-le"), "bytes of 0"),
        (INDEX.encode("utf-16")[:-1], "not in UTF-8"),
        (INDEX.encode("utf-32"), "bytes of 0|not in UTF-8"),
        (b"PK\x03\x04\x14\0", "bytes of 0|not in UTF-8"),
        (b"", "no column"),
        (INDEX.replace("mask", "image", 1).encode(), "no column mask"),
        (INDEX.replace("split", "Patient", 1).encode(), "two columns patient"),
    ],
)
def test_an_index_that_is_no_such_table_is_refused(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        dataset.load(tmp_path)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_table_of_any_bytes_is_read_or_refused(content: bytes) -> None:
    class Fake:
        def read_bytes(self) -> bytes:
            return content

    try:
        rows = tables.read(Fake(), {"image"})  # type: ignore[arg-type]
    except DatasetError:
        return
    assert all(row["image"] == row["image"].strip() for row in rows)


@given(kind=st.sampled_from(sorted(MASKS)), data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mask_with_changed_bytes_is_read_or_refused(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    suffix, content = MASKS[kind]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 300) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    (tmp_path / f"m.{suffix}").write_bytes(changed)
    try:
        image = Slice(np.zeros((SIDE, SIDE), np.float32))
        (marks,) = pictures.read(tmp_path / f"m.{suffix}", [image]).planes
    except DatasetError:
        return
    assert marks is not None
    assert marks.shape == TRUTH.shape


def test_an_index_in_another_case_is_found_and_two_are_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "data")
    (folder / "index.csv").rename(folder / "Index.CSV")
    assert dataset.load(folder)[0].id == "p"
    shutil.copy(folder / "Index.CSV", folder / "index.csv")
    with pytest.raises(DatasetError, match="which is meant"):
        dataset.load(folder)


@pytest.mark.parametrize("empty", ["nan", "NaN", "NA", "N/A", "None", "null", "NULL", "<NA>", ""])
def test_a_program_that_writes_an_empty_mask_as_a_word_means_an_empty_one(
    empty: str, tmp_path: Path
) -> None:
    folder = study(tmp_path / "data")
    rows = [[f"{n}.png", "m4.png" if n == 4 else empty, "p", ""] for n in range(9)]
    (patient,) = dataset.load(write_index(folder, rows))
    assert [bool(e.truth().any()) for e in patient.examples] == [n == 4 for n in range(9)]
    (folder / "nan").write_bytes(png(LABELS))  # a file of that name is one
    (patient,) = dataset.load(write_index(folder, [["0.png", "nan", "p", ""]]))
    assert patient.examples[0].truth().any()


def test_splits_and_patients_are_compared_as_people_read_them(tmp_path: Path) -> None:
    folder = study(tmp_path / "data")
    names = ("M\u00fcller", "Mu\u0308ller")
    rows = [[f"{n}.png", "", names[n % 2], ("Train", "train ", " TRAIN")[n % 3]] for n in range(4)]
    rows += [[f"{n}.png", "", "q", ("Hold out", "holdout")[n % 2]] for n in range(4, 9)]
    write_index(folder, rows)
    assert dataset.splits(folder) == {"train", "holdout"}
    for split in ("train", "TRAIN", " Train"):
        (patient,) = dataset.load(folder, split)
        assert (patient.id, len(patient.examples)) == (names[0], 4)
    assert len(dataset.load(folder, "Holdout")[0].examples) == 5
    rows[8][2] = names[1]
    with pytest.raises(DatasetError, match=r"line 10 puts patient .* as well as Train"):
        dataset.load(write_index(folder, rows))


# Order.


SHUFFLED = [1, 10, 11, 2, 20, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19]


def ordered(folder: Path, rows: list[list[str]], header: str) -> list[str]:
    """Tell which slices are free of a tumour that is marked in the image called 10."""
    (patient,) = dataset.load(write_index(folder, rows, header=header))
    sources = [example.slice.source for example in patient.examples]
    return [
        source
        for source, example in zip(sources, patient.examples, strict=True)
        if example.tumour_free
    ]


@pytest.mark.parametrize("names", ["{}.png", "x_{}.png", "{:03}.png", "p1/s2 {}.png", "x{}_a.png"])
def test_rows_in_any_order_are_ordered_by_the_number_in_their_names(
    names: str, tmp_path: Path
) -> None:
    (tmp_path / "p1").mkdir()
    for n in SHUFFLED:
        (tmp_path / names.format(n)).write_bytes(head(n))
    (tmp_path / "m.png").write_bytes(png(LABELS))
    rows = [[names.format(n), "m.png" if n == 10 else "", "p"] for n in SHUFFLED]
    free = ordered(tmp_path, rows, "image,mask,patient")
    assert free == [names.format(n) for n in range(1, 21) if abs(n - 10) > 3]


def test_a_column_slice_orders_the_rows(tmp_path: Path) -> None:
    for n in SHUFFLED:
        (tmp_path / f"{hash(str(n)) % 10**9}_{n}.png").write_bytes(head(n))
    (tmp_path / "m.png").write_bytes(png(LABELS))
    paths = {n: next(tmp_path.glob(f"*_{n}.png")).name for n in SHUFFLED}
    rows = [[paths[n], "m.png" if n == 10 else "", "p", f"{n}.5"] for n in SHUFFLED]
    free = ordered(tmp_path, rows, "image,mask,patient,Slice")
    assert free == [paths[n] for n in range(1, 21) if abs(n - 10) > 3]
    rows[3][3] = "third"
    with pytest.raises(DatasetError, match="line 5 has no number in slice, and others have one"):
        ordered(tmp_path, rows, "image,mask,patient,slice")
    rows = [[*row[:3], "axial"] for row in rows]  # no numbers at all: another column of that name
    assert ordered(tmp_path, rows, "image,mask,patient,slice")


def test_dicom_images_are_ordered_by_their_place(tmp_path: Path) -> None:
    paths = sorted(GOLDEN.glob("*.dcm"))[:9]
    heights = {path.name: pydicom.dcmread(path).ImagePositionPatient[2] for path in paths}
    for number, path in enumerate(paths):
        shutil.copy(path, tmp_path / f"{number * 7 % 9}.dcm")
    shape = pydicom.dcmread(paths[0]).pixel_array.shape
    (tmp_path / "m.png").write_bytes(png(np.eye(*shape, dtype=np.uint8)))
    marked = "0.dcm"
    rows = [[f"{n}.dcm", "m.png" if f"{n}.dcm" == marked else "", "p"] for n in range(9)]
    (patient,) = dataset.load(write_index(tmp_path, rows, header="image,mask,patient"))
    placed = [example.slice.position[2] for example in patient.examples if example.slice.position]
    assert placed == sorted(map(float, heights.values()))
    assert [example.tumour_free for example in patient.examples] == [n > 3 for n in range(9)]


def test_accents_that_another_system_writes_apart_are_the_same_name(tmp_path: Path) -> None:
    folder = study(tmp_path / "data")
    (folder / "0.png").rename(folder / "Mu\u0308ller.png")
    write_index(folder, [["M\u00fcller.png", "", "p", ""]])
    assert len(dataset.load(folder)[0].examples) == 1


# Folders without an index.


def pairs(folder: Path, *, mask: str = "_mask.png", empty: bool = True) -> Path:
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"s{number}.png").write_bytes(head(number))
        if number == 4 or empty:
            suffix = Path(mask).suffix
            content = LABELS * (number == 4)
            (folder / f"s{number}{mask}").write_bytes(cv2.imencode(suffix, content)[1].tobytes())
    return folder


@pytest.mark.parametrize("mask", ["_mask.png", "_mask.tif", "_MASK.png", "_Mask.TIF", "_mask.bmp"])
def test_a_mask_beside_its_image_is_found(mask: str, tmp_path: Path) -> None:
    pairs(tmp_path / "data" / "one", mask=mask, empty=not mask.endswith("bmp"))
    (patient,) = dataset.load(tmp_path / "data")
    assert len(patient.examples) == 9
    assert np.array_equal(patient.examples[4].truth(), TRUTH)
    assert [e.tumour_free for e in patient.examples] == [n in (0, 8) for n in range(9)]
    assert doubts([patient]) == []


def test_a_mask_beside_its_image_is_never_passed_over(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "data" / "one", empty=False)
    (folder / "s4_mask.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"s4_mask.png: not a mask that can be read"):
        dataset.load(tmp_path / "data")
    (folder / "s4_mask.png").write_bytes(png(LABELS))
    (folder / "s4_mask.tif").write_bytes(tif(LABELS))
    with pytest.raises(DatasetError, match="both are called the mask of s4"):
        dataset.load(tmp_path / "data")
    (folder / "s4_mask.tif").rename(folder / "s44_mask.tif")
    with pytest.raises(DatasetError, match=r"s44_mask.tif: is called a mask, but no image"):
        dataset.load(tmp_path / "data")
    (folder / "s44_mask.tif").unlink()
    (folder / "s4.png").write_bytes(b"")  # an image that cannot be read is refused, as ever
    (patient,) = dataset.load(tmp_path / "data")
    assert len(patient.examples) == 8


def test_masks_beside_their_images_that_all_mark_nothing_are_said(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "data" / "one")
    (folder / "s4_mask.png").write_bytes(png(LABELS * 0))
    (patient,) = dataset.load(tmp_path / "data")
    assert len(patient.examples) == 9
    (said,) = doubts([patient])
    assert "none of the 9 masks marks anything" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s0_mask.gif", b"GIF89a"),
        ("s0_mask.jp2", cv2.imencode(".jp2", LABELS * 255)[1].tobytes()),
        ("s0_mask.npy", b"\x93NUMPY\x01\0v\0"),
        ("s0_mask.png.gz", gzip.compress(png(LABELS))),
        ("s0_mask.mha", b"ObjectType = Image"),
        ("s0_mask.pgm", cv2.imencode(".pgm", LABELS * 255)[1].tobytes()),
        ("s0_mask", png(LABELS)),
        ("s0_MASK.raw", bytes(64 * 64)),
        ("s0_mask.dcm", b"dicom"),
        ("s0_mask", b"dicom"),
        ("s0_mask.IMA", b"dicom"),
    ],
)
def test_a_mask_of_any_kind_beside_its_image_is_read_or_refused_by_name(
    name: str, content: bytes, tmp_path: Path
) -> None:
    folder = pairs(tmp_path / "data", empty=False)
    content = dicom_mask(LABELS, tmp_path) if content == b"dicom" else content
    (folder / name).write_bytes(content)
    try:
        (patient,) = dataset.load(tmp_path / "data")
    except DatasetError as error:
        assert name in str(error)  # noqa: PT017
        assert not content.startswith((b"\x89PNG", b"P5"))
        assert content[128:132] != b"DICM"
        return
    assert np.array_equal(patient.examples[0].truth(), TRUTH)
    assert len(patient.examples) == 9


def test_notes_beside_an_image_are_no_masks(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "data", empty=False)
    for name in ("s4_mask.json", "s0_mask.txt", "masks.md", "s0_seg.csv"):
        (folder / name).write_text("x")
    (patient,) = dataset.load(tmp_path / "data")
    assert len(patient.examples) == 9


@pytest.mark.parametrize(
    "name",
    [
        "other_mask.png", "other_seg.png", "x-seg.png", "x_segmentation.tif", "mask.png", "SEG.png",
        "s0_truth.png",
        "other_seg.npy", "masks/s0.png", "masks/other.png", "p1_seg/1.png", "a/Masks/b/x.png",
        "labels/s0.png", "gt/s0.npy", "s0_annotation.png", "segmentations/x.npy",
    ],
)  # fmt: skip
def test_what_is_called_a_mask_and_has_no_certain_image_is_refused(
    name: str, tmp_path: Path
) -> None:
    folder = pairs(tmp_path / "data", empty=False)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    suffix = Path(name).suffix
    (folder / name).write_bytes(tif(LABELS) if suffix == ".tif" else png(LABELS))
    with pytest.raises(DatasetError, match="mask") as refused:
        dataset.load(tmp_path / "data")
    assert str((folder / name).parent if "/" in name else folder / name) in str(refused.value)


@pytest.mark.parametrize("name", ["s0_gt.png", "gt_s0.png", "mask_s0.png", "label-s0.png"])
def test_masks_are_found_by_many_names(name: str, tmp_path: Path) -> None:
    folder = pairs(tmp_path / "data", empty=False)
    (folder / name).write_bytes(png(LABELS))
    (patient,) = dataset.load(tmp_path / "data")
    assert patient.examples[0].mask == folder / name
    assert not patient.examples[0].tumour_free


@pytest.mark.parametrize(
    "name", ["x_gt.png", "mask_7.png", "x_label.png", "roi_2.png", "labels/x.png", "gt/a/7.png"]
)
def test_what_is_called_like_a_mask_is_left_out_and_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pairs(tmp_path / "data", empty=False)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png(LABELS))
    (patient,) = dataset.load(tmp_path / "data")
    assert len(patient.examples) == 9
    said = capsys.readouterr().err
    assert "1 files are called like masks" in said
    assert name in said


def test_a_dataset_may_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    pairs(tmp_path / "masks" / "labels", empty=False)
    assert len(dataset.load(tmp_path / "masks" / "labels")[0].examples) == 9


# Masks compressed with loss.


def disc(radius: float, centre: tuple[int, int] = (128, 128)) -> NDArray[np.bool_]:
    y, x = np.ogrid[:256, :256]
    return np.asarray(np.hypot(y - centre[0], x - centre[1]) <= radius)


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("kind", [".jpg", ".webp"])
def test_a_fainter_label_beside_a_bright_one_is_refused_in_a_lossy_mask(
    quality: int, kind: str, tmp_path: Path
) -> None:
    flag = cv2.IMWRITE_JPEG_QUALITY if kind == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    image = Slice(np.zeros((256, 256), np.float32))

    def load(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
        data = labels.astype(np.uint8)
        (tmp_path / f"m{kind}").write_bytes(cv2.imencode(kind, data, [flag, quality])[1].tobytes())
        (marks,) = pictures.read(tmp_path / f"m{kind}", [image]).planes
        assert marks is not None
        return marks

    small, large = disc(3, (90, 90)), disc(20)
    for faint in (85, 100, 60, 40):
        for labels in (
            np.where(large, faint, small * 255),
            np.where(small, faint, large * 255),
            np.where(disc(10), 255, large * faint),
        ):
            with pytest.raises(DatasetError, match="faint labels"):
                load(labels)
    for labels in (large * 255, small * 255, (large | small) * 255):
        grey = labels.astype(np.uint8)
        soft = cv2.GaussianBlur(grey, (3, 3), 0)  # its edges are smooth, as of turned masks
        for mask in (grey, soft, np.dstack([grey, 0 * grey, 0 * grey])):
            if mask.max() > 130 and (mask.ndim == 2 or quality > 50):
                assert (load(mask) != (labels > 0)).mean() < 0.01


# Volumes.


def volume(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def heads(count: int) -> NDArray[np.float32]:
    return np.stack([draw_head((SIDE, SIDE), seed=n) for n in range(count)], axis=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 2, 11])
def test_a_volume_with_a_value_that_is_none_is_refused_by_name(
    value: float, place: int, tmp_path: Path
) -> None:
    pytest.importorskip("nibabel")
    marks = np.zeros((SIDE, SIDE, 12), np.float32)
    marks[20:28, 30:40, 2] = 1
    marks[5, 5, place] = value
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    volume(tmp_path / "x.nii.gz", heads(12), affine)
    volume(tmp_path / "x_mask.nii.gz", marks, affine)
    with pytest.raises(DatasetError, match=r"x_mask.nii.gz: not a mask.*NaN or infinite"):
        dataset.load(tmp_path)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_volume_has_a_volume_for_a_mask(
    dtype: type, tmp_path: Path, *, indexed: bool, flip: bool
) -> None:
    pytest.importorskip("nibabel")
    voxels, marks = heads(12), np.zeros((SIDE, SIDE, 12), dtype)
    marks[20:28, 30:40, 2] = 1
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    volume(tmp_path / "x.nii.gz", voxels, affine)
    if flip:  # the same place, stored from the other end
        affine[2] = [0, 0, -5.0, 55.0]
        marks = marks[:, :, ::-1]
    volume(tmp_path / "x_mask.nii.gz", marks, affine)
    if indexed:
        write_index(tmp_path, [["x.nii.gz", "x_mask.nii.gz", "p", ""]])
    (patient,) = dataset.load(tmp_path)
    assert [bool(e.truth().any()) for e in patient.examples] == [n == 2 for n in range(12)]
    assert [e.tumour_free for e in patient.examples] == [n > 5 for n in range(12)]
    truth = patient.examples[2].truth()
    assert truth.sum() == 80
    # It lies on the voxels that it was drawn on, however both are turned.
    bright = patient.examples[2].slice.pixels[truth]
    assert sorted(bright) == sorted(voxels[20:28, 30:40, 2].ravel())


def test_a_volume_is_refused_a_mask_that_is_not_its_own(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    volume(tmp_path / "x.nii", heads(6), affine)
    marks = np.zeros((SIDE, SIDE, 6), np.uint8)
    marks[20:28, 30:40, 2] = 1
    write_index(tmp_path, [["x.nii", "m.nii", "p", ""]])
    moved = affine.copy()
    moved[2, 3] = 40.0
    for wrong, place, reason in (
        (marks, moved, "lies elsewhere"),
        (marks[:, :, :5], affine, "has 5 slices, its image 6"),
        (marks[:60], affine, "60x64 pixels|64x60 pixels"),
        (np.ones_like(marks), affine, "every pixel"),
        (marks.astype(np.float32) * np.nan, affine, "NaN"),
    ):
        volume(tmp_path / "m.nii", wrong, place)
        with pytest.raises(DatasetError, match=reason):
            dataset.load(tmp_path)
    (tmp_path / "m.png").write_bytes(png(LABELS))
    write_index(tmp_path, [["x.nii", "m.png", "p", ""]])
    with pytest.raises(DatasetError, match="NIfTI"):
        dataset.load(tmp_path)


def test_a_stack_of_pages_has_a_stack_for_a_mask(tmp_path: Path) -> None:
    pages = [(draw_head((SIDE, SIDE), seed=n) / 5).astype(np.uint8) for n in range(9)]
    marks = [LABELS * (n == 4) for n in range(9)]
    cv2.imwritemulti(str(tmp_path / "x.tif"), pages)
    cv2.imwritemulti(str(tmp_path / "m.tif"), marks)
    (patient,) = dataset.load(write_index(tmp_path, [["x.tif", "m.tif", "p", ""]]))
    assert [bool(e.truth().any()) for e in patient.examples] == [n == 4 for n in range(9)]
    assert [e.tumour_free for e in patient.examples] == [n in (0, 8) for n in range(9)]


# Names.


@pytest.mark.parametrize("name", [b"M\xfcller", b"\xff\xfe", "Ünïcode 頭".encode(), b"a b'c"])
def test_no_name_of_a_folder_can_crash_what_reads_it(name: bytes, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(name)
    try:
        study(odd / "indexed")
    except OSError:
        pytest.skip("this file system has no such names")
    pairs(odd / "pairs" / "sub", empty=False)
    for folder in ("indexed", "pairs"):
        (patient,) = dataset.load(odd / folder)
        assert np.array_equal(patient.examples[4].truth(), TRUTH)
        printable(patient.id).encode()
    (odd / "pairs" / "sub" / "s4_mask.png").write_bytes(b"x")
    with pytest.raises(DatasetError) as refused:
        dataset.load(odd / "pairs")
    printable(str(refused.value)).encode()


def test_patients_keep_their_names_when_their_folder_is_moved(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        pairs(tmp_path / "old" / name, empty=False)
    (tmp_path / "old" / "0.png").write_bytes(head())
    before = [patient.id for patient in dataset.load(tmp_path / "old")]
    (tmp_path / "old").rename(tmp_path / "new")
    assert [patient.id for patient in dataset.load(tmp_path / "new")] == before
    assert sorted(before) == [".", "a", "b/c"]


def test_records_with_the_old_names_are_matched() -> None:
    old = {"schema": 1, "data": "/somewhere/old", "folds": [["old/a", "old"], ["old/b/c", "1.2.3"]]}
    assert folds_of(old, {"a", ".", "b/c", "1.2.3"}) == [["a", "."], ["b/c", "1.2.3"]]
    # A patient that an index calls so is that one; one that is gone is not another.
    assert folds_of(old, {"old/a", "a"})[0] == ["old/a", "."]
    new = old | {"schema": 2}
    assert folds_of(new, {"a"}) == old["folds"]
    other = old | {"data": "/somewhere/else"}
    assert folds_of(other, {"a"}) == old["folds"]
    json.dumps(folds_of(old, set()))


def test_the_command_says_what_is_wrong_with_a_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    folder = study(tmp_path / "data", mask=("png", png(np.zeros((9, 9), np.uint8))))
    assert cli.main(["evaluate", str(folder)]) == 8
    assert "9x9 pixels, not of the size of its image 4.png, 64x64" in capsys.readouterr().err
    (folder / "index.csv").write_bytes("image,mask,patient\nä.png,,p\n".encode("latin-1"))
    assert cli.main(["evaluate", str(folder)]) == 8
    assert "not in UTF-8" in capsys.readouterr().err
