"""The same real patients as pictures, as DICOM and as NIfTI have the same figures."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from gliomart_training.evaluation import evaluation
from gliomart_training.evaluation.metrics import Bootstrap
from gliomart_training.evaluation.panel import Candidate
from samples import SHARED, needs_real_images
from truths import restored, save, segmentation

pytestmark = [
    pytest.mark.slow,
    needs_real_images,
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]
pytest.importorskip("highdicom")
pytest.importorskip("nibabel")


def pictures(folder: Path) -> list[dict[str, str]]:
    """List the slices of the patients that are there as DICOM as well, in order."""
    names = {path.name for path in (SHARED / "dicom" / "flair_axial_lgg").iterdir()}
    with (SHARED / "lgg_flair" / "index.csv").open(newline="") as stream:
        every_row = [r for r in csv.DictReader(stream) if Path(r["image"]).parent.name in names]
    rows = sorted(every_row, key=lambda row: (row["image"].split("/")[1], int(row["slice"])))
    folder.mkdir()
    lines = ["image,mask,patient"]
    for row in rows:
        image, mask = (SHARED / "lgg_flair" / row[name] for name in ("image", "mask"))
        lines.append(f"{image},{mask if row['mask'] else ''},{row['patient']}")
    (folder / "index.csv").write_text("\n".join(lines))
    return rows


def truth(rows: list[dict[str, str]], patient: str) -> NDArray[np.uint8]:
    own = [row for row in rows if Path(row["image"]).parent.name == patient]
    masks = [row["mask"] and cv2.imread(str(SHARED / "lgg_flair" / row["mask"]), 0) for row in own]
    return np.stack([np.zeros((256, 256)) if isinstance(m, str) else m > 0 for m in masks]).astype(
        np.uint8
    )


def rows_of(data: Path) -> list[dict[str, Any]]:
    result = evaluation.evaluate(Candidate(data, provider="cpu"), Bootstrap(5, 0))
    return [{**row, "patient": number} for number, row in enumerate(result["patients"])]


def test_pictures_segmentations_and_bids_give_the_same_figures(tmp_path: Path) -> None:
    rows = pictures(tmp_path / "png")
    for folder in sorted((SHARED / "dicom" / "flair_axial_lgg").iterdir()):
        images = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        marks = truth(rows, folder.name)
        shutil.copytree(folder, tmp_path / "dicom" / folder.name)
        segmentation(images, marks).save_as(tmp_path / "dicom" / f"{folder.name}.dcm")
        x, y, z = map(float, images[0].ImagePositionPatient)
        step = float(images[1].ImagePositionPatient[2]) - z
        down, along = map(float, images[0].PixelSpacing)
        placed = np.diag([-along, -down, step, 1.0])
        placed[:3, 3] = (-x, -y, z)
        name = f"sub-{folder.name.replace('_', '')}"
        voxels = np.stack([image.pixel_array for image in images]).T.astype(np.int16)
        save(tmp_path / "bids" / name / f"{name}_FLAIR.nii.gz", voxels, placed)
        below = tmp_path / "bids" / "derivatives" / "reader" / name
        turned = restored(marks.T, placed, (2, 0, 1), (False, True, True))
        save(below / f"{name}_label-lesion_mask.nii.gz", *turned)
    as_pictures = rows_of(tmp_path / "png")
    assert sum(row["tumour_slices"] for row in as_pictures) == 33
    assert rows_of(tmp_path / "dicom") == as_pictures
    assert rows_of(tmp_path / "bids") == as_pictures
