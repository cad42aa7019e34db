"""Volumes and series of one head in every position, and masks of it as others write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from samples import draw_head, golden_slice

# Voxels along x, y and z; all three differ, so that no exchange of axes goes unseen.
SHAPE = (40, 36, 12)
SPACING = (1.0, 1.5, 5.0)


def head(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    """Draw a head of (x, y, z) voxels, no slice like another."""
    across, down, up = shape
    planes = [draw_head((down, across), seed=n).T + 3 * n for n in range(up)]
    return np.stack(planes, axis=-1)


def truth(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    """Mark a tumour that is alike in no direction, in slices 2 to 4."""
    marks = np.zeros(shape, np.uint8)
    marks[9:14, 20:27, 2] = 1
    marks[11:17, 20:24, 3] = 1
    marks[12:15, 19:22, 4] = 1
    return marks


def affine(turn: float = 0.0, spacing: tuple[float, ...] = SPACING) -> NDArray[np.float64]:
    """Place voxels (RAS, mm), tilted about two axes by so many degrees."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    placed = np.eye(4)
    placed[:3, :3] = (about_x @ about_z) * spacing
    placed[:3, 3] = (-20.0, -30.0, -35.0)
    return placed


def restored(
    voxels: NDArray[Any],
    placed: NDArray[np.float64],
    order: tuple[int, ...],
    flips: tuple[bool, ...],
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Store the same voxels with other axes first, and from other ends; with their affine."""
    moved = np.eye(4)
    moved[:3, :3] = placed[:3, list(order)]
    stored = voxels.transpose(order)
    offset = placed[:3, 3].copy()
    for axis, flip in enumerate(flips):
        if flip:
            offset += moved[:3, axis] * (stored.shape[axis] - 1)
            moved[:3, axis] *= -1
            stored = np.flip(stored, axis)
    moved[:3, 3] = offset
    return np.ascontiguousarray(stored), moved


def save(path: Path, voxels: NDArray[Any], placed: NDArray[np.float64]) -> Path:
    """Write a NIfTI volume, with its folders."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, placed), path)
    return path


def write_series(
    folder: Path,
    *,
    slices: int = 12,
    patient: str = "P1",
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    **attributes: str,
) -> list[pydicom.FileDataset]:
    """Write a series of FLAIR slices of 64 x 56 pixels, axial ones unless told otherwise.

    Returns its data sets.
    """
    normal = np.cross(*np.reshape(orientation, (2, 3)))
    folder.mkdir(parents=True, exist_ok=True)
    series, study, space = generate_uid(), generate_uid(), generate_uid()
    made = []
    for number in range(slices):
        each = golden_slice(12)
        each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        each.SeriesInstanceUID, each.StudyInstanceUID = series, study
        each.FrameOfReferenceUID = space
        each.PatientID, each.PatientName = patient, f"{patient}^"
        each.InstanceNumber = number + 1
        each.Rows, each.Columns = 56, 64
        each.PixelSpacing = [1.0, 1.25]
        each.ImageOrientationPatient = list(orientation)
        each.ImagePositionPatient = (5.0 * number * normal - (40, 30, 30)).tolist()
        each.PixelData = draw_head((56, 64), seed=number).astype("<u2").tobytes()
        for name, value in attributes.items():
            setattr(each, name, value)
        each.save_as(folder / f"{number:02}.dcm")
        made.append(each)
    return made


def drawn(slices: int = 12) -> NDArray[np.uint8]:
    """Mark a tumour in the slices (Z, H, W) of :func:`write_series`."""
    marks = np.zeros((slices, 56, 64), np.uint8)
    marks[3, 20:30, 15:40] = 1
    marks[4, 22:26, 30:44] = 1
    return marks


def segmentation(
    images: list[pydicom.FileDataset],
    pixels: NDArray[Any],
    *names: str,
    kind: str = "BINARY",
    **options: Any,
) -> Any:
    """Write a segmentation as highdicom does; ``pixels`` are labels, or fractions."""
    import highdicom

    codes = highdicom.sr.CodedConcept
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes("49755003", "SCT", "Morphologically Altered Structure"),
            codes("108369006", "SCT", name),
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names or ("tumour",), start=1)
    ]
    return highdicom.seg.Segmentation(
        images,
        pixels,
        kind,
        segments,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="tests",
        manufacturer_model_name="tests",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
