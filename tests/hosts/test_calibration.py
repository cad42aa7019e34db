"""Networks of few patients: they are calibrated on them, evaluated and drawn all the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from samples import card, marked_scans, tiny_model

keras = pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")
pytest.importorskip("sklearn", reason="needs the extra: evaluate")

from dataclasses import replace  # noqa: E402

from gliomart import Detector, cli  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import networks, training  # noqa: E402
from gliomart_training.batches import Variation  # noqa: E402
from gliomart_training.plan import Plan  # noqa: E402
from gliomart_training.recipe import BrainRecipe, PonsRecipe  # noqa: E402


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return marked_scans(tmp_path / "scans", blank=True)


@pytest.mark.slow
def test_what_was_trained_on_three_patients_is_exported_evaluated_and_drawn(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, model = tmp_path / "own.keras", tmp_path / "own.onnx"
    recipe = replace(networks.network("dae").recipe, epochs=1, batch_size=64)
    spec, pons, brain = Preprocessing(size=64), PonsRecipe(), BrainRecipe(steps=2, heads=1)
    training.run(Plan(scans, None, network, recipe, brain, pons, spec, Variation(), folds=3))
    assert cli.main(["export", str(network), str(model)]) == 0
    assert "calibrated on 15 scores of tumour-free slices of 3 patients" in capsys.readouterr().out
    assert len(Detector(model, provider="cpu").calibration.slice_scores) == 15
    for measured in (["--model", model], ["--held-out", tmp_path / "own.run"]):
        plots = tmp_path / f"plots{len(measured[0])}"
        command = ["evaluate", scans, *measured, "--plots", plots, "--bootstrap", "5", "--json"]
        assert cli.main([str(part) for part in command]) == 0
        assert json.loads(capsys.readouterr().out)
        assert (plots / "scores.png").stat().st_size > 1000


def test_a_model_that_can_flag_nothing_is_drawn(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = card().calibration
    assert usual is not None
    few = card(calibration=replace(usual, slice_scores=(0.1, 0.2)))
    model = tiny_model(tmp_path / "tiny.onnx", metadata={"gliomart": few.to_json()})
    command = ["evaluate", scans, "--model", model, "--plots", tmp_path / "plots"]
    assert cli.main([*map(str, command), "--bootstrap", "5"]) == 0
    assert (tmp_path / "plots" / "scores.png").stat().st_size > 1000
    assert "internal error" not in capsys.readouterr().err


def test_figures_and_plots_that_take_each_others_place_are_refused_before_work_begins(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "results")
    assert cli.main(["evaluate", str(scans), "--out", place, "--plots", place]) == 2
    assert "both a file (--out) and a folder (--plots)" in capsys.readouterr().err


def test_a_dataset_of_blank_images_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.zeros((64, 64), np.uint8))
    (tmp_path / "index.csv").write_text("image,mask,patient\nblank.png,,a\n")
    assert cli.main(["evaluate", str(tmp_path)]) == 8
    assert "blank-slice: every pixel has the same value" in capsys.readouterr().err
