from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart.errors import DatasetError
from gliomart_training import dataset
from gliomart_training.dataset import Patient
from samples import GOLDEN


def test_an_index_names_patients_splits_and_masks(dataset_folder: Path) -> None:
    patients = dataset.load(dataset_folder, "train")
    assert [p.id for p in patients] == ["p0", "p1", "p2"]
    assert all(len(p.examples) == 10 for p in patients)
    sources = [e.slice.source for p in patients for e in p.examples]
    assert not any("masks" in source for source in sources)


def test_slices_within_three_of_a_mask_are_left_out(dataset_folder: Path) -> None:
    healthy, ill, _ = dataset.load(dataset_folder, "train")
    assert all(e.tumour_free for e in healthy.examples)
    assert [e.tumour_free for e in ill.examples] == [n < 3 for n in range(10)]
    assert ill.examples[6].truth().sum() > 100
    assert not ill.examples[5].truth().any()


def test_a_plain_folder_is_one_patient_a_series() -> None:
    (patient,) = dataset.load(GOLDEN)
    assert len(patient.examples) == 24
    assert all(e.tumour_free for e in patient.examples)


def test_masks_beside_their_images_are_never_taken_for_images(
    dataset_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pairs" / "patient"
    folder.mkdir(parents=True)
    empty = np.zeros((128, 128), np.uint8)
    for number in range(10):
        image = (dataset_folder / "images" / "p1" / f"{number}.png").read_bytes()
        (folder / f"scan_{number}.png").write_bytes(image)
        cv2.imwrite(str(folder / f"scan_{number}_mask.tif"), empty)
    truth = cv2.imread(str(dataset_folder / "masks" / "p1" / "6.png"))
    cv2.imwrite(str(folder / "scan_6_mask.tif"), truth)
    (patient,) = dataset.load(tmp_path / "pairs")
    assert [e.slice.source[-5] for e in patient.examples] == list("0123456789")
    assert [e.tumour_free for e in patient.examples] == [n < 3 for n in range(10)]
    assert patient.examples[6].truth().any()
    assert patient.examples[5].mask is None


def test_what_cannot_be_a_dataset_says_why(dataset_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        dataset.load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no readable images"):
        dataset.load(tmp_path / "empty")
    with pytest.raises(DatasetError, match="leave --split out"):
        dataset.load(tmp_path / "empty", "dev")
    with pytest.raises(DatasetError, match="no rows of split dev"):
        dataset.load(dataset_folder, "dev")
    (dataset_folder / "images" / "p0" / "3.png").unlink()
    with pytest.raises(DatasetError, match="listed in the index"):
        dataset.load(dataset_folder, "train")
    with (dataset_folder / "index.csv").open("w", newline="") as stream:
        csv.writer(stream).writerow(["image", "patient"])
    with pytest.raises(DatasetError, match="no column mask"):
        dataset.load(dataset_folder)


def test_a_broken_image_is_refused_and_the_rest_is_read(dataset_folder: Path) -> None:
    (dataset_folder / "images" / "p0" / "3.png").write_bytes(b"")
    patients = dataset.load(dataset_folder, "train")
    assert len(patients[0].examples) == 9
    assert patients[0].refused[0].source == "images/p0/3.png"


@given(st.integers(2, 40), st.integers(2, 6))
def test_folds_part_the_patients(count: int, folds: int) -> None:
    patients = [Patient(f"p{number:02d}", (), ()) for number in range(count)]
    if folds > count:
        with pytest.raises(DatasetError):
            dataset.folds(patients, folds)
        return
    groups = dataset.folds(patients, folds)
    assert sorted(patient for group in groups for patient in group) == [p.id for p in patients]
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert groups == dataset.folds(patients[::-1], folds)
