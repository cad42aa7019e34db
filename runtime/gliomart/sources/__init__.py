"""From paths to slices.

:func:`scan` walks the inputs once, reading no pixels, and groups what it finds into series;
:func:`read_series` turns a series into axial slices in anatomical order, and :func:`read` one file
into the slices that it holds. A file is what its content says, and a name that says something else
is a refusal, not a guess.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import InputNotFoundError, InputRefusedError
from gliomart.forking import at_work
from gliomart.slices import Refusal, Slice, checked
from gliomart.sources import dicom, images, masks, nifti, wall
from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.grouping import group
from gliomart.sources.inventory import Inventory, SeriesFiles, SourceFile
from gliomart.sources.volumes import in_order, turn_of
from gliomart.sources.walk import Walk, is_hidden, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydicom import Dataset

    from gliomart.results import SliceResult

__all__ = [
    "DEFAULT", "Budget", "Inventory", "SeriesFiles", "SourceFile",
    "headers", "is_hidden", "one_by_one", "read", "read_series", "scan",
]  # fmt: skip

_MASK = "mask beside an image"


@at_work
def scan(
    paths: Iterable[Path | str], budget: Budget = DEFAULT, *, plane: int | None = None
) -> Inventory:
    """Walk files and folders (recursively) and group them into series.

    A DICOM series is what belongs together, sorted by position along its normal; a series of
    image files is one folder, sorted by name with numbers as numbers; a NIfTI file is a series of
    its own. Of a DICOMDIR the files that it lists are taken. What is hidden in a folder is counted
    and not read, and so are masks beside the images that they are named after (``scan_mask.png``);
    what is given by name is read.

    Parameters
    ----------
    paths
        Files and folders.
    budget
        What may be spent on reading one file.
    plane
        Which colour plane of pictures (PNG, JPEG, TIFF) is analysed, from 1; None where all have
        to be alike.

    Raises
    ------
    InputNotFoundError
        A path does not exist. Everything else that is wrong becomes a refusal.
    """
    walk = Walk()
    images: list[SourceFile] = []
    for given in paths:
        if given == "":  # which Path takes for the working directory
            raise InputNotFoundError("an empty path was given")
        path = Path(given)
        known = len(walk.found)
        walk.take(path, budget)
        met = walk.found[known:]
        beside: set[str] = set()
        if path.is_dir():  # a mask that is given by itself is meant
            beside = masks.beside(met, [refusal.source for refusal in walk.refused])
            walk.ignored.update({_MASK: len(beside)} if beside else {})
        images += (replace(file, plane=plane) for file in met if file.source not in beside)
    files = len({file.source for file in images}) + len(walk.refused)
    series = group(images, walk.refused)
    return Inventory(
        roots=tuple(walk.roots),
        series=tuple(series),
        refused=tuple(walk.refused),
        files=files,
        ignored_kinds=dict(walk.ignored),
    )


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Read the slices of one file; what cannot be analysed comes as a refusal in its place."""
    return map(checked, _read(file))


def read_series(files: Iterable[SourceFile], source: str) -> Iterator[Slice | Refusal]:
    """Read the files of one series as axial slices from feet to head, then what is refused.

    Parameters
    ----------
    files
        Of one series, in order.
    source
        What results call slices that are put together from several images.
    """
    items = [item for file in files for item in _read(file)]
    slices = [item for item in items if isinstance(item, Slice)]
    yield from map(checked, in_order(slices, source))
    yield from (item for item in items if isinstance(item, Refusal))


def one_by_one(files: Sequence[SourceFile]) -> bool:
    """Tell whether every file of a series holds one of its axial slices, all of them of one shape.

    Their headers say so; then :func:`read` gives, file by file, what :func:`read_series` gives,
    and the series need not be in memory as a whole.
    """
    shapes = {file.header.shape if file.header else None for file in files}
    turn = turn_of([file.planes[0] for file in files])
    return (
        len(shapes) == 1
        and None not in shapes
        and all(len(file.planes) == 1 for file in files)
        and (turn is None or turn.nothing)
    )


def headers(files: Iterable[SourceFile], results: Sequence[SliceResult]) -> list[Dataset]:
    """Read the headers that results come from: in the order of the results where they are images.

    Returns
    -------
    One for each slice, one for all frames of a file, or those of all images that a turned volume
    was put together from; none for files that are not DICOM.
    """
    of_dicom = [file for file in files if file.kind == "dicom"]
    analysed = dict.fromkeys(result.slice.source for result in results)
    by_source = {file.source: file for file in of_dicom if file.source in analysed}
    chosen = [by_source[source] for source in analysed if source in by_source] or of_dicom
    return [wall.parse(file.path, pixels=False, budget=file.budget) for file in chosen]


def _read(file: SourceFile) -> Iterator[Slice | Refusal]:
    try:
        match file.kind:
            case "dicom":
                yield from dicom.read(file)
            case "nifti":
                yield from nifti.read(file)
            case _:
                yield from images.read(file)
    except InputRefusedError as error:
        yield Refusal(file.source, None, error.code, error.reason)
    except OSError as error:
        yield Refusal(file.source, None, "unreadable", reason_of(error))
