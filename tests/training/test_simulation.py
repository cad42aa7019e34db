"""A simulated head: the anatomy it promises, and the DICOM study written from it."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from gliomart_training import simulated_study

pytest.importorskip("nilearn", reason="the simulation needs the extra gliomart[simulation]")

from gliomart_training.simulation import PontineGlioma, SimulatedHead, simulate_head

if TYPE_CHECKING:
    from pathlib import Path

SLICES, SIZE, SEED = 12, 96, 3


@pytest.fixture(scope="module")
def untouched() -> SimulatedHead:
    return simulate_head(slices=SLICES, size=SIZE, seed=SEED)


@pytest.fixture(scope="module")
def diseased() -> SimulatedHead:
    return simulate_head(slices=SLICES, size=SIZE, seed=SEED, lesion=PontineGlioma())


def test_shapes_and_types(untouched: SimulatedHead) -> None:
    assert untouched.pixels.shape == (SLICES, SIZE, SIZE)
    assert untouched.pixels.dtype == np.float32
    assert untouched.lesion.dtype == untouched.pons.dtype == np.bool_
    assert untouched.lesion.shape == untouched.pons.shape == untouched.pixels.shape
    assert untouched.spacing == (2.5, 2.5)
    assert untouched.slice_spacing == pytest.approx(13.0)
    assert untouched.slice_thickness == pytest.approx(5.0)


def test_the_brain_is_known_and_lies_inside_its_head(untouched: SimulatedHead) -> None:
    brain = untouched.brain
    assert brain.dtype == np.bool_
    assert (untouched.pons <= brain).all()
    assert 0.9 < np.median(untouched.pixels[brain]) / 400 < 1.2
    assert brain[SLICES // 2].sum() > 4 * brain[0].sum()  # the medulla is the lowest
    assert not brain[:, :3].any()  # the edge of the field is air
    assert not brain[:, :, :3].any()


def test_the_seed_decides_everything(untouched: SimulatedHead) -> None:
    again = simulate_head(slices=SLICES, size=SIZE, seed=SEED)
    another = simulate_head(slices=SLICES, size=SIZE, seed=SEED + 1)
    np.testing.assert_array_equal(again.pixels, untouched.pixels)
    np.testing.assert_array_equal(again.pons, untouched.pons)
    assert np.abs(another.pixels - untouched.pixels).mean() > 10


def test_thin_slices_are_as_thick_as_they_are_apart() -> None:
    head = simulate_head(slices=60, size=32)
    assert head.slice_thickness == head.slice_spacing == pytest.approx(2.6)


def test_signals_are_those_of_flair(untouched: SimulatedHead) -> None:
    brain = untouched.pixels[SLICES // 2, 30:70, 35:60] / 400
    assert 0.9 < np.median(brain) < 1.2
    assert brain.min() < 0.5  # ventricles and sulci
    middle = untouched.pixels[SLICES // 2] / 400
    assert middle.max() > 1.8  # scalp
    assert np.median(middle[:5]) < 0.1  # air


def test_an_untouched_head_has_a_pons_and_no_lesion(untouched: SimulatedHead) -> None:
    assert not untouched.lesion.any()
    volume = untouched.pons.sum() * 2.5 * 2.5 * untouched.slice_spacing / 1000
    assert 6 < volume < 20  # ml
    assert set(np.flatnonzero(untouched.pons.any(axis=(1, 2)))) <= {1, 2, 3, 4}
    assert 0.8 < np.median(untouched.pixels[untouched.pons]) / 400 < 1.2


def test_the_lesion_is_a_bright_share_of_a_swollen_pons(
    untouched: SimulatedHead, diseased: SimulatedHead
) -> None:
    assert diseased.lesion.any()
    assert not (diseased.lesion & ~diseased.pons).any()
    assert diseased.pons.sum() > 1.2 * untouched.pons.sum()
    share = diseased.lesion.sum() / diseased.pons.sum()
    assert share == pytest.approx(PontineGlioma().fraction, abs=0.15)
    normal = np.median(untouched.pixels[untouched.pons])
    brightness = np.median(diseased.pixels[diseased.lesion]) / normal
    assert brightness == pytest.approx(1 + PontineGlioma().signal, abs=0.15)


def test_the_lesion_changes_nothing_far_from_the_pons(
    untouched: SimulatedHead, diseased: SimulatedHead
) -> None:
    changed = np.abs(diseased.pixels - untouched.pixels) > 1
    assert changed[diseased.lesion].mean() > 0.9
    *_, rows, columns = np.nonzero(diseased.pons)
    changed[:, rows.min() - 9 : rows.max() + 10, columns.min() - 9 : columns.max() + 10] = False
    assert not changed.any()
    np.testing.assert_array_equal(diseased.pixels[6:], untouched.pixels[6:])


def test_a_larger_fraction_takes_more_of_the_pons() -> None:
    half, whole = (
        simulate_head(slices=SLICES, size=64, lesion=PontineGlioma(fraction=fraction))
        for fraction in (0.5, 1.0)
    )
    assert half.lesion.sum() < 0.7 * half.pons.sum()
    np.testing.assert_array_equal(whole.lesion, whole.pons)


@pytest.fixture(params=[False, True], ids=["native", "rle"])
def study(
    request: pytest.FixtureRequest, diseased: SimulatedHead, tmp_path: Path
) -> list[pydicom.FileDataset]:
    files = simulated_study.write_study(tmp_path / "study", diseased, seed=SEED, rle=request.param)
    assert sorted(files) == sorted((tmp_path / "study").iterdir())
    return [pydicom.dcmread(file) for file in files]


def test_the_study_reads_back(study: list[pydicom.FileDataset], diseased: SimulatedHead) -> None:
    stored = np.stack([image.pixel_array for image in study])
    np.testing.assert_array_equal(stored, np.clip(np.rint(diseased.pixels), 0, 4095))
    assert {image.PixelRepresentation for image in study} == {0}
    assert {image.BitsStored for image in study} == {12}
    assert [image.InstanceNumber for image in study] == list(range(1, SLICES + 1))


def test_the_study_has_the_geometry_of_the_head(
    study: list[pydicom.FileDataset], diseased: SimulatedHead
) -> None:
    positions = np.array([image.ImagePositionPatient for image in study], float)
    np.testing.assert_allclose(np.diff(positions, axis=0), [[0, 0, 13.0]] * (SLICES - 1))
    np.testing.assert_allclose(positions[0], [-118.75, -118.75, diseased.lowest])
    for image in study:
        assert list(image.PixelSpacing) == [2.5, 2.5]
        assert image.SliceThickness == 5
        assert image.SpacingBetweenSlices == 13
        assert list(image.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]


def test_the_study_is_one_series_of_unlike_images(study: list[pydicom.FileDataset]) -> None:
    for shared in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({image[shared].value for image in study}) == 1
    assert len({image.SOPInstanceUID for image in study}) == SLICES
    assert all(
        image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID for image in study
    )
    assert all("SIMULATED" in image.ImageType for image in study)


def test_equal_heads_make_equal_files(diseased: SimulatedHead, tmp_path: Path) -> None:
    first, second = (
        simulated_study.write_study(tmp_path / name, diseased, seed=SEED) for name in "ab"
    )
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_the_command_writes_the_study_and_its_truth(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "--slices", "10", "--size", "64", "--seed", "1", "--lesion"]
    assert simulated_study.main(arguments) == 0
    truth = list(csv.DictReader((tmp_path / "lesion.csv").open()))
    assert [row["file"] for row in truth] == sorted(file.name for file in tmp_path.glob("*.dcm"))
    assert len(truth) == 10
    for row in truth:
        assert (row["lesion"] == "1") == (int(row["lesion_pixels"]) > 0)
        assert int(row["lesion_pixels"]) <= int(row["pons_pixels"])
    assert 1 <= sum(row["lesion"] == "1" for row in truth) <= 4


def test_the_command_names_the_missing_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "gliomart_training.simulation")
    for name in [name for name in sys.modules if name.partition(".")[0] == "nilearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if "site-packages" not in place])
    assert simulated_study.main([str(tmp_path / "study")]) == 7
    assert "gliomart[simulation]" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
