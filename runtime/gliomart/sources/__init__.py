"""From paths to slices.

:func:`scan` walks the inputs once, reading no pixels, and groups what it finds into series;
:func:`read_series` turns a series into axial slices in anatomical order, and :func:`read` one file
into the slices that it holds. A file is what its content says, and a name that says something else
is a refusal, not a guess.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gliomart import given
from gliomart.errors import InputRefusedError
from gliomart.forking import at_input
from gliomart.slices import Refusal, Slice, checked
from gliomart.sources import changes, dicom, images, masks, nifti, wall
from gliomart.sources.budget import DEFAULT, Budget
from gliomart.sources.grouping import group
from gliomart.sources.inventory import Inventory, SeriesFiles, SourceFile
from gliomart.sources.volumes import in_order, turn_of, turned
from gliomart.sources.walk import Walk, is_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydicom import Dataset

    from gliomart.geometry import Turn
    from gliomart.results import SliceResult

__all__ = [
    "DEFAULT", "Budget", "Inventory", "SeriesFiles", "Single", "SourceFile",
    "headers", "is_hidden", "read", "read_series", "scan", "scan_datasets", "singles",
]  # fmt: skip

_PICTURES = ("png", "jpeg", "tiff")
# Pictures or frames of a series that are in memory together.
_MOST_TOGETHER = 512
_MASK = "mask beside an image"


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
        A path does not exist. Everything else that is wrong with files becomes a refusal.
    UsageError
        An argument is not of its kind.
    """
    given.instance("budget", budget, Budget)
    plane = given.count("plane", plane)
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
    items: list[Slice | Refusal] = []
    for file in files:
        with at_input:
            items += _read(file)
    slices = [item for item in items if isinstance(item, Slice)]
    yield from map(checked, in_order(slices, source))
    yield from (item for item in items if isinstance(item, Refusal))


class Single(NamedTuple):
    """One slice of a series that need not be in memory as a whole.

    Attributes
    ----------
    shape
        Of its pixels, or what stands for it.
    read
        Makes it, as often as it is asked; not checked yet (:func:`gliomart.slices.checked`).
    """

    shape: tuple[object, ...]
    read: Callable[[], Slice | Refusal]


def singles(files: Sequence[SourceFile]) -> list[Single] | None:
    """Take a series apart into slices that can be made one by one, in order.

    They are what :func:`read_series` gives. Of files of one slice each nothing is read yet but what
    describes it; others are in memory as they are stored. Pictures and frames are only taken apart
    where there are many: a few are in memory sooner than that is done.

    Returns
    -------
    None where the series has to be read as a whole.
    """
    planes = [plane for file in files for plane in file.planes]
    turn = turn_of(planes)
    many = len(planes) > _MOST_TOGETHER
    found: list[Single] | None = None
    if turn is not None and not (turn.nothing or turn.within_images):
        pass  # slices are cut out of the whole
    elif all(file.kind in _PICTURES for file in files):
        found = _alone(files, images.shape_of) if many else None
    elif len(planes) == len(files):
        found = _alone(files, lambda file: file.header.shape if file.header else None)
    elif many:
        found = _apart(files)
    if found is None or turn is None:
        return found
    heights = [plane.height for plane in planes if plane is not None]
    ordered = [found[place] for place in sorted(range(len(found)), key=heights.__getitem__)]
    if turn.nothing:
        return ordered
    return [each._replace(read=partial(_turned, each.read, turn)) for each in ordered]


def _alone(
    files: Sequence[SourceFile], shape_of: Callable[[SourceFile], tuple[object, ...] | None]
) -> list[Single] | None:
    """Take files of one slice each, if what describes them says so of all."""
    found = []
    for file in files:
        if (shape := shape_of(file)) is None:
            return None
        found.append(Single(shape, partial(_only, file)))
    return found


def _apart(files: Sequence[SourceFile]) -> list[Single] | None:
    """Take files of many slices apart, where each holds slices of one shape."""
    found: list[Single] = []
    for file in files:
        opened = {"dicom": dicom.opened, "nifti": nifti.opened}.get(file.kind)
        if opened is None or file.dataset is not None:
            return None
        try:
            with changes.unchanged(file.path, file.stamp):
                frames = opened(file)
        except InputRefusedError:  # which is told where it is read
            return None
        if frames is None:
            return None
        shape = (file.header.shape if file.header else None,)
        found += [Single(shape, frame) for frame in frames]
    return found


def _only(file: SourceFile) -> Slice | Refusal:
    (item,) = _read(file)
    return item


def _turned(read: Callable[[], Slice | Refusal], turn: Turn) -> Slice | Refusal:
    item = read()
    return turned(item, turn) if isinstance(item, Slice) else item


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
