"""A dataset folder: which series it holds, whose they are, and where tumours are marked.

A dataset is any folder of images or DICOM. An ``index.csv`` in it, where there is one, says
more: ``image``, ``mask`` (empty where nothing is marked), ``patient``, ``split``. Without it,
one series is taken for one patient and nothing for marked.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003  # dataclasses resolve it
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.slices import Refusal, Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# Slices this close to a marked one may show what its reader did not mark.
NEIGHBOURHOOD = 3


@dataclass(frozen=True)
class Example:
    """One slice of a patient, and what is known of it.

    ``mask`` is the path of its tumour mask, None where nothing is marked.
    """

    slice: Slice
    mask: Path | None
    tumour_free: bool

    def truth(self) -> NDArray[np.bool_]:
        """Read the tumour mask; bool (H, W), of the slice's own pixel grid."""
        if self.mask is None:
            return np.zeros(self.slice.pixels.shape, bool)
        mask = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != self.slice.pixels.shape:
            raise DatasetError(f"{self.mask}: not a mask of the size of its image")
        return mask > 0


@dataclass(frozen=True)
class Patient:
    """All readable slices of one patient, in order, and the ones that were refused.

    ``tumour_free`` of an example means: not marked, and more than three slices away from any
    marked one.
    """

    id: str
    examples: tuple[Example, ...]
    refused: tuple[Refusal, ...]

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
        raise DatasetError(f"{directory}: not a folder")
    index = directory / "index.csv"
    if index.is_file():
        patients = _load_indexed(directory, index, split)
    elif split is not None:
        raise DatasetError(f"{directory}: a split needs an index.csv that names it")
    else:
        patients = _load_plain(directory)
    if not any(patient.examples for patient in patients):
        raise DatasetError(
            f"{directory}: no readable images" + (f" in split {split}" if split else "")
        )
    return patients


def folds(patients: Sequence[Patient], count: int, seed: int) -> list[list[str]]:
    """Deal patients into ``count`` groups of equal size, by a seed."""
    if count > len(patients):
        raise DatasetError(f"{len(patients)} patients cannot be split into {count} folds")
    shuffled = np.random.default_rng(seed).permutation(sorted(p.id for p in patients)).tolist()
    return [sorted(shuffled[fold::count]) for fold in range(count)]


def _load_plain(directory: Path) -> list[Patient]:
    patients = []
    for series in sources.scan([directory]).series:
        read = [item for file in series.files for item in sources.read(file)]
        examples = tuple(
            Example(s, mask=None, tumour_free=True) for s in read if isinstance(s, Slice)
        )
        refused = tuple(item for item in read if isinstance(item, Refusal))
        patients.append(Patient(series.id, examples, refused))
    return patients


def _load_indexed(directory: Path, index: Path, split: str | None) -> list[Patient]:
    with index.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = {"image", "mask", "patient"} - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{index}: no column {', '.join(sorted(missing))}")
        rows = [row for row in reader if split is None or row.get("split") == split]
    if not rows:
        raise DatasetError(f"{index}: no rows" + (f" of split {split}" if split else ""))
    by_patient: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_patient[row["patient"]].append(row)
    return [_indexed_patient(directory, name, rows) for name, rows in by_patient.items()]


def _indexed_patient(directory: Path, name: str, rows: list[dict[str, str]]) -> Patient:
    marked = [number for number, row in enumerate(rows) if row["mask"]]
    examples: list[Example] = []
    refused: list[Refusal] = []
    for number, row in enumerate(rows):
        path = directory / row["image"]
        for item in _read_image(path, row["image"]):
            if isinstance(item, Refusal):
                refused.append(item)
                continue
            near = any(abs(number - other) <= NEIGHBOURHOOD for other in marked)
            mask = directory / row["mask"] if row["mask"] else None
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
