"""DICOM objects of headers as they really arrive: they are written and right, or it is said why."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from gliomart import Detector
from gliomart.findings.results import SeriesResult
from gliomart.sources import wall
from samples import GOLDEN, odd_dicom

pytest.importorskip("highdicom")

from gliomart.outputs import dicom
from gliomart.outputs.dicom import characters

FILES = sorted(GOLDEN.glob("*.dcm"))[3:6]


@cache
def _analysed() -> tuple[SeriesResult, float]:
    detector = Detector(provider="cpu", force=True)
    return detector.detect_series(GOLDEN), detector.calibration.display_limit


# What stands for bytes that pydicom would encode anew when it writes a file.
_STAND_IN = b"q~z!7" * 20


def _raw(dataset: Dataset, name: str, value: bytes, representation: str | None = None) -> None:
    """Put bytes into a header as they are."""
    tag = Tag(name)
    representation = representation or pydicom.datadict.dictionary_VR(tag)
    value += b" " * (len(value) % 2)
    dataset._dict[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)


def _file(path: Path, dataset: Dataset) -> Path:
    """Write a file in which raw values stay as they are."""
    values = []
    sequences = [e.value for e in dataset.values() if isinstance(e.value, pydicom.Sequence)]
    for place in (dataset, *(item for sequence in sequences for item in sequence)):
        for tag, element in list(place._dict.items()):
            if isinstance(element, RawDataElement) and element.VR in characters.TEXT:
                value = element.value or b""
                if not value.isascii() or b"\x1b" in value:
                    values.append(value)
                    place._dict[tag] = element._replace(value=_STAND_IN[: len(value)])
    dataset.save_as(path)
    content = path.read_bytes()
    for value in values:
        content = content.replace(_STAND_IN[: len(value)], value, 1)
    path.write_bytes(content)
    return path


def _stack(folder: Path, change: Callable[[Dataset, int], None]) -> dicom.Stack:
    """Three slices whose headers were changed, written and read as a run reads them."""
    series, limit = _analysed()
    sources, results = [], []
    by_uid = {result.slice.sop_instance_uid: result for result in series.slices}
    for number, file in enumerate(FILES):
        dataset = pydicom.dcmread(file)
        result = by_uid[dataset.SOPInstanceUID]
        change(dataset, number)
        uid = dataset.get("SOPInstanceUID") or None
        sources.append(wall.parse(_file(folder / f"{number}.dcm", dataset), pixels=False))
        shown = replace(result.slice, source=f"{number}.dcm", sop_instance_uid=uid and str(uid))
        results.append(replace(result, slice=shown))
    assert series.verdict is not None
    return dicom.Stack(results, sources, series.verdict, series.structures, limit)


def _made(stack: dicom.Stack) -> dict[str, dicom.ObjectFile]:
    made = {each.name: each for each in dicom.objects(stack)}
    for each in made.values():
        assert bool(each.reason) == bool(each.code) == (each.dataset is None)
        assert "\n" not in each.reason
    return made


def _read_back(stack: dicom.Stack, folder: Path) -> dict[str, Dataset]:
    """Write all objects, which all have to be there, and read them again."""
    for each in _made(stack).values():
        assert each.dataset is not None, each
        (folder / each.name).write_bytes(each.content)
    names = ("anomalous-regions", "pons", "anomaly-map", "report", "overlay-0001")
    return {name: pydicom.dcmread(folder / f"{name}.dcm") for name in names}


def _is_valid(folder: Path) -> None:
    """Let dicom3tools look at an image and the report, where they are installed."""
    if shutil.which("dciodvfy") is None:
        return
    for name in ("anomaly-map", "report"):
        done = subprocess.run(
            ["dciodvfy", "-new", str(folder / f"{name}.dcm")],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], name


_NAMES = [
    (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    ),
    # Bytes of these characters are those of = and ^ and \ in ASCII.
    (b"\\ISO 2022 IR 87", b"A^B=\x1b$B9=\x1b(B^\x1b$B@^\x1b(B", "A^B=構^折"),
    (b"ISO 2022 IR 87", b"A^B=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "A^B=山田^太郎"),
    (
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (b"GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    (b"GBK", "Wang^X=王^小东".encode("gbk"), "Wang^X=王^小东"),
    (b"\\ISO 2022 IR 58", b"Z^X=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Z^X=张^小东"),
    (b"ISO_IR 192", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
    (b"ISO_IR 126", "Διονυσιος".encode("iso8859-7"), "Διονυσιος"),
    (b"ISO_IR 144", "Жданов".encode("iso8859-5"), "Жданов"),
    (b"ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"ISO_IR 101", "Wałęsa".encode("iso8859-2"), "Wałęsa"),
    (b"ISO_IR 166", "นามสกุล".encode("tis-620"), "นามสกุล"),
    (b"ISO 2022 IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"ISO 2022 IR 6\\ISO 2022 IR 100", b"\x1b-AM\xfcller^\x1b-AJ\xf6rg", "Müller^Jörg"),
    (b"ISO_IR_100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"iso ir 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"ISO-IR 192", "Müller^Jörg".encode(), "Müller^Jörg"),
    (b"ISO IR192", "Müller^Jörg".encode(), "Müller^Jörg"),
    (b"UTF8", "Müller^Jörg".encode(), "Müller^Jörg"),
    (b"utf-8", "山田^太郎".encode(), "山田^太郎"),
    (b"latin1", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"ISO8859-1", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
    (b"ISO 8859-15", "Bœuf^€".encode("iso8859-15"), "Bœuf^€"),
    (b"windows-1251", "Иванов^Иван".encode("cp1251"), "Иванов^Иван"),
    (b"Shift_JIS", "山田^太郎".encode("shift_jis"), "山田^太郎"),
    (b"ISO_IR 192\\ISO 2022 IR 87", "山田^太郎".encode(), "山田^太郎"),
    (b"KLINGON", b"Doe^Jane", "Doe^Jane"),
    (b"KLINGON", "Müller".encode(), "Müller"),
    (b"", "Müller^Jörg".encode(), "Müller^Jörg"),
]


@pytest.mark.sampled(2)
@odd_dicom
@pytest.mark.parametrize(("declared", "stored", "name"), _NAMES)
def test_names_of_all_scripts_are_written_right(
    declared: bytes, stored: bytes, name: str, tmp_path: Path
) -> None:
    def change(dataset: Dataset, number: int) -> None:
        del number
        _raw(dataset, "SpecificCharacterSet", declared)
        _raw(dataset, "PatientName", stored)
        _raw(dataset, "StudyDescription", stored)

    stack = _stack(tmp_path, change)
    for kind, made in _read_back(stack, tmp_path).items():
        assert str(made.PatientName) == name, kind
        assert made.get("SpecificCharacterSet") == (None if name.isascii() else "ISO_IR 192")
    assert not stack.notes
    _is_valid(tmp_path)
    if shutil.which("dcmdump"):
        done = subprocess.run(
            ["dcmdump", "-q", "+U8", "+P", "PatientName", str(tmp_path / "pons.dcm")],
            capture_output=True, check=True,
        )  # fmt: skip
        assert f"[{name}]".encode() in done.stdout


@odd_dicom
@pytest.mark.parametrize(
    ("declared", "stored", "written"),
    [
        (b"", b"M\xfcller^J\xf6rg", "M%FCller^J%F6rg"),
        (b"KLINGON", b"M\xfcller", "M%FCller"),
        (b"ISO_IR 6", b"M\xfcller", "M%FCller"),
        (b"ISO_IR 192", b"M\xfcller", "M%FCller"),
        (b"GB18030", b"A\xff\xff", "A%FF%FF"),
        (b"\\ISO 2022 IR 87", b"A\x1b$9zz", "A%1B$9zz"),
    ],
)
def test_text_that_cannot_be_decoded_is_written_out_and_told(
    declared: bytes, stored: bytes, written: str, tmp_path: Path
) -> None:
    def change(dataset: Dataset, number: int) -> None:
        del number
        _raw(dataset, "SpecificCharacterSet", declared)
        _raw(dataset, "PatientName", stored)

    stack = _stack(tmp_path, change)
    for made in _read_back(stack, tmp_path).values():
        assert str(made.PatientName) == written
        assert "SpecificCharacterSet" not in made
    (note,) = stack.notes
    assert note.code == "undecodable-text"
    assert "PatientName" in note.reason
    assert "ller" not in note.reason


def test_text_in_sequences_is_decoded_as_well(tmp_path: Path) -> None:
    def change(dataset: Dataset, number: int) -> None:
        del number
        _raw(dataset, "SpecificCharacterSet", b"ISO_IR_100")
        item = Dataset()
        item.PatientID = "7"
        _raw(item, "IssuerOfPatientID", "Köln".encode("latin-1"))
        dataset.OtherPatientIDsSequence = [item]

    for made in _read_back(_stack(tmp_path, change), tmp_path).values():
        assert made.OtherPatientIDsSequence[0].IssuerOfPatientID == "Köln"
        assert made.SpecificCharacterSet == "ISO_IR 192"


@odd_dicom
@given(st.lists(st.text(max_size=20), max_size=3), st.binary(max_size=40))
def test_any_text_of_any_character_set_is_decoded_or_refused(
    names: list[str], value: bytes
) -> None:
    encodings = characters.encodings_of(names)
    text = characters.decoded(value, encodings)
    assert text is None or not {"\x1b", "\ufffd"} & set(text)
    assert characters.written_out(value).isascii()
    assert value.isascii() <= (b"\x1b" in value or text is not None or bool(names))


def _one_without(*names: str) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, number: int) -> None:
        if number == 0:
            for name in names:
                if name in dataset:
                    delattr(dataset, name)

    return change


@pytest.mark.parametrize(
    "name",
    [
        "FrameOfReferenceUID", "PatientID", "PatientName", "StudyInstanceUID", "StudyDate",
        "SeriesInstanceUID", "AccessionNumber", "PatientSex",
    ],
)  # fmt: skip
def test_what_one_header_lacks_the_others_tell(name: str, tmp_path: Path) -> None:
    expected = pydicom.dcmread(FILES[1]).get(name)
    made = _read_back(_stack(tmp_path, _one_without(name)), tmp_path)
    if name == "SeriesInstanceUID":
        (series,) = (
            made["report"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[:1]
        )
        assert series.SeriesInstanceUID == expected
        return
    for kind, each in made.items():
        if name != "FrameOfReferenceUID" or kind in {"pons", "anomaly-map"}:
            assert str(each.get(name) or "") == str(expected or ""), kind


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SOPClassUID"])
def test_an_image_that_cannot_be_referred_to_is_named(name: str, tmp_path: Path) -> None:
    for each in _made(_stack(tmp_path, _one_without(name))).values():
        assert each.code in {"no-identity", "nothing-to-show"}
        assert each.code == "nothing-to-show" or name in each.reason


def test_an_image_that_names_neither_patient_nor_study_joins_no_one_s(tmp_path: Path) -> None:
    made = _made(_stack(tmp_path, _one_without("StudyInstanceUID", "PatientID")))
    assert {each.code for each in made.values()} == {"no-identity"}


def _all_differ(name: str, *values: object) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, number: int) -> None:
        setattr(dataset, name, values[min(number, len(values) - 1)])

    return change


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("PatientID", ("A", "B"), "mixed-patients"),
        ("PatientID", ("A", "A", "B"), "mixed-patients"),
        ("PatientName", ("Doe^Jane", "Doe^John"), "mixed-patients"),
        ("PatientBirthDate", ("19800101", "19900101"), "mixed-patients"),
        ("PatientSex", ("F", "M"), "mixed-patients"),
        ("IssuerOfPatientID", ("X", "Y"), "mixed-patients"),
        ("StudyInstanceUID", ("1.2.3", "1.2.4"), "mixed-studies"),
        ("SOPInstanceUID", ("1.2.3",), "ambiguous-identity"),
        ("SOPInstanceUID", ("1.2.3", "1.2.3", "1.2.4"), "ambiguous-identity"),
    ],
)
def test_nothing_of_one_patient_is_filed_under_another(
    name: str, values: tuple[object, ...], code: str, tmp_path: Path
) -> None:
    made = _made(_stack(tmp_path, _all_differ(name, *values)))
    assert {each.code for each in made.values()} - {"nothing-to-show"} == {code}
    assert len({each.reason for each in made.values() if each.code == code}) == 1
    for value in values:
        assert str(value) not in made["report.dcm"].reason.split()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PatientName", ("Doe^Jane", "DOE^JANE^^", "Doe^Jane ")),
        ("PatientID", ("A", "", "a")),
        ("PatientSex", ("", "F", "F")),
    ],
)
def test_the_same_patient_may_be_written_in_several_ways(
    name: str, values: tuple[object, ...], tmp_path: Path
) -> None:
    made = _read_back(_stack(tmp_path, _all_differ(name, *values)), tmp_path)
    first = next(value for value in values if value)
    assert {str(each[name].value).strip() for each in made.values()} == {first}


def test_several_frames_of_reference_leave_report_and_overlays(tmp_path: Path) -> None:
    made = _made(_stack(tmp_path, _all_differ("FrameOfReferenceUID", "1.2.3", "1.2.4")))
    assert {name for name, each in made.items() if each.dataset is None} >= {"anomaly-map.dcm"}
    assert made["anomaly-map.dcm"].code == "mixed-geometry"
    assert made["report.dcm"].dataset is not None
    assert made["overlay-0003.dcm"].dataset is not None


_ODD: list[tuple[str, bytes, str | None]] = [
    ("PatientName", b"A^B^C^D^E=F^G=H^I=J=K", None),
    ("PatientName", b"^" * 70, None),
    ("PatientName", b"A\\B", None),
    ("PatientName", b"\x01\x02", "US"),
    ("PatientID", b"P" * 200, None),
    ("PatientID", b"A\\B", None),
    ("PatientID", b"\x01\x00", "US"),
    ("PatientID", b"", "SQ"),
    ("PatientBirthDate", b"1980.01.02", None),
    ("PatientBirthDate", b"02.01.1980", None),
    ("PatientBirthDate", b"19809999", None),
    ("PatientBirthDate", b"19800101-19810101", None),
    ("PatientSex", b"f", None),
    ("PatientSex", b"weiblich", None),
    ("PatientAge", b"forty", None),
    ("PatientWeight", b"heavy", None),
    ("PatientWeight", b"70,5", None),
    ("PatientSize", b"1.7\\1.8", None),
    ("StudyDate", b"2026-01-02", None),
    ("StudyTime", b"12:30:15", None),
    ("StudyTime", b"99", None),
    ("StudyTime", b"noon", None),
    ("StudyID", b"S" * 300, None),
    ("SeriesNumber", b"three", None),
    ("SeriesNumber", b"1\\2", None),
    ("SeriesNumber", b"99999999999999", None),
    ("AccessionNumber", b"A\\B", None),
    ("ReferringPhysicianName", b"\xff\xfe\x00A", None),
    ("BodyPartExamined", b"Gehirn " * 20, None),
    ("StudyInstanceUID", b"1.2..3", None),
    ("StudyInstanceUID", b"1.02.3", None),
    ("StudyInstanceUID", b"1.2.3", "LO"),
    ("StudyInstanceUID", b"no uid", None),
    ("StudyInstanceUID", b"1.2\\3.4", None),
    ("StudyInstanceUID", b"1." * 60, None),
    ("FrameOfReferenceUID", b"none", None),
    ("FrameOfReferenceUID", b"1.2\\1.3", None),
    ("BurnedInAnnotation", b"perhaps", None),
    ("LossyImageCompression", b"1", None),
    ("Laterality", b"X", None),
    ("SpecificCharacterSet", b"A\\B\\C", None),
    ("EthnicGroup", b"x" * 60_000, None),
    ("PatientComments", b"y" * 60_000, None),
    ("OtherPatientIDsSequence", b"no sequence ", "LO"),
]


@odd_dicom
@pytest.mark.parametrize(("name", "value", "representation"), _ODD)
def test_odd_headers_end_in_objects_or_in_a_reason(
    name: str, value: bytes, representation: str | None, tmp_path: Path
) -> None:
    def change(dataset: Dataset, number: int) -> None:
        del number
        _raw(dataset, name, value, representation)

    made = _made(_stack(tmp_path, change))
    for each in made.values():
        assert each.dataset is None or pydicom.dcmread(_saved(tmp_path, each)).PatientID is not ...
    refused = {each.code for each in made.values()} - {"", "nothing-to-show"}
    if not name.endswith("UID"):
        assert not refused


def _saved(folder: Path, each: dicom.ObjectFile) -> Path:
    path = folder / each.name
    path.write_bytes(each.content)
    return path


@pytest.mark.parametrize(
    ("name", "stored", "written"),
    [
        ("PatientBirthDate", b"1980.01.02", "19800102"),
        ("StudyDate", b"2026-01-02", "20260102"),
        ("StudyTime", b"12:30:15", "123015"),
        ("StudyTime", b"12:30", "1230"),
        ("PatientSex", b"f", "F"),
        ("StudyTime", b"noon", ""),
        ("PatientBirthDate", b"02.01.1980", ""),
    ],
)
def test_values_are_brought_into_the_standard_s_form_or_left_out_and_told(
    name: str, stored: bytes, written: str, tmp_path: Path
) -> None:
    stack = _stack(tmp_path, lambda dataset, _: _raw(dataset, name, stored))
    for made in _read_back(stack, tmp_path).values():
        assert (made.get(name) or "") == written
    _is_valid(tmp_path)
    assert [note.code for note in stack.notes] == ([] if written else ["odd-header"])


@given(st.sampled_from(["PatientID", "PatientName", "StudyDate", "StudyInstanceUID", "SeriesNumber",
                        "PatientSex", "StudyTime", "PatientAge", "ReferringPhysicianName"]),
       st.binary(max_size=70))  # fmt: skip
def test_any_value_ends_in_an_object_or_in_a_reason(name: str, value: bytes) -> None:
    (result, *_), limit = _analysed()[0].slices, _analysed()[1]
    source: Any = pydicom.dcmread(FILES[0], stop_before_pixels=True)
    _raw(source, name, value)
    shown = replace(result.slice, sop_instance_uid=source.SOPInstanceUID)
    verdict = _analysed()[0].verdict
    assert verdict is not None
    stack = dicom.Stack([replace(result, slice=shown)], [source], verdict, None, limit)
    for each in _made(stack).values():
        assert each.dataset is None or each.content
