"""A series on its way in: what is refused unread, what its slices share, and they themselves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.findings import content, suitability
from gliomart.findings.content import Content
from gliomart.findings.results import CompanionResult
from gliomart.findings.statements import sequence_of_series
from gliomart.host.clock import ms_since
from gliomart.host.forking import at_input, at_work
from gliomart.image.normalisation import (
    SAMPLED_SLICES,
    Normalisation,
    estimate_normalisations,
    normalisation_of,
)
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Refusal, Slice, checked, of_array
from gliomart.pipeline import in_order
from gliomart.sources import dicom, given
from gliomart.sources.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO, TypeAlias

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.families.companions import Companion, Leading
    from gliomart.findings.results import Settings
    from gliomart.image.slices import Concern
    from gliomart.model.card import ModelCard
    from gliomart.sources import Budget, Inventory, SeriesFiles, Single, SourceFile

    Planes: TypeAlias = Sequence[Any]
    Image: TypeAlias = Path | str | BinaryIO | NDArray[Any] | Dataset | Slice


class Timed(NamedTuple):
    """A slice or what takes its place, how many ms it took to read, and its place in the series."""

    item: Slice | Refusal
    read_ms: float
    number: int = 0


# Frames of a file that a reason lists.
_SHOWN = 4


@dataclass(frozen=True)
class Opened:
    """A series that is being read.

    Attributes
    ----------
    items
        In order; what can be read file by file is read as it is taken.
    normalisations
        By the slices' shape, or the reason why there is none.
    contents
        What the pixels themselves say, by the slices' shape.
    shared_ms
        Each slice's part of the time that these took.
    concerns
        What of it the model was not made for, by source, where it is analysed all the same.
    notes
        What has to be told of it.
    companions
        The series that the model sees together with it.
    beside
        The same, in the order of the images that the model takes after the first, on the slices of
        this series; None in the place of one that is not there.
    considered
        What became of each that was to be seen beside it.
    sample
        Slices that its normalisations are from, with their places; none where the model takes no
        further images.
    unseen
        What is said of the files of its companions where none of its own slices can be analysed:
        nothing is told of it then.
    """

    items: Iterable[Timed]
    normalisations: Mapping[tuple[int, ...], Normalisation | InputRefusedError]
    contents: Mapping[tuple[int, ...], Content]
    shared_ms: float
    concerns: Mapping[str, tuple[Concern, ...]] = field(default_factory=dict)
    notes: tuple[Concern, ...] = ()
    companions: tuple[Opened, ...] = ()
    beside: tuple[Companion | None, ...] = ()
    considered: tuple[CompanionResult, ...] = ()
    sample: tuple[tuple[Slice, int], ...] = ()
    unseen: tuple[Refusal, ...] = ()

    @property
    def leading(self) -> Leading:
        """What companions have to know of it."""
        from gliomart.families.companions import Leading  # it takes as long as a slice

        slices, numbers = [s for s, _ in self.sample], [n for _, n in self.sample]
        return Leading(slices, numbers, self.normalisations)

    def content_of(self, item: Slice) -> Content:
        """Tell what the pixels of slices like this one say."""
        return self.contents.get(item.pixels.shape, Content())

    def normalisation_of(self, item: Slice, number: int) -> Normalisation:
        """Give how a slice, the so manieth of its series from 0, is normalised.

        Raises
        ------
        InputRefusedError
            The reason why slices of its shape cannot be.
        """
        return normalisation_of(item, number, self.normalisations)


class One(NamedTuple):
    """One slice that was given by itself.

    Attributes
    ----------
    slice
        Checked, and not refused.
    concerns, notes
        What speaks against analysing it, and what has to be told of it.
    read_ms
        Milliseconds that reading it took.
    """

    slice: Slice
    concerns: tuple[Concern, ...] = ()
    notes: tuple[Concern, ...] = ()
    read_ms: float = 0.0


def read_one(image: Image, budget: Budget, settings: Settings, card: ModelCard) -> One:
    """Read one image; see :meth:`gliomart.Detector.detect`."""
    started = perf_counter()
    with at_input:
        one = _read_one(image, budget, settings, card)
    return one._replace(read_ms=ms_since(started))


def _read_one(image: Image, budget: Budget, settings: Settings, card: ModelCard) -> One:
    given_as = suitability.concerns_of_image(None, card, settings.sequence)
    if isinstance(image, Slice):
        return One(given.checked(image), given_as)
    if isinstance(image, np.ndarray):
        return One(of_array(image, settings.plane), given_as)
    if given.is_path(image):
        path = given.path("image", image)
        inventory = sources.scan([path], budget, plane=settings.plane, sequence=settings.sequence)
        files = [file for series in inventory.series for file in series.files]
        read = sources.read_series(files, str(path), card.plane)
        slice_ = _only([*inventory.refused, *read])
        return One(slice_, suitability.concerns_of_file(files[0], card), files[0].notes)
    dataset = dicom.in_memory(cast("Any", image), budget)
    header = Header.of(dataset)
    slices = dicom.slices_of(dataset, header, "image", "image", budget)
    concerns = suitability.concerns_of_image(header, card, settings.sequence)
    return One(_only(list(map(checked, slices))), concerns)


def inventory_of(
    series: Path | str | list[Any], budget: Budget, settings: Settings
) -> Inventory | None:
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
        return sources.scan([series], budget, plane=settings.plane, sequence=settings.sequence)
    if given.all_of(series, given.is_path):
        return sources.scan(series, budget, plane=settings.plane, sequence=settings.sequence)
    if given.all_of(series, lambda each: isinstance(each, Dataset)):
        return sources.scan_datasets(series, budget, sequence=settings.sequence)
    return None


def _only(read: Sequence[Slice | Refusal]) -> Slice:
    if len(read) != 1:
        raise InputRefusedError("not-one-slice", f"{len(read)} slices where one was expected")
    if isinstance(read[0], Refusal):
        raise InputRefusedError(read[0].code, read[0].reason)
    return read[0]


def open_alone(image: One, card: ModelCard, *, forced: bool) -> Opened:
    """Take one image for a series of its own.

    Raises
    ------
    InputRefusedError
        The model was not made for it, and it is not forced; or there is no head in it.
    """
    started = perf_counter()
    if image.concerns and not forced:
        raise suitability.refused(image.concerns)
    timed = Timed(image.slice, image.read_ms)
    opened = _normalised([timed], [timed], 1, card)
    by_source = {image.slice.source: image.concerns}
    return replace(opened, concerns=by_source, notes=image.notes, shared_ms=ms_since(started))


def open_series(series: SeriesFiles, card: ModelCard, *, forced: bool) -> Opened:
    """Begin to read a series; what the model was not made for is refused unread, unless forced.

    Its companions are begun with it.
    """
    concerns = suitability.concerns_of_series(series, card)
    refused: list[Refusal] = []
    suitable = []
    for file in series.files:
        if concerns[file.source] and not forced:
            refused.append(_refused(file, concerns[file.source], series.notes))
        else:
            suitable.append(file)
    if suitable:
        refused += series.missing()
    concerns[series.source] = tuple(dict.fromkeys(chain.from_iterable(concerns.values())))
    sample, items = _begin(suitable, series.source, card.plane)
    unread = [Timed(refusal, 0.0) for refusal in refused]
    opened = _normalised(sample, chain(unread, items), len(suitable), card)
    companions = tuple(open_series(other, card, forced=forced) for other in series.companions)
    considered = tuple(map(_seen_together, series.companions))
    return replace(
        opened, concerns=concerns, notes=series.notes, companions=companions, considered=considered
    )


def open_planes(
    planes: Planes,
    card: ModelCard,
    settings: Settings,
    companions: Mapping[str, Planes] | None = None,
) -> Opened:
    """Take slices and arrays (H, W) that are in memory already; of colour, one plane.

    ``companions`` are other sequences on the same pixels, slice by slice; None where one has none.

    Raises
    ------
    UsageError
        As :func:`gliomart.sources.given.plane_of`; a companion is of a sequence that the model does
        not take, or has other slices.
    """
    concerns = suitability.concerns_of_image(None, card, settings.sequence)

    def take(number: int, item: Slice | Refusal | NDArray[Any]) -> Slice | Refusal:
        taken = given.plane_of(number, item, settings.plane)
        if isinstance(taken, Refusal) or not concerns or settings.forced:
            return taken
        error = suitability.refused(concerns)
        return Refusal(taken.source, taken.frame, error.code, error.reason)

    items = [Timed(take(number, item), 0.0, number) for number, item in enumerate(planes)]
    opened = _normalised(items, items, len(items), card)
    by_source = {t.item.source: concerns for t in items if isinstance(t.item, Slice)}
    if companions:
        from gliomart.families.companions import in_memory  # as above

        found = in_memory(companions, len(items), opened.leading, card, settings.plane)
        opened = replace(opened, beside=found.companions, considered=found.results)
    return replace(opened, concerns=by_source, sample=())


def _seen_together(other: SeriesFiles) -> CompanionResult:
    """Tell of a series that the model sees together with another one, whatever becomes of it."""
    sequence = sequence_of_series(other)
    slices = sum(len(file.planes) for file in other.files)
    return CompanionResult(sequence, other.id, other.source, slices, refused=tuple(other.missing()))


def _refused(file: SourceFile, concerns: Sequence[Concern], notes: Sequence[Concern]) -> Refusal:
    error = suitability.refused(concerns)
    reason = "; ".join([_part(file) + error.reason, *(note.reason for note in notes)])
    return Refusal(file.source, None, error.code, reason)


def _part(file: SourceFile) -> str:
    """Say which frames of a file are meant, where they are not all of it."""
    if file.header is None or len(file.planes) == file.header.frame_count:
        return ""
    frames = [str(frame) for frame in file.header.frames]
    if len(frames) > _SHOWN:
        frames[_SHOWN - 1 : -1] = ["..."]
    shown = ", ".join(frames)
    return f"{len(file.planes)} of its {file.header.frame_count} frames ({shown}): "


@at_work
def _normalised(
    sample: Iterable[Timed], items: Iterable[Timed], count: int, card: ModelCard
) -> Opened:
    """Find from a sample what all of so many slices share."""
    started = perf_counter()
    read = [(item, number) for item, _, number in sample if isinstance(item, Slice)]
    slices = [item for item, _ in read]
    numbers = [number for _, number in read]
    normalisations = estimate_normalisations(slices, card.preprocessing, numbers)
    contents = content.contents_of(slices, normalisations, card)
    kept = tuple(read) if len(card.images) > 1 else ()
    each = ms_since(started) / max(count, 1)
    none = (None,) * sum(not image.required for image in card.images[1:])
    return Opened(items, normalisations, contents, each, beside=none, sample=kept)


def _begin(
    files: Sequence[SourceFile], source: str, plane: str
) -> tuple[list[Timed], Iterable[Timed]]:
    """Read the slices that a series is normalised by, and go on to read all of them.

    What can be made one by one is made as it is analysed, and is never in memory as a whole.
    """
    singles = sources.singles(files, plane)
    if singles is not None:
        sample = _sampled(singles)
        if any(isinstance(timed.item, Slice) for timed in sample.values()):
            return list(sample.values()), _one_by_one(singles, sample)
    started = perf_counter()
    items = list(sources.read_series(files, source, plane))
    each = ms_since(started) / max(len(items), 1)
    timed = [Timed(item, each, number) for number, item in enumerate(items)]
    return timed, timed


def _sampled(singles: Sequence[Single]) -> dict[int, Timed]:
    """Read evenly spaced slices of every shape, by their number."""
    by_shape: defaultdict[object, list[int]] = defaultdict(list)
    for number, single in enumerate(singles):
        by_shape[single.shape].append(number)
    chosen = chain.from_iterable(evenly_spaced(each, SAMPLED_SLICES) for each in by_shape.values())
    return {number: _read_alone(singles[number], number) for number in chosen}


def _one_by_one(singles: Sequence[Single], sample: Mapping[int, Timed]) -> Iterable[Timed]:
    """Read all slices in order, one ahead; those of the sample are let go of once given."""
    kept = dict(sample)

    def read(number: int) -> Timed:
        return kept.pop(number, None) or _read_alone(singles[number], number)

    return in_order(read, range(len(singles)), workers=1)


@at_input
def _read_alone(single: Single, number: int) -> Timed:
    started = perf_counter()
    item = checked(single.read())
    return Timed(item, ms_since(started), number)
