"""A training run's folder and its record: what evaluation and export know of a training.

Free of Keras, which an evaluation does without.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from gliomart.errors import DatasetError, TrainingError
from gliomart.image.steps import Preprocessing, Shading
from gliomart.printable import printable
from gliomart_training.patients import MaskCounts  # noqa: TC001  # types are read at run time

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

RECORD = "record.json"
# Since 2, the patients of folders without an index are named within the folder.
SCHEMA = 2


# Of a dataclass, by the names of its fields.
Options = dict[str, Any]
History = dict[str, list[float]]


class LocaliserFit(TypedDict):
    """What is kept of the training of a localiser; losses of twentieths of it."""

    losses: list[float]
    seconds: float
    slices: int


class Fit(TypedDict):
    """What is kept of the training of one network; scores of held-out slices, by kind."""

    losses: History
    seconds: float
    slices: int
    scores: dict[str, list[float]] | None
    brain: NotRequired[LocaliserFit]
    pons: NotRequired[LocaliserFit]


class PonsData(TypedDict):
    """What pons localisers were trained on, and how."""

    recipe: Options
    patients: int
    marked_slices: int
    clear_slices: int


class BuiltOn(TypedDict):
    """A network of another run that a run builds on, and what it takes from it.

    ``role`` is localisers, encoder, member or teacher; ``sha256`` is of the final network.
    """

    role: str
    network: str
    seed: int
    sha256: str
    saw_masks: bool


class Record(TypedDict):
    """The record of a run; ``fits`` is there once it has finished.

    ``saw_masks`` tells whether tumour masks taught the network, or one in ``built_on``.
    """

    schema: int
    software: dict[str, str | None]
    data: str
    split: str | None
    recipe: Options
    preprocessing: Options
    variation: Options
    fold_count: int
    patients: int
    slices: int
    masks: MaskCounts
    folds: list[list[str]]
    brain: Options
    pons: PonsData | None
    built_on: NotRequired[list[BuiltOn]]
    saw_masks: NotRequired[bool]
    fits: NotRequired[dict[str, Fit]]


def run_folder(network: Path) -> Path:
    """Folder of the run that trained a ``.keras`` file."""
    return network.with_suffix(".run")


def read_record(folder: Path, needed: Iterable[str] = ()) -> Record:
    """Read the record of a finished run.

    Raises
    ------
    DatasetError
        The folder is not one of a training run, or its training has not finished; or the record
        lacks what is needed of it.
    """
    file = folder / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{file}: not the record of a training run; give the folder FILE.run that train left"
        ) from error
    if not isinstance(record, dict):
        raise DatasetError(f"{file}: not the record of a training run")
    if "fits" not in record:
        raise DatasetError(f"{file}: its training has not finished; go on with train --resume")
    if missing := sorted(set(needed) - record.keys()):
        raise DatasetError(f"{file}: does not say {missing[0]}; train again")
    return cast("Record", record)


def preprocessing_of(record: Record) -> Preprocessing:
    """Tell how a run's networks take images."""
    options = record["preprocessing"]
    shading = options.get("shading")  # a record that does not say so is of even light
    return Preprocessing(
        **(
            options
            | {
                "channels": tuple(options["channels"]),
                "shading": Shading(**shading) if shading else None,
            }
        )
    )


def read_json(file: Path) -> object:
    """Read what a training run wrote for itself.

    Raises
    ------
    TrainingError
        It is broken.
    """
    try:
        parsed: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{file}: is broken; remove it, and --resume makes it again") from error
    return parsed


def folds_of(record: Record, known: Container[str]) -> list[list[str]]:
    """Tell whom each fold held out, by the names that the dataset's patients have now.

    Records of schema 1 named patients of folders without an index by a path that began with the
    folder's own name.
    """
    folder = printable(Path(record.get("data", "")).name)

    def now(patient: str) -> str:
        if patient in known or record.get("schema") != 1:
            return patient
        return "." if patient == folder else patient.removeprefix(f"{folder}/")

    return [[now(patient) for patient in fold] for fold in record["folds"]]
