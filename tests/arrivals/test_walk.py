"""Nothing under an input is passed over in silence: it is read, refused by name or counted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.fileset import FileSet

import syntaxes
from gliomart import sources
from gliomart.image.slices import Slice
from gliomart.sources import Inventory, bare, formats, walk, wall
from samples import GOLDEN, SHARED, draw_head, needs_real_images

IMAGE = GOLDEN / "slice_005.dcm"


def _codes(inventory: Inventory) -> dict[str, str]:
    return {refusal.source.split("/")[-1]: refusal.code for refusal in inventory.refused}


def _bare(uid: str, *, meta: bool) -> bytes:
    """A data set without preamble, with or without its file meta information."""
    content = syntaxes.file_in(uid)
    if meta:
        return content[132:]
    group_length = int.from_bytes(content[140:144], "little")
    return content[144 + group_length :]


@pytest.mark.parametrize(
    ("uid", "meta"),
    [
        (wall.IMPLICIT, True), (wall.IMPLICIT, False), (wall.EXPLICIT, True),
        (wall.EXPLICIT, False), (wall.BIG_ENDIAN, True), (wall.BIG_ENDIAN, False),
        (wall.DEFLATED, True), ("1.2.840.10008.1.2.5", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name",
    ["IM0001", "MR.1.2.840.113619.2", "00001", "I.001", "IM0001.dcm", "scan.IMA", "export.txt",
     "export.bin", "a.b.c", "IMG_0001 (2)"],
)  # fmt: skip
def test_data_sets_without_preamble_are_read_whatever_they_are_called(
    name: str, uid: str, meta: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(_bare(uid, meta=meta))
    inventory = sources.scan([tmp_path])
    assert not inventory.refused
    assert not inventory.ignored
    ((file,),) = (series.files for series in inventory.series)
    (read,) = sources.read(file)
    assert isinstance(read, Slice)
    assert np.array_equal(read.pixels, syntaxes.picture())


@pytest.mark.parametrize("name", ["IM0001", "study.dcm", "7"])
def test_a_data_set_that_breaks_off_is_refused_and_not_ignored(name: str, tmp_path: Path) -> None:
    whole = _bare(wall.IMPLICIT, meta=False)
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert _codes(sources.scan([tmp_path])) == {name: "truncated"}


@pytest.mark.parametrize("name", ["scan.png", "scan.jpg", "scan.tiff", "scan.bmp", "scan.mha"])
def test_a_name_that_says_something_else_is_a_refusal(name: str, tmp_path: Path) -> None:
    for content in (_bare(wall.EXPLICIT, meta=False), IMAGE.read_bytes()):
        (tmp_path / name).write_bytes(content)
        assert _codes(sources.scan([tmp_path])) == {name: "mislabelled"}


@pytest.mark.parametrize("name", ["scan.img", "scan.raw", "scan.hdr", "scan.rec"])
def test_a_name_that_may_stand_for_anything_leaves_it_to_the_content(
    name: str, tmp_path: Path
) -> None:
    shutil.copy(IMAGE, tmp_path / name)
    inventory = sources.scan([tmp_path])
    assert not inventory.refused
    assert len(inventory.series) == 1


def test_objects_without_an_image_are_refused_without_preamble_too(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(IMAGE)
    del dataset.file_meta, dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(tmp_path / "SR000001", implicit_vr=True, little_endian=True)
    assert _codes(sources.scan([tmp_path])) == {"SR000001": "no-pixels"}


# Beginnings of files that are none, but begin with the bytes of low groups.
_NEARLY = [
    b"\x08\x00\x00\x00\x04\x00\x00\x00" * 40,
    b"\x02\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00" * 40,
    np.arange(2, 2000, dtype="<i4").tobytes(),
    np.arange(8, 2000, dtype="<i2").tobytes(),
    np.full(1000, 8, "<i2").tobytes(),
    np.full(1000, 2, ">i2").tobytes(),
    b"\x08\x00\x05\x00",
    b"\x08\x00\x05\x00CS\x0a\x00",
    b"\x00\x02\x00\x00" * 100,
    b"\x08\x00" + b"text that goes on " * 50,
    bytes(2000),
]


@pytest.mark.parametrize("content", _NEARLY)
def test_other_files_are_not_taken_for_data_sets(content: bytes, tmp_path: Path) -> None:
    assert not bare.is_data_set(content)
    for name in ("data", "data.bin", "data.txt"):
        (tmp_path / name).write_bytes(content)
    inventory = sources.scan([tmp_path])
    assert _codes(inventory) == {tmp_path.name: "no-images"}
    assert inventory.ignored == 3


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x08\x00", b"\x00\x08", b"\x02\x00"]))
def test_arbitrary_bytes_are_no_data_set_and_raise_nothing(content: bytes, start: bytes) -> None:
    assert not bare.is_data_set(start + content)


def test_arbitrary_files_are_no_data_sets_and_quickly_seen_through(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(2000):
        (tmp_path / f"{number}").write_bytes(generator.bytes(200))
        (tmp_path / f"{number}.txt").write_text(f"text {number}\n" * 20)
    started = perf_counter()
    inventory = sources.scan([tmp_path])
    assert perf_counter() - started < 10
    assert inventory.ignored == 4000
    assert set(_codes(inventory).values()) == {"no-images"}


def test_a_source_tree_holds_no_image() -> None:
    inventory = sources.scan([Path(walk.__file__).parent])
    assert set(_codes(inventory).values()) == {"no-images"}
    assert inventory.ignored_kinds[".py"] > 10


def _zip(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def _tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        archive.add(IMAGE, "1.dcm")
    return stream.getvalue()


def _archives() -> dict[str, bytes]:
    image = IMAGE.read_bytes()
    return {
        "study.zip": _zip("1.dcm"), "empty.zip": _zip(), "study": _zip("1.dcm"),
        "study.dcm": _zip("1.dcm"), "study.png": _zip("1.dcm"), "notes.txt": _zip("1.dcm"),
        "study.tar": _tar("w"), "tarred": _tar("w"), "study.tar.gz": _tar("w:gz"),
        "study.tgz": _tar("w:gz"), "study.tar.bz2": _tar("w:bz2"), "study.tar.xz": _tar("w:xz"),
        "1.dcm.gz": gzip.compress(image), "1.gz": gzip.compress(image), "IM1": gzip.compress(image),
        "1.dcm.bz2": bz2.compress(image), "1.xz": lzma.compress(image),
        "1.dcm.zst": b"\x28\xb5\x2f\xfd1",
        "study.7z": b"7z\xbc\xaf\x27\x1c12", "study.rar": b"Rar!\x1a\x07\x01\x00",
        "seven": b"7z\xbc\xaf\x27\x1c12",
        "v.nii.bz2": bz2.compress(b"1"), "broken.zip": b"nothing", "disc.iso": b"\0" * 40000,
    }  # fmt: skip


@pytest.mark.parametrize("name", _archives())
def test_archives_are_refused_by_their_content_and_their_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(_archives()[name])
    inventory = sources.scan([tmp_path])
    assert _codes(inventory) == {name: "archive"}
    assert "unpack it first" in inventory.refused[0].reason


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("letter.docx", ".docx"), ("viewer.jar", ".jar"), ("own.keras", ".keras"),
        ("table.xlsx", ".xlsx"), ("pack.whl", ".whl"),
    ],
)  # fmt: skip
def test_documents_and_programs_that_are_archives_are_ignored(
    name: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(_zip("word.xml"))
    (tmp_path / "run.log.gz").write_bytes(gzip.compress(b"line\n"))
    assert sources.scan([tmp_path]).ignored_kinds == {kind: 1, ".gz": 1}


def _foreign() -> dict[str, bytes]:
    head = (draw_head() / 5).clip(0, 255).astype(np.uint8)
    encoded = {
        suffix: cv2.imencode(f".{suffix}", head)[1].tobytes()
        for suffix in ("bmp", "webp", "jp2", "pgm")
    }
    numpy = io.BytesIO()
    np.save(numpy, head)
    return {
        "a.bmp": encoded["bmp"], "a": encoded["bmp"], "a.dcm": encoded["bmp"],
        "a.webp": encoded["webp"], "b": encoded["webp"],
        "a.jp2": encoded["jp2"], "c": encoded["jp2"],
        "a.pgm": encoded["pgm"], "a.gif": b"GIF89a" + bytes(20), "d": b"GIF87a" + bytes(20),
        "a.png": b"GIF89a" + bytes(20), "a.heic": b"\0\0\0\x18ftypheic" + bytes(20),
        "e": b"\0\0\0\x18ftypavif" + bytes(20), "a.avif": b"\0\0\0\x18ftypavif" + bytes(20),
        "a.mha": b"ObjectType = Image\nNDims = 3\n", "f": b"ObjectType = Image\nNDims = 3\n",
        "a.mhd": b"NDims = 3\n", "a.raw": bytes(100), "a.nrrd": b"NRRD0004\n", "g": b"NRRD0005\n",
        "a.nhdr": b"NRRD0004\n", "a.mgh": b"\0\0\0\1" + bytes(300), "a.mgz": gzip.compress(b"1"),
        "a.mnc": b"CDF\x01" + bytes(50), "h": b"\x89HDF\r\n\x1a\n" + bytes(20),
        "a.h5": b"\x89HDF\r\n\x1a\n" + bytes(20), "a.npy": numpy.getvalue(), "i": numpy.getvalue(),
        "a.npz": _zip("a.npy"), "a.mat": b"MATLAB 5.0 MAT-file" + bytes(200),
        "a.hdr": (348).to_bytes(4, "little") + bytes(344),
        "j": (348).to_bytes(4, "big") + bytes(344),
        "a.img": bytes(1000), "a.PAR": b"# === DATA DESCRIPTION FILE ===", "a.rec": bytes(100),
    }  # fmt: skip


@pytest.mark.parametrize("name", _foreign())
def test_images_that_are_not_read_are_refused_by_content_and_name(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(_foreign()[name])
    inventory = sources.scan([tmp_path])
    assert _codes(inventory) == {name: "unsupported-format"}
    assert "convert it" in inventory.refused[0].reason


@pytest.mark.parametrize("name", ["volume", "volume.bin", "volume.dcm"])
def test_nifti_of_another_name_is_told(name: str, tmp_path: Path) -> None:
    content = (348).to_bytes(4, "little") + bytes(340) + b"n+1\0" + bytes(100)
    (tmp_path / name).write_bytes(content)
    inventory = sources.scan([tmp_path])
    assert _codes(inventory) == {name: "mislabelled"}
    assert ".nii" in inventory.refused[0].reason


@pytest.mark.parametrize(
    "name", ["a", "00001", "I.001", "MR.1.2.840", "a.zip", "a.gif", "a.img", "a.dcm", "a.nii.gz"]
)
def test_empty_files_that_may_have_been_images_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert _codes(sources.scan([tmp_path])) == {name: "empty-file"}


def test_ignored_files_are_counted_by_a_kind_that_names_nobody(tmp_path: Path) -> None:
    for name in ("report.txt", "REPORT.TXT", "notes.doe", "scan.Smith", "mr.19800102", "viewer.exe",
                 "movie.mp4", "a.pdf", "Doe Jane.jane doe", "v.1.b"):  # fmt: skip
        (tmp_path / name).write_text("no image")
    assert sources.scan([tmp_path]).ignored_kinds == {
        ".txt": 2, ".exe": 1, ".mp4": 1, ".pdf": 1, "other suffix": 4, "no suffix": 1,
    }  # fmt: skip


_HIDDEN = (
    ".hidden", "._1.dcm", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/1.dcm",
    ".snapshot/a/b/1.dcm", ".Trash-1000/files/1.dcm", "@eaDir/1.dcm/thumb.jpg", "#recycle/1.dcm",
    "$RECYCLE.BIN/1.dcm", ".git/config", "sub/.x/1.dcm", "sub/.2.png",
)  # fmt: skip


def test_hidden_files_and_folders_are_counted_and_not_read(tmp_path: Path) -> None:
    shutil.copy(IMAGE, tmp_path / "1.dcm")
    for name in _HIDDEN:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(IMAGE, tmp_path / name)
    (tmp_path / ".link").symlink_to(tmp_path)
    (tmp_path / ".empty").mkdir()
    inventory = sources.scan([tmp_path])
    assert not inventory.refused
    assert inventory.ignored_kinds == {"hidden": len(_HIDDEN) + 1}
    assert [len(series.files) for series in inventory.series] == [1]


@pytest.mark.parametrize("name", [".1.dcm", ".study/1.dcm", "@eaDir/x/1.dcm", "a/.b/1.png"])
def test_what_is_hidden_is_read_where_it_is_named(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".png":
        cv2.imwrite(str(file), (draw_head() / 5).clip(0, 255).astype(np.uint8))
    else:
        shutil.copy(IMAGE, file)
    for given_path in (file, file.parent):
        if given_path == tmp_path:
            continue
        inventory = sources.scan([given_path])
        assert len(inventory.series) == 1
        assert not inventory.ignored


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_hidden_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".x").mkdir(mode=0)
    assert _codes(sources.scan([tmp_path]))[".x"] == "unreadable"


def test_inputs_without_an_image_are_told_each(tmp_path: Path) -> None:
    for name in ("good", "empty", "texts", "nested/a/b", "hidden/.x"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(IMAGE, tmp_path / "good")
    (tmp_path / "texts" / "a.txt").write_text("no image")
    (tmp_path / "hidden" / ".x" / "1.dcm").write_text("no image")
    roots = [tmp_path / name for name in ("good", "empty", "texts", "nested", "hidden")]
    inventory = sources.scan([*roots, tmp_path / "texts" / "a.txt"])
    assert {r.source: r.reason for r in inventory.refused} == {
        "empty": "the folder holds no files",
        "texts": "the only file in it is no image",
        "nested": "the folder holds no files",
        "hidden": "all files in it are hidden (1)",
        "a.txt": "the file is no image of a kind that is read",
    }
    assert {r.code for r in inventory.refused} == {"no-images"}


def test_a_link_that_is_given_names_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "DOE_Jane").mkdir()
    shutil.copy(IMAGE, tmp_path / "DOE_Jane" / "1.dcm")
    (tmp_path / "study").symlink_to(tmp_path / "DOE_Jane")
    inventory = sources.scan([tmp_path / "study"])
    assert inventory.roots == ("study",)
    assert "DOE" not in inventory.series[0].files[0].source


# ---- discs


def _disc(folder: Path, count: int = 4) -> Path:
    files = FileSet()
    for number in range(1, count + 1):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        dataset.StudyDate, dataset.StudyTime = "20260101", "120000"
        files.add(dataset)
    files.write(folder)
    return folder / "DICOMDIR"


def _rewrite(directory: Path, change) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    dataset = pydicom.dcmread(directory)
    for record in dataset.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            change(record)
    dataset.save_as(directory)


def _rename_all(folder: Path, new) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    for path in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(new(path)))


def _is_whole(inventory: Inventory, count: int = 4) -> None:
    assert not inventory.refused
    assert [len(series.files) for series in inventory.series] == [count]


@pytest.mark.parametrize("name", ["dicomdir", "DICOMDIR.dcm", "Dicomdir", "DICOMDIR;1", "index"])
def test_a_directory_may_have_another_name(name: str, tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    directory = directory.rename(directory.with_name(name))
    _is_whole(sources.scan([directory]))
    _is_whole(sources.scan([directory.parent]))


@pytest.mark.parametrize(
    "new",
    [
        lambda path: path.name.lower(),
        lambda path: path.name.title(),
        lambda path: path.name + ";1" if path.is_file() else path.name,
        lambda path: path.name.lower() + ".;1" if path.is_file() else path.name.lower(),
        lambda path: path.name + "." if path.is_file() else path.name,
        lambda path: path.name + ".dcm" if path.is_file() else path.name,
    ],
)
def test_files_are_found_as_a_file_system_names_them(new, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    directory = _disc(tmp_path / "disc")
    _rename_all(directory.parent, new)
    _is_whole(sources.scan([directory]))
    _is_whole(sources.scan([directory.parent]))


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_components_may_be_joined_in_one_value(separator: str, tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")

    def join(record: pydicom.Dataset) -> None:
        record["ReferencedFileID"] = pydicom.DataElement(
            "ReferencedFileID", "LO", separator.join(record.ReferencedFileID)
        )

    _rewrite(directory, join)
    _is_whole(sources.scan([directory]))
    _is_whole(sources.scan([directory.parent]))


def test_files_of_records_that_are_not_in_use_are_read_and_not_missed(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    _rewrite(directory, lambda record: setattr(record, "RecordInUseFlag", 0))
    _is_whole(sources.scan([directory]))
    listed = pydicom.dcmread(directory).DirectoryRecordSequence
    first = next(r.ReferencedFileID for r in listed if "ReferencedFileID" in r)
    directory.parent.joinpath(*first).unlink()
    _is_whole(sources.scan([directory]), 3)
    _is_whole(sources.scan([directory.parent]), 3)


def test_what_is_listed_and_not_there_is_named(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    listed = pydicom.dcmread(directory).DirectoryRecordSequence
    places = [r.ReferencedFileID for r in listed if "ReferencedFileID" in r]
    for number, place in enumerate(places[:2], start=1):
        directory.parent.joinpath(*place).unlink()
        for given_path in (directory, directory.parent):
            (refusal,) = sources.scan([given_path]).refused
            assert refusal.code == "missing-file"
            many = f"{number} files that it lists are not there, such as"
            said = "a file that it lists is not there:" if number == 1 else many
            assert refusal.reason == f"{said} {'/'.join(places[0])}"


def test_files_under_other_names_are_there_all_the_same(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    for number, path in enumerate([p for p in directory.parent.rglob("*") if p.is_file()]):
        if path.name != "DICOMDIR":
            path.rename(directory.parent / f"{number}.dcm")
    _is_whole(sources.scan([directory.parent]))
    assert {r.code for r in sources.scan([directory]).refused} == {"missing-file"}


def test_two_files_of_one_name_are_no_guess(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc", 1)
    _rename_all(directory.parent, lambda path: path.name.lower())
    (file,) = (p for p in directory.parent.rglob("*") if p.is_file() and p.name != "DICOMDIR")
    shutil.copy(file, file.with_name(file.name.title()))
    assert {r.code for r in sources.scan([directory]).refused} == {"missing-file"}


def test_a_directory_that_lists_itself_ends(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    dataset = pydicom.dcmread(directory)
    records = [r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r]
    records[0].ReferencedFileID = ["DICOMDIR"]
    records[1].ReferencedFileID = records[2].ReferencedFileID
    dataset.save_as(directory)
    _is_whole(sources.scan([directory]), 2)


def test_a_directory_without_files_is_told(tmp_path: Path) -> None:
    directory = _disc(tmp_path / "disc")
    dataset = pydicom.dcmread(directory)
    dataset.DirectoryRecordSequence = []
    dataset.save_as(directory)
    (refusal,) = sources.scan([directory]).refused
    assert (refusal.code, refusal.reason) == ("no-images", "it lists no files")


@pytest.mark.parametrize(
    "reference",
    [["..", "secret"], ["disc", "..", "..", "secret"], ["/etc/passwd"], ["\\etc\\passwd"],
     ["A/../../secret"], ["C:", "secret"], ["C:/secret"], ["OUT", "secret"], ["out", "SECRET"]],
)  # fmt: skip
def test_no_spelling_leads_out_of_a_disc(reference: list[str], tmp_path: Path) -> None:
    shutil.copy(IMAGE, tmp_path / "secret")
    directory = _disc(tmp_path / "disc")
    (directory.parent / "OUT").symlink_to(tmp_path)
    dataset = pydicom.dcmread(directory)
    records = [r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r]
    records[0]["ReferencedFileID"] = pydicom.DataElement("ReferencedFileID", "LO", reference)
    dataset.save_as(directory)
    inventory = sources.scan([directory])
    assert [refusal.code for refusal in inventory.refused] == ["path-escapes"]
    assert str(tmp_path) not in inventory.refused[0].reason
    assert sum(len(series.files) for series in inventory.series) == 3


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_any_reference_is_found_missing_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, components: list[str]
) -> None:
    from gliomart.sources.media import Directory

    folder = tmp_path_factory.getbasetemp() / "any-disc"
    folder.mkdir(exist_ok=True)
    record = pydicom.Dataset()
    record["ReferencedFileID"] = pydicom.DataElement(
        "ReferencedFileID", "LO", components, validation_mode=pydicom.config.IGNORE
    )
    dataset = pydicom.Dataset()
    dataset.DirectoryRecordSequence = [record]
    directory = Directory.of(dataset, folder / "DICOMDIR", "DICOMDIR")
    assert not directory.files
    for problem in directory.problems(()):
        assert problem.reason.isprintable()


@needs_real_images
def test_the_disc_of_real_files_is_told_as_it_is() -> None:
    inventory = sources.scan([SHARED / "dicom" / "codecs" / "DICOMDIR"])
    assert set(_codes(inventory).values()) <= {"missing-file", "no-images"}


def test_kinds_have_no_suffix_in_two_tables() -> None:
    assert not set(formats._IMAGE_SUFFIXES) & set(formats._VAGUE_SUFFIXES)
    assert not {*formats._IMAGE_SUFFIXES, *formats._VAGUE_SUFFIXES} & formats._ORDINARY
