"""A dataset folder: which series it holds, whose they are, and where tumours are marked.

A dataset is any folder of images or DICOM. An ``index.csv`` in it, where there is one, says
more: ``image`` (a file, or the folder of a series), ``mask`` (empty where nothing is marked),
``patient``, and perhaps ``split`` and ``slice``, a number that orders a patient's images. Columns
``flair``, ``t1``, ``t1c`` and ``t2`` name other sequences of the examination, on the same pixels.
Without it, a folder is a BIDS data set (:mod:`.bids`) or told by its content and names
(:mod:`.plain`). A ``pons.csv`` beside the index says where the pons is, as an ellipse in pixels of
the image: ``image``, ``cx``, ``cy``, ``rx``, ``ry``, one row for each image in which it was marked.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart import sources
from gliomart.errors import DatasetError, UsageError
from gliomart.host.streams import say
from gliomart.image.slices import Refusal, Slice
from gliomart_training import bids, plain, segmented, tables
from gliomart_training.patients import NEIGHBOURHOOD, Ellipse, Example, Patient
from gliomart_training.truth.image import Image, patient_of
from gliomart_training.truth.pictures import EVERY_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gliomart.model.card import ModelCard
    from gliomart_training.tables import Row
    from gliomart_training.truth.marks import Choice

INDEX = "index.csv"
PONS_TABLE = "pons.csv"
__all__ = ["NEIGHBOURHOOD", "Ellipse", "Example", "Patient", "folds", "load", "splits"]
_NUMBERS = re.compile(r"(\d+)")
# Columns of further sequences, called as the sequences are.
_SEQUENCES = ("flair", "t1", "t1c", "t2")
# Seeds the dealing of patients into folds.
_DEAL = 0


def load(
    directory: Path,
    split: str | None = None,
    choice: Choice = EVERY_LABEL,
    card: ModelCard | None = None,
) -> list[Patient]:
    """Read a dataset folder into memory, patient by patient.

    Parameters
    ----------
    directory
        The folder; see this module's description.
    split
        Only the rows of ``index.csv`` that say this split; None takes all.
    choice
        Which marks count as tumour, where there are several kinds.
    card
        Of the model that is measured: segmented series that it is not made for are left out. None
        takes all.

    Raises
    ------
    DatasetError
        The folder or its index does not hold what is needed.
    """
    if not directory.is_dir():
        raise DatasetError(f"{directory}: no such folder")
    index = tables.find(directory, INDEX)
    if index is not None:
        patients = _load_indexed(directory, index, split, choice)
    elif split is not None:
        raise DatasetError(f"{directory}: has no index.csv that names splits; leave --split out")
    elif bids.is_one(directory):
        patients = bids.load(directory, choice)
    else:
        patients = plain.load(directory, choice, card)
    if not any(patient.examples for patient in patients):
        where = f" in split {split}" if split else ""
        refused = [refusal for patient in patients for refusal in patient.refused]
        why = "it needs DICOM, NIfTI, PNG, JPEG or TIFF"
        if refused:
            why = f"such as {refused[0].source} ({refused[0].code}: {refused[0].reason})"
        raise DatasetError(f"{directory}: no readable images{where}; {why}")
    return patients


def splits(directory: Path) -> set[str]:
    """Tell which splits the index of a folder names, in lower case; none where it has no index.

    Raises
    ------
    DatasetError
        The index cannot be read.
    """
    index = tables.find(directory, INDEX) if directory.is_dir() else None
    rows = tables.read(index, {"image"}) if index else []
    return {_split(row["split"]) for row in rows if row["split"]}


def keep_pictures_out(directory: Path, path: Path) -> None:
    """Refuse to leave pictures where the next run would read them as slices.

    Raises
    ------
    UsageError
        A path lies inside a data set that no index lists.
    """
    listed = directory.is_dir() and tables.find(directory, INDEX) is not None
    if not listed and path.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"{path}: lies inside the data set {directory}; choose another place")


def folds(patients: Sequence[Patient], count: int) -> list[list[str]]:
    """Deal patients at random into ``count`` groups of equal size.

    The same patients are always dealt alike, so that trainings can be compared on those held out.
    """
    if count > len(patients):
        raise DatasetError(
            f"{count} folds need as many patients, not {len(patients)}; give a smaller --folds, or"
            " more patients"
        )
    shuffled = _shuffled(patients)
    return [sorted(shuffled[fold::count]) for fold in range(count)]


def some(patients: Sequence[Patient], count: int) -> list[Patient]:
    """Take so many patients at random; fewer are always among more.

    Raises
    ------
    DatasetError
        There are not so many.
    """
    if count > len(patients):
        raise DatasetError(f"{count} patients are asked for (--patients), of {len(patients)}")
    chosen = set(_shuffled(patients)[:count])
    return [patient for patient in patients if patient.id in chosen]


def _shuffled(patients: Sequence[Patient]) -> list[str]:
    ids = sorted(patient.id for patient in patients)
    return [str(each) for each in np.random.default_rng(_DEAL).permutation(ids)]


def _load_indexed(directory: Path, index: Path, split: str | None, choice: Choice) -> list[Patient]:
    every_row = tables.read(index, {"image", "mask", "patient"})
    _check_rows(index, every_row)
    wanted = None if split is None else _split(split)
    rows = [row for row in every_row if wanted is None or _split(row["split"]) == wanted]
    if not rows:
        if split is None:
            raise DatasetError(f"{index}: has no rows")
        named = sorted({_split(row["split"]) for row in every_row if row["split"]})
        raise DatasetError(
            f"{index}: no rows of split {split}, only of {', '.join(named) or 'none'}"
        )
    pons = _load_pons(directory, {tables.identity(row["image"]) for row in every_row})
    by_patient: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_patient[unicodedata.normalize("NFC", row["patient"])].append(row)
    patients = []
    for own in by_patient.values():
        images = _in_place(index, [(row, _read_row(directory, index, row, choice)) for row in own])
        patients.append(_with_pons(patient_of(own[0]["patient"], images), pons))
    return patients


def _in_place(index: Path, read: Sequence[tuple[Row, Image]]) -> list[Image]:
    """Order a patient's images as they lie, since a mark tells of its neighbours as well.

    The column ``slice`` says so, or the place that all of them have as DICOM images, or else their
    names, with numbers as numbers.
    """
    numbers = [_slice_number(row) for row, _ in read]
    if None in numbers and any(number is not None for number in numbers):
        (row, _) = read[numbers.index(None)]
        raise DatasetError(f"{index}: line {row.line} has no number in slice, and others have one")
    named = sorted(range(len(read)), key=lambda n: _natural(tables.identity(read[n][0]["image"])))
    places = [image.place for _, image in read]
    order: Sequence[float | None] = numbers if None not in numbers else places
    if None not in order:
        named.sort(key=lambda n: order[n] or 0.0)
    return [read[n][1] for n in named]


def _slice_number(row: Row) -> float | None:
    try:
        number = tables.number(row["slice"])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name)]


def _split(written: str) -> str:
    """Bring two ways to write the name of a split to the same form."""
    return "".join(written.casefold().split())


def _check_rows(index: Path, rows: Sequence[Row]) -> None:
    """Refuse rows that lack something, that say the same image twice, or that split a patient."""
    images: dict[str, Row] = {}
    split_of: dict[str, Row] = {}
    for row in rows:
        if not row["image"] or not row["patient"]:
            raise DatasetError(f"{index}: line {row.line} lacks an image or a patient")
        first = images.setdefault(tables.identity(row["image"]), row)
        if first is not row:
            what = "repeats" if first.values == row.values else "contradicts"
            raise DatasetError(
                f"{index}: line {row.line} {what} line {first.line}, {row['image']};"
                " list every image once"
            )
        if not row["split"]:
            continue
        other = split_of.setdefault(unicodedata.normalize("NFC", row["patient"]), row)
        if _split(other["split"]) != _split(row["split"]):
            raise DatasetError(
                f"{index}: line {row.line} puts patient {row['patient']} into split"
                f" {row['split']} as well as {other['split']}; a patient belongs to one"
            )


def _load_pons(directory: Path, indexed: set[str]) -> dict[str, Ellipse]:
    table = tables.find(directory, PONS_TABLE)
    if table is None:
        return {}
    ellipses: dict[str, Ellipse] = {}
    for row in tables.read(table, ("image", "cx", "cy", "rx", "ry")):
        try:
            ellipse = Ellipse(*(tables.number(row[name]) for name in ("cx", "cy", "rx", "ry")))
        except ValueError as error:
            raise DatasetError(f"{table}: line {row.line} is not an ellipse") from error
        if not (ellipse.rx > 0 and ellipse.ry > 0 and all(map(math.isfinite, astuple(ellipse)))):
            raise DatasetError(f"{table}: line {row.line} is not an ellipse")
        if ellipses.setdefault(tables.identity(row["image"]), ellipse) != ellipse:
            raise DatasetError(f"{table}: line {row.line} is a second ellipse for {row['image']}")
    if unknown := sorted(ellipses.keys() - indexed):
        count = f"{len(unknown)} of {len(ellipses)}"
        say(f"{table}: {count} images are not in {INDEX}, such as {unknown[0]}")
    return ellipses


def _with_pons(patient: Patient, pons: Mapping[str, Ellipse]) -> Patient:
    of_image = Counter(example.slice.source for example in patient.examples)
    examples = []
    for example in patient.examples:
        source = example.slice.source
        ellipse = pons.get(tables.identity(source))
        if ellipse is not None and of_image[source] > 1:
            raise DatasetError(
                f"{source}: {PONS_TABLE} marks the pons in an image of several slices"
            )
        examples.append(replace(example, pons=ellipse))
    return replace(patient, examples=tuple(examples))


def _read_row(directory: Path, index: Path, row: Row, choice: Choice) -> Image:
    path = tables.located(directory, row["image"], folder=True)
    if path is None:
        raise tables.not_there(directory, index, row, "image")
    mask = tables.located(directory, row["mask"]) if row["mask"] else None
    if mask is None and not tables.is_empty(row["mask"]):
        raise tables.not_there(directory, index, row, "mask")
    if mask is not None and mask.samefile(path):
        raise DatasetError(f"{index}: line {row.line} gives an image as its own mask")
    inventory = sources.scan([path])
    if not inventory.series:
        reason = inventory.refused[0].reason if inventory.refused else "no image"
        items: list[Slice | Refusal] = [Refusal(row["image"], None, "unreadable", reason)]
        return Image(items, mask, [None], ())
    if path.is_dir():
        return _read_folder(index, row, inventory, mask, choice)
    file = replace(inventory.series[0].files[0], source=row["image"])
    (plane, *_) = file.planes
    image = Image.of([file], file.source, mask, choice, listed=True)
    image = replace(image, companions=_companions(directory, index, row, image))
    return replace(image, place=plane.height if plane else None)


def _companions(
    directory: Path, index: Path, row: Row, image: Image
) -> dict[str, list[Slice | None]]:
    """Read the other sequences that a row names, slice by slice of its image."""
    found = {}
    for column in _SEQUENCES:
        if tables.is_empty(row[column]):
            continue
        path = tables.located(directory, row[column])
        if path is None:
            raise tables.not_there(directory, index, row, column)
        inventory = sources.scan([path])
        files = [file for series in inventory.series for file in series.files]
        items = list(sources.read_series(files, row[column])) if files else []
        slices = [item if isinstance(item, Slice) else None for item in items]
        if not _alike(items, image.items):
            raise DatasetError(
                f"{index}: line {row.line} gives as {column} what does not have the slices and"
                f" pixels of its image, {row[column]}"
            )
        found[column.upper()] = slices
    return found


def _alike(items: Sequence[Slice | Refusal], others: Sequence[Slice | Refusal]) -> bool:
    """Tell whether they are as many, of the same pixels; what was refused fits any."""
    return len(items) == len(others) and all(
        one.pixels.shape == other.pixels.shape
        for one, other in zip(items, others, strict=True)
        if isinstance(one, Slice) and isinstance(other, Slice)
    )


def _read_folder(
    index: Path, row: Row, inventory: sources.Inventory, mask: Path | None, choice: Choice
) -> Image:
    """Read the one series of a folder; segmentations in it are no series of images."""
    segmentations = segmented.found(inventory)
    own = [s for s in inventory.series if all(f.path not in segmentations for f in s.files)]
    if len(own) != 1:
        raise DatasetError(
            f"{index}: line {row.line} gives a folder of {len(own)} series, {row['image']}; give"
            " one of a single series"
        )
    (root,) = inventory.roots
    name = row["image"].rstrip("/")
    files = [
        replace(file, source=f"{name}{file.source.removeprefix(root)}") for file in own[0].files
    ]
    image = Image.of(files, name, mask, choice, listed=True)
    plane = files[0].planes[0]
    return replace(image, place=plane.height if plane else None)
