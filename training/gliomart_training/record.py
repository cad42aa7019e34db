"""A training run's folder and its record: what evaluation and export know of a training.

Free of Keras, which an evaluation does without.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomart.errors import DatasetError, TrainingError
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Container

RECORD = "record.json"
# Since 2, the patients of folders without an index are named within the folder.
SCHEMA = 2


def run_folder(network: Path) -> Path:
    """Folder of the run that trained a ``.keras`` file."""
    return network.with_suffix(".run")


def read_record(folder: Path) -> dict[str, Any]:
    """Read the record of a finished run.

    Raises
    ------
    DatasetError
        The folder is not one of a training run, or its training has not finished.
    """
    file = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{file}: not the record of a training run; give the folder FILE.run that train left"
        ) from error
    if not isinstance(record, dict):
        raise DatasetError(f"{file}: not the record of a training run")
    if "fits" not in record:
        raise DatasetError(f"{file}: its training has not finished; go on with train --resume")
    return record


def read_json(file: Path) -> Any:  # noqa: ANN401
    """Read what a training run wrote for itself.

    Raises
    ------
    TrainingError
        It is broken.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{file}: is broken; remove it, and --resume makes it again") from error


def folds_of(record: dict[str, Any], known: Container[str]) -> list[list[str]]:
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
