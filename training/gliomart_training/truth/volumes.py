"""Masks that are NIfTI volumes, brought to their image by what both say of where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.image.slices import Refusal, Slice
from gliomart.sources import DEFAULT, SourceFile, nifti
from gliomart_training.truth.marks import FULL, Marks, errors, labels_of
from gliomart_training.truth.pictures import check_size
from gliomart_training.truth.placing import NEAREST, SAME, Drawn

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart_training.truth.marks import Choice
    from gliomart_training.truth.placing import Target


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is a NIfTI volume."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def read(path: Path, target: Target, choice: Choice) -> Marks:
    """Read a mask that covers its image: a NIfTI volume, or a DICOM series that is placed.

    Raises
    ------
    DatasetError
        It cannot be read as a mask, marks everything, or does not lie where its image lies, pixel
        for pixel.
    """
    with errors(path):
        stored = _slices(path)
        marked = [choice.among(each.pixels) for each in stored]
    if all(plane.all() for plane in marked):
        raise DatasetError(f"{path}: {FULL}")
    labels = frozenset[str]().union(
        *(labels_of(each.pixels, marks) for each, marks in zip(stored, marked, strict=True))
    )
    nowhere = all(each.plane is None for each in stored)
    if nowhere and all(each.plane is None for each in target.slices):
        _check_count(path, len(stored), target)
        for each, item in zip(stored, target.slices, strict=False):
            check_size(path, each.pixels.shape, item)
        return Marks(target.of_items(marked), labels)
    if nowhere:
        raise DatasetError(f"{path}: does not say where it lies, and its image does")
    planes = [
        Drawn(marks, each.plane, f"its slice {number}")
        for number, (each, marks) in enumerate(zip(stored, marked, strict=True))
    ]
    _check_extent(path, planes, target)
    return Marks(target.of_items(target.bring(path, planes, whole=True)), labels)


def _slices(path: Path) -> list[Slice]:
    """Read all slices as they are stored."""
    places = nifti.describe(path, DEFAULT).placement.planes
    found = []
    for item in nifti.read(SourceFile(path, str(path), "nifti", str(path), planes=places)):
        if isinstance(item, Refusal):
            raise InputRefusedError(item.code, item.reason)
        found.append(item)
    return found


def _check_extent(path: Path, planes: list[Drawn], target: Target) -> None:
    """Refuse a mask of more or fewer slices than its image, of other ones, or further apart."""
    first, last, image = planes[0], planes[-1], target.slices[0]
    if first.plane is None or last.plane is None or image.plane is None or target.stack is None:
        return  # which is told where they are brought together
    # Which axis of the mask runs across, down and along the image's slices.
    order = np.abs(image.plane.axes @ first.plane.axes.T).argmax(axis=1)
    shape = np.array([len(planes), *first.marks.shape])[order]
    check_size(path, tuple(shape[1:].tolist()), image)
    _check_count(path, int(shape[0]), target)
    if len(planes) > 1 and len(target.slices) > 1:
        length = np.linalg.norm(np.subtract(last.plane.position, first.plane.position))
        step = float(length) / (len(planes) - 1)
        apart = np.array([step, *first.plane.spacing])[order][0]
        if abs(apart - target.stack.step) * len(target.slices) > SAME * target.stack.step:
            raise DatasetError(
                f"{path}: has slices {apart:.3g} mm apart, its image {target.stack.step:.3g} mm;"
                f" {NEAREST}"
            )


def _check_count(path: Path, slices: int, target: Target) -> None:
    if slices != len(target.items):
        raise DatasetError(f"{path}: has {slices} slices, its image {len(target.items)}")
