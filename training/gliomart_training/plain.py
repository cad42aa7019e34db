"""A data set that is a folder of images, without a table that says more.

One series is taken for one patient, and an image called like another with ``_mask`` added (or
``-mask``, ``_seg``, ``_label``) for that one's mask. Where DICOM segmentations lie in it, of all
DICOM series those that they refer to are taken, one of each patient (:mod:`.segmented`).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gliomart import sources
from gliomart.host.streams import say
from gliomart.printable import printable
from gliomart_training import segmented
from gliomart_training.truth import names
from gliomart_training.truth.image import Image, patient_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.model.card import ModelCard
    from gliomart_training.patients import Patient
    from gliomart_training.truth.marks import Choice


def load(directory: Path, choice: Choice, card: ModelCard | None) -> list[Patient]:
    """Read a folder, series by series; parameters and errors as of :func:`.dataset.load`."""
    inventory = sources.scan([directory])
    (root,) = inventory.roots
    segmentations = segmented.found(inventory)
    every_series = inventory.series
    patients = []
    if segmentations:
        dicom = [series for series in every_series if series.files[0].kind == "dicom"]
        every_series = tuple(series for series in every_series if series not in dicom)
        patients = segmented.load(directory, dicom, segmentations, choice, card)
    folders = {file.path.parent for series in every_series for file in series.files}
    mask_of: dict[Path, Path] = {}
    for folder in folders:
        mask_of |= names.pairs(folder, segmentations)
    names.check_folders(directory, segmentations)
    left_out = _called_masks(directory, every_series, set(mask_of.values()))
    not_images = left_out | set(mask_of.values())
    for series in every_series:
        files = [file for file in series.files if file.path not in not_images]
        if files:
            beside = [mask_of.get(names.stem(file.path)) for file in files]
            images = _read(files, beside, series.source, choice)
            patients.append(patient_of(_relative(series.id, root), images))
    if patients and inventory.refused:
        first = inventory.refused[0]
        count = f"{len(inventory.refused)} files or places are refused"
        why = f"{first.source} ({first.code}: {first.reason})"
        say(printable(f"{directory}: {count}, such as {why}; left out"))
    return patients


def _called_masks(
    directory: Path, every_series: Sequence[sources.SeriesFiles], masks: set[Path]
) -> set[Path]:
    """Find what is called like a mask and belongs to no image, and say that it is left out."""
    left_out = {
        file.path
        for series in every_series
        for file in series.files
        if file.path not in masks and names.probable(file.path, directory)
    }
    if left_out:
        say(
            f"{directory}: {len(left_out)} files are called like masks and belong to no image, such"
            f" as {printable(str(min(left_out)))}; they are left out"
        )
    return left_out


def _read(
    files: Sequence[sources.SourceFile],
    beside: Sequence[Path | None],
    source: str,
    choice: Choice,
) -> list[Image]:
    """Read a series; image by image where a mask marks something, as masks lie on these."""
    images = []
    if any(beside):
        pairs = zip(files, beside, strict=True)
        images = [Image.of([file], file.source, mask, choice, listed=False) for file, mask in pairs]
    if any(image.mask for image in images):
        return images
    found = tuple(mask for image in images for mask in image.files)
    return [Image(list(sources.read_series(files, source)), files=found)]


def _relative(series: str, root: str) -> str:
    """Name a series within its dataset: the folder's own name changes when it is moved."""
    path = PurePosixPath(series)
    return str(path.relative_to(root)) if path.is_relative_to(root) else series
