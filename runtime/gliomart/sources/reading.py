"""From files to slices, and to the headers that these come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.host.forking import at_input
from gliomart.image.slices import Refusal, Slice, checked
from gliomart.sources import changes, dicom, images, nifti, volumes, wall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydicom import Dataset

    from gliomart.sources.inventory import SourceFile


def read(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Read the slices of one file; what cannot be analysed comes as a refusal in its place."""
    return map(checked, unchecked(file))


def read_series(
    files: Iterable[SourceFile], source: str, plane: str = "axial"
) -> Iterator[Slice | Refusal]:
    """Read the files of one series as slices of a plane in order, then what is refused.

    Parameters
    ----------
    files
        Of one series, in order.
    source
        What results call slices that are put together from several images.
    plane
        The anatomical plane; axial slices come from feet to head.
    """
    yield from map(checked, unchecked_series(files, source, plane))


def unchecked_series(
    files: Iterable[SourceFile], source: str, plane: str = "axial"
) -> Iterator[Slice | Refusal]:
    """Read the files of one series without looking at their values; see :func:`read_series`."""
    items: list[Slice | Refusal] = []
    for file in files:
        with at_input:
            items += unchecked(file)
    slices = [item for item in items if isinstance(item, Slice)]
    yield from volumes.stacked(slices, source, plane)
    yield from (item for item in items if isinstance(item, Refusal))


def headers(files: Iterable[SourceFile], slices: Iterable[Slice]) -> list[Dataset]:
    """Read the headers that slices come from: in the order of the slices where they are images.

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
    analysed = dict.fromkeys(one.source for one in slices)
    by_source = {file.source: file for file in of_dicom if file.source in analysed}
    chosen = [by_source[source] for source in analysed if source in by_source] or of_dicom
    return list(map(_header, chosen))


def _header(file: SourceFile) -> Dataset:
    with changes.unchanged(file.path, file.stamp):
        return wall.parse(file.path, pixels=False, budget=file.budget)


def unchecked(file: SourceFile) -> Iterator[Slice | Refusal]:
    """Read the slices of one file without looking at their values; see :func:`read`."""
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
