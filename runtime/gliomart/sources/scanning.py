"""From paths and data sets to an inventory of series; no pixels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Refusal
from gliomart.sources import dicom, given, masks
from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.grouping import group
from gliomart.sources.inventory import Inventory, SourceFile
from gliomart.sources.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom import Dataset

_MASK = "mask beside an image"


def scan(
    paths: Iterable[Path | str],
    budget: Budget = DEFAULT,
    *,
    plane: int | None = None,
    sequence: str | None = None,
) -> Inventory:
    """Walk files and folders (recursively) and group them into series.

    A DICOM series is what belongs together, sorted by position along its normal; a series of
    image files is one folder, sorted by name with numbers as numbers; a NIfTI file is a series of
    its own, whose name (BIDS) and sidecar are read. Of a DICOMDIR the files that it lists are
    taken. What is hidden in a folder is counted and not read, and so are masks beside the images
    that they are named after (``scan_mask.png``); what is given by name is read.

    Parameters
    ----------
    paths
        Files and folders.
    budget
        What may be spent on reading one file.
    plane
        Which colour plane of pictures (PNG, JPEG, TIFF) is analysed, from 1; None where all have
        to be alike.
    sequence
        Which MR sequence they are of (``flair``, ``t1``, ``t1c``, ``t2``), as far as they do not
        say it themselves; None where nobody says.

    Raises
    ------
    InputNotFoundError
        A path does not exist. Everything else that is wrong with files becomes a refusal.
    UsageError
        An argument is not of its kind.
    """
    given.instance("budget", budget, Budget)
    plane, sequence = given.count("plane", plane), given.sequence(sequence)
    walk = Walk()
    images: list[SourceFile] = []
    for path in given.paths(paths):
        known = len(walk.found)
        walk.take(path, budget)
        met = walk.found[known:]
        beside: set[str] = set()
        if path.is_dir():  # a mask that is given by itself is meant
            beside = masks.beside(met, [refusal.source for refusal in walk.refused])
            walk.ignored.update({_MASK: len(beside)} if beside else {})
        images += (
            replace(file, plane=plane, sequence=sequence)
            for file in met
            if file.source not in beside
        )
    files = len({file.source for file in images}) + len(walk.refused)
    series = group(images, walk.refused)
    return Inventory(
        roots=tuple(walk.roots),
        series=tuple(series),
        refused=tuple(walk.refused),
        files=files,
        ignored_kinds=dict(walk.ignored),
    )


def scan_datasets(
    datasets: Iterable[Dataset], budget: Budget = DEFAULT, *, sequence: str | None = None
) -> Inventory:
    """Group data sets that are in memory into series, as :func:`scan` groups files."""
    sequence = given.sequence(sequence)
    found: list[SourceFile] = []
    refused: list[Refusal] = []
    roots = []
    for number, dataset in enumerate(datasets):
        roots.append(source := f"dataset-{number}")
        try:
            for header in dicom.headers_of(dicom.in_memory(dataset, budget)):
                series = header.series or "datasets"
                found.append(
                    SourceFile(
                        Path(source), source, "dicom", series, header, header.planes,
                        budget=budget, sequence=sequence, dataset=dataset,
                    )
                )  # fmt: skip
        except InputRefusedError as error:
            refused.append(Refusal(source, None, error.code, error.reason))
    series_found = group(found, refused)
    return Inventory(tuple(roots), tuple(series_found), tuple(refused), len(roots), {})
