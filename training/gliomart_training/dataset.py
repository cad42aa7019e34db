"""A dataset folder: which series it holds, whose they are, and where tumours are marked.

A dataset is any folder of images or DICOM. An ``index.csv`` in it, where there is one, says
more: ``image``, ``mask`` (empty where nothing is marked), ``patient``, ``split``. Without it,
one series is taken for one patient, and an image called like another with ``_mask`` added (or
``-mask``, ``_seg``, ``_label``) for that one's mask. A ``pons.csv`` beside the index says where the
pons is, as an ellipse in pixels of the image: ``image``, ``cx``, ``cy``, ``rx``, ``ry``, one row
for each image in which it was marked.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import astuple, dataclass, replace
from pathlib import Path  # noqa: TC003  # dataclasses resolve it
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.slices import Refusal, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

# Slices this close to a marked one may show what its reader did not mark.
NEIGHBOURHOOD = 3
# A slice is taken to be clear of the pons where no slice with a mark is nearer than this, as a
# fraction of the patient's slices. The pons is about a sixth of a head's height.
PONS_CLEARANCE = 0.1
PONS_TABLE = "pons.csv"
# Seeds the dealing of patients into folds.
_DEAL = 0


@dataclass(frozen=True)
class Ellipse:
    """The pons as an axis-aligned ellipse, in pixels of the slice; pixel centres at integers."""

    cx: float
    cy: float
    rx: float
    ry: float

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Draw it on (H, W) pixels; bool."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        inside = np.hypot((x - self.cx) / self.rx, (y - self.cy) / self.ry) <= 1
        return np.asarray(inside)


@dataclass(frozen=True)
class Example:
    """One slice of a patient, and what is known of it.

    ``mask`` is the path of its tumour mask, None where nothing is marked; ``pons`` is where
    somebody marked the pons, None where nobody did.
    """

    slice: Slice
    mask: Path | None
    tumour_free: bool
    pons: Ellipse | None = None

    def truth(self) -> NDArray[np.bool_]:
        """Read the tumour mask; bool (H, W), of the slice's own pixel grid."""
        if self.mask is None:
            return np.zeros(self.slice.pixels.shape, bool)
        mask = _read_mask(self.mask)
        if mask.shape != self.slice.pixels.shape:
            raise DatasetError(f"{self.mask}: not of the size of its image")
        return mask


@dataclass(frozen=True)
class Patient:
    """All readable slices of one patient, in order, and the ones that were refused.

    ``tumour_free`` of an example means: not marked, and more than three slices away from any
    marked one.
    """

    id: str
    examples: tuple[Example, ...]
    refused: tuple[Refusal, ...]

    def clear_of_pons(self) -> list[bool]:
        """Tell of each example whether it surely does not show the pons.

        Only slices far from every mark of the pons are; near one, or in a patient without marks,
        nobody has said.
        """
        marked = [n for n, example in enumerate(self.examples) if example.pons is not None]
        clearance = PONS_CLEARANCE * len(self.examples)
        return [
            bool(marked) and min(abs(number - other) for other in marked) > clearance
            for number in range(len(self.examples))
        ]

    @property
    def slices(self) -> list[Slice]:
        """The slices without what is known of them, as the runtime gets them."""
        return [example.slice for example in self.examples]


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
    index = directory / "index.csv"
    if index.is_file():
        patients = _load_indexed(directory, index, split)
    elif split is not None:
        raise DatasetError(f"{directory}: has no index.csv that names splits; leave --split out")
    else:
        patients = _load_plain(directory)
    if not any(patient.examples for patient in patients):
        where = f" in split {split}" if split else ""
        kinds = "it needs DICOM, NIfTI, PNG, JPEG or TIFF"
        raise DatasetError(f"{directory}: no readable images{where}; {kinds}")
    return patients


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


def _read_mask(path: Path) -> NDArray[np.bool_]:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DatasetError(f"{path}: not a mask that can be read")
    return mask > 0


def _load_plain(directory: Path) -> list[Patient]:
    patients = []
    inventory = sources.scan([directory])
    for series in inventory.series:
        marks = [_marked(inventory.masks.get(file.source, ())) for file in series.files]
        reads = [sources.read(file) for file in series.files]
        if not any(marks):  # masks lie on the images as they were acquired
            reads, marks = [sources.read_series(series.files, series.source)], [None]
        patients.append(_patient(series.id, list(zip(reads, marks, strict=True))))
    return patients


def _marked(masks: Sequence[Path]) -> Path | None:
    """Take a mask only where it marks something: folders of pairs hold empty ones as well."""
    marked = [mask for mask in masks if _read_mask(mask).any()]
    if len(marked) > 1:
        raise DatasetError(f"{marked[0]}: {marked[1].name} is a mask of the same image as well")
    return marked[0] if marked else None


def _load_indexed(directory: Path, index: Path, split: str | None) -> list[Patient]:
    every_row = _read_table(index, {"image", "mask", "patient"})
    for number, row in enumerate(every_row, start=2):
        if not row["image"] or not row["patient"] or row["mask"] is None:
            raise DatasetError(f"{index}: line {number} lacks an image or a patient")
    rows = [row for row in every_row if split is None or row.get("split") == split]
    if not rows:
        if split is None:
            raise DatasetError(f"{index}: has no rows")
        named = sorted({row["split"] for row in every_row if row.get("split")})
        raise DatasetError(
            f"{index}: no rows of split {split}, only of {', '.join(named) or 'none'}"
        )
    by_patient: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_patient[row["patient"]].append(row)
    pons = _load_pons(directory / PONS_TABLE)
    return [_indexed_patient(directory, name, rows, pons) for name, rows in by_patient.items()]


def _load_pons(table: Path) -> dict[str, Ellipse]:
    if not table.is_file():
        return {}
    ellipses = {}
    for number, row in enumerate(_read_table(table, {"image", "cx", "cy", "rx", "ry"}), start=2):
        try:
            ellipse = Ellipse(*(float(row[name]) for name in ("cx", "cy", "rx", "ry")))
        except (TypeError, ValueError) as error:
            raise DatasetError(f"{table}: line {number} is not an ellipse") from error
        if not (ellipse.rx > 0 and ellipse.ry > 0 and all(map(math.isfinite, astuple(ellipse)))):
            raise DatasetError(f"{table}: line {number} is not an ellipse")
        ellipses[row["image"]] = ellipse
    return ellipses


def _read_table(path: Path, columns: set[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows, there = list(reader), set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not a table that can be read") from error
    if missing := columns - there:
        raise DatasetError(f"{path}: no column {', '.join(sorted(missing))}")
    return rows


def _indexed_patient(
    directory: Path, name: str, rows: list[dict[str, str]], pons: Mapping[str, Ellipse]
) -> Patient:
    reads = [_read_image(directory / row["image"], row["image"]) for row in rows]
    marks = [directory / row["mask"] if row["mask"] else None for row in rows]
    patient = _patient(name, list(zip(reads, marks, strict=True)))
    examples = [replace(e, pons=pons.get(e.slice.source)) for e in patient.examples]
    return replace(patient, examples=tuple(examples))


def _patient(name: str, images: Sequence[tuple[Iterable[Slice | Refusal], Path | None]]) -> Patient:
    """Read one patient's images, each with its mask, and tell which are far from every mask."""
    marked = [number for number, (_, mask) in enumerate(images) if mask is not None]
    examples: list[Example] = []
    refused: list[Refusal] = []
    for number, (read, mask) in enumerate(images):
        near = any(abs(number - other) <= NEIGHBOURHOOD for other in marked)
        for item in read:
            if isinstance(item, Refusal):
                refused.append(item)
            else:
                examples.append(Example(replace(item, series=name), mask, tumour_free=not near))
    return Patient(name, tuple(examples), tuple(refused))


def _read_image(path: Path, name: str) -> Iterable[Slice | Refusal]:
    if not path.is_file():
        raise DatasetError(f"{path}: listed in the index but not there")
    inventory = sources.scan([path])
    if not inventory.series:
        reason = inventory.refused[0].reason if inventory.refused else "no image"
        return [Refusal(name, None, "unreadable", reason)]
    file = replace(inventory.series[0].files[0], source=name)
    return sources.read(file)
