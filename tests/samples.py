"""What tests share: heads drawn by hand, a model small enough to build on the spot."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import FileDataset

from gliomart.image.steps import Preprocessing
from gliomart.model.card import ModelCard
from gliomart.model.contents import (
    Calibration,
    InputImage,
    JudgeCard,
    Limits,
    PonsCalibration,
    Scoring,
    Signs,
    usual_outputs,
)

GOLDEN = Path(__file__).parents[1] / "runtime" / "gliomart" / "golden"
SHARED = Path(__file__).parents[2] / "shared" / "data"

needs_real_images = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real images lie beside the project, and not here"
)

# What a test writes against the standard on purpose, pydicom warns of.
odd_dicom = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def golden_slice(number: int = 12) -> FileDataset:
    """Read a slice of the simulated study, 1 to 24, uncompressed."""
    dataset = pydicom.dcmread(GOLDEN / f"slice_{number:03d}.dcm")
    dataset.decompress(generate_instance_uid=False)
    return dataset


def draw_head(
    shape: tuple[int, int] = (256, 256), *, lesion: float = 0.0, seed: int = 0
) -> NDArray[np.float32]:
    """Draw a bright ring of scalp, a dark skull, a brain at 400, and a lesion in it if asked."""
    height, width = shape
    centre = (width // 2, height // 2)
    head = np.zeros(shape, np.float32)
    for scale, level in ((0.40, 900), (0.36, 60), (0.33, 400)):
        axes = (round(scale * width * 0.8), round(scale * height))
        cv2.ellipse(head, centre, axes, 0, 0, 360, level, cv2.FILLED)
    if lesion:
        place = (width // 2 + width // 12, height // 2)
        cv2.circle(head, place, round(0.07 * height), 400 * (1 + lesion), cv2.FILLED)
    noise = np.random.default_rng(seed).normal(0, 6, shape)
    return np.abs(cv2.GaussianBlur(head, (0, 0), height / 256) + noise).astype(np.float32)


# Where tiny_model sees the pons, on its grid of 256 pixels: centre and radius.
PONS = (128, 160, 16)
PONS_RULES = PonsCalibration(
    near_radii=1.3,
    far_radii=3.0,
    level_quantile=0.75,
    smoothing_px=1.5,
    top_fraction=0.25,
    border_px=4.0,
    elsewhere_fraction=0.95,
    elsewhere_least=0.001,
    medians=Signs(brightness=0.0, size=float(np.log(800)), unevenness=-3.0, crowding=-0.1),
    spreads=Signs(brightness=0.1, size=0.1, unevenness=1.0, crowding=0.1),
    weights=Signs(brightness=1.0, size=1.0, unevenness=1.0, crowding=1.0),
    scales=None,
    pixel_threshold=0.02,
    pixel_false_alarm_rate=0.05,
    series_top=2,
    series_least_area=0.0,
    neighbours=(),
    slice_scores=tuple(np.linspace(0.0, 2.0, 59).tolist()),
    series_scores=tuple(np.linspace(0.0, 2.0, 29).tolist()),
    single_scores=None,
)


def pons_judge(rules: PonsCalibration | None = PONS_RULES, area: float = 300.0) -> JudgeCard:
    """Make the judge of the pons that :func:`tiny_model` shows."""
    return JudgeCard("pons", minimum_area_px=area, rules=rules)


def marked_scans(folder: Path, *, blank: bool = False) -> Path:
    """Write three patients of ten slices, the last of which shows a lesion; ``blank`` the first.

    They have T1 as well, and but for the second patient T1 with contrast.
    """
    rows = []
    for patient in range(3):
        for number in range(10):
            image, marked = f"images/p{patient}-{number}.png", number == 9
            mask = f"masks/p{patient}-{number}.png" if marked else ""
            head = draw_head((128, 128), lesion=0.9 * marked, seed=10 * patient + number) / 5
            truth = (draw_head((128, 128), lesion=9.0) > 2500) * 255.0
            shown = head * (number != 0) if blank else head
            t1, t1c = (f"{name}/p{patient}-{number}.png" for name in ("t1", "t1c"))
            t1c = "" if patient == 1 else t1c
            pictures = ((image, shown), (mask, truth), (t1, 1.4 * head), (t1c, 1.6 * head))
            for name, pixels in pictures:
                if name:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    assert cv2.imwrite(str(folder / name), pixels.clip(0, 255).astype(np.uint8))
            row = {"image": image, "mask": mask, "patient": f"p{patient}"}
            rows.append(row | {"t1": t1, "t1c": t1c})
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def card(
    *,
    pons: PonsCalibration | None = None,
    modality: str = "MR",
    sequence: str = "FLAIR",
    **changes: object,
) -> ModelCard:
    """Make a valid card for :func:`tiny_model`; with ``pons``, it is judged by these rules."""
    judges = (pons_judge(pons),) if pons else ()
    values: dict[str, object] = {
        "name": "tiny",
        "version": "1",
        "network": {"name": "none"},
        "preprocessing": Preprocessing(),
        "scoring": Scoring(),
        "calibration": Calibration(
            false_alarm_rate=0.05,
            pixel_false_alarm_rate=0.002,
            pixel_threshold=0.05,
            display_limit=0.3,
            slice_scores=tuple(np.linspace(0.0, 0.05, 99).tolist()),
            series_scores=tuple(np.linspace(0.0, 0.05, 39).tolist()),
            patients=39,
            method="made up for tests",
        ),
        "family": "slice",
        "judges": judges,
        "site": None,
        "outputs": usual_outputs(*(judge.name for judge in judges)),
        "images": (InputImage(modality, sequence),),
        "plane": "axial",
        "limits": Limits(),
        "training": {},
        "metrics": {},
        "parity": {},
        "licence": "none",
        "intended_use": "tests; not a medical device",
    }
    return ModelCard(**(values | changes))  # type: ignore[arg-type]


def tiny_model(
    path: Path,
    *,
    metadata: dict[str, str] | None = None,
    size: int = 256,
    channels: int = 1,
    pons: bool = False,
) -> Path:
    """Write a model whose reconstruction is min(image, 0.5); its map is the rest, in the brain.

    With ``pons``, what of the brain lies in a disk, see ``PONS``, is the pons.
    """
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    scalp = max(1, size // 36)
    nodes = [
        helper.make_node("Min", ["image", "half"], ["reconstruction"]),
        helper.make_node("Sub", ["image", "reconstruction"], ["rest"]),
        helper.make_node("ReduceMax", ["rest", "axis"], ["most"], keepdims=1),
        # Brain is what is a scalp's width away from the dark of air and skull.
        helper.make_node("ReduceMax", ["image", "axis"], ["brightest"], keepdims=1),
        helper.make_node("Less", ["brightest", "dark"], ["is_dark"]),
        helper.make_node("Cast", ["is_dark"], ["air"], to=kind),
        helper.make_node("Transpose", ["air"], ["air_first"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "MaxPool",
            ["air_first"],
            ["near_first"],
            kernel_shape=[2 * scalp + 1] * 2,
            pads=[scalp] * 4,
        ),
        helper.make_node("Transpose", ["near_first"], ["near"], perm=[0, 2, 3, 1]),
        helper.make_node("Sub", ["one", "near"], ["brain"]),
        helper.make_node("Mul", ["most", "brain"], ["anomaly_map"]),
    ]
    outputs = {"reconstruction": channels, "anomaly_map": 1, "brain": 1}
    if pons:
        nodes.append(helper.make_node("Mul", ["brain", "disk"], ["pons"]))
        outputs["pons"] = 1
    y, x = np.ogrid[:size, :size]
    disk = np.hypot(x - PONS[0], y - PONS[1]) <= PONS[2]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, ["batch", size, size, channels])],
        [
            helper.make_tensor_value_info(name, kind, ["batch", size, size, depth])
            for name, depth in outputs.items()
        ],
        [
            onnx.numpy_helper.from_array(np.float32(0.5), "half"),
            onnx.numpy_helper.from_array(np.float32(0.15), "dark"),
            onnx.numpy_helper.from_array(np.float32(1.0), "one"),
            onnx.numpy_helper.from_array(np.array([-1]), "axis"),
            onnx.numpy_helper.from_array(disk[..., np.newaxis].astype(np.float32), "disk"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if metadata is None:
        metadata = {"gliomart": card(pons=PONS_RULES if pons else None).to_json()}
    helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path
