"""What is said of pictures: no folders, no pons where nobody knows which way up they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import Detector, cli, sources
from gliomart.cli import summary
from gliomart.findings.pons import STRUCTURE
from gliomart.image.slices import Slice
from gliomart.outputs.page import report
from gliomart.printable import said, without_folders
from reports import analysed, page_of
from samples import GOLDEN, draw_head, tiny_model

_NAMES = st.text("abcäß -._0123456789", min_size=1, max_size=12).filter(str.strip)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no such file: '/home/jane doe/scan.nii'", "no such file: 'scan.nii'"),
        ("/home/jane/scan.nii is bad", "scan.nii is bad"),
        ("File /home/jane doe/scan.nii.gz is none", "File scan.nii.gz is none"),
        (r"cannot open C:\Users\jane\scan.nii", "cannot open scan.nii"),
        (r"cannot open \\server\share\scan.nii", "cannot open scan.nii"),
        ("cannot open D:/data/scan.nii", "cannot open scan.nii"),
        ("(file:///home/jane/scan.nii)", "(scan.nii)"),
        ("path=/data/jane/scan.nii", "path=scan.nii"),
        ("1/2 of 3 m/s and/or https://example.org/page", "1/2 of 3 m/s and/or https://example.org/page"),
        ("shape (1, 2) / (3, 4)", "shape (1, 2) / (3, 4)"),
    ],
)  # fmt: skip
def test_folders_are_left_out_of_what_others_say(text: str, wanted: str) -> None:
    assert without_folders(text) == wanted


@given(
    st.lists(_NAMES, min_size=1, max_size=4), _NAMES, st.sampled_from(["'{}'", "{}", "at {}: no"])
)
def test_no_folder_is_ever_said(folders: list[str], name: str, sentence: str) -> None:
    folders = [f"zz{folder.strip()}" for folder in folders]
    path = "/" + "/".join([*folders, name.strip()])
    line = said(ValueError(sentence.format(path) + "\nand more"))
    assert "\n" not in line
    assert len(line) <= 200
    assert not any(folder in line for folder in folders)


def test_reasons_of_broken_files_name_no_folder(tmp_path: Path) -> None:
    secret = tmp_path / "jane-doe" / "study"
    secret.mkdir(parents=True)
    for name in ("a.nii", "a.nii.gz", "b.png", "c.jpg", "d.tif", "e.dcm"):
        starts = (b"", b"\x1f\x8b", b"\x5c\1\0\0", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
        for number, start in enumerate(starts):
            (secret / f"{number}{name}").write_bytes(start + bytes(range(256)) * 4)
    inventory = sources.scan([secret])
    refusals = list(inventory.refused)
    for series in inventory.series:
        for file in series.files:
            refusals += [item for item in sources.read(file) if not isinstance(item, Slice)]
    assert len(refusals) > 25
    for refusal in refusals:
        assert "jane-doe" not in refusal.reason
        assert str(tmp_path) not in refusal.reason


def _axial(pixels: np.ndarray, number: int = 0) -> Slice:
    return Slice(
        pixels, spacing=(1.0, 1.0), position=(0.0, 0.0, 5.0 * number), frame=number,
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    )  # fmt: skip


def _without_pons() -> np.ndarray:
    head = draw_head()
    cv2.circle(head, (129, 158), 30, 0, cv2.FILLED)
    return head


def test_pons_is_not_covered_only_where_the_place_of_every_slice_is_known(tmp_path: Path) -> None:
    detector = Detector(tiny_model(tmp_path / "m.onnx", pons=True), provider="cpu")
    hollow = _without_pons()

    def coverage(slices: Any) -> tuple[str, int]:
        verdict = detector.detect_series(slices).pons
        assert verdict is not None
        assert (verdict.score is None) == (verdict.coverage != STRUCTURE.covered)
        return verdict.coverage, verdict.slices

    assert coverage([_axial(hollow)]) == (STRUCTURE.not_covered, 0)
    assert coverage([Slice(hollow)]) == (STRUCTURE.not_judged, 0)
    assert coverage(np.stack([hollow, hollow])) == (STRUCTURE.not_judged, 0)
    assert coverage([Slice(hollow, spacing=(1.0, 1.0))]) == (STRUCTURE.not_judged, 0)
    assert coverage([_axial(hollow), Slice(hollow)]) == (STRUCTURE.not_judged, 0)
    blank, infinite = np.zeros_like(hollow), np.full_like(hollow, np.inf)
    assert coverage([_axial(hollow), _axial(blank, 1)]) == (STRUCTURE.not_covered, 0)
    assert coverage([_axial(hollow), _axial(infinite, 1)]) == (STRUCTURE.not_judged, 0)
    assert coverage([_axial(infinite)]) == (STRUCTURE.not_judged, 0)
    assert coverage([_axial(draw_head()), _axial(infinite, 1)]) == (STRUCTURE.covered, 1)
    assert coverage([_axial(draw_head())]) == (STRUCTURE.covered, 1)
    assert coverage([Slice(draw_head())]) == (STRUCTURE.covered, 1)
    assert coverage([Slice(draw_head()), Slice(hollow)]) == (STRUCTURE.covered, 1)


def test_every_output_says_that_the_pons_was_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(tmp_path / "m.onnx", pons=True)
    study = tmp_path / "study"
    study.mkdir()
    cv2.imwrite(str(study / "1.png"), (_without_pons() / 5).clip(0, 255).astype(np.uint8))
    out = tmp_path / "out"
    arguments = ["infer", str(study), "--out", str(out), "--model", str(model)]
    assert cli.main([*arguments, "--provider", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "pons not judged: it is not known which way up the picture is" in told
    assert "not covered" not in told
    document = json.loads((out / "results.json").read_text())
    pons = document["series"][0]["pons"]
    assert pons == {
        "coverage": "pons not judged", "slices": 0, "score": None, "p_value": None,
        "flagged": None, "fraction_anomalous": None,
    }  # fmt: skip
    page = (out / "report.html").read_text()
    assert "Pons not judged" in page
    assert "Pons not covered" not in page


def test_report_and_terminal_tell_the_two_apart(tmp_path: Path) -> None:
    slices, card = analysed(tmp_path, [0.0])
    for coverage, words in (
        (STRUCTURE.not_covered, "nothing is said about it"),
        (STRUCTURE.not_judged, "which way up"),
    ):
        document, shown = page_of(slices, card)
        nothing = dict.fromkeys(("score", "p_value", "flagged", "fraction_anomalous"))
        document["series"][0]["pons"] = {"coverage": coverage, "slices": 0, **nothing}
        page = report(document, shown, card).decode()
        assert words in page
        assert f"Pons {coverage.removeprefix('pons ')}" in page
        assert any(words in line for line in summary.plain(document, tmp_path))


def _colour_study(folder: Path) -> Path:
    folder.mkdir()
    for number in range(2):
        flair = (draw_head(seed=number) / 5).clip(0, 255).astype(np.uint8)
        planes = np.stack([np.roll(flair, 20, 0), flair, 255 - flair], axis=-1)  # BGR
        cv2.imwrite(str(folder / f"{number}.png"), planes)
    return folder


def test_a_plane_is_chosen_recorded_and_part_of_the_run(tmp_path: Path, model: Path) -> None:
    study, out = _colour_study(tmp_path / "study"), tmp_path / "out"

    def infer(*options: str) -> int:
        arguments = ["infer", str(study), "--out", str(out), "--model", str(model)]
        return cli.main([*arguments, "--provider", "cpu", *options])

    def results() -> Any:
        return json.loads((out / "results.json").read_text())

    assert infer() == 3
    assert {entry["code"] for entry in results()["not_analysed"]} == {"colour-planes"}
    assert results()["settings"]["plane"] is None
    assert infer("--overwrite", "--plane", "2") == 0
    assert results()["settings"]["plane"] == 2
    assert len(results()["slices"]) == 2
    assert infer("--resume", "--plane", "2") == 0
    assert infer("--resume", "--plane", "1") == 2
    assert infer("--overwrite", "--plane", "4") == 3
    assert {entry["code"] for entry in results()["not_analysed"]} == {"missing-plane"}
    for wrong in ("0", "-1", "red", "1.5"):
        assert infer("--overwrite", "--plane", wrong) == 2


def test_programs_choose_a_plane_as_well(tmp_path: Path, model: Path) -> None:
    study = _colour_study(tmp_path / "study")
    (series,) = sources.scan([study], plane=2).series
    assert {file.plane for file in series.files} == {2}
    detector = Detector(model, provider="cpu", plane=2)
    by_path = detector.detect_series(study)
    assert len(by_path.slices) == 2
    assert np.array_equal(detector.detect(study / "0.png").slice.pixels,
                          by_path.slices[0].slice.pixels)  # fmt: skip
    assert [r.slice.source for r in detector.stream([study])] == ["study/0.png", "study/1.png"]  # type: ignore[union-attr]


def test_dicom_is_the_same_whatever_plane_is_asked_for() -> None:
    (series,) = sources.scan([GOLDEN], plane=3).series
    assert all(isinstance(item, Slice) for file in series.files for item in sources.read(file))
