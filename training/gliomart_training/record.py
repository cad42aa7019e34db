"""A training run's folder and its record: what evaluation and export know of a training.

Free of Keras, which an evaluation does without.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gliomart.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "record.json"


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
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file}: not the record of a training run; give the folder FILE.run that train left"
        ) from error
    if "fits" not in record:
        raise DatasetError(f"{file}: its training has not finished; go on with train --resume")
    return record
