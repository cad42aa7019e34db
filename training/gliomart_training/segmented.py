"""A data set of DICOM series with DICOM segmentations, wherever in a folder both lie.

A segmentation tells by itself which series it is of. Series without one are left out: nobody knows
whether they are tumour-free, and they may be of other sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart.printable import printable
from gliomart.site.scans import by_patient, suited
from gliomart.sources import DEFAULT, wall
from gliomart_training.truth.image import Image, patient_of
from gliomart_training.truth.marks import errors
from gliomart_training.truth.segmentations import SOP_CLASSES, References

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gliomart.model.card import ModelCard
    from gliomart.sources import Inventory, SeriesFiles
    from gliomart_training.patients import Patient
    from gliomart_training.truth.marks import Choice


def found(inventory: Inventory) -> set[Path]:
    """Find the segmentations among the files of a folder."""
    return {
        file.path
        for series in inventory.series
        for file in series.files
        if file.header is not None and file.header.sop_class in SOP_CLASSES
    }


def load(
    directory: Path,
    every_series: Sequence[SeriesFiles],
    segmentations: set[Path],
    choice: Choice,
    card: ModelCard | None,
) -> list[Patient]:
    """Read the series that segmentations refer to, one of each patient.

    Parameters
    ----------
    directory
        The data set, for messages.
    every_series
        Its DICOM series, those of the segmentations included.
    segmentations
        Their files.
    choice
        Which segments count.
    card
        Series that this model is not made for, as their headers say, are left out; None takes all.

    Raises
    ------
    DatasetError
        A segmentation belongs to no series, or to several; two belong to the same one.
    """
    images = [s for s in every_series if all(f.path not in segmentations for f in s.files)]
    fitting = images if card is None else suited(images, card)
    mask_of: dict[str, Path] = {}
    unsuited = 0
    for path in sorted(segmentations):
        of = _of(path, images)
        own = [series for series in of if series in fitting]
        if not own:
            unsuited += 1
            continue
        if len(own) > 1:
            raise DatasetError(
                f"{path}: refers to several series, such as {own[0].source} and {own[1].source};"
                " list it with one of them in an index.csv"
            )
        if (other := mask_of.setdefault(own[0].id, path)) != path:
            raise DatasetError(
                f"{other} and {path}: both are segmentations of the series {own[0].source}; keep"
                " one, or list it in an index.csv"
            )
    segmented = [series for series in images if series.id in mask_of]
    first = [own[0] for own in by_patient(segmented)]
    _tell(directory, unsuited, len(images) - len(segmented), len(segmented) - len(first))
    return [
        patient_of(
            series.id,
            [Image.of(series.files, series.source, mask_of[series.id], choice, listed=True)],
        )
        for series in first
    ]


def _of(path: Path, images: Sequence[SeriesFiles]) -> list[SeriesFiles]:
    """Find the series that a segmentation refers to, by their images or else by their own UID."""
    with errors(path):
        series_uids, instances = References.of(wall.parse(path, pixels=False, budget=DEFAULT))
    headers = {s.id: [file.header for file in s.files if file.header is not None] for s in images}
    of = [s for s in images if any(h.sop_instance_uid in instances for h in headers[s.id])] or [
        s for s in images if any(h.series in series_uids for h in headers[s.id])
    ]
    if not of:
        raise DatasetError(
            f"{path}: refers to no series that is there; list it with its image in an index.csv"
        )
    return of


def _tell(directory: Path, unsuited: int, without: int, later: int) -> None:
    """Say what is left out."""
    told = (
        (unsuited, "segmentations are of series that the model is not made for"),
        (without, "series have no segmentation (an index.csv can say that they are tumour-free)"),
        (later, "series are further ones of patients of whom the first is taken"),
    )
    for count, what in told:
        if count:
            say(printable(f"{directory}: {count} {what}; left out"))
