from __future__ import annotations

import os
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

import syntaxes
from gliomart.errors import InputRefusedError, UsageError
from gliomart.sources import wall
from gliomart.sources.budget import Budget, Image, promised
from samples import GOLDEN, SHARED, needs_real_images, odd_dicom

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
# Referenced Image Sequence, and a private one.
SEQUENCE, PRIVATE = (0x0008, 0x1140), (0x0009, 0x1001)


def _implicit(tag: tuple[int, int], value: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<HHL", *tag, len(value) if length is None else length) + value


def _explicit(
    tag: tuple[int, int], vr: bytes, value: bytes = b"", length: int | None = None
) -> bytes:
    length = len(value) if length is None else length
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC"}:
        return struct.pack("<HH2sHL", *tag, vr, 0, length) + value
    return struct.pack("<HH2sH", *tag, vr, length) + value


def _file(body: bytes, syntax: str = wall.EXPLICIT, preamble: bytes = bytes(128)) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = _explicit((2, 0x10), b"UI", uid)
    return preamble + b"DICM" + _explicit((2, 0), b"UL", struct.pack("<L", len(meta))) + meta + body


def _parse(data: bytes, *, pixels: bool = True, **limits: float) -> Dataset:
    return wall.parse_stream(BytesIO(data), len(data), pixels=pixels, budget=Budget().but(limits))


def _code(data: bytes, *, pixels: bool = True, **limits: float) -> str:
    with pytest.raises(InputRefusedError) as refused:
        _parse(data, pixels=pixels, **limits)
    assert "\n" not in str(refused.value)
    return refused.value.code


def _outcome(data: bytes, *, pixels: bool) -> str:
    try:
        parsed = _parse(data, pixels=pixels)
    except InputRefusedError as refusal:
        return refusal.code
    return "read" if "PixelData" in parsed else "read, without pixels"


def _image(rows: int = 8, columns: int = 8, pixels: bytes = bytes(128), **more: Any) -> bytes:
    described = syntaxes.dataset_of(np.zeros((8, 8), np.uint16))
    described.Rows, described.Columns = rows, columns
    for keyword, value in more.items():
        setattr(described, keyword, value)
    described.PixelData = pixels
    described["PixelData"].VR = "OW"
    return syntaxes.written(described)


def _same(ours: Dataset, theirs: Dataset) -> bool:
    """Compare, but for what comes after the pixels, which the wall does not read."""
    before = theirs[:0x7FE00011]
    before.file_meta = theirs.file_meta
    return bool(ours == before) and bool(ours.file_meta == theirs.file_meta)


@pytest.mark.parametrize("uid", sorted(wall.NATIVE))
def test_what_pydicom_reads_is_read_the_same(uid: str) -> None:
    data = syntaxes.file_in(uid)
    assert _same(_parse(data), pydicom.dcmread(BytesIO(data)))
    header = _parse(data, pixels=False)
    assert _same(header, pydicom.dcmread(BytesIO(data), stop_before_pixels=True))
    assert "PixelData" not in header


def test_real_files_are_read_as_pydicom_reads_them() -> None:
    for path in sorted(GOLDEN.glob("*.dcm")):
        assert _same(wall.parse(path, pixels=True), pydicom.dcmread(path))


@needs_real_images
def test_files_of_scanners_are_read_as_pydicom_reads_them() -> None:
    folders = ("codecs", "enhanced_mr/Siemens", "head_ct_ge", "flair_axial_lgg")
    files = [path for name in folders for path in (SHARED / "dicom" / name).rglob("*.dcm")]
    files += sorted((SHARED / "dicom" / "t1_mprage_trio").iterdir())[:5]
    compared, refused = 0, []
    for path in files:
        try:
            ours = wall.parse(path, pixels=True)
        except InputRefusedError:
            refused.append(path.name)
            continue
        assert _same(ours, pydicom.dcmread(path, force=True)), path
        compared += 1
    assert compared > 20
    assert set(refused) <= {"dwv-test_no-number-rows.dcm"}  # it has no Rows
    assert set(refused) <= {"dwv-test_no-number-rows.dcm"}


def test_a_file_without_preamble_or_meta_information_is_read() -> None:
    data = syntaxes.file_in(wall.IMPLICIT)
    whole = pydicom.dcmread(BytesIO(data))
    for start in (132, data.index(_implicit((8, 8), length=0)[:4])):
        bare = _parse(data[start:])
        assert bare == whole
    swapped = syntaxes.file_in(wall.BIG_ENDIAN)
    assert _parse(swapped[swapped.index(b"\0\x08\0\x08CS") :]).Modality == "MR"


def test_without_pixels_nothing_of_them_is_read() -> None:
    head = _image(4096, 4096, bytes(2 * 4096 * 4096))
    stream = BytesIO(head)
    assert wall.parse_stream(stream, len(head), pixels=False).Rows == 4096
    assert stream.tell() <= 1 << 17
    with pytest.raises(InputRefusedError, match="middle"):  # though its end is looked at
        wall.parse_stream(BytesIO(head), len(head) - 1, pixels=False)


@pytest.mark.parametrize("tag", [SEQUENCE, PRIVATE])
@pytest.mark.parametrize("pixels", [True, False])
def test_deep_nesting_is_refused(tag: tuple[int, int], *, pixels: bool) -> None:
    opened = _explicit(tag, b"SQ", length=UNDEFINED) + _implicit(ITEM, length=UNDEFINED)
    closed = _implicit(ITEM_END) + _implicit(SEQUENCE_END)
    assert _code(_file(opened * 5000 + closed * 5000), pixels=pixels) == "nested-too-deep"
    assert _code(_file(opened * 5000), pixels=pixels) == "nested-too-deep"
    _parse(_file(opened * 32 + closed * 32), pixels=pixels)
    opened = _implicit(tag, length=UNDEFINED) + _implicit(ITEM, length=UNDEFINED)
    implicit = _file(opened * 5000 + closed * 5000, wall.IMPLICIT)
    assert _code(implicit, pixels=pixels) == "nested-too-deep"


def test_deep_nesting_with_lengths_is_refused() -> None:
    value = b""
    for _ in range(3000):
        value = _explicit(SEQUENCE, b"SQ", _implicit(ITEM, value))
    assert _code(_file(value)) == "nested-too-deep"
    unknown = b""
    for _ in range(3000):  # UN with a tag that is known to be a sequence
        unknown = _explicit(SEQUENCE, b"UN", _implicit(ITEM, unknown))
    assert _code(_file(unknown)) == "nested-too-deep"


@pytest.mark.parametrize("pixels", [True, False])
def test_a_deflated_file_is_inflated_no_further_than_the_budget(*, pixels: bool) -> None:
    data = _bomb()
    assert len(data) < 600_000
    assert _code(data, pixels=pixels) == "inflates-too-much"
    one = _deflated(_explicit((0x0009, 0x1010), b"OB", length=512 << 20) + bytes(1000))
    assert _code(_file(one, wall.DEFLATED), pixels=pixels) == "inflates-too-much"


@cache
def _bomb() -> bytes:
    """Half a megabyte that inflates to half a gigabyte of private elements."""
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    part = _explicit((0x0009, 0x1010), b"OB", bytes(1 << 20))
    parts = [squeeze.compress(part) for _ in range(512)]
    return _file(b"".join(parts) + squeeze.flush(), wall.DEFLATED)


def _deflated(body: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(body) + squeeze.flush()


def test_deflated_data_that_breaks_off_or_is_none_is_refused() -> None:
    whole = syntaxes.file_in(wall.DEFLATED)
    assert _code(whole[:-20]) == "truncated"
    assert _code(_file(b"\xff" * 100, wall.DEFLATED)) == "unreadable"


@pytest.mark.parametrize("pixels", [True, False])
def test_pixels_beyond_the_budget_are_refused(*, pixels: bool) -> None:
    huge = _image(65535, 65535, NumberOfFrames=75)  # 640 GB
    assert _code(huge, pixels=pixels) == "too-many-pixels"
    assert _code(_image(65535, 65535), pixels=pixels) == "too-many-pixels"
    assert _code(_image(8, 8), pixels=pixels, frame_bytes=127) == "too-many-pixels"
    assert _code(_image(8, 16), pixels=pixels) == "truncated"
    assert _code(_image(NumberOfFrames=2), pixels=pixels) == "truncated"
    compressed = syntaxes.dataset_of(np.zeros((8, 8), np.uint16), "1.2.840.10008.1.2.5")
    compressed.Rows = compressed.Columns = 65535
    compressed.PixelData = pydicom.encaps.encapsulate([bytes(64)])
    compressed["PixelData"].VR = "OB"
    assert _code(syntaxes.written(compressed), pixels=pixels) == "too-many-pixels"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Rows", 0), ("BitsAllocated", 13), ("BitsStored", 17), ("HighBit", 3), ("HighBit", 16),
     ("NumberOfFrames", 0), ("NumberOfFrames", -1), ("Rows", [8, 8])],
)  # fmt: skip
def test_a_description_that_contradicts_itself_is_refused(keyword: str, value: Any) -> None:
    assert _code(_image(**{keyword: value})) == "undecodable"


@pytest.mark.parametrize("uid", [*sorted(wall.NATIVE), "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize("pixels", [True, False])
def test_a_file_cut_anywhere_is_refused_or_read(uid: str, *, pixels: bool) -> None:
    data = syntaxes.file_in(uid)
    for end in [*range(0, len(data), 1024), *range(132, 1500, 7)]:
        outcome = _outcome(data[:end], pixels=pixels)
        assert outcome in {"truncated", "unreadable", "read, without pixels"}


def test_a_flood_of_elements_is_refused() -> None:
    flood = b"".join(_explicit((0x0009, number), b"LO") for number in range(0x1000, 0x3000))
    assert _code(_file(flood * 70)) == "too-many-elements"
    items = _explicit(SEQUENCE, b"SQ", length=UNDEFINED) + _implicit(ITEM) * 2000
    assert _code(_file(items), elements=1000) == "too-many-elements"
    fragments = _explicit((0x7FE0, 0x10), b"OB", length=UNDEFINED) + _implicit(ITEM) * 2000
    assert _code(_file(fragments), elements=1000) == "too-many-elements"
    nested = _explicit((0x0009, 0x1001), b"OB", length=UNDEFINED) + _implicit(ITEM) * 2000
    assert _code(_file(nested), elements=1000) == "too-many-elements"


def test_a_survey_that_takes_too_long_is_given_up() -> None:
    flood = b"".join(_explicit((0x0009, number), b"LO") for number in range(0x1000, 0x3000))
    assert _code(_file(flood), seconds=1e-9) == "too-slow"


def test_values_that_would_become_countless_objects_are_refused() -> None:
    numbers = b"1\\" * 100_000
    assert _code(_file(_implicit((0x0028, 0x0030), numbers), wall.IMPLICIT)) == "value-too-long"
    assert _code(_file(_explicit((0x0028, 0x0030), b"UN", numbers))) == "value-too-long"
    assert _code(_file(_explicit((0x0008, 0x0119), b"UC", numbers))) == "value-too-long"
    _parse(_file(_explicit((0x0009, 0x1001), b"UN", numbers)))
    _parse(_file(_implicit((0x0028, 0x3006), numbers), wall.IMPLICIT))  # LUT Data, US or OW


@pytest.mark.parametrize(
    "body",
    [
        _explicit((0x0009, 0x1001), b"OB", b"1234", length=5000),
        _explicit((0x0009, 0x1001), b"OB", b"1234", length=UNDEFINED - 1),
        _explicit((0x0008, 0x0060), b"CS", b"MR", length=60_000),
        _explicit((0x0009, 0x1001), b"OB", length=UNDEFINED),
        _explicit(SEQUENCE, b"SQ", length=UNDEFINED),
        _explicit(SEQUENCE, b"SQ", length=UNDEFINED) + _implicit(ITEM, length=UNDEFINED),
        _explicit(SEQUENCE, b"SQ", _implicit(ITEM, length=800)),
        _explicit((0x7FE0, 0x0010), b"OB", length=UNDEFINED) + _implicit(ITEM, b"12"),
        _explicit((0x7FE0, 0x0010), b"OW", b"12", length=800),
        b"\x08\x00\x60",
    ],
)
def test_lengths_beyond_the_file_are_refused(body: bytes) -> None:
    assert _code(_file(body)) == "truncated"
    assert _code(_file(_deflated(body), wall.DEFLATED)) in {"truncated", "inflates-too-much"}


@pytest.mark.parametrize(
    "body",
    [
        _implicit(ITEM_END),
        _implicit(SEQUENCE_END),
        _implicit(ITEM, b""),
        _explicit(SEQUENCE, b"SQ", _explicit((8, 0x60), b"CS", b"MR")),
        _explicit(SEQUENCE, b"SQ", _implicit(ITEM, _explicit((8, 0x60), b"CS", b"MR", 40)))
        + bytes(80),
        _explicit(SEQUENCE, b"SQ", _implicit(ITEM, length=20)) + bytes(80),
        _explicit((0x0009, 0x1001), b"OB", length=UNDEFINED) + bytes(80),
        _explicit((0x7FE0, 0x10), b"OB", length=UNDEFINED) + _implicit(ITEM, length=UNDEFINED),
    ],
)
def test_what_is_not_where_it_belongs_is_refused(body: bytes) -> None:
    assert _code(_file(body)) == "unreadable"


def test_undefined_lengths_private_tags_and_odd_representations_are_read() -> None:
    item = _implicit(ITEM, _explicit((8, 0x60), b"CS", b"MR"), length=UNDEFINED)
    inside = _implicit(ITEM, _implicit((8, 0x60), b"CT"))  # implicit, as it is inside of UN
    body = b"".join([
        _explicit((0x0008, 0x0060), b"CS", b"MR"),
        _explicit(SEQUENCE, b"SQ", length=UNDEFINED) + item + _implicit(ITEM_END)
        + _implicit(SEQUENCE_END),
        _explicit((0x0009, 0x0010), b"LO", b"GLIOMART"),
        _explicit((0x0009, 0x1001), b"UN", length=UNDEFINED) + inside + _implicit(SEQUENCE_END),
        _explicit((0x0009, 0x1002), b"OB", length=UNDEFINED) + _implicit(ITEM, b"12")
        + _implicit(SEQUENCE_END),
        _explicit((0x0010, 0x0010), b"PN", b"A^B "),
    ])  # fmt: skip
    parsed = _parse(_file(body))
    assert _same(parsed, pydicom.dcmread(BytesIO(_file(body))))
    assert parsed.PatientName == "A^B"
    assert parsed[0x00091001].value[0].Modality == "CT"
    odd = _explicit((0x0009, 0x1003), b"ZZ", b"12")  # of which pydicom makes no value
    assert _parse(_file(odd + body[-12:])).PatientName == "A^B"


def test_encapsulated_pixels_in_a_native_syntax_are_refused() -> None:
    described = syntaxes.with_pixels("1.2.840.10008.1.2.5", syntaxes.picture())
    data = syntaxes.written(described).replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0")
    assert _code(data) == "unreadable"


@pytest.mark.parametrize(
    "start", [b"MZ\x90\0", b"\x7fELF\x02\x01", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe", b"<SCRIPT>"]
)
def test_programs_in_the_preamble_are_refused(start: bytes) -> None:
    data = syntaxes.file_in(wall.EXPLICIT)
    assert _code(start.ljust(128, b"\0") + data[128:]) == "executable-preamble"
    _parse(b"II*\0".ljust(128, b"\0") + data[128:])  # a TIFF in one file with DICOM is common


def test_only_regular_files_within_the_budget_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file.dcm").write_bytes(syntaxes.file_in(wall.EXPLICIT))
    (tmp_path / "link.dcm").symlink_to(tmp_path / "file.dcm")
    assert wall.parse(tmp_path / "link.dcm", pixels=False).Modality == "MR"
    with pytest.raises(InputRefusedError) as refused:
        wall.parse(tmp_path / "file.dcm", pixels=False, budget=Budget(file_bytes=1000))
    assert refused.value.code == "too-many-bytes"
    with pytest.raises(OSError, match="irectory"):
        wall.parse(tmp_path, pixels=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no pipes in folders")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(InputRefusedError) as refused:
            wall.parse(path, pixels=True)
        assert refused.value.code == "not-a-file"


def test_budgets_are_set_by_name() -> None:
    assert Budget().but({"depth": 4, "seconds": 0.5}) == Budget(depth=4, seconds=0.5)
    with pytest.raises(UsageError, match="patience"):
        Budget().but({"patience": 1})
    with pytest.raises(UsageError, match="depth"):
        Budget(depth=0)


def test_what_a_dataset_promises() -> None:
    dataset = syntaxes.dataset_of(np.zeros((3, 5, 7), np.int16), bits=12)
    assert promised(dataset) == Image(5, 7, 1, 3, 16, 12, 11, signed=True)
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = 0
    assert (promised(dataset).frame_bytes, promised(dataset).total_bytes) == (5, 14)


SYNTAXES = st.sampled_from([*sorted(wall.NATIVE), "1.2.840.10008.1.2.5", "1.2.3"])


@given(st.binary(max_size=400), SYNTAXES)
@settings(deadline=None, max_examples=300)
@example(b"", wall.EXPLICIT)
def test_arbitrary_bytes_are_read_or_refused(body: bytes, syntax: str) -> None:
    for data in (body, _file(body, syntax), _file(_deflated(body), wall.DEFLATED)):
        refusals = {"truncated", "unreadable", "inflates-too-much", "undecodable"}
        assert _outcome(data, pixels=True) in {*refusals, "read", "read, without pixels"}


ELEMENTS = st.recursive(
    st.builds(
        _explicit,
        st.tuples(st.sampled_from([8, 9, 0x10, 0x28, 0x7FE0]), st.integers(0, 0xFFFF)),
        st.sampled_from([b"CS", b"LO", b"OB", b"UN", b"US", b"DS", b"SQ", b"QQ", b"\0\0"]),
        st.binary(max_size=12),
        st.one_of(st.none(), st.sampled_from([0, 2, 100, 0xFFFF])),
    ),
    lambda inner: st.builds(
        lambda parts, length: _explicit(
            SEQUENCE, b"SQ", _implicit(ITEM, b"".join(parts), length) + _implicit(SEQUENCE_END),
            UNDEFINED,
        ),
        st.lists(inner, max_size=3),
        st.sampled_from([None, UNDEFINED, 3]),
    ),
    max_leaves=12,
)  # fmt: skip


@odd_dicom
@given(st.lists(ELEMENTS, max_size=6))
@settings(deadline=None, max_examples=300)
def test_arbitrary_elements_are_read_as_pydicom_reads_them_or_refused(parts: list[bytes]) -> None:
    data = _file(b"".join(parts))
    try:
        ours = _parse(data)
    except InputRefusedError:
        return
    theirs = pydicom.dcmread(BytesIO(data))
    pixels = {0x7FE00008, 0x7FE00009, 0x7FE00010} & set(theirs.keys())
    if not pixels:  # what follows them is not read
        assert list(ours.keys()) == list(theirs.keys())
