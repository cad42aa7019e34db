"""An evaluation of the pons, by a model that looks for it in one place and sees brightness."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gliomart import cli
from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart_training import dataset
from gliomart_training.evaluation import (
    lesions,
    pons_evaluation,
    pons_outcomes,
    pons_plot,
    pons_table,
)
from gliomart_training.evaluation.metrics import Bootstrap, Resamples
from gliomart_training.evaluation.panel import Candidate
from gliomart_training.evaluation.pons_outcomes import BASELINES, MODEL, PonsOutcome, Truth
from samples import draw_head, tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Where the frame of these heads puts what tiny_model takes for the pons: centre and radius.
PONS = (129, 158, 14.1)
MARKED = (3, 4)
SLICES = 10
PATIENTS = ("one", "two", "unmarked")
# Some of the kinds of lesion, at least one of each that the plot draws.
ROWS = tuple(
    row
    for row in lesions.ROWS
    if row.fraction == 1.0 or row.expansion == 1.6 or (row.fraction, row.signal) == (0.25, 0.15)
)


def evaluate(data: Path, model: Path) -> dict[str, Any]:
    candidate = Candidate(data, model, split="dev", provider="cpu")
    return pons_evaluation.evaluate(candidate, Bootstrap(50, 0))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients; where the pons is not marked, there is no brain where it would be."""
    folder = tmp_path_factory.mktemp("data")
    index, marks = [("image", "mask", "patient", "split")], [("image", "cx", "cy", "rx", "ry")]
    for seed, patient in enumerate(PATIENTS):
        for number in range(SLICES):
            name = f"{patient}-{number}.png"
            head = draw_head(seed=SLICES * seed + number) / 5
            if number in MARKED and patient != "unmarked":
                marks.append((name, *map(str, (*PONS[:2], PONS[2], PONS[2]))))
            else:
                cv2.circle(head, PONS[:2], 26, 0, cv2.FILLED)
            cv2.imwrite(str(folder / name), head.clip(0, 255).astype(np.uint8))
            index.append((name, "", patient, "dev"))
    for table, rows in (("index.csv", index), ("pons.csv", marks)):
        _write(folder / table, rows)
    return folder


def _write(table: Path, rows: Sequence[tuple[str, ...]]) -> None:
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture(scope="module", autouse=True)
def few_rows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pons_evaluation, "ROWS", ROWS)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", pons=True)


@pytest.fixture(scope="module")
def result(data: Path, model: Path) -> dict[str, Any]:
    return evaluate(data, model)


def _row(result: dict[str, Any], **wanted: object) -> dict[str, Any]:
    (row,) = [r for r in result["rows"] if all(r[name] == v for name, v in wanted.items())]
    return row  # type: ignore[no-any-return]


def test_where_the_pons_is(result: dict[str, Any]) -> None:
    location = {name: figure["value"] for name, figure in result["location"].items()}
    assert location["centre_within_6_px"] == 1
    assert location["dice"] > 0.93
    assert location["visible_auroc"] == 1
    assert (location["visible_where_marked"], location["visible_where_clear"]) == (1, 0)
    counts = result["dataset"]["counts"]
    assert (counts["patients"], counts["patients_with_pons"], counts["marked_slices"]) == (3, 2, 4)
    # Above .6 of ten slices, 6 to 9, of everybody; below, 0 and 1, where marks tell where that is.
    assert counts["clear_slices"] == 3 * 4 + 2 * 2


def test_every_kind_of_lesion_has_its_row(result: dict[str, Any]) -> None:
    assert [row["name"] for row in result["rows"]] == [row.name for row in ROWS]
    assert {row["slices"] for row in result["rows"]} == {4}
    for row in result["rows"]:
        assert set(row["columns"]) == {MODEL, *BASELINES}
        assert (row["dice"]["value"] is None) == (row["arm"] == "swollen")


def test_what_is_bright_is_found_and_what_is_brighter_is_found_better(
    result: dict[str, Any],
) -> None:
    faint, bright = (
        _row(result, arm="swollen and bright", fraction=1.0, signal=signal)
        for signal in (0.15, 0.6)
    )
    assert bright["columns"][MODEL]["auroc"]["value"] == 1
    assert bright["columns"][MODEL]["sensitivity_at_95_specificity"]["value"] == 1
    assert bright["flagged"]["value"] == bright["series_flagged"]["value"] == 1
    assert bright["dice"]["value"] > 0.5
    assert faint["dice"]["value"] < bright["dice"]["value"]
    # This model is blind to swelling, which moves neither its pons nor its brightness.
    swollen = _row(result, arm="swollen", expansion=1.6)
    assert swollen["flagged"]["value"] == 0
    assert result["untouched"]["flagged"]["value"] == 0


def test_figures_are_those_of_scores_taken_one_by_one(
    result: dict[str, Any], data: Path, model: Path
) -> None:
    row = next(row for row in ROWS if row.name == "swollen and bright, 25% at +15%")
    detector = Detector(model, provider="cpu")
    truths, scores = [], []
    for patient in dataset.load(data, "dev"):
        marks = {n: e.pons for n, e in enumerate(patient.examples) if e.pons}
        with_lesions, _ = lesions.with_lesions(patient, row)
        for series, slices in ((False, patient.slices), (True, with_lesions)):
            analysed = detector.detect_series(slices)
            for number in marks:
                seen = analysed.slices[number].pons
                assert seen is not None
                truths.append(series)
                scores.append(seen.score)
    figure = _row(result, name=row.name)["columns"][MODEL]["auroc"]
    assert figure["value"] == pytest.approx(roc_auc_score(truths, scores))


def test_a_patient_keeps_a_lesion_through_the_slices_and_rows_differ() -> None:
    row, other = lesions.ROWS[:2]
    assert row.generator("one").random() == row.generator("one").random()
    assert row.generator("one").random() != row.generator("two").random()
    assert row.generator("one").random() != other.generator("one").random()


def test_a_pons_that_is_not_found_ranks_last_and_counts(data: Path, model: Path) -> None:
    (patient, *_) = dataset.load(data, "dev")
    detector = Detector(model, provider="cpu")
    blind = detector.detect_series([s for n, s in enumerate(patient.slices) if n not in MARKED])
    truth = np.zeros((256, 256), bool)
    truth[140:160, 120:140] = True
    known = {MARKED[0]: Truth(truth, truth)}
    (found,) = pons_outcomes.compared(patient, blind, known, detector.card)
    assert (found.visible, found.flagged, found.lesion_dice, found.dice) == (False, False, 0, 0)
    assert set(found.scores.values()) == {pons_outcomes._NOT_FOUND}
    seen = replace(found, visible=True, scores=dict.fromkeys(found.scores, -50.0))
    outcome = PonsOutcome([seen], lesions=[[found]], marked=[], clear=[], series=[False, False])
    figures = pons_evaluation.PonsFigures([outcome, outcome], Resamples.draw(2, 10, seed=0))
    row = figures.row(ROWS[0], 0)
    assert row["columns"][MODEL]["auroc"]["value"] == 0
    assert row["visible"]["value"] == 0


def test_baselines_see_what_they_say(data: Path, model: Path) -> None:
    detector = Detector(model, provider="cpu")
    patient, *_ = dataset.load(data, "dev")
    usual = detector.detect(patient.slices[MARKED[0]].pixels)
    brighter = patient.slices[MARKED[0]].pixels.copy()
    cv2.circle(brighter, PONS[:2], 16, 120, cv2.FILLED)
    lesion = detector.detect(brighter)
    values = {
        name: (baseline(usual, detector.card), baseline(lesion, detector.card))
        for name, baseline in BASELINES.items()
    }
    assert values["relative to cerebellum"][0] == pytest.approx(1, abs=0.05)
    assert values["relative to cerebellum"][1] == pytest.approx(1.5, abs=0.1)
    assert values["rank in the brain"][0] == pytest.approx(0.5, abs=0.1)
    assert values["rank in the brain"][1] > 0.95


def test_the_result_is_json_and_a_table_and_a_plot(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    table = pons_table.table(result)
    for row in result["rows"]:
        assert row["name"] in table
    assert "not the sensitivity to any disease" in table
    plot = cv2.imdecode(np.frombuffer(pons_plot.plot(result), np.uint8), cv2.IMREAD_COLOR)
    assert plot.shape[1] > 1000


def test_the_seed_decides_the_intervals_and_nothing_else(
    result: dict[str, Any], data: Path, model: Path
) -> None:
    again = evaluate(data, model)
    assert again | {"seconds": None} == result | {"seconds": None}


def test_what_cannot_be_measured_says_why(data: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not trained to find the pons"):
        evaluate(data, tiny_model(tmp_path / "blind.onnx"))
    for file in data.glob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "index.csv").write_bytes((data / "index.csv").read_bytes())
    with pytest.raises(DatasetError, match=r"no pons\.csv"):
        evaluate(tmp_path, model)


def test_the_command(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, plots = tmp_path / "a.json", tmp_path / "plots"
    command = ["evaluate", str(data), "--pons", "--model", str(model), "--provider", "cpu"]
    command += ["--bootstrap", "20", "--out", str(figures), "--plots", str(plots)]
    assert cli.main(command) == 0
    assert "swollen ×1.6" in capsys.readouterr().out
    assert json.loads(figures.read_text())["bootstrap"]["resamples"] == 20
    assert cv2.imread(str(plots / "pons.png")) is not None
    assert cv2.imread(str(plots / "lesions.png")).shape[1] > 1000
    assert cli.main([*command[:3], "--compare", str(model), str(model)]) == 2


def test_no_training_framework_is_imported() -> None:
    check = (
        "import sys; from gliomart_training.evaluation import lesions, pons_evaluation, pons_table;"
        " assert not {'tensorflow', 'keras', 'torch', 'jax', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
