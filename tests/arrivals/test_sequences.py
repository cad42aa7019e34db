"""Which sequence a series is of: by its header, its name, its sidecar, and who gives it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

import niftis
from gliomart import Concern, Detector, Refusal, SeriesFiles, SliceResult, cli, scan
from gliomart.errors import InputRefusedError, UsageError
from gliomart.findings.contrast import contrast_in
from gliomart.findings.sequences import sequence_of
from gliomart.findings.statements import sequence_of_series
from gliomart.findings.suitability import concerns_of_image, concerns_of_series
from gliomart.sources.header import Header
from runs import pictures, results
from samples import GOLDEN, SHARED, card, draw_head, needs_real_images

FLAIR_TIMES = {"RepetitionTime": 9.0, "EchoTime": 0.12, "InversionTime": 2.5}
T1_TIMES = {"RepetitionTime": 2.3, "EchoTime": 0.003, "InversionTime": 0.9}
T2_TIMES = {"RepetitionTime": 5.0, "EchoTime": 0.1}


def save(folder: Path, name: str, beside: object = None) -> Path:
    """Write a volume, and what lies beside it: bytes, or values as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(niftis.volume(s=(niftis.affine(), 1)))
    if beside is not None:
        content = beside if isinstance(beside, bytes) else json.dumps(beside).encode()
        path.with_suffix(".json").write_bytes(content)
    return path


def found(folder: Path, name: str, beside: object = None, **options: Any) -> SeriesFiles:
    """Write a volume and find it."""
    save(folder, name, beside)
    (series,) = scan([folder], **options).series
    return series


def concerns(series: SeriesFiles, sequence: str = "FLAIR") -> list[Concern]:
    """What speaks against a series, as a model of a sequence has it."""
    (own,) = concerns_of_series(series, card(sequence=sequence)).values()
    return [concern for concern in own if concern.code != "coarse-slices"]


# Names of BIDS.


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("sub-01_FLAIR.nii", "FLAIR"),
        ("sub-01_flair.nii", "FLAIR"),
        ("sub-01_ses-2_acq-3D_run-2_FLAIR.nii", "FLAIR"),
        ("sub-01_ce-gd_FLAIR.nii", "FLAIR"),
        ("sub-01_T1w.nii", "T1"),
        ("sub-01_t1W.nii", "T1"),
        ("sub-01_ce-gadolinium_T1w.nii", "T1C"),
        ("sub-01_ce-none_T1w.nii", "T1"),
        ("sub-01_acq-postgd_T1w.nii", "T1C"),
        ("sub-01_acq-mprage_T1w.nii", "T1"),
        ("sub-01_inplaneT1.nii", "T1"),
        ("sub-01_echo-2_T2w.nii", "T2"),
        ("sub-01_T2starw.nii", "T2*"),
        ("sub-01_PDw.nii", "PD"),
        ("sub-01_dir-AP_dwi.nii", "DWI"),
        ("sub-01_task-rest_bold.nii", "T2*"),
        ("sub-01_angio.nii", "TOF"),
        # The suffix alone tells: T1 may as well be a point in time.
        ("sub-01_T1.nii", None),
        ("sub-01_unheard.nii", None),
        ("FLAIR.nii", None),
        ("patient_T1w.nii", None),
        ("sub-01/anat/FLAIR.nii", "FLAIR"),
    ],
)
def test_a_name_of_bids_tells_the_sequence(name: str, sequence: str | None, tmp_path: Path) -> None:
    assert sequence_of_series(found(tmp_path, name)) == sequence


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("sub-01_FLAIR.nii", None),
        ("sub-01_T2w.nii", "wrong-sequence"),
        ("sub-01_part-mag_FLAIR.nii", None),
        ("sub-01_part-phase_FLAIR.nii", "derived-image"),
        ("sub-01_T1map.nii", "derived-image"),
        ("sub-01_ADC.nii", "derived-image"),
        ("sub-01_trc-fdg_pet.nii", "wrong-modality"),
        ("scan.nii", None),
    ],
)
def test_what_a_name_says_that_the_model_was_not_made_for_is_refused(
    name: str, code: str | None, tmp_path: Path
) -> None:
    own = concerns(found(tmp_path, name))
    assert (own[0].code if own else None) == code


# Sidecars.


@pytest.mark.parametrize(
    ("beside", "sequence"),
    [
        (FLAIR_TIMES, "FLAIR"),
        (T1_TIMES, "T1"),
        (T2_TIMES, "T2"),
        (T1_TIMES | {"ContrastBolusIngredient": "GADOLINIUM"}, "T1C"),
        (T1_TIMES | {"ContrastBolusIngredient": "NONE"}, "T1"),
        ({"SeriesDescription": "t1_mprage_post_KM"}, "T1C"),
        ({"ProtocolName": "t2_tirm_tra_dark-fluid"}, "FLAIR"),
        ({"ScanningSequence": "GR_IR", "EchoTime": 0.003}, "T1"),
        ({"ScanningSequence": ["GR", "IR"], "EchoTime": 0.003}, "T1"),
        ({"PulseSequenceType": "MPRAGE"}, "T1"),
        ({"InversionTime": [0.4, 3.2], "EchoTime": 0.1}, "DIR"),
        ({"InversionTime": 0, "SeriesDescription": "ax flair"}, "FLAIR"),
        ({"Manufacturer": "x"}, None),
        ({}, None),
    ],
)
def test_a_sidecar_tells_the_sequence_by_the_rules_of_headers(
    beside: dict[str, object], sequence: str | None, tmp_path: Path
) -> None:
    series = found(tmp_path, "scan.nii", beside)
    assert (sequence_of_series(series), series.notes) == (sequence, ())


@pytest.mark.parametrize(
    ("name", "beside", "sequence"),
    [
        ("sub-01_FLAIR.nii", FLAIR_TIMES, "FLAIR"),
        # What a sidecar leaves open, the name tells.
        ("sub-01_FLAIR.nii", T2_TIMES, "FLAIR"),
        ("sub-01_FLAIR.nii", {"InversionTime": 0.7, "EchoTime": 0.1}, "FLAIR"),
        ("sub-01_T2w.nii", {"RepetitionTime": 3.0, "EchoTime": 0.05}, "T2"),
        ("sub-01_dwi.nii", {"RepetitionTime": 8.0, "EchoTime": 0.09}, "DWI"),
        # Nobody has to write ce-, and nothing else has to tell of it.
        ("sub-01_T1w.nii", T1_TIMES | {"ContrastBolusIngredient": "GADOLINIUM"}, "T1C"),
        ("sub-01_T1w.nii", {"ContrastBolusIngredient": "GADOLINIUM"}, "T1C"),
        ("sub-01_ce-gd_T1w.nii", T1_TIMES, "T1C"),
        ("sub-01_FLAIR.nii", FLAIR_TIMES | {"ContrastBolusIngredient": "GADOLINIUM"}, "FLAIR"),
    ],
)
def test_name_and_sidecar_say_the_same_in_more_or_fewer_words(
    name: str, beside: dict[str, object], sequence: str, tmp_path: Path
) -> None:
    assert sequence_of_series(found(tmp_path, name, beside)) == sequence


@pytest.mark.parametrize(
    ("name", "beside", "code"),
    [
        ("sub-01_FLAIR.nii", T1_TIMES, "contradictory-sequence"),
        ("sub-01_T1w.nii", FLAIR_TIMES, "contradictory-sequence"),
        ("sub-01_FLAIR.nii", {"SeriesDescription": "t1_mprage"}, "contradictory-sequence"),
        ("sub-01_FLAIR.nii", {"SeriesDescription": "t2_tse_tra"}, "contradictory-sequence"),
        ("sub-01_T1w.nii", {"SeriesDescription": "ax t2 flair"}, "contradictory-sequence"),
        # Whoever is right, it is not for this model.
        ("sub-01_T1w.nii", T2_TIMES | {"SeriesDescription": "t2_tse"}, "wrong-sequence"),
    ],
)
def test_a_name_and_a_sidecar_that_contradict_each_other_are_refused(
    name: str, beside: dict[str, object], code: str, tmp_path: Path
) -> None:
    series = found(tmp_path, name, beside)
    (concern,) = concerns(series)
    assert (concern.code, sequence_of_series(series)) == (code, None)
    assert "the name tells of" in concern.reason
    assert "the sidecar tells of" in concern.reason


def test_t1_before_and_after_contrast_contradict_each_other(tmp_path: Path) -> None:
    series = found(tmp_path, "sub-01_ce-gd_T1w.nii", {"SeriesDescription": "t1 pre contrast"})
    assert [each.code for each in concerns(series, "T1C")] == ["contradictory-sequence"]
    assert [each.code for each in concerns(series, "FLAIR")] == ["wrong-sequence"]


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"EchoTime": 0.1', "not valid JSON"),
        (b"[1, 2]", "holds no object"),
        (b'"FLAIR"', "holds no object"),
        ('{"SeriesDescription": "Schädel"}'.encode("latin-1"), "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'{"EchoTime": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"EchoTime": 0.1, "EchoTime": 0.003}', "says something twice"),
        (b" " * (9 << 20), "more than"),
    ],
)
def test_a_sidecar_that_cannot_be_read_is_told_and_the_name_decides(
    beside: bytes, words: str, tmp_path: Path
) -> None:
    began = monotonic()
    series = found(tmp_path, "sub-01_FLAIR.nii", beside)
    (note,) = series.notes
    assert note.code == "bad-sidecar"
    assert note.reason.startswith("sub-01_FLAIR.json: ")
    assert words in note.reason
    assert (sequence_of_series(series), concerns(series)) == ("FLAIR", [])
    assert monotonic() - began < 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"EchoTime": 120}, "EchoTime 120 is no time in seconds"),
        ({"RepetitionTime": 9000}, "RepetitionTime 9000 is no time in seconds"),
        ({"InversionTime": "2.5"}, "InversionTime is not a number"),
        ({"EchoTime": True}, "EchoTime is not a number"),
        ({"EchoTime": -1}, "EchoTime is not a number"),
        ({"EchoTime": 10**400}, "EchoTime is not a number"),
        ({"SeriesDescription": 5}, "SeriesDescription is not text"),
        ({"ImageType": {"a": 1}}, "ImageType is not text"),
        ({"ImageType": ["ORIGINAL", None]}, "ImageType is not text"),
        ({"SeriesDescription": "t1 " * 40_000}, "SeriesDescription is longer than 65534 bytes"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_told_and_the_others_are_believed(
    value: dict[str, object], words: str, tmp_path: Path
) -> None:
    series = found(tmp_path, "scan.nii", FLAIR_TIMES | {"SeriesDescription": "flair"} | value)
    assert [note.reason for note in series.notes] == [f"scan.json: {words}, and was not read"]
    assert sequence_of_series(series) == "FLAIR"


def test_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        series = found(tmp_path, "scan.nii", b'{"EchoTime": ' + value + b"}")
        assert [note.code for note in series.notes] == ["bad-sidecar"]


def test_a_sidecar_may_begin_with_a_byte_order_mark_and_hold_any_text(tmp_path: Path) -> None:
    text = '{"SeriesDescription": "flair \\ud800\\u202e", "BodyPartExamined": "\\udfff"}'
    series = found(tmp_path, "scan.nii", b"\xef\xbb\xbf" + text.encode())
    assert (sequence_of_series(series), series.notes) == ("FLAIR", ())
    assert all(concern.reason.isprintable() for concern in concerns(series))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_what_lies_beside_a_volume_and_is_no_file_is_told(tmp_path: Path) -> None:
    for number, make in enumerate((os.mkfifo, os.mkdir, lambda path: path.symlink_to("gone"))):
        folder = tmp_path / str(number)
        path = save(folder, "sub-01_FLAIR.nii")
        make(path.with_suffix(".json"))
        (series,) = scan([folder]).series
        assert [note.code for note in series.notes] == ["bad-sidecar"]


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        ({"Modality": "CT"}, "wrong-modality"),
        ({"Modality": "MRI"}, None),
        ({"BodyPartExamined": "KNEE"}, "wrong-body-part"),
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, "derived-image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]}, None),
    ],
)
def test_a_sidecar_is_held_against_what_the_model_was_made_for_like_a_header(
    beside: dict[str, object], code: str | None, tmp_path: Path
) -> None:
    own = concerns(found(tmp_path, "scan.nii", FLAIR_TIMES | beside))
    assert (own[0].code if own else None) == code


def test_a_sidecar_is_no_ignored_file_and_another_json_is(tmp_path: Path) -> None:
    save(tmp_path, "sub-01_FLAIR.nii", FLAIR_TIMES)
    packed = tmp_path / "sub-02_FLAIR.nii.gz"
    packed.write_bytes(b"broken")
    packed.with_name("sub-02_FLAIR.json").write_text("{}")
    (tmp_path / "dataset_description.json").write_text("{}")
    inventory = scan([tmp_path])
    assert dict(inventory.ignored_kinds) == {".json": 1}
    assert inventory.files == 2


def test_an_inventory_is_another_one_once_a_sidecar_changes(tmp_path: Path) -> None:
    path = save(tmp_path, "sub-01_FLAIR.nii", FLAIR_TIMES)
    before = scan([tmp_path]).digest()
    assert scan([tmp_path]).digest() == before
    path.with_suffix(".json").write_text("{ }")
    assert scan([tmp_path]).digest() != before


# Contrast.

AFTER = (
    "T1 ax +C|t1_mprage_sag_KM|T1 SE C+|AX T1 POST|T1 post contrast|T1_postGd|T1w Gd|T1 GADO|t1ce"
    "|t1c|T1 nach KM|T1 mdc|t1_tse_tra_+km|T1 FS post op +C|T1 pre-op +C"
    "|3D T1 CE|T1 apres injection|AX T1 W/O FS POST|T1 ohne FS +KM|T1 contrast enhanced"
    "|T1 c/ Gadovist|T1 con contraste|T1+C"
    "|T1_CE_MPRAGE|mprage post-gad|T1 w/ contrast|Sag T1 C+ FS"
)
BEFORE = (
    "T1 pre|T1 pre contrast|T1 nativ|t1_native|T1 without contrast|T1 w/o|AX T1 W/O CONTRAST|T1 WO"
    "|T1 ohne KM|T1 non-contrast|T1 no gd|T1 preGD|T1 C-|T1 -C|T1 vor KM|T1 sans injection"
    "|AX T1 PRE GAD|T1 plain|T1 senza mdc|T1 noncontrast|T1 avant inj|T1 W/O AX"
)
NEITHER = (
    "T1|AX T1 SE|brain w wo contrast T1|MRI BRAIN W/WO|with and without contrast|T1 pre/post"
    "|T1 post op|T1 preop|T1 posterior fossa|post fossa T1|T1 MTC|magnetization transfer contrast"
    "|phase contrast|T1 without fat sat|T1 w/o FS|t1_mprage_sag_p2_iso|T1W_3D_TFE"
    "|T1 C-spine|T1 mit und ohne KM|sag t1 +/- c|T1 presat|T1_c spine"
)


@pytest.mark.parametrize(
    ("said", "given"),
    [(text, True) for text in AFTER.split("|")]
    + [(text, False) for text in BEFORE.split("|")]
    + [(text, None) for text in NEITHER.split("|")],
)
def test_words_tell_whether_contrast_was_given(said: str, given: bool | None) -> None:
    assert contrast_in(said) is given
    assert contrast_in(said.upper()) is given


def test_hostile_words_take_no_time() -> None:
    began = monotonic()
    for part in ("w-", "pre ", "c ", "- ", "t1", "+", "gad", "w/o", "kein", "post-"):
        contrast_in(part * (65_534 // len(part)))
    assert monotonic() - began < 5


def t1(**attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.EchoTime, dataset.RepetitionTime = "MR", 10, 500
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def usage(**attributes: str) -> dict[str, object]:
    """The functional group of contrast in enhanced MR (PS3.3 C.7.6.16.2.12)."""
    own, item = Dataset(), Dataset()
    for keyword, value in attributes.items():
        setattr(own, keyword, value)
    item.ContrastBolusUsageSequence = [own]
    return {"SharedFunctionalGroupsSequence": [item]}


@pytest.mark.parametrize(
    ("attributes", "sequence"),
    [
        ({}, "T1"),
        ({"ContrastBolusAgent": "Gadovist"}, "T1C"),
        ({"ContrastBolusAgent": "7 ML"}, "T1C"),
        ({"ContrastBolusAgent": "NONE"}, "T1"),
        ({"ContrastBolusAgent": "no contrast"}, "T1"),
        ({"ContrastBolusAgent": "w/o"}, "T1"),
        ({"ContrastBolusAgent": " "}, "T1"),
        ({"ContrastBolusAgent": "NONE", "SeriesDescription": "t1 post gd"}, "T1C"),
        # An agent is often filled in for the whole examination.
        ({"ContrastBolusAgent": "Gadovist", "SeriesDescription": "t1 pre"}, "T1"),
        ({"ContrastBolusIngredient": "GADOLINIUM"}, "T1C"),
        ({"ContrastBolusAgentSequence": [Dataset()]}, "T1C"),
        ({"ContrastBolusAgentSequence": []}, "T1"),
        (usage(ContrastBolusAgentAdministered="YES"), "T1C"),
        (usage(ContrastBolusAgentAdministered="NO") | {"ContrastBolusAgent": "Gadovist"}, "T1"),
        (usage(ContrastBolusAgentAdministered="YES", ContrastBolusAgentPhase="PRE_CONTRAST"), "T1"),
        ({"SeriesDescription": "t1_mprage", "ProtocolName": "BRAIN + CONTRAST"}, "T1"),
        ({"ProtocolName": "t1_tse_tra_KM"}, "T1C"),
        ({"InversionTime": 2500, "EchoTime": 120, "ContrastBolusAgent": "Gadovist"}, "FLAIR"),
        ({"RepetitionTime": 4000, "EchoTime": 100, "ContrastBolusAgent": "Gadovist"}, "T2"),
    ],
)  # fmt: skip
def test_a_t1_after_contrast_is_told_from_one_before(
    attributes: dict[str, object], sequence: str
) -> None:
    header = Header.of(t1(**attributes))
    assert sequence_of(header) == sequence
    codes = [concern.code for concern in concerns_of_image(header, card(sequence=sequence))]
    assert "wrong-sequence" not in codes


def test_a_flair_model_says_in_words_what_t1_after_contrast_is() -> None:
    header = Header.of(t1(ContrastBolusAgent="Gadovist"))
    reasons = {concern.code: concern.reason for concern in concerns_of_image(header, card())}
    wanted = "the header tells of T1 after contrast (T1C); the model was made for FLAIR"
    assert reasons["wrong-sequence"] == wanted


# What whoever gives images says.


def golden(path: Path, **attributes: object) -> Path:
    """Copy the simulated study with other attributes."""
    path.mkdir(parents=True)
    for number in range(1, 25):
        dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path / f"{number}.dcm")
    return path


@pytest.mark.parametrize(
    ("given", "code"), [(None, None), ("flair", None), ("T2", "wrong-sequence")]
)
def test_pictures_and_arrays_are_what_they_are_given_as(
    given: str | None, code: str | None, model: Path, tmp_path: Path
) -> None:
    detector = Detector(model, sequence=given)
    pixels = draw_head((64, 64))
    folder = pictures(tmp_path / "study", 3)
    items = [
        *detector.stream([folder]),
        *detector.detect_series(folder).not_analysed,
        *detector.detect_series(np.stack([pixels] * 3)).not_analysed,
        *detector.detect_series([pixels] * 3).not_analysed,
    ]
    assert {item.code for item in items if isinstance(item, Refusal)} == ({code} if code else set())
    if code is None:
        assert detector.detect(pixels).concerns == ()
        return
    for image in (pixels, folder / "0.png"):
        with pytest.raises(InputRefusedError, match="the option sequence tells of T2") as refused:
            detector.detect(image)
        assert refused.value.code == code
    forced = Detector(model, sequence=given, force=True)
    (first, *_) = forced.detect_series([pixels] * 3).slices
    for result in (first, forced.detect(pixels), forced.detect(folder / "0.png")):
        assert [concern.code for concern in result.concerns] == [code]


@pytest.mark.parametrize(
    ("name", "beside", "given", "code"),
    [
        ("scan.nii", None, "flair", None),
        ("scan.nii", None, "t1c", "wrong-sequence"),
        ("sub-01_FLAIR.nii", None, "flair", None),
        ("sub-01_FLAIR.nii", None, "t1", "contradictory-sequence"),
        ("sub-01_T2w.nii", None, "flair", "contradictory-sequence"),
        ("scan.nii", T1_TIMES, "flair", "contradictory-sequence"),
        ("sub-01_T2w.nii", T2_TIMES, "t1", "contradictory-sequence"),
        # Nothing else says whether it is one after contrast.
        ("sub-01_T1w.nii", None, "t1c", "wrong-sequence"),
        ("sub-01_ce-gd_T1w.nii", None, "t1", "contradictory-sequence"),
        ("scan.nii", {"SeriesDescription": "t1 pre"}, "t1c", "contradictory-sequence"),
    ],
)
def test_nobody_overrules_another(
    name: str, beside: object, given: str, code: str | None, tmp_path: Path
) -> None:
    own = concerns(found(tmp_path, name, beside, sequence=given))
    assert (own[0].code if own else None) == code


def test_a_t1_of_which_more_is_said_is_one_after_contrast(tmp_path: Path) -> None:
    series = found(tmp_path, "sub-01_T1w.nii", sequence="t1c")
    assert (sequence_of_series(series), concerns(series, "T1C")) == ("T1C", [])


def test_dicom_without_a_hint_is_what_it_is_given_as(model: Path) -> None:
    hints = ("SeriesDescription", "ProtocolName", "InversionTime", "EchoTime", "RepetitionTime")
    silent = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    for keyword in (*hints, "ScanningSequence", "SequenceName"):
        if keyword in silent:
            delattr(silent, keyword)
    with pytest.raises(InputRefusedError) as refused:
        Detector(model).detect(silent)
    assert refused.value.code == "unknown-sequence"
    assert Detector(model, sequence="flair").detect(silent).concerns == ()
    flair = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    with pytest.raises(InputRefusedError, match="the header tells of FLAIR, the option") as refused:
        Detector(model, sequence="t1").detect(flair)
    assert refused.value.code == "contradictory-sequence"
    assert Detector(model, sequence="flair").detect(flair).concerns == ()
    (one,) = Detector(model, sequence="t1").detect_series([flair]).not_analysed
    assert one.code == "contradictory-sequence"


@pytest.mark.parametrize("value", ["swi", "", "FLAIR ", 1, True, b"flair", ["flair"]])
def test_a_sequence_that_is_none_is_refused(value: Any, model: Path) -> None:
    for take in (lambda: scan([GOLDEN], sequence=value), lambda: Detector(model, sequence=value)):
        with pytest.raises(UsageError, match=r"sequence is .*, none of flair, t1, t1c, t2"):
            take()


# What results say.


def test_volumes_of_one_folder_are_told_apart(model: Path, tmp_path: Path) -> None:
    data = np.stack([niftis.voxels()] * 1)[0]
    for name in ("sub-01_run-1_FLAIR", "sub-01_run-2_FLAIR", "sub-01_T1w"):
        path = save(tmp_path / "study", f"{name}.nii", {} if "run-2" in name else None)
        path.write_bytes(niftis.volume(data, s=(niftis.affine(), 1)))
    out = tmp_path / "out"
    arguments = ["infer", str(tmp_path / "study"), "--model", str(model), "--out", str(out)]
    assert cli.main([*arguments, "--overlays", "all"]) == 0
    document = results(out)
    sources = ["study/sub-01_run-1_FLAIR.nii", "study/sub-01_run-2_FLAIR.nii"]
    assert [each["source"] for each in document["series"]] == sources
    assert [each["id"] for each in document["series"]] == sources
    assert [each["sequence"] for each in document["series"]] == ["FLAIR", "FLAIR"]
    assert {each["series"] for each in document["slices"]} == set(sources)
    assert len({each["overview"] for each in document["series"]}) == 2
    assert len({each["overlay"] for each in document["slices"]}) == len(document["slices"])
    assert all((out / each["overview"]).is_file() for each in document["series"])
    (refused,) = document["not_analysed"]
    assert (refused["source"], refused["code"]) == ("study/sub-01_T1w.nii", "wrong-sequence")
    assert document["settings"]["sequence"] is None
    assert document["inputs"]["ignored"] == 0
    # The same run, and another one.
    assert cli.main([*arguments, "--overlays", "all", "--resume"]) == 0
    assert cli.main([*arguments, "--overlays", "all", "--resume", "--sequence", "flair"]) == 2
    assert cli.main([*arguments, "--overwrite", "--sequence", "t1", "--force"]) == 0
    document = results(out)
    assert document["settings"]["sequence"] == "T1"
    said = {
        Path(each["source"]).stem[7:]: (each["sequence"], each["outside_intended_use"][0])
        for each in document["series"]
    }
    assert said == {
        "run-1_FLAIR": (None, "contradictory-sequence"),
        "run-2_FLAIR": (None, "contradictory-sequence"),
        "T1w": ("T1", "wrong-sequence"),
    }


def test_a_series_belongs_to_a_study(tmp_path: Path) -> None:
    one = "sub-01/ses-1/anat/sub-01_ses-1"
    two, three = "sub-01/ses-2/anat/sub-01_ses-2_FLAIR.nii", "sub-02/anat/sub-02_FLAIR.nii"
    names = (f"{one}_FLAIR.nii", f"{one}_space-MNI152_T1w.nii", two, three, "scan.nii")
    for name in (*names, "sub-01/ses-1/dwi/sub-01_ses-1_dwi.nii"):
        save(tmp_path / "a", name)
    save(tmp_path / "b", "sub-02/anat/sub-02_T1w.nii")
    (tmp_path / "c").mkdir()
    golden(tmp_path / "c" / "1")
    golden(tmp_path / "c" / "2", SeriesInstanceUID=generate_uid(), SeriesNumber=9)
    golden(tmp_path / "c" / "3", FrameOfReferenceUID=generate_uid(), SeriesInstanceUID="1.2.3")
    golden(tmp_path / "c" / "4", PatientID="x", PatientName="X^Y", SeriesInstanceUID="1.2.4")
    inventory = scan([tmp_path / name for name in "abc"])
    study = {each.files[0].source: each.study for each in inventory.series}
    flair, moved = study[f"a/{one}_FLAIR.nii"], study[f"a/{one}_space-MNI152_T1w.nii"]
    assert flair is not None
    assert moved is not None
    assert study["a/sub-01/ses-1/dwi/sub-01_ses-1_dwi.nii"] == flair
    assert (moved.id, moved.frame_of_reference) == (flair.id, "mni152")
    others = {study[f"a/{two}"], study[f"a/{three}"], study["b/sub-02/anat/sub-02_T1w.nii"]}
    assert len({flair, *others}) == 4
    assert study["a/scan.nii"] is None
    first, second, third, fourth = (study[f"c/{n}/1.dcm"] for n in range(1, 5))
    assert first == second is not None
    assert third is not None
    assert fourth is not None
    assert first is not None
    assert (third.id, third.person) == (first.id, first.person)
    assert third.frame_of_reference != first.frame_of_reference
    assert (fourth.id, fourth.person == first.person) == (first.id, False)


@pytest.mark.slow
@needs_real_images
def test_real_volumes_of_three_sequences_are_told_apart() -> None:
    folder = SHARED / "ms_ljubljana"
    items = list(Detector().stream([folder]))
    analysed = {item.slice.source for item in items if isinstance(item, SliceResult)}
    assert {name.rsplit("_", 1)[1] for name in analysed} == {"FLAIR.nii.gz"}
    refused = [item for item in items if isinstance(item, Refusal)]
    assert {item.code for item in refused} == {"wrong-sequence"}
    assert (len(analysed), len(refused)) == (3, 6)
