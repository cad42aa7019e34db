"""Examinations of several sequences: DICOM series of the simulated study, and what may be odd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from samples import golden_slice

SLICES = range(1, 25)
Change = Callable[[Dataset, int], object]


def as_t1(dataset: Dataset) -> None:
    """Give a slice the header and the contrast of T1: bright tissue dark, fluid and air darkest."""
    dataset.SeriesDescription, dataset.ScanningSequence = "AX T1", ["SE"]
    dataset.RepetitionTime, dataset.EchoTime = 500.0, 12.0
    del dataset.InversionTime
    pixels = dataset.pixel_array.astype(np.float32)
    top = 1.3 * np.percentile(pixels, 99)
    turned = np.where(pixels > 0.15 * top, np.clip(top - 0.6 * pixels, 0, None), 0.5 * pixels)
    dataset.PixelData = turned.astype(dataset.pixel_array.dtype).tobytes()


def series(
    folder: Path,
    name: str,
    *changes: Change,
    numbers: Sequence[int] = SLICES,
) -> Path:
    """Write a series of the simulated study, each slice changed in turn, under a UID of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = generate_uid(entropy_srcs=[name])
    for number in numbers:
        dataset = golden_slice(number)
        for change in changes:
            change(dataset, number)
        dataset.SeriesInstanceUID = uid
        dataset.SOPInstanceUID = f"{uid[:50]}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{name}-{number:02}.dcm")
    return folder


def t1(folder: Path, *changes: Change, name: str = "t1", numbers: Sequence[int] = SLICES) -> Path:
    """Write a T1 series likewise."""
    return series(folder, name, lambda d, _: as_t1(d), *changes, numbers=numbers)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Change:
    """Say that a slice lies elsewhere, in mm (LPS)."""

    def change(dataset: Dataset, _: int) -> None:
        place = np.array(dataset.ImagePositionPatient, float) + np.array([x, y, z])
        dataset.ImagePositionPatient = [f"{each:.4f}" for each in place]
        if "SliceLocation" in dataset:
            dataset.SliceLocation = f"{float(dataset.SliceLocation) + z:.4f}"

    return change


def tagged(**values: object) -> Change:
    """Set elements of the header."""

    def change(dataset: Dataset, _: int) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return change
