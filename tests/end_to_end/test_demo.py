"""The main job, on the model and the study that come along."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gliomart import Detector, bench, cli
from gliomart.bench import fresh, load
from gliomart.bench.stages import STAGES
from gliomart.model.built_in import default_model
from samples import GOLDEN, SHARED, needs_real_images

FLAIR = SHARED / "dicom" / "flair_axial_lgg"


def test_the_demo_flags_the_lesion_slices_and_not_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["demo", "--out", str(out), "--provider", "cpu"]) == 0
    document = json.loads((out / "results.json").read_text())
    with (GOLDEN / "lesion.csv").open(newline="") as stream:
        lesion = [row["lesion"] == "1" for row in csv.DictReader(stream)]
    flagged = [entry["flagged"] for entry in document["slices"]]
    assert len(flagged) == len(lesion) == 24
    for number, (found, shown) in enumerate(zip(flagged, lesion, strict=True)):
        # The lesion's soft margin fades into the slices beside it, and a slice is scored with two
        # on either side.
        assert found == shown or (found and any(lesion[max(number - 2, 0) : number + 3]))
    (series,) = document["series"]
    assert series["flagged"]
    assert series["pons"]["coverage"] == "pons covered"
    assert series["pons"]["flagged"]
    with (GOLDEN / "lesion.csv").open(newline="") as stream:
        pons = [int(row["pons_pixels"]) for row in csv.DictReader(stream)]
    for entry, pixels in zip(document["slices"], pons, strict=True):
        if pixels > 0.8 * max(pons):
            assert entry["pons"]["flagged"]
            left, top, right, bottom = entry["pons"]["box"]
            assert 0.6 < np.pi / 4 * (right - left) * (bottom - top) / pixels < 1.4
        elif pixels == 0:
            assert not entry["pons"]["visible"]
    sheet = cv2.imread(str(out / series["overview"]))
    assert sheet.shape == (4 * 192, 6 * 192, 3)


@pytest.mark.parametrize(
    ("name", "precision", "largest", "parity"),
    [("flair-dae.onnx", "int8", 1.6e6, 0.05), ("flair-dae-fp32.onnx", "fp32", 5e6, 1e-5)],
)
def test_a_built_in_model_is_small_and_says_what_it_is(
    name: str, precision: str, largest: float, parity: float
) -> None:
    file = default_model().with_name(name)
    assert file.stat().st_size <= largest
    card = Detector(file, provider="cpu").card
    assert (card.name, card.version, card.network["precision"]) == ("flair-dae", "7", precision)
    assert "not a medical device" in card.intended_use.lower()
    assert "CC BY-NC-SA 4.0" in card.licence
    assert max(card.parity.values()) <= parity
    assert card.calibration is not None
    assert card.calibration.patients >= 19  # fewer cannot judge a series at 5 %
    assert card.metrics["method"]["slice_auroc"]["interval"]


def test_info_shows_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Not a medical device" in shown
    assert re.search(r"slice AUROC +0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]", shown)
    assert "Runs here on CPUExecutionProvider" in shown
    assert re.search("not on cuda: .+", shown)
    assert cli.main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "flair-dae"


def test_bench_measures_every_stage_and_holds_budgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "_STARTS", 1)
    monkeypatch.setattr(load, "_BLOCKS", 1)
    budgets = tmp_path / "budgets.toml"
    line = '[[budget]]\nfigure = "ms.slice.p95"\nat_most = {}\nreason = "a test"\n'
    arguments = ["bench", str(GOLDEN), "--repeats", "1", "--provider", "cpu", "--json"]

    # Where a budget asks for figures beside a busy process, they are measured.
    beside = line.format(1e6).replace("ms.slice", "load.slice.loaded")
    budgets.write_text(line.format(1e6) + beside)
    assert cli.main([*arguments, "--budget", str(budgets)]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(report["ms"]) == {*STAGES, "slice"}
    assert report["study"] == {
        "name": "golden",
        "slices": 23,  # each by itself: the last shows a piece of scalp, which is no head
        "pixels": [256, 256],
        "repeats": 1,
    }
    assert report["series"]["slices"] == 24
    assert report["load"]["model"]["p99_loaded_by_p50_idle"] > 0
    assert 20 < report["peak_memory_mb"] < 2000
    assert "cold start" in bench.table(report)

    budgets.write_text(line.format(1e-6))
    out = tmp_path / "report.json"
    assert cli.main([*arguments, "--budget", str(budgets), "--out", str(out)]) == 9
    assert json.loads(out.read_text())["model"] == report["model"]  # kept all the same
    assert "ms.slice.p95" in capsys.readouterr().err
    assert cli.main([*arguments, "--budget", str(tmp_path / "none.toml")]) == 2


def test_the_runtime_never_imports_what_it_does_not_need() -> None:
    code = (
        "import sys; from gliomart import Detector;"
        f"Detector(provider='cpu').detect({str(GOLDEN / 'slice_005.dcm')!r});"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'matplotlib', 'onnx',"
        " 'gliomart_training') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@needs_real_images
def test_every_real_slice_is_accounted_for_and_only_blank_ones_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["infer", str(FLAIR), "--out", str(out), "--provider", "cpu"]) == 0
    document = json.loads((out / "results.json").read_text())
    assert len(document["slices"]) + len(document["not_analysed"]) == 73
    assert {entry["code"] for entry in document["not_analysed"]} <= {"blank-slice"}
    assert len(document["series"]) == 3
    for entry in document["slices"]:
        assert (entry["overlay"] is not None) == entry["flagged"]
        assert not entry["flagged"] or (out / entry["overlay"]).is_file()
