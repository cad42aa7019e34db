"""A series on its way in: what is refused unread, what its slices share, and they themselves."""

from __future__ import annotations

from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.findings import content, suitability
from gliomart.findings.content import Content
from gliomart.host.forking import at_input, at_work
from gliomart.image.normalisation import SAMPLED_SLICES, Normalisation, estimate_normalisations
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Refusal, Slice, checked, of_array
from gliomart.pipeline import in_order
from gliomart.sources import dicom, given
from gliomart.sources.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.image.slices import Concern
    from gliomart.model.card import ModelCard

# A slice or what takes its place, and how long it took to read, in ms.
Timed = tuple[Slice | Refusal, float]


# Frames that a reason lists.
_SHOWN = 4


class Opened(NamedTuple):
    """A series that is being read.

    Attributes
    ----------
    items
        In order; what can be read file by file is read as it is taken.
    frames
        By the slices' shape, or the reason why there is none.
    shared_ms
        Each slice's part of the time that the frames took.
    concerns
        What of it the model was not made for, by source, where it is analysed all the same.
    notes
        What has to be told of it.
    contents
        What the pixels themselves say, by the slices' shape.
    """

    items: Iterable[Timed]
    frames: Mapping[tuple[int, ...], Normalisation | InputRefusedError]
    shared_ms: float
    concerns: Mapping[str, tuple[Concern, ...]]
    notes: tuple[Concern, ...]
    contents: Mapping[tuple[int, ...], Content]

    def content_of(self, item: Slice) -> Content:
        """Tell what the pixels of slices like this one say."""
        return self.contents.get(item.pixels.shape, Content())


class One(NamedTuple):
    """One slice by itself.

    Attributes
    ----------
    slice
        Checked, and not refused.
    header
        What it says of itself; None where it is not DICOM.
    concerns, notes
        What its reader found to speak against it, and to be told.
    """

    slice: Slice
    header: Header | None = None
    concerns: tuple[Concern, ...] = ()
    notes: tuple[Concern, ...] = ()


@at_input
def read_one(
    image: Path | str | BinaryIO | NDArray[Any] | Dataset | Slice,
    budget: sources.Budget,
    plane: int | None,
) -> One:
    """Read one image; see :meth:`gliomart.Detector.detect`."""
    if isinstance(image, Slice):
        return One(given.checked(image))
    if isinstance(image, np.ndarray):
        return One(of_array(image, plane))
    if given.is_path(image):
        path = given.path("image", image)
        inventory = sources.scan([path], budget, plane=plane)
        files = [file for series in inventory.series for file in series.files]
        read = [*inventory.refused, *sources.read_series(files, str(path))]
        slice_ = _only(read)
        return One(slice_, files[0].header, files[0].concerns, files[0].notes)
    dataset = dicom.in_memory(cast("Any", image), budget)
    header = Header.of(dataset)
    slices = dicom.slices_of(dataset, header, "image", "image", budget)
    return One(_only(list(map(checked, slices))), header)


def inventory_of(
    series: Path | str | list[Any], budget: sources.Budget, plane: int | None
) -> sources.Inventory | None:
    """Find the series among files or data sets, sorted as any others are.

    Parameters
    ----------
    series
        A path, or a list of what a program handed over.

    Returns
    -------
    None where the list is of slices in order, in memory already.

    Raises
    ------
    UsageError
        The list begins with paths or data sets, and goes on with something else.
    """
    from pydicom import Dataset

    if not isinstance(series, list):
        return sources.scan([series], budget, plane=plane)
    if given.all_of(series, given.is_path):
        return sources.scan(series, budget, plane=plane)
    if given.all_of(series, lambda each: isinstance(each, Dataset)):
        return sources.scan_datasets(series, budget)
    return None


def _only(read: Sequence[Slice | Refusal]) -> Slice:
    if len(read) != 1:
        raise InputRefusedError("not-one-slice", f"{len(read)} slices where one was expected")
    if isinstance(read[0], Refusal):
        raise InputRefusedError(read[0].code, read[0].reason)
    return read[0]


def open_series(series: sources.SeriesFiles, card: ModelCard, *, forced: bool) -> Opened:
    """Begin to read a series; what the model was not made for is refused unread, unless forced."""
    concerns = suitability.judge(series, card)
    refused: list[Refusal] = []
    suitable = []
    for file in series.files:
        if concerns[file.source] and not forced:
            error = suitability.refused(concerns[file.source])
            notes = [note.reason for note in series.notes]
            reason = "; ".join([_part(file) + error.reason, *notes])
            refused.append(Refusal(file.source, None, error.code, reason))
        else:
            suitable.append(file)
    if suitable:
        refused += series.missing()
    concerns[series.source] = tuple(dict.fromkeys(chain.from_iterable(concerns.values())))
    sample, items = _begin(suitable, series.source)
    unread = [(refusal, 0.0) for refusal in refused]
    return _framed(
        sample, chain(unread, items), len(suitable), card, concerns=concerns, notes=series.notes
    )


def open_planes(
    planes: Sequence[Slice | Refusal | NDArray[Any]], card: ModelCard, plane: int | None = None
) -> Opened:
    """Take slices and arrays (H, W) that are in memory already; of colour, one ``plane``.

    Raises
    ------
    UsageError
        As :func:`gliomart.sources.given.plane_of`.
    """
    items = [(given.plane_of(number, item, plane), 0.0) for number, item in enumerate(planes)]
    return _framed(items, items, len(items), card)


def _part(file: sources.SourceFile) -> str:
    """Say which frames of a file are meant, where they are not all of it."""
    if file.header is None or len(file.planes) == file.header.frame_count:
        return ""
    frames = [str(frame) for frame in file.header.frames]
    if len(frames) > _SHOWN:
        frames[_SHOWN - 1 : -1] = ["..."]
    shown = ", ".join(frames)
    return f"{len(file.planes)} of its {file.header.frame_count} frames ({shown}): "


@at_work
def _framed(
    sample: Iterable[Timed],
    items: Iterable[Timed],
    count: int,
    card: ModelCard,
    *,
    concerns: Mapping[str, tuple[Concern, ...]] | None = None,
    notes: tuple[Concern, ...] = (),
) -> Opened:
    started = perf_counter()
    slices = [item for item, _ in sample if isinstance(item, Slice)]
    frames = estimate_normalisations(slices, card.preprocessing)
    contents = content.judge(slices, frames)
    shared_ms = ms_since(started) / max(count, 1)
    return Opened(items, frames, shared_ms, concerns or {}, notes, contents)


def _begin(files: Sequence[sources.SourceFile], source: str) -> tuple[list[Timed], Iterable[Timed]]:
    """Read the slices that a series' frame is estimated from, and go on to read all of them.

    What can be made one by one is made as it is analysed, and is never in memory as a whole.
    """
    singles = sources.singles(files)
    if singles is not None:
        by_shape: dict[object, list[int]] = {}
        for number, single in enumerate(singles):
            by_shape.setdefault(single.shape, []).append(number)
        chosen = [n for alike in by_shape.values() for n in evenly_spaced(alike, SAMPLED_SLICES)]
        sample = {number: _read_alone(singles[number]) for number in chosen}
        if any(isinstance(item, Slice) for item, _ in sample.values()):

            def read(number: int) -> Timed:
                return sample.pop(number, None) or _read_alone(singles[number])

            return list(sample.values()), in_order(read, range(len(singles)), workers=1)
    started = perf_counter()
    items = list(sources.read_series(files, source))
    each = ms_since(started) / max(len(items), 1)
    timed = [(item, each) for item in items]
    return timed, timed


@at_input
def _read_alone(single: sources.Single) -> Timed:
    started = perf_counter()
    item = checked(single.read())
    return item, ms_since(started)


def ms_since(started: float) -> float:
    """Milliseconds since a moment of :func:`time.perf_counter`."""
    return (perf_counter() - started) * 1e3
