"""Further sequences of an examination, slice by slice on the pixels of the series that leads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from gliomart.errors import InputRefusedError, UsageError
from gliomart.families import companion_files as files
from gliomart.families.pairing import other_frame_of_reference
from gliomart.findings.results import CompanionResult
from gliomart.findings.statements import sequence_of_series
from gliomart.image.alignment import alignment
from gliomart.image.normalisation import (
    Normalisation,
    estimate_normalisation,
    normalisation_of,
)
from gliomart.image.preprocess import prepare
from gliomart.image.registration import registered
from gliomart.image.resampling import Rigid, Stack
from gliomart.image.slices import Concern, Refusal, Slice
from gliomart.printable import printable
from gliomart.sources import given
from gliomart.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import InputImage
    from gliomart.sources.inventory import SeriesFiles

    # From a slice of the series that leads, and its place there from 0, to the companion on its
    # pixels; None where the companion has nothing there.
    At = Callable[[Slice, int], Slice | None]
    Normalisations = Mapping[tuple[int, ...], Normalisation | InputRefusedError]


_ANOTHER_SEEN = Concern("another-seen", "another series of the sequence is seen")


class Leading(NamedTuple):
    """What a companion has to know of the series that leads.

    Attributes
    ----------
    slices, numbers
        Some of its slices, and their places in it from 0.
    normalisations
        By the slices' shape, or the reason why there is none.
    """

    slices: Sequence[Slice]
    numbers: Sequence[int]
    normalisations: Normalisations


@dataclass(frozen=True)
class Companion:
    """A further sequence of an examination.

    Attributes
    ----------
    at
        Gives it at a slice of the series that leads.
    normalisations
        By the slices' shape, or the reason why there is none. Boxes are those of the series that
        leads; brightness is its own.
    """

    at: At
    normalisations: Normalisations

    @classmethod
    def of(cls, at: At, leading: Leading, spec: Preprocessing) -> Companion:
        """Find how bright it is."""
        shown = [
            (item, number)
            for slice_, number in zip(leading.slices, leading.numbers, strict=True)
            if (item := at(slice_, number)) is not None
        ]
        found: dict[tuple[int, ...], Normalisation | InputRefusedError] = {}
        for shape, norm in leading.normalisations.items():
            alike = [each for each in shown if each[0].pixels.shape == shape]
            if isinstance(norm, InputRefusedError):
                found[shape] = norm
            elif alike:
                slices, numbers = zip(*alike, strict=True)
                try:
                    found[shape] = estimate_normalisation(slices, spec, numbers, norm.box)
                except InputRefusedError as error:
                    found[shape] = error
        return cls(at, found)

    @classmethod
    def aligned(
        cls, slices: Sequence[Slice | None], leading: Leading, spec: Preprocessing
    ) -> Companion:
        """Take slices that lie on those of the series that leads, place by place."""

        def at(_: Slice, number: int) -> Slice | None:
            return slices[number] if number < len(slices) else None

        return cls.of(at, leading, spec)

    def plain(self, leading: Slice, number: int, spec: Preprocessing) -> NDArray[np.float32] | None:
        """Bring it onto the model's grid at a slice of the series that leads.

        Returns
        -------
        float32 (size, size) in [0, 1]; None where it shows nothing of a head.
        """
        item = self.at(leading, number)
        if item is not None and item.pixels.shape in self.normalisations:
            with suppress(InputRefusedError):  # it is as if it were not there
                norm = normalisation_of(item, number, self.normalisations)
                return prepare(item, norm, spec).plain
        return None


class Beside(NamedTuple):
    """What stands beside a series.

    Attributes
    ----------
    companions
        One for each image that the model takes after the first, None where there is none.
    notes
        What has to be told of it.
    results
        What became of each series that was to be seen.
    """

    companions: tuple[Companion | None, ...]
    notes: tuple[Concern, ...]
    results: tuple[CompanionResult, ...]


def beside(series: SeriesFiles, leading: Leading, card: ModelCard, *, register: bool) -> Beside:
    """Read the companions of a series; ``register`` moves those that do not lie on it."""
    further = card.images[1:]
    if not series.companions:
        kinds = " or ".join(image.kind for image in further)
        reason = f"no {kinds} of the examination stands beside it: {card.image.kind} is seen alone"
        alone = Concern("missing-sequence", reason)
        return Beside((None,) * len(further), (*series.notes, alone), ())
    notes, results = list(series.notes), []

    def seen(image: InputImage) -> Companion | None:
        found = None
        for other in series.companions:
            if sequence_of_series(other) != image.sequence:
                continue
            if found is None:
                found, result, words = _seen(series, other, image, leading, card, register=register)
            else:
                result, words = _result(other, _ANOTHER_SEEN), ()
            results.append(result)
            notes.append(_note(result, other.files[0].source, words))
        return found

    return Beside(tuple(map(seen, further)), tuple(notes), tuple(results))


def in_memory(
    companions: Mapping[str, Sequence[Any]],
    count: int,
    leading: Leading,
    card: ModelCard,
    colour: int | None,
) -> Beside:
    """Take slices and arrays in memory that lie on those of a series, place by place.

    Parameters
    ----------
    companions
        By their sequences; None in the place of a slice that is not there.
    count
        How many slices the series has.
    leading, card
        The series, and the model's.
    colour
        Which colour plane, from 1; None where all have to be alike.

    Raises
    ------
    UsageError
        As :func:`gliomart.sources.given.plane_of`; a companion is of a sequence that the model does
        not take, or has other slices.
    """
    further = [image.sequence for image in card.images[1:]]
    found: dict[str | None, Companion] = {}
    results = []
    for name, planes in companions.items():
        if name not in further:
            known = ", ".join(filter(None, further)) or "none"
            raise UsageError(f"the model takes no {printable(name)} beside the series, but {known}")
        if len(planes) != count:
            raise UsageError(f"{len(planes)} slices of {name} stand beside {count}")
        taken = [
            Refusal(name, number, "missing-slices", "there is none")
            if item is None
            else given.plane_of(number, item, colour)
            for number, item in enumerate(planes)
        ]
        slices = [item if isinstance(item, Slice) else None for item in taken]
        refused = tuple(item for item in taken if isinstance(item, Refusal))
        found[name] = Companion.aligned(slices, leading, card.preprocessing)
        results.append(CompanionResult(name, name, name, count - len(refused), refused=refused))
    return Beside(tuple(map(found.get, further)), (), tuple(results))


def _seen(
    series: SeriesFiles,
    other: SeriesFiles,
    image: InputImage,
    leading: Leading,
    card: ModelCard,
    *,
    register: bool,
) -> tuple[Companion | None, CompanionResult, tuple[str, ...]]:
    """Read a companion, and see whether it lies on the series.

    Returns
    -------
    It, or None where it cannot be seen; what became of it; and what has to be told of its slices.
    """
    whole, movement, companion, left_out = files.Read(), None, None, None
    try:
        files.check(other, image, card)
        whole = files.read_whole(other)
        stack = whole.stack
        movement = _moved(series, other, stack, leading, register=register)
        companion = _of_stack(stack, movement, other.source, leading, card)
    except InputRefusedError as error:
        left_out = Concern(error.code, error.reason)
    result = replace(
        _result(other, left_out),
        slices=len(whole.slices),
        movement=movement,
        refused=whole.refused,
    )
    return companion, result, whole.words


def _result(other: SeriesFiles, left_out: Concern | None) -> CompanionResult:
    return CompanionResult(sequence_of_series(other), other.id, other.source, left_out=left_out)


def _note(result: CompanionResult, first: str, words: Sequence[str]) -> Concern:
    """Tell in a sentence what became of a companion, which is named by its first file."""
    if result.left_out is not None:
        told = [f": {result.left_out.code}, {result.left_out.reason}", *words]
        return Concern("left-out", f"{result.sequence}, {first}" + "; ".join(told))
    told = [", on the pixels of this series" + _told(result.movement), *words]
    return Concern("seen-together", f"{result.sequence}, {first}" + "; ".join(told))


def _moved(
    series: SeriesFiles, other: SeriesFiles, stack: Stack, leading: Leading, *, register: bool
) -> Rigid | None:
    """Tell how the head has moved between both; None where they lie on each other.

    Raises
    ------
    InputRefusedError
        They do not, and are not to be registered, or cannot be.
    """
    try:
        lead = Stack.of(leading.slices)
    except InputRefusedError as error:
        reason = f"nothing can stand beside this series: {error.reason}"
        raise InputRefusedError(error.code, reason) from error
    concern = _apart(series, other) or alignment(lead, stack).concern
    if concern is None:
        return None
    if not register:
        raise InputRefusedError(concern.code, concern.reason)
    whole = chain.from_iterable(map(read, series.files))
    return registered(Stack.of([item for item in whole if isinstance(item, Slice)]), stack)


def _apart(series: SeriesFiles, other: SeriesFiles) -> Concern | None:
    if not other_frame_of_reference(series, other):
        return None
    return Concern("other-frame-of-reference", "its places are not counted from the same point")


def _told(movement: Rigid | None) -> str:
    if movement is None:
        return ""
    return f", moved onto it by registration ({movement.shift:.1f} mm, {movement.angle:.1f}°)"


def _of_stack(
    stack: Stack, moved: Rigid | None, source: str, leading: Leading, card: ModelCard
) -> Companion:
    def at(slice_: Slice, number: int) -> Slice | None:
        del number
        if slice_.plane is None:
            return None
        height, width = slice_.pixels.shape
        values, inside = stack.sampled(slice_.plane, (height, width), moved)
        if not inside.any():
            return None
        return replace(slice_, pixels=values, air=~inside, source=source)

    return Companion.of(at, leading, card.preprocessing)
