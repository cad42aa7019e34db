"""The whole path on a folder of one's own: train, export, infer, evaluate."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from gliomart import Detector, cli
from samples import draw_head

pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")
pytest.importorskip("sklearn", reason="needs the extra: evaluate")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three patients of twelve slices; the last slice of each shows a lesion."""
    folder = tmp_path / "scans"
    rows = []
    for patient in range(3):
        for number in range(12):
            marked = number == 11
            stem = f"p{patient}-{number:02d}.png"
            head = draw_head(lesion=0.9 * marked, seed=20 * patient + number) / 5
            truth = (draw_head(lesion=9.0) > 2500) * 255.0 if marked else None
            for kind, pixels in (("images", head), ("masks", truth)):
                if pixels is not None:
                    (folder / kind).mkdir(parents=True, exist_ok=True)
                    levels = pixels.clip(0, 255).astype(np.uint8)
                    assert cv2.imwrite(str(folder / kind / stem), levels)
            rows.append(
                {
                    "image": f"images/{stem}",
                    "mask": f"masks/{stem}" if marked else "",
                    "patient": f"p{patient}",
                }
            )
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.slow  # test_every_network.py goes most of the way by default
@pytest.mark.parametrize(
    ("network", "folds", "precision"),
    [
        pytest.param("cae", 1, "int8", id="cae in integers"),
        pytest.param("cae", 1, "fp16", id="cae"),
        pytest.param("dae", 3, "int8", id="dae"),
    ],
)
def test_from_a_folder_to_a_result(
    network: str,
    folds: int,
    precision: str,
    scans: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keras_file, model = tmp_path / "own.keras", tmp_path / "own.onnx"
    train = ["train", str(scans), "--network", network, "--out", str(keras_file)]
    train += ["--epochs", "1", "--folds", str(folds)]
    assert cli.main(train) == 0
    assert cli.main(train) == 2  # it is there already
    assert cli.main([*train, "--resume"]) == 0
    capsys.readouterr()

    assert cli.main(["export", str(keras_file), str(model), "--licence", "mine"]) == 0
    printed = capsys.readouterr().out
    assert "parity with Keras, anomaly_map: max abs error" in printed
    assert "too few patients to judge a series" in printed

    out = tmp_path / "out"
    assert cli.main(["infer", str(scans / "images"), "--model", str(model), "--out", str(out)]) == 0
    document = json.loads((out / "results.json").read_text())
    assert len(document["slices"]) == 36
    assert document["series"][0]["flagged"] is None
    assert document["model"]["name"] == f"flair-{network}"

    capsys.readouterr()
    figures = tmp_path / "figures.json"
    evaluate = ["evaluate", str(scans), "--bootstrap", "20", "--out", str(figures)]
    assert cli.main([*evaluate, "--model", str(model)]) == 0
    assert "pixel AP" in capsys.readouterr().out
    assert json.loads(figures.read_text())["dataset"]["counts"]["tumour_slices"] == 3
    assert cli.main([*evaluate, "--held-out", str(keras_file.with_suffix(".run"))]) == 0
    held_out = json.loads(figures.read_text())["dataset"]
    assert held_out["counts"]["patients"] == folds

    export = ["export", str(keras_file), str(model), "--metrics", str(figures)]
    capsys.readouterr()
    assert cli.main([*export, "--precision", precision]) == 0
    assert f"precision: {precision}\n" in capsys.readouterr().out
    models = [model, *keras_file.with_suffix(".run").glob("fold-*.onnx")]
    networks = [Detector(file, provider="cpu").card.network for file in models]
    assert {each["precision"] for each in networks} == {precision}
    assert len({len(each["sensitivity"]) for each in networks}) == 1
    assert cli.main(["infer", str(scans / "images"), "--model", str(model), "--out", str(out),
                     "--overwrite"]) == 0  # fmt: skip


def test_what_cannot_be_exported_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(tmp_path / "no.keras"), str(tmp_path / "m.onnx")]) == 4
    (tmp_path / "lost.keras").write_bytes(b"network")
    assert cli.main(["export", str(tmp_path / "lost.keras"), str(tmp_path / "m.onnx")]) == 4
    assert "record is missing" in capsys.readouterr().err
    assert cli.main(["train", str(tmp_path / "none"), "--out", str(tmp_path / "m.keras")]) == 8
    assert cli.main(["train", str(tmp_path), "--out", str(tmp_path / "m.onnx")]) == 2
    assert cli.main(["evaluate", str(tmp_path)]) == 8
    assert not (tmp_path / "m.onnx").exists()
