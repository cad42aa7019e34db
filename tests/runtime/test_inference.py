from __future__ import annotations

import csv
import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gliomart import Detector, cli, sources
from gliomart.errors import OutputError
from gliomart.outputs import folder as output
from gliomart.run import Run
from samples import draw_head, tiny_model


def _infer(*arguments: object) -> int:
    return cli.main(["infer", *map(str, arguments), "--provider", "cpu"])


def _results(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return document


def _comparable(folder: Path) -> dict[str, Any]:
    document = _results(folder)
    for entry in document["slices"]:
        del entry["ms"]
    return document


@pytest.fixture
def two_series(study: Path) -> Path:
    other = study / "other"
    other.mkdir()
    for number in range(3):
        pixels = (draw_head(seed=40 + number) / 5).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(other / f"{number}.png"), pixels)
    return study


def test_results_keep_the_contract(model: Path, study: Path, tmp_path: Path) -> None:
    (study / "zero.png").touch()
    out = tmp_path / "out"
    assert _infer(study, "--model", model, "--out", out, "--maps") == 0
    document = _results(out)
    assert list(document) == [
        "schema", "software", "model", "provider", "settings", "inputs",
        "series", "slices", "not_analysed",
    ]  # fmt: skip
    assert document["schema"] == 2
    assert document["provider"] == {
        "requested": "cpu", "effective": "CPUExecutionProvider", "degraded": False,
        "parity": None, "reason": None,
    }  # fmt: skip
    assert len(document["inputs"].pop("digest")) == 64
    assert document["inputs"] == {
        "roots": ["study"], "files": 7, "ignored": 1, "ignored_kinds": {".txt": 1},
    }  # fmt: skip
    assert document["not_analysed"] == [
        {"source": "study/zero.png", "frame": None, "code": "empty-file",
         "reason": "the file holds no bytes"},
    ]  # fmt: skip
    (series,) = document["series"]
    assert (series["id"], series["slices"], series["flagged"]) == ("study", 6, True)
    assert [entry["source"] for entry in document["slices"]] == [
        f"study/{n}.png" for n in range(1, 7)
    ]
    assert [entry["flagged"] for entry in document["slices"]] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    third = document["slices"][2]
    assert third["pons"] is series["pons"] is None  # this model does not know it
    assert set(third) == {
        "series", "source", "sop_instance_uid", "frame", "geometry", "outside_intended_use",
        "score", "p_value", "flagged", "regions", "pons", "overlay", "map", "mask", "ms",
    }  # fmt: skip
    assert third["geometry"] == {"position_lps_mm": None, "orientation": None, "spacing_mm": None}
    assert third["outside_intended_use"] == []
    assert set(third["regions"][0]) == {
        "box", "area_px", "area_mm2", "centroid", "centroid_lps_mm", "peak",
    }  # fmt: skip
    assert set(third["ms"]) == {"read", "preprocess", "infer", "score", "write"}
    assert third["overlay"] == "overlays/study/3.png"
    source = cv2.imread(str(study / "3.png"), cv2.IMREAD_GRAYSCALE)
    anomaly_map = np.load(out / third["map"])
    mask = cv2.imread(str(out / third["mask"]), cv2.IMREAD_UNCHANGED)
    assert anomaly_map.dtype == np.float32
    assert anomaly_map.shape == mask.shape == source.shape
    assert set(np.unique(mask)) == {0, 255}
    assert mask.sum() // 255 == sum(region["area_px"] for region in third["regions"])
    assert (out / third["overlay"]).is_file()
    assert (out / series["overview"]).is_file()
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7
    assert rows[-1]["code"] == "empty-file"
    assert {path.name for path in out.iterdir()} == {
        "report.html", "results.json", "results.csv", "overlays", "overview", "maps", "masks",
    }  # fmt: skip


def test_standard_output_is_json_alone(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _infer(study, "--model", model, "--out", tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == _results(tmp_path / "out")


def test_a_folder_that_is_not_empty_is_left_alone(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert _infer(study, "--model", model, "--out", out) == 2
    assert _infer(study, "--model", model, "--out", out, "--overwrite") == 2
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").rename(tmp_path / "notes.txt")
    assert _infer(study, "--model", model, "--out", out) == 0
    assert _infer(study, "--model", model, "--out", out) == 2
    (out / "notes.txt").write_text("mine")
    assert _infer(study, "--model", model, "--out", out, "--overwrite") == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert all(line.startswith("gliomart: ") for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["{study}/none"], 2),
        (["{study}", "--out", "{study}/out"], 2),
        (["{study}", "--out", "{study}/1.png"], 2),
        (["{study}", "--model", "{study}/1.png"], 4),
        (["{study}", "--model", "none.onnx"], 4),
        (["{study}", "--provider", "cuda"], 5),
        (["{study}", "--provider", "tensorrt"], 5),
        (["{study}", "--provider", "tensorrt-rtx"], 5),
        (["{study}", "--out", "/dev/null/out"], 6),
        (["{study}", "--false-alarm-rate", "2"], 2),
        (["{empty}"], 3),
        (["{blank}"], 3),
        (["{study}", "--nonsense"], 2),
        ([], 2),
    ],
)
def test_bad_input_ends_in_one_line_and_its_status(
    arguments: list[str], status: int, model: Path, study: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "blank"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "blank" / "1.png"), np.zeros((256, 256), np.uint8))
    places = {"study": study, "empty": tmp_path / "empty", "blank": tmp_path / "blank"}
    given = [argument.format(**places) for argument in arguments]
    if "--model" not in given:
        given += ["--model", str(model)]
    assert cli.main(["infer", *given]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("gliomart: ")


def test_where_nothing_could_be_analysed_results_say_why(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "zero.png").touch()
    assert _infer(tmp_path / "in", "--model", model, "--out", tmp_path / "out") == 3
    assert "1 empty-file" in capsys.readouterr().err
    assert _results(tmp_path / "out")["not_analysed"][0]["code"] == "empty-file"


def test_a_full_disk_loses_nothing_that_is_finished(
    model: Path, two_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _infer(two_series, "--model", model, "--out", whole) == 0
    write, written = output.write_atomically, []

    def full_after_eight(path: Path, content: bytes, **how: Any) -> None:
        if len(written) == 8:
            with output.output_errors(path):
                raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content, **how)
        written.append(path)

    monkeypatch.setattr(output, "write_atomically", full_after_eight)
    assert _infer(two_series, "--model", model, "--out", cut) == 6
    assert "no space left on device" in capsys.readouterr().err
    assert not (cut / "results.json").exists()
    monkeypatch.undo()
    assert _infer(two_series, "--model", model, "--out", cut, "--resume") == 0
    assert _comparable(cut) == _comparable(whole)
    assert {p.name for p in cut.rglob("*")} == {p.name for p in whole.rglob("*")}
    assert (cut / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def test_resuming_a_different_run_is_refused(model: Path, two_series: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _infer(two_series, "--model", model, "--out", out) == 0
    before = _results(out)
    assert _infer(two_series, "--model", model, "--out", out, "--resume") == 0
    assert _results(out) == before
    assert _infer(two_series, "--model", model, "--out", out, "--resume", "--maps") == 2
    assert _infer(two_series / "other", "--model", model, "--out", out, "--resume") == 2


def test_resuming_never_returns_what_other_inputs_gave(
    model: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, twin = tmp_path / "out", tmp_path / "twin" / "study"
    twin.mkdir(parents=True)
    for file in study.iterdir():
        (twin / file.name).write_bytes(file.read_bytes())
    assert _infer(study, "--model", model, "--out", out) == 0
    assert _infer(twin, "--model", model, "--out", out, "--resume") == 2
    (out / "results.json").write_text("[]")
    assert _infer(study, "--model", model, "--out", out, "--resume") == 2
    assert "is damaged" in capsys.readouterr().err
    (out / "results.json").unlink()
    (out / output.JOURNAL).write_text("garbage\n")
    assert _infer(study, "--model", model, "--out", out, "--resume") == 2


def test_resuming_where_nothing_was_analysed_still_says_so(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "zero.png").touch()
    arguments = [tmp_path / "in", "--model", model, "--out", tmp_path / "out"]
    assert _infer(*arguments) == 3
    assert b"Nothing could be analysed" in (tmp_path / "out" / "report.html").read_bytes()
    assert _infer(*arguments, "--resume") == 3


def test_a_journal_whose_last_line_was_cut_off_is_continued(
    model: Path, two_series: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert _infer(two_series, "--model", model, "--out", whole) == 0
    detector = Detector(model, provider="cpu")
    inventory = sources.scan([two_series])
    cut.mkdir()
    journal = cut / output.JOURNAL

    class StopsAfterOne(BaseException):  # as a kill does: an Exception would cost its series alone
        pass

    def stop(path: Path, content: bytes, **how: Any) -> None:
        if "other" in str(path):
            raise StopsAfterOne
        write(path, content, **how)

    write = output.write_atomically
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "write_atomically", stop)
        with pytest.raises(StopsAfterOne):
            Run(detector, inventory, cut).write()
    assert len(journal.read_bytes().splitlines()) == 2
    with journal.open("ab") as stream:
        stream.write(b'{"series": [{"id": "cut of')
    assert _infer(two_series, "--model", model, "--out", cut, "--resume") == 0
    assert _comparable(cut) == _comparable(whole)
    assert (cut / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def test_pictures_of_the_report_that_were_lost_are_told_of(
    model: Path, two_series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, write = tmp_path / "out", output.write_atomically

    def stop(path: Path, content: bytes, **how: Any) -> None:
        if path.name == output.REPORT:
            raise OutputError("stopped")
        write(path, content, **how)

    monkeypatch.setattr(output, "write_atomically", stop)
    assert _infer(two_series, "--model", model, "--out", out) == 6
    monkeypatch.undo()
    (lost, _) = sorted((out / output.PICTURES).iterdir())
    lost.unlink()
    assert _infer(two_series, "--model", model, "--out", out, "--resume") == 2
    assert "is damaged; give --overwrite" in capsys.readouterr().err
    assert _infer(two_series, "--model", model, "--out", out, "--overwrite") == 0
    assert not (out / output.PICTURES).exists()


def test_who_was_examined_is_in_the_report_only_where_it_is_asked_for(
    model: Path, study: Path, tmp_path: Path
) -> None:
    study = study.rename(tmp_path / "DOE^JANE")
    out = tmp_path / "out"
    assert _infer(study, "--model", model, "--out", out) == 0
    assert b"DOE" not in (out / "report.html").read_bytes()
    assert _infer(study, "--model", model, "--out", out, "--resume", "--identify") == 2
    assert _infer(study, "--model", model, "--out", out, "--overwrite", "--identify") == 0
    assert b"DOE^JANE/1.png" in (out / "report.html").read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_can_be_resumed(
    model: Path, two_series: Path, tmp_path: Path
) -> None:
    for copy in range(80):
        folder = two_series / f"copy{copy}"
        folder.mkdir()
        for file in (two_series / "other").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gliomart.cli", "infer", str(two_series)]
    command += ["--model", str(model), "--out", str(out), "--provider", "cpu"]
    # Tests that run in the background ignore the signal, and so would what they start.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        while not (out / output.JOURNAL).exists() or (out / output.JOURNAL).stat().st_size < 5000:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1
    assert "--resume" in errors
    assert not list(out.rglob("*.partial"))
    whole = tmp_path / "whole"
    assert _infer(two_series, "--model", model, "--out", out, "--resume") == 0
    assert _infer(two_series, "--model", model, "--out", whole) == 0
    assert _comparable(out) == _comparable(whole)


def test_outputs_of_files_that_share_a_stem_stay_apart(
    model: Path, study: Path, tmp_path: Path
) -> None:
    pixels = cv2.imread(str(study / "1.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(study / "1.jpg"), pixels)
    cv2.imwrite(str(study / "1.png.tif"), pixels)
    cv2.imwrite(str(study / ("long" * 60 + ".png")), pixels)
    out = tmp_path / "out"
    assert _infer(study, "--model", model, "--out", out, "--overlays", "all") == 0
    overlays = [entry["overlay"] for entry in _results(out)["slices"]]
    assert len(set(overlays)) == 9
    assert all((out / overlay).is_file() for overlay in overlays)
    assert {"overlays/study/1.png.png", "overlays/study/1.jpg.png"} < set(overlays)


@pytest.mark.parametrize(
    ("which", "written"),
    [(None, {"3", "4"}), ("flagged", {"3", "4"}), ("none", set()),
     ("all", {"1", "2", "3", "4", "5", "6"})],
)  # fmt: skip
def test_overlays_are_written_of_what_is_asked_for(
    model: Path, study: Path, tmp_path: Path, which: str | None, written: set[str]
) -> None:
    out = tmp_path / "out"
    asked = ["--overlays", which] if which else []
    assert _infer(study, "--model", model, "--out", out, *asked) == 0
    assert {path.stem for path in out.glob("overlays/study/*.png")} == written
    for entry in _results(out)["slices"]:
        expected = f"overlays/{Path(entry['source']).with_suffix('.png')}"
        assert entry["overlay"] == (expected if Path(entry["source"]).stem in written else None)


def test_a_write_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OutputError):
        output.write_atomically(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_model_may_be_the_wrong_size_for_nothing(tmp_path: Path, study: Path) -> None:
    small = tiny_model(tmp_path / "small.onnx", size=128)
    assert _infer(study, "--model", small, "--out", tmp_path / "out") == 4
