"""A dataset folder: which series it holds, whose they are, and where tumours are marked.

A dataset is any folder of images or DICOM. An ``index.csv`` in it, where there is one, says
more: ``image``, ``mask`` (empty where nothing is marked), ``patient``, and perhaps ``split`` and
``slice``, a number that orders a patient's images. Without it, one series is taken for one patient,
and an image called like another with ``_mask`` added (or ``-mask``, ``_seg``, ``_label``) for that
one's mask. A ``pons.csv`` beside the index says where the pons is, as an ellipse in pixels of the
image: ``image``, ``cx``, ``cy``, ``rx``, ``ry``, one row for each image in which it was marked.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart.image.slices import Refusal, Slice
from gliomart.printable import printable
from gliomart_training import masks, tables
from gliomart_training.patients import NEIGHBOURHOOD, Ellipse, Example, MaskFile, Patient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart_training.tables import Row

INDEX = "index.csv"
PONS_TABLE = "pons.csv"
__all__ = ["NEIGHBOURHOOD", "Ellipse", "Example", "Patient", "folds", "load", "splits"]
_NUMBERS = re.compile(r"(\d+)")
# Seeds the dealing of patients into folds.
_DEAL = 0


def load(directory: Path, split: str | None = None) -> list[Patient]:
    """Read a dataset folder into memory, patient by patient.

    Parameters
    ----------
    directory
        The folder; see this module's description.
    split
        Only the rows of ``index.csv`` that say this split; None takes all.

    Raises
    ------
    DatasetError
        The folder or its index does not hold what is needed.
    """
    if not directory.is_dir():
        raise DatasetError(f"{directory}: no such folder")
    index = tables.find(directory, INDEX)
    if index is not None:
        patients = _load_indexed(directory, index, split)
    elif split is not None:
        raise DatasetError(f"{directory}: has no index.csv that names splits; leave --split out")
    else:
        patients = _load_plain(directory)
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


def folds(patients: Sequence[Patient], count: int) -> list[list[str]]:
    """Deal patients at random into ``count`` groups of equal size.

    The same patients are always dealt alike, so that trainings can be compared on those held out.
    """
    if count > len(patients):
        raise DatasetError(
            f"{count} folds need as many patients, not {len(patients)}; give a smaller --folds, or"
            " more patients"
        )
    shuffled = np.random.default_rng(_DEAL).permutation(sorted(p.id for p in patients)).tolist()
    return [sorted(shuffled[fold::count]) for fold in range(count)]


@dataclass(frozen=True)
class _Image:
    """One image file as read: its slices and refusals, in order, and what its mask marks in each.

    ``mask`` is None where there is none, or where an unlisted one marks nothing. ``place`` is where
    a DICOM image lies along its normal, in mm.
    """

    items: list[Slice | Refusal]
    mask: Path | None = None
    marks: Sequence[NDArray[np.bool_] | None] = ()
    files: tuple[MaskFile, ...] = ()
    place: float | None = None

    @classmethod
    def of(cls, file: sources.SourceFile, mask: Path | None, *, listed: bool) -> _Image:
        """Read an image and its mask; a volume as axial slices, as an analysis does."""
        volume = file.kind == "nifti"
        items = list(sources.read_series([file], file.source) if volume else sources.read(file))
        if mask is None:
            return cls(items)
        if not any(isinstance(item, Slice) for item in items):
            return cls(items, mask, [None] * len(items))
        if volume != masks.is_nifti(mask):
            raise DatasetError(f"{mask}: a NIfTI mask goes with a NIfTI image, and no other does")
        marks = masks.read_volume(mask, items) if volume else masks.read(mask, items)
        fraction = float(np.mean([plane.mean() for plane in marks if plane is not None]))
        files = (MaskFile(mask, fraction, listed=listed),)
        return cls(items, mask if listed or fraction else None, marks, files)

    def slices(self) -> Iterable[tuple[Slice | Refusal, NDArray[np.bool_] | None, bool]]:
        """Go through its slices: what is marked, and whether it counts as marked.

        Of a volume the slices that its mask marks do; where a mask that an index lists marks
        nothing at all, every slice does, since nobody knows where the mark should be.
        """
        nowhere = not any(file.fraction for file in self.files)
        for number, item in enumerate(self.items):
            marks = self.marks[number] if self.mask else None
            some = marks is not None and bool(marks.any())
            yield item, marks if some else None, self.mask is not None and (some or nowhere)


def _load_plain(directory: Path) -> list[Patient]:
    inventory = sources.scan([directory])
    (root,) = inventory.roots
    folders = {file.path.parent for series in inventory.series for file in series.files}
    mask_of = {image: mask for folder in folders for image, mask in masks.pairs(folder).items()}
    masks.check_folders(directory)
    of_others = set(mask_of.values())
    left_out = {
        file.path
        for series in inventory.series
        for file in series.files
        if file.path not in of_others and masks.probable(file.path, directory)
    }
    if left_out:
        say(
            f"{directory}: {len(left_out)} files are called like masks and belong to no image, such"
            f" as {printable(str(min(left_out)))}; they are left out"
        )
    patients = []
    for series in inventory.series:
        files = [file for file in series.files if file.path not in of_others | left_out]
        if files:
            beside = [mask_of.get(masks.stem(file.path)) for file in files]
            images = _read_plain(files, beside, series.source)
            patients.append(_patient(_relative(series.id, root), images))
    return patients


def _read_plain(
    files: Sequence[sources.SourceFile], beside: Sequence[Path | None], source: str
) -> list[_Image]:
    """Read a series; image by image where a mask marks something, as masks lie on these."""
    images = []
    if any(beside):
        pairs = zip(files, beside, strict=True)
        images = [_Image.of(file, mask, listed=False) for file, mask in pairs]
    if any(image.mask for image in images):
        return images
    found = tuple(mask for image in images for mask in image.files)
    return [_Image(list(sources.read_series(files, source)), files=found)]


def _relative(series: str, root: str) -> str:
    """Name a series within its dataset: the folder's own name changes when it is moved."""
    path = PurePosixPath(series)
    return str(path.relative_to(root)) if path.is_relative_to(root) else series


def _load_indexed(directory: Path, index: Path, split: str | None) -> list[Patient]:
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
        images = _in_place(index, [(row, _read_row(directory, index, row)) for row in own])
        patients.append(_with_pons(_patient(own[0]["patient"], images), pons))
    return patients


def _in_place(index: Path, read: Sequence[tuple[Row, _Image]]) -> list[_Image]:
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


def _read_row(directory: Path, index: Path, row: Row) -> _Image:
    path = tables.located(directory, row["image"])
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
        return _Image(items, mask, [None], ())
    file = replace(inventory.series[0].files[0], source=row["image"])
    (plane, *_) = file.planes
    image = _Image.of(file, mask, listed=True)
    return replace(image, place=plane.height if plane else None)


def _patient(name: str, images: Sequence[_Image]) -> Patient:
    """Put one patient's images together, and tell which slices are far from every mark."""
    slices = [found for image in images for found in image.slices()]
    masked = [image.mask for image in images for _ in image.items]
    marked = [number for number, (_, _, counts) in enumerate(slices) if counts]
    examples: list[Example] = []
    refused: list[Refusal] = []
    for number, ((item, marks, counts), mask) in enumerate(zip(slices, masked, strict=True)):
        near = any(abs(number - other) <= NEIGHBOURHOOD for other in marked)
        if isinstance(item, Refusal):
            refused.append(item)
        else:
            example = Example(replace(item, series=name), mask if counts else None, not near)
            examples.append(replace(example, marks=marks))
    found = tuple(mask for image in images for mask in image.files)
    return Patient(name, tuple(examples), tuple(refused), found)
