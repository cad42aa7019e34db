"""An examination of FLAIR and T1 from the shell: which model sees it, and what is told of that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from examinations import moved, series, t1


def gliomart(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gliomart", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examination") / "study"
    return t1(series(folder, "flair"))


def test_auto_takes_the_model_that_sees_t1_and_says_so(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = gliomart("infer", study, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1 series with another sequence beside it: flair-t1-dae" in done.stderr
    document = json.loads((out / "results.json").read_text())
    assert document["model"]["name"] == "flair-t1-dae"
    (only,) = document["series"]
    assert [note["code"] for note in only["notes"]] == ["seen-together"]
    assert only["sequence"] == "FLAIR"
    assert len(document["slices"]) == 24
    assert not document["not_analysed"]
    assert [(each["sequence"], each["seen"]) for each in only["companions"]] == [("T1", True)]
    assert '<th scope="row">T1</th>' in (out / "report.html").read_text()


def test_flair_alone_can_be_asked_for(study: Path, tmp_path: Path) -> None:
    done = gliomart("infer", study, "--out", tmp_path / "out", "--model", "flair-dae")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["model"]["name"] == "flair-dae"
    assert {item["code"] for item in document["not_analysed"]} == {"wrong-sequence"}
    assert len(document["not_analysed"]) == 24


def test_flair_by_itself_is_seen_alike_by_both_models(tmp_path: Path) -> None:
    folder = series(tmp_path / "study", "flair")
    scores = []
    for name in ("flair-dae", "flair-t1-dae"):
        done = gliomart("infer", folder, "--out", tmp_path / name, "--model", name)
        assert done.returncode == 0, done.stderr
        document = json.loads((tmp_path / name / "results.json").read_text())
        scores.append([each["score"] for each in document["slices"]])
    # Both compute in integers, whose steps were chosen for each.
    assert scores[0] == pytest.approx(scores[1], rel=0.1, abs=0.01)


def test_t1_that_moved_is_left_out_by_name(tmp_path: Path) -> None:
    folder = t1(series(tmp_path / "study", "flair"), moved(x=9))
    done = gliomart("infer", folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "not-aligned" in done.stdout
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    (only,) = document["series"]
    assert [note["code"] for note in only["notes"]] == ["left-out"]
    assert [each["code"] for each in only["companions"]] == ["not-aligned"]
    assert done.stdout.count("not-aligned") == 1


def test_a_name_that_is_no_model_is_refused_in_one_line(study: Path, tmp_path: Path) -> None:
    done = gliomart("infer", study, "--out", tmp_path / "out", "--model", "flair-t2-dae")
    assert done.returncode not in {0, 1}
    assert done.stderr.strip().splitlines()[-1] == "gliomart: flair-t2-dae: no such model file"


def test_info_lists_the_models_and_shows_one_by_its_name() -> None:
    listed = gliomart("info").stdout
    assert "flair-t1-dae: FLAIR, and where they are there T1 and T1C" in listed
    shown = gliomart("info", "flair-t1-dae").stdout
    assert "flair-t1-dae" in shown
    assert "T1 (MR)" in shown
