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

from gliomart.errors import InputRefusedError
from gliomart.forking import at_work
from gliomart.given import paths as given_paths
from gliomart.slices import Refusal, Slice, checked
from gliomart.sources import changes, dicom, images, masks, nifti, wall
from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.grouping import group
from gliomart.sources.inventory import Inventory, SeriesFiles, SourceFile
from gliomart.sources.volumes import in_order, turn_of
from gliomart.sources.walk import Walk, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydicom import Dataset

    from gliomart.results import SliceResult

__all__ = [
    "DEFAULT", "Budget", "Inventory", "SeriesFiles", "SourceFile",
    "headers", "is_hidden", "read", "read_series", "scan", "scan_datasets", "shapes",
]  # fmt: skip

_PICTURES = ("png", "jpeg", "tiff")
# Pictures of a series that are in memory together.
_MOST_PICTURES = 512
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
    for path in given_paths(paths):
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


def scan_datasets(datasets: Iterable[Dataset], budget: Budget = DEFAULT) -> Inventory:
    """Group data sets that are in memory into series, as :func:`scan` groups files."""
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
                        budget=budget, dataset=dataset,
                    )
                )  # fmt: skip
        except InputRefusedError as error:
            refused.append(Refusal(source, None, error.code, error.reason))
    series_found = group(found, refused)
    return Inventory(tuple(roots), tuple(series_found), tuple(refused), len(roots), {})


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


def shapes(files: Sequence[SourceFile]) -> list[tuple[float, ...]] | None:
    """Tell the shape of each file's slice, where each holds one of its series' axial slices.

    Their headers say so; then :func:`read` gives, file by file, what :func:`read_series` gives,
    and the series need not be in memory as a whole. Pictures are asked only where there are many:
    a few are in memory sooner than they have been described.

    Returns
    -------
    None where the series has to be read as a whole.
    """
    if len(files) > _MOST_PICTURES and all(file.kind in _PICTURES for file in files):
        return _known(map(images.shape_of, files))
    turn = turn_of([file.planes[0] for file in files])
    if any(len(file.planes) != 1 for file in files) or not (turn is None or turn.nothing):
        return None
    return _known(file.header.shape if file.header else None for file in files)


def _known(found: Iterable[tuple[float, ...] | None]) -> list[tuple[float, ...]] | None:
    """Give all that was found, or None where one was not."""
    known = []
    for shape in found:
        if shape is None:
            return None
        known.append(shape)
    return known


def headers(files: Iterable[SourceFile], results: Sequence[SliceResult]) -> list[Dataset]:
    """Read the headers that results come from: in the order of the results where they are images.

    Returns
    -------
    One for each slice, one for all frames of a file, or those of all images that a turned volume
    was put together from; none for files that are not DICOM.

    Raises
    ------
    InputRefusedError
        A file is no longer what it was when it was found.
    """
    of_dicom = [file for file in files if file.kind == "dicom"]
    analysed = dict.fromkeys(result.slice.source for result in results)
    by_source = {file.source: file for file in of_dicom if file.source in analysed}
    chosen = [by_source[source] for source in analysed if source in by_source] or of_dicom
    return list(map(_header, chosen))


def _header(file: SourceFile) -> Dataset:
    with changes.unchanged(file.path, file.stamp):
        return wall.parse(file.path, pixels=False, budget=file.budget)


def _read(file: SourceFile) -> Iterator[Slice | Refusal]:
    try:
        yield from _unchanged(file)
    except InputRefusedError as error:
        yield Refusal(file.source, None, error.code, error.reason)


def _unchanged(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Read a file, and see that what was read is what was found.

    All of it is in memory when its first slice comes: from then on it may change.
    """
    read = {"dicom": dicom.read, "nifti": nifti.read}.get(file.kind, images.read)
    items = read(file)
    with changes.unchanged(file.path, file.stamp):
        first = next(items, None)
    if first is not None:
        yield first
    yield from items
