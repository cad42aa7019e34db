"""Several sequences of an examination: read, stressed and prepared together."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra: training")

from gliomart.errors import DatasetError
from gliomart.image.steps import Preprocessing
from gliomart_training import dataset
from gliomart_training.batches import PreparedImages, tumour_free_images
from gliomart_training.stress import Stress
from samples import marked_scans

SPEC = Preprocessing(size=64)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


@pytest.fixture(scope="module")
def images(scans: Path) -> PreparedImages:
    return tumour_free_images(dataset.load(scans), SPEC, ("T1", "T1C"))


def _change(folder: Path, line: int, column: str, value: str) -> None:
    """Change one cell of an index, lines counted from the first row of images."""
    with (folder / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[line][column] = value
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_columns_of_an_index_name_other_sequences(scans: Path) -> None:
    first, second, _ = dataset.load(scans)
    assert first.companions.keys() == {"T1", "T1C"}
    assert second.companions.keys() == {"T1"}
    for patient in (first, second):
        for slices in patient.companions.values():
            assert [each.pixels.shape for each in slices if each] == [(128, 128)] * 10


def test_a_sequence_that_is_not_there_or_of_other_pixels_is_refused(tmp_path: Path) -> None:
    folder = marked_scans(tmp_path / "scans")
    _change(folder, 3, "t1c", "t1c/none.png")
    with pytest.raises(DatasetError, match=r"none\.png: listed in the index but not there"):
        dataset.load(folder)
    cv2.imwrite(str(folder / "small.png"), np.eye(64, dtype=np.uint8) * 90)
    _change(folder, 3, "t1c", "small.png")
    with pytest.raises(DatasetError, match="line 5 gives as t1c what does not have the slices"):
        dataset.load(folder)


def test_a_blank_slice_of_another_sequence_is_none(tmp_path: Path) -> None:
    folder = marked_scans(tmp_path / "scans")
    cv2.imwrite(str(folder / "t1" / "p0-4.png"), np.full((128, 128), 9, np.uint8))
    patient, *_ = dataset.load(folder)
    assert [each is None for each in patient.companions["T1"]] == [n == 4 for n in range(10)]


def test_another_sequence_has_its_own_brightness_and_the_same_place(images: PreparedImages) -> None:
    assert images.beside is not None
    assert images.beside.shape == (*images.plain.shape, 2)
    missing = ~images.beside[..., 1].any(axis=(1, 2))
    assert 0 < missing.mean() < 0.5
    # Drawn as multiples of the first, they are the same once normalised.
    assert np.abs(images.beside[..., 0] - images.plain).mean() < 0.02


def test_a_wider_field_of_view_moves_all_sequences_alike(scans: Path) -> None:
    patient, *_ = dataset.load(scans)
    wider = Stress(field=1.2).apply(patient)
    for example in wider.examples:
        widths = [
            np.flatnonzero((each.pixels > 0.3 * each.pixels.max()).any(axis=0))[[0, -1]]
            for each in (example.slice, *example.companions.values())
        ]
        assert np.ptp(widths, axis=0).max() <= 2


def test_noise_differs_between_sequences(scans: Path) -> None:
    patient, *_ = dataset.load(scans)
    noisy = Stress(noise=0.05).apply(patient)
    differences = [
        (noisy.examples[5].companions[name].pixels - patient.examples[5].companions[name].pixels)[
            40:88, 40:88
        ]
        for name in ("T1", "T1C")
    ]
    assert abs(np.corrcoef(*(each.ravel() for each in differences))[0, 1]) < 0.2
