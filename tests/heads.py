"""Heads whose tumours are known, and a model that sees brightness, for evaluations."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gliomart.image.steps import Preprocessing
from gliomart.model.card import METADATA_KEY
from gliomart.model.contents import Calibration, Scoring, usual_outputs
from gliomart_training.record import RECORD
from samples import card, tiny_model

SIZE = 64
SLICES = 14
# The slices each patient has a tumour in; of the second one's, the last shows next to no head.
TUMOURS = {"one": (4, 5), "two": (3, 4, 13), "three": ()}
BLANK = 12  # cannot be read: every pixel is the same
EMPTY = 13  # can be read, but the runtime refuses it
CALIBRATION = Calibration(
    false_alarm_rate=0.05,
    pixel_false_alarm_rate=0.001,
    pixel_threshold=0.1,
    display_limit=0.5,
    slice_scores=tuple(np.linspace(0, 0.1, 99).tolist()),
    series_scores=tuple(np.linspace(0, 0.1, 39).tolist()),
    patients=39,
    method="made up",
)


def draw(tumour: bool, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A head of 64 x 64 pixels, 8 bit, and where its tumour is."""
    head, mask = np.zeros((2, SIZE, SIZE), np.uint8)
    cv2.circle(head, (32, 32), 26, 100, cv2.FILLED)
    if tumour:
        cv2.circle(mask, (26, 34), 5, 255, cv2.FILLED)
    generator = np.random.default_rng(seed)
    brightness = head * (1 + 0.8 * (mask > 0)) * generator.normal(1, 0.1, head.shape)
    # A bright spot that is no tumour, in some slices.
    cv2.circle(brightness, (40, 28), seed % 3, 190, cv2.FILLED)
    return brightness.clip(0, 255).astype(np.uint8), mask


def draw_slice(number: int, tumour: bool, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, mask = draw(tumour, seed)
    if number == BLANK:
        pixels[:] = 7
    elif number == EMPTY:
        pixels = pixels // 100
    return pixels, mask


def write_heads(folder: Path) -> Path:
    """Write a dataset of three patients, all of split dev."""
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        index = csv.writer(stream)
        index.writerow(("image", "mask", "split", "patient"))
        for seed, (patient, tumours) in enumerate(TUMOURS.items()):
            for number in range(SLICES):
                pixels, mask = draw_slice(number, number in tumours, SLICES * seed + number)
                name, mask_name = f"{patient}-{number:02}.png", f"{patient}-{number:02}-mask.png"
                cv2.imwrite(str(folder / name), pixels)
                if number in tumours:
                    cv2.imwrite(str(folder / mask_name), mask)
                index.writerow((name, mask_name if number in tumours else "", "dev", patient))
    return folder


def write_model(path: Path, calibration: Calibration = CALIBRATION) -> Path:
    """Write a model to which everything above 0.5 is anomalous."""
    brightness = card(
        name="brightness",
        version="1.2.3",
        preprocessing=Preprocessing(size=SIZE),
        scoring=Scoring(top_fraction=0.01, minimum_area_px=3),
        calibration=calibration,
    )
    return tiny_model(path, size=SIZE, metadata={METADATA_KEY: brightness.to_json()})


def write_departure_model(path: Path, calibration: Calibration = CALIBRATION) -> Path:
    """Write a model without a reconstruction, whose map has no gate, and is smoothed by nothing.

    It is how far each pixel of the brain departs from the usual brightness, a thousandfold.
    """
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.numpy_helper.from_array
    departure = card(
        name="departure",
        network={"name": "departure", "residual": {"smoothing_px": 0.0}},
        preprocessing=Preprocessing(size=SIZE),
        scoring=Scoring(top_fraction=0.01, minimum_area_px=3),
        calibration=calibration,
        outputs=tuple(output for output in usual_outputs() if output.role != "reconstruction"),
    )
    model = onnx.load(tiny_model(path, size=SIZE))
    graph = model.graph
    for node in graph.node:
        if node.output[0] == "rest":
            node.input[1] = "usual"
        elif node.output[0] == "most":
            node.input[0] = "far"
    nodes = [
        helper.make_node("Abs", ["rest"], ["size"]),
        helper.make_node("Mul", ["size", "thousand"], ["far"]),
    ]
    after = [node.output[0] for node in graph.node].index("rest") + 1
    for place, node in enumerate(nodes, start=after):
        graph.node.insert(place, node)
    graph.initializer.extend(
        [number(np.float32(0.4), "usual"), number(np.float32(1e3), "thousand")]
    )
    kept = [output for output in graph.output if output.name != "reconstruction"]
    del graph.output[:]
    graph.output.extend(kept)
    helper.set_model_props(model, {METADATA_KEY: departure.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def write_run(folder: Path, model: Path, folds: list[list[str]]) -> Path:
    """Write what of an exported training run an evaluation needs: a copy of a model per fold."""
    folder.mkdir()
    (folder / RECORD).write_text(json.dumps({"split": "dev", "folds": folds, "fits": {}}))
    for number in range(1, len(folds) + 1):
        shutil.copyfile(model, folder / f"fold-{number}.onnx")
    return folder
