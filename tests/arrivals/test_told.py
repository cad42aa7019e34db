"""How a run ends and what it says: its status, what was ignored, and what was not written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gliomart import cli
from gliomart.cli import summary
from gliomart.cli.terminal import Ink, cells
from gliomart.outputs import outcome, page
from samples import GOLDEN, odd_dicom

pytest.importorskip("highdicom")


@pytest.fixture
def infer(model: Path, tmp_path: Path) -> Callable[..., int]:
    def command(*arguments: object) -> int:
        options = ["--model", model, "--provider", "cpu", "--out", tmp_path / "out"]
        return cli.main(["infer", *map(str, [*arguments, *options])])

    return command


def _study(folder: Path, change: Callable[[pydicom.Dataset], None]) -> Path:
    folder.mkdir()
    for path in sorted(GOLDEN.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(folder / path.name)
    return folder


def _document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text())
    return document


def _without_study(dataset: pydicom.Dataset) -> None:
    dataset.StudyInstanceUID = ""


def _without_place(dataset: pydicom.Dataset) -> None:
    del dataset.FrameOfReferenceUID


def test_what_is_written_as_far_as_there_is_something_ends_well(
    infer: Any, tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = _study(tmp_path / "golden", lambda _: None)
    assert infer(golden, study, "--dicom-out") == 0
    codes = {
        missing["code"]
        for series in _document(tmp_path)["series"]
        for missing in series["dicom"]["not_written"]
    }
    assert codes == {"nothing-to-show", "not-dicom"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "count", "reason"),
    [
        (_without_study, "27 objects", "the source has no valid StudyInstanceUID"),
        (_without_place, "2 objects", "the source has no frame of reference"),
    ],
)
def test_what_could_not_be_written_is_said_once_and_makes_the_status(
    change: Any, count: str, reason: str, infer: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    broken = _study(tmp_path / "study", change)
    assert infer(broken, "--dicom-out") == 11
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line.startswith("not written")]
    assert f"not written: {count}: {reason}" in lines
    assert len(lines) == len(set(lines)) <= 2
    (line,) = said.err.splitlines()
    assert line.startswith("gliomart: ")
    assert "results.json says which and why" in line
    for option in ((), ("--json",), ("--quiet",)):
        assert infer(broken, "--dicom-out", "--resume", *option) == 11
        again = capsys.readouterr()
        assert again.err == said.err
        if option == ("--json",):
            assert json.loads(again.out) == _document(tmp_path)
        if option == ("--quiet",):
            assert again.out == ""
    assert infer(broken, "--overwrite") == 0


def test_an_interrupted_run_that_is_resumed_ends_with_the_same_status(
    infer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = _study(tmp_path / "study", _without_place)

    def interrupted(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(page, "parts", interrupted)
        assert infer(broken, "--dicom-out") == 130
    assert infer(broken, "--dicom-out", "--resume") == 11


@pytest.mark.sampled(2)
@odd_dicom
@pytest.mark.parametrize(
    "declared", ["ISO_IR_100", "ISO 2022 IR 100", ["", "ISO 2022 IR 87"], "UTF8", "KLINGON"]
)
def test_odd_character_sets_lose_nothing(
    declared: Any, infer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(dataset: pydicom.Dataset) -> None:
        dataset["SpecificCharacterSet"] = pydicom.DataElement(
            "SpecificCharacterSet", "CS", declared, validation_mode=pydicom.config.IGNORE
        )

    assert infer(_study(tmp_path / "study", change), "--dicom-out") == 0
    (series,) = _document(tmp_path)["series"]
    assert len(series["dicom"]["written"]) == 27
    assert capsys.readouterr().err == ""


def test_text_that_cannot_be_decoded_is_a_note_of_the_series(
    infer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _study(tmp_path / "study", lambda d: setattr(d, "PatientName", "Mueller^Joerg7"))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"Mueller^Joerg7", b"M\xfcller^J\xf6rg777"))
    assert infer(folder, "--dicom-out") == 0
    (series,) = _document(tmp_path)["series"]
    assert "undecodable-text" in {note["code"] for note in series["notes"]}
    assert "[undecodable-text]" in capsys.readouterr().out
    assert "ller" not in (tmp_path / "out" / "report.html").read_text()


def test_a_file_that_goes_away_meanwhile_is_no_defect(
    infer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gliomart import sources

    study, headers = _study(tmp_path / "study", lambda _: None), sources.headers

    def gone(*arguments: Any) -> Any:
        (study / "slice_012.dcm").unlink()
        return headers(*arguments)

    monkeypatch.setattr(sources, "headers", gone)
    assert infer(study, "--dicom-out") == 11
    (series,) = _document(tmp_path)["series"]
    (missing,) = series["dicom"]["not_written"]
    assert missing["code"] == "vanished"
    assert str(tmp_path) not in missing["reason"]


def _ignoring(**kinds: int) -> dict[str, Any]:
    named = {f".{kind}": count for kind, count in kinds.items()}
    return {"inputs": {"ignored": sum(kinds.values()), "ignored_kinds": named}}


def test_what_was_ignored_is_said_in_numbers_and_kinds() -> None:
    assert outcome.ignored(_ignoring()) == ""
    assert outcome.ignored(_ignoring(txt=1)) == "1 other file ignored (1 .txt)"
    said = outcome.ignored(_ignoring(b=2, a=2, c=5))
    assert said == "9 other files ignored (5 .c, 2 .a, 2 .b)"
    assert outcome.ignored(_ignoring(b=2, a=2, c=5), 1) == (
        "9 other files ignored (5 .c, 4 of other kinds)"
    )


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_terminal_is_told_as_many_kinds_as_fit(width: int) -> None:
    document = {
        "model": {"name": "m", "version": "1", "site": None},
        "series": [], "slices": [], "not_analysed": [],
        **_ignoring(**{f"kind{number}": 20 - number for number in range(12)}),
    }  # fmt: skip
    lines = list(summary.brief(document, Path("out"), width, Ink(coloured=False)))
    (line,) = (line for line in lines if "ignored" in line)
    assert line.startswith("174 other files ignored (")
    assert cells(line) <= max(width, 44)
    assert (".kind11" in line) == (width == 200)
    (whole,) = (line for line in summary.plain(document, Path("out")) if "ignored" in line)
    assert ".kind11" in whole


def test_ignored_files_are_told_beside_a_good_series_and_without_one(
    infer: Any, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / ".git" / "objects").mkdir(parents=True)
    (study / ".git" / "objects" / "1").write_text("1")
    (study / ".git" / "config").write_text("1")
    (study / "scan.smith").write_text("no image")
    said = "4 other files ignored (2 hidden, 1 .txt, 1 other suffix)"
    for option in ((), ("--resume",)):
        assert infer(study, *option) == 0
        assert said in capsys.readouterr().out.splitlines()
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert _document(tmp_path)["inputs"]["ignored_kinds"] == {
        ".txt": 1, "hidden": 2, "other suffix": 1,
    }  # fmt: skip
    assert "smith" not in (tmp_path / "out" / "report.html").read_text()
    for image in study.glob("*.png"):
        image.unlink()
    shutil.rmtree(tmp_path / "out")
    assert infer(study) == 3
    assert f"no images among the inputs ({said})" in capsys.readouterr().err
    (study / "study.zip").write_bytes(b"PK\x03\x04")
    assert infer(study, "--overwrite") == 3
    error = capsys.readouterr().err
    assert f"nothing could be analysed (1 archive); {said};" in error
    assert len(error.splitlines()) == 1
