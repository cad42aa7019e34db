"""An evaluation of a model that sees brightness, on heads whose tumours are known."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.findings.scoring import averaged, slice_score
from gliomart_training import dataset
from gliomart_training.evaluation import evaluation, text_table
from gliomart_training.evaluation.baselines import BASELINES, of_series
from gliomart_training.evaluation.boundary import compare_outlines
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.outcomes import COLUMNS, MODEL, observe
from gliomart_training.evaluation.panel import Candidate
from gliomart_training.patients import results_of_examples
from heads import (
    BLANK,
    CALIBRATION,
    SIZE,
    SLICES,
    TUMOURS,
    write_departure_model,
    write_heads,
    write_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "brightness.onnx")


def evaluate(
    data: Path, model: Path, *, split: str | None = "dev", seed: int = 0
) -> dict[str, Any]:
    candidate = Candidate(data, model, split=split, provider="cpu")
    return evaluation.evaluate(candidate, Bootstrap(50, seed))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def result(data: Path, model: Path) -> dict[str, Any]:
    return evaluate(data, model)


class TheLongWay:
    """All maps at once, for the same figures the long way."""

    def __init__(self, data: Path, model: Path) -> None:
        detector = Detector(model, provider="cpu")
        truths, maps, masks, slices = [], [], [], []
        for patient in dataset.load(data, "dev"):
            analysed = {r.slice.source: r for r in detector.detect_series(patient.slices).slices}
            for example in patient.examples:
                found = analysed.get(example.slice.source)
                truth = example.truth()
                truths.append(truth)
                maps.append(found.anomaly_map if found else np.zeros(truth.shape))
                masks.append(found.mask if found else np.zeros_like(truth))
                if truth.any():
                    slices.append((True, found.score if found else -1, found and found.flagged))
                elif example.tumour_free and found:
                    slices.append((False, found.score, found.flagged))
        self.truths, self.maps, self.masks = np.array(truths), np.array(maps), np.array(masks)
        self.tumour = np.array([tumour for tumour, _, _ in slices])
        self.scores = np.array([score for _, score, _ in slices])
        self.flagged = np.array([bool(flagged) for _, _, flagged in slices])


@pytest.fixture(scope="module")
def literal(data: Path, model: Path) -> TheLongWay:
    return TheLongWay(data, model)


def test_pixel_figures(result: dict[str, Any], literal: TheLongWay) -> None:
    method = result["method"]
    exact = average_precision_score(literal.truths.ravel(), literal.maps.ravel())
    assert method["pixel_average_precision"]["value"] == pytest.approx(exact, abs=1e-3)
    both = (literal.masks & literal.truths).sum((1, 2))
    dice = 2 * both / (literal.masks.sum((1, 2)) + literal.truths.sum((1, 2))).clip(1)
    pooled = 2 * both.sum() / (literal.masks.sum() + literal.truths.sum())
    marked = literal.truths.any((1, 2))
    assert 0.1 < pooled < 0.95
    assert method["dice"]["value"] == pytest.approx(pooled, abs=1e-6)
    assert method["dice_per_tumour_slice"]["value"] == pytest.approx(dice[marked].mean(), abs=1e-6)
    assert method["best_dice_oracle"]["value"] > pooled - 0.01


def test_boundary_figures(result: dict[str, Any], literal: TheLongWay) -> None:
    method = result["method"]
    pairs = zip(literal.masks, literal.truths, strict=True)
    compared = [compare_outlines(mask, truth) for mask, truth in pairs if truth.any()]
    outlined = [outlines for outlines in compared if outlines]
    # The slice that was refused is not outlined: it has an F1 of 0, and no distance.
    assert (len(outlined), len(compared)) == (4, 5)
    measured = {
        "boundary_f1": sum(outlines.f1 for outlines in outlined) / 5,
        "hausdorff_95_px": sum(outlines.hausdorff_95_px for outlines in outlined) / 4,
        "tumour_slices_outlined": 4 / 5,
    }
    for name, exact in measured.items():
        assert method[name]["value"] == pytest.approx(exact, abs=1e-6)
        low, high = method[name]["interval"]
        assert low <= method[name]["value"] <= high


def test_slice_figures(result: dict[str, Any], literal: TheLongWay) -> None:
    method = result["method"]
    measured = {
        "slice_auroc": roc_auc_score(literal.tumour, literal.scores),
        "slice_average_precision": average_precision_score(literal.tumour, literal.scores),
        "flag_sensitivity": literal.flagged[literal.tumour].mean(),
    }
    for name, exact in measured.items():
        assert method[name]["value"] == pytest.approx(exact, abs=1e-6)
    realised = result["false_alarm"]["realised"]["value"]
    assert realised == pytest.approx(literal.flagged[~literal.tumour].mean(), abs=1e-6)
    assert result["false_alarm"]["nominal"] == 0.05


def test_counts_and_base_rates(result: dict[str, Any], literal: TheLongWay) -> None:
    assert result["dataset"]["counts"] == {
        "patients": 3,
        "patients_with_tumour": 2,
        "slices": 3 * SLICES,
        "analysed": 3 * (SLICES - 2),
        "refused": {"blank-slice": 6},
        "tumour_slices": 5,
        "refused_tumour_slices": 1,
        # One: 0 and 9 to 11; two: 8, 9; three: 0 to 11; the rest lies beside.
        "tumour_free_slices": 4 + 2 + 12,
        "beside_tumour_slices": 6 + 8,
    }
    rates = result["dataset"]["base_rates"]
    assert rates["pixels"] == pytest.approx(literal.truths.mean())
    assert rates["slices"] == pytest.approx(literal.tumour.mean())


def test_a_refused_tumour_slice_is_missed(data: Path, model: Path) -> None:
    two = dataset.load(data, "dev")[1]
    outcome = observe(two, Detector(model, provider="cpu"))
    refused = outcome.slices[-1]
    assert (refused.kind, refused.analysed, refused.flagged) == ("tumour", False, False)
    assert refused.found == refused.false == 0
    assert refused.missed == two.examples[-1].truth().sum() > 0
    assert refused.dice == 0
    for column in COLUMNS:
        assert refused.scores[column] < min(s.scores[column] for s in outcome.slices[:-1])


def test_every_pixel_is_counted_once_in_every_column(data: Path, model: Path) -> None:
    patient = dataset.load(data, "dev")[0]
    outcome = observe(patient, Detector(model, provider="cpu"))
    for counted in outcome.pixels.values():
        assert counted.sum() == len(patient.examples) * SIZE * SIZE
        assert counted[:, 1].sum() == sum(example.truth().sum() for example in patient.examples)


def test_thirds_count_slices_that_could_not_be_read(data: Path, model: Path) -> None:
    outcome = observe(dataset.load(data, "dev")[0], Detector(model, provider="cpu"))
    expected = [3 * number // SLICES for number in range(SLICES) if number != BLANK]
    assert [s.third for s in outcome.slices] == expected


def test_heights_are_rows_of_their_own(result: dict[str, Any]) -> None:
    heights = result["heights"]
    assert list(heights) == ["lowest third", "middle third", "upper third"]
    assert sum(third["tumour_slices"] for third in heights.values()) == 5
    assert sum(third["tumour_free_slices"] for third in heights.values()) == 18
    for third in heights.values():
        assert list(third["columns"]) == list(COLUMNS)
    # The only tumour of the upper third was refused.
    missed = heights["upper third"]["columns"][MODEL]
    assert missed["slice_auroc"]["value"] == 0
    assert heights["upper third"]["flag_sensitivity"]["value"] == 0


def test_series(result: dict[str, Any]) -> None:
    series = result["series"]
    assert series["sensitivity"]["value"] == 1
    assert series["judged"] == {"with_tumour": 2, "tumour_free": 3}
    assert series["not_judged"] == {"with_tumour": 0, "tumour_free": 0}
    rows = result["patients"]
    assert [row["patient"] for row in rows] == list(TUMOURS)
    alarms = [row["false_alarm"] for row in rows]
    assert series["false_alarm"]["value"] == pytest.approx(np.mean(alarms), abs=1e-6)
    # Without a tumour, the whole series is the tumour-free part of it.
    assert rows[2]["flagged"] == rows[2]["false_alarm"]


def test_too_few_patients_to_judge_a_series_are_told(data: Path, tmp_path: Path) -> None:
    few = replace(CALIBRATION, series_scores=(0.1, 0.2, 0.3), patients=3)
    result = evaluate(data, write_model(tmp_path / "few.onnx", few))
    assert result["series"]["sensitivity"] == {"value": None, "interval": None}
    assert result["series"]["not_judged"] == {"with_tumour": 2, "tumour_free": 3}
    assert "0 judged, 2 not" in text_table.table(result)


def test_baselines_are_measured_alike(result: dict[str, Any]) -> None:
    ranking = result["method"].keys() - {
        "dice", "dice_per_tumour_slice", "boundary_f1", "hausdorff_95_px",
        "tumour_slices_outlined", "flag_sensitivity",
    }  # fmt: skip
    assert list(result["baselines"]) == list(COLUMNS[1:])
    for figures in result["baselines"].values():
        assert figures.keys() == ranking
        assert all(0 <= figure["value"] <= 1 for figure in figures.values())
        for figure in figures.values():
            low, high = figure["interval"]
            assert 0 <= low <= high <= 1


def test_the_model_is_set_against_the_strongest_baseline(result: dict[str, Any]) -> None:
    lead, baseline = result["less_baseline"], "equalised and smoothed"
    assert lead["baseline"] == baseline
    sides = [(lead["figures"], result["method"], result["baselines"][baseline])]
    for third, figures in lead["heights"].items():
        columns = result["heights"][third]["columns"]
        sides.append((figures, columns[MODEL], columns[baseline]))
    for figures, of_model, of_baseline in sides:
        for name, difference in figures.items():
            if difference["value"] is None:
                continue
            exact = of_model[name]["value"] - of_baseline[name]["value"]
            assert difference["value"] == pytest.approx(exact, abs=2e-6)
            low, high = difference["interval"]
            assert low <= high
    assert f"model less {baseline}" in text_table.table(result)  # type: ignore[arg-type]


def test_baselines_are_scored_with_the_neighbours_that_the_model_has(
    data: Path, model: Path
) -> None:
    patient = dataset.load(data, "dev")[0]
    detector = Detector(model, provider="cpu")
    results = results_of_examples(patient, detector.detect_series(patient.slices))
    weights = (0.25, 0.5, 0.25)
    beside = replace(detector.card, scoring=replace(detector.card.scoring, neighbours=weights))
    for name, baseline in BASELINES.items():
        maps = [r and baseline(r, beside).counted for r in results]
        scored = of_series(name, results, beside)
        assert [each is None for each in scored] == [r is None for r in results]
        for number in (0, 4, len(maps) - 1):
            around = [
                maps[n] if 0 <= n < len(maps) else None for n in range(number - 1, number + 2)
            ]
            found = scored[number]
            if found is not None:
                expected = slice_score(averaged(around, weights), beside.scoring)
                assert found.score == pytest.approx(expected)
                alone = of_series(name, results, detector.card)[number]
                assert alone is not None
                assert np.array_equal(alone.map, found.map)
                assert alone.score != found.score


def test_patients_can_be_paired(result: dict[str, Any], literal: TheLongWay) -> None:
    rows = result["patients"]
    assert [row["tumour_slices"] for row in rows] == [2, 3, 0]
    assert [row["refused"] for row in rows] == [2, 2, 2]
    assert sum(row["tumour_pixels"] for row in rows) == literal.truths.sum()
    assert rows[2]["dice"] is None
    assert rows[2]["pixel_average_precision"][MODEL] is None
    assert rows[0]["dice"] > rows[1]["dice"] > 0
    exact = average_precision_score(literal.truths[:13].ravel(), literal.maps[:13].ravel())
    assert rows[0]["pixel_average_precision"][MODEL] == pytest.approx(exact, abs=1e-3)


def test_the_result_is_json_and_says_what_was_run(result: dict[str, Any], data: Path) -> None:
    again = json.loads(json.dumps(result, allow_nan=False))
    assert again == result
    assert again["schema"] == 1
    assert again["model"]["name"] == "brightness"
    assert len(again["model"]["sha256"]) == 64
    assert again["provider"]["requested"] == "cpu"
    assert again["provider"]["effective"] == "CPUExecutionProvider"
    assert (again["dataset"]["folder"], again["dataset"]["split"]) == (data.name, "dev")
    assert str(data.parent) not in json.dumps(result)


def test_the_seed_decides(data: Path, model: Path, result: dict[str, Any]) -> None:
    again, other = evaluate(data, model), evaluate(data, model, seed=1)
    assert again | {"seconds": None} == result | {"seconds": None}
    assert other["method"]["dice"]["value"] == result["method"]["dice"]["value"]
    assert other["method"]["dice"]["interval"] != result["method"]["dice"]["interval"]


def test_the_table_is_for_people(result: dict[str, Any]) -> None:
    table = text_table.table(result)
    assert "best Dice (oracle)" in table
    assert "brightness 1.2.3" in table
    assert "with a tumour: 1" in table
    assert "boundary F1 within 2 px" in table
    for name in (*result["baselines"], *result["heights"]):
        assert name in table
    dice = result["method"]["dice"]
    low, high = dice["interval"]
    assert f"{dice['value']:.3f} [{low:.3f}, {high:.3f}]" in table
    assert max(map(len, table.splitlines())) < 130


def rewrite(data: Path, folder: Path, keep: Callable[[str], bool]) -> Path:
    """Write an index of those of the dataset's slices whose mask is to be kept."""
    with (data / "index.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(header)
        for image, mask, *rest in rows:
            if keep(mask):
                csv.writer(stream).writerow([data / image, mask and data / mask, *rest])
    return folder


@pytest.mark.parametrize(
    ("keep", "reason"),
    [(lambda mask: not mask, "no slice has a tumour mask"), (bool, "no slice is far")],
)
def test_nothing_to_evaluate_against(
    data: Path, model: Path, tmp_path: Path, keep: Callable[[str], bool], reason: str
) -> None:
    with pytest.raises(DatasetError, match=f"nothing to evaluate against, {reason}") as error:
        evaluate(rewrite(data, tmp_path, keep), model)
    assert "\n" not in str(error.value)


def test_a_dataset_without_an_index_has_no_masks(data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "head.png").write_bytes((data / "one-00.png").read_bytes())
    with pytest.raises(DatasetError, match="nothing to evaluate against"):
        evaluate(tmp_path, model, split=None)


def test_a_patient_of_whom_nothing_can_be_read_is_counted(
    data: Path, model: Path, tmp_path: Path
) -> None:
    folder = rewrite(data, tmp_path, lambda _: True)
    (folder / "blank.png").write_bytes((data / f"one-{BLANK}.png").read_bytes())
    with (folder / "index.csv").open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(["blank.png", "", "dev", "four"])
    result = evaluate(folder, model)
    assert result["dataset"]["counts"]["patients"] == 4
    assert result["dataset"]["counts"]["refused"] == {"blank-slice": 7}
    assert result["series"]["not_judged"] == {"with_tumour": 0, "tumour_free": 1}
    assert result["patients"][3]["score"] is None


def test_masks_that_mark_nothing_are_no_masks(data: Path, model: Path, tmp_path: Path) -> None:
    folder = rewrite(data, tmp_path, lambda mask: not mask)
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((SIZE, SIZE), np.uint8))
    with (folder / "index.csv").open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow([data / "one-04.png", "empty.png", "dev", "one"])
    with pytest.raises(DatasetError, match="no slice has a tumour mask"):
        evaluate(folder, model)


def test_no_training_framework_is_imported() -> None:
    check = (
        "import sys; from gliomart_training.evaluation import evaluation, text_table;"
        " assert not {'tensorflow', 'keras', 'torch', 'jax'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.filterwarnings("error:Attempt to set non-positive")
@pytest.mark.parametrize("threshold", [300.0, 0.0])
def test_a_map_without_gate_reconstruction_and_smoothing_is_measured_and_drawn(
    threshold: float, data: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra gliomart[evaluate]")
    healthy = tuple(np.linspace(0, 600, 99).tolist())
    calibration = replace(
        CALIBRATION, pixel_threshold=threshold, display_limit=3000.0, slice_scores=healthy
    )
    model = write_departure_model(tmp_path / "departure.onnx", calibration)
    candidate = Candidate(data, model, split="dev", provider="cpu")
    found = evaluation.evaluate(candidate, Bootstrap(50, 0), plots=tmp_path / "plots")
    assert len(list((tmp_path / "plots").iterdir())) == 4
    precision = found["method"]["pixel_average_precision"]["value"]
    assert precision is not None and 0.2 < precision < 1  # noqa: PT018
    # What it is set against is smoothed all the same.
    smoothed = "equalised and smoothed"
    assert found["baselines"][smoothed] == result["baselines"][smoothed]
