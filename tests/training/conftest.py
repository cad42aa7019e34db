from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from samples import draw_head

SLICES = 10
MARKED = 6


@pytest.fixture
def dataset_folder(tmp_path: Path) -> Path:
    """Four patients of ten slices; in two of them, slice 6 shows a lesion that a mask marks."""
    folder = tmp_path / "data"
    rows = []
    for patient in range(4):
        split = "test" if patient == 3 else "train"
        for number in range(SLICES):
            marked = patient in (1, 3) and number == MARKED
            image = f"images/p{patient}/{number}.png"
            mask = f"masks/p{patient}/{number}.png" if marked else ""
            head = draw_head((128, 128), lesion=0.9 * marked, seed=10 * patient + number)
            _write(folder / image, (head / 5).clip(0, 255))
            if marked:
                truth = draw_head((128, 128), lesion=9.0) > 2500
                _write(folder / mask, truth * 255.0)
            rows.append({"image": image, "mask": mask, "patient": f"p{patient}", "split": split})
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels.astype(np.uint8))
