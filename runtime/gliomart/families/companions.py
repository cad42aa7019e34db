"""Further sequences of an examination, slice by slice on the pixels of the series that leads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.families.pairing import other_frame_of_reference
from gliomart.findings import suitability
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
from gliomart.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import InputImage
    from gliomart.sources.inventory import SeriesFiles

    # From a slice of the series that leads, and its place there from 0, to the companion on its
    # pixels; None where the companion has nothing there.
    At = Callable[[Slice, int], Slice | None]
    Normalisations = Mapping[tuple[int, ...], Normalisation | InputRefusedError]


# A companion may lie in any plane, and need not show all of a head.
_OF_NO_COMPANION = frozenset({"wrong-plane", "incomplete-volume", "oblique", "coverage"})
# Voxels of a companion, which is in memory as a whole: 64 MiB of them. Of more, pixels are averaged
# to about this size, which models see.
_MOST_VOXELS, _ENOUGH_MM = 1 << 24, 1.5


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


def beside(
    series: SeriesFiles, leading: Leading, card: ModelCard, *, register: bool
) -> tuple[tuple[Companion | None, ...], tuple[Concern, ...]]:
    """Read the companions of a series; ``register`` moves those that do not lie on it.

    Returns
    -------
    One for each image that the model takes after the first, None where there is none, and what has
    to be told: of each whether it is seen, and why not.
    """
    further = card.images[1:]
    if not series.companions:
        kinds = " or ".join(image.kind for image in further)
        reason = f"no {kinds} of the examination stands beside it: {card.image.kind} is seen alone"
        return (None,) * len(further), (*series.notes, Concern("missing-sequence", reason))
    notes = list(series.notes)

    def seen(image: InputImage) -> Companion | None:
        candidates = [o for o in series.companions if sequence_of_series(o) == image.sequence]
        for number, other in enumerate(candidates):
            named = f"{image.kind}, {other.files[0].source}"
            lost: tuple[str, ...] = ()
            try:
                stack, lost = _stack(other, image, card)
                moved = _moved(series, other, stack, leading, register=register)
                companion = _of_stack(stack, moved, other.source, leading, card)
            except InputRefusedError as error:
                reason = "; ".join([f"{error.code}, {error.reason}", *lost])
                notes.append(Concern("left-out", f"{named}: {reason}"))
                continue
            told = ["on the pixels of this series" + _told(moved), *lost]
            notes.append(Concern("seen-together", f"{named}, {'; '.join(told)}"))
            for spare in candidates[number + 1 :]:
                reason = f"{spare.files[0].source}: another series of the sequence is seen"
                notes.append(Concern("left-out", f"{image.kind}, {reason}"))
            return companion
        return None

    return tuple(map(seen, further)), tuple(notes)


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
    whole = [item for file in series.files for item in read(file) if isinstance(item, Slice)]
    return registered(Stack.of(whole), stack)


def _apart(series: SeriesFiles, other: SeriesFiles) -> Concern | None:
    if not other_frame_of_reference(series, other):
        return None
    return Concern("other-frame-of-reference", "its places are not counted from the same point")


def _told(moved: Rigid | None) -> str:
    if moved is None:
        return ""
    shift = float(np.linalg.norm(moved.translation))
    return f", moved onto it by registration ({shift:.1f} mm, {moved.angle:.1f}°)"


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


def _stack(other: SeriesFiles, image: InputImage, card: ModelCard) -> tuple[Stack, tuple[str, ...]]:
    """Read a companion whole; slices that are refused are missing in it.

    Returns
    -------
    It, and what has to be told of it.

    Raises
    ------
    InputRefusedError
        It is not what the model takes, cannot be read, or has no place.
    """
    alone = replace(card, images=(replace(image, required=True),), familiar=None)
    concerns = chain.from_iterable(suitability.concerns_of_series(other, alone).values())
    refusing = [
        concern
        for concern in suitability.refusing(dict.fromkeys(concerns))
        if concern.code not in _OF_NO_COMPANION
    ]
    if refusing:
        raise suitability.refused(refusing)
    slices: list[Slice] = []
    refused: list[Refusal] = []
    count = sum(len(file.planes) for file in other.files)
    for item in chain.from_iterable(map(read, other.files)):
        if isinstance(item, Refusal):
            refused.append(item)
        else:
            slices.append(_small(item, count))
    if refused and not slices:
        raise InputRefusedError(refused[0].code, refused[0].reason)
    told = [note.reason for note in other.notes]
    told += [hole.reason for hole in other.missing()]
    if refused:
        first, lost = refused[0], f"{len(refused)} of its {count} slices are refused"
        told.append(f"{lost}, first {first.source}: {first.code}, {first.reason}")
    return Stack.of(slices), tuple(told)


def _small(item: Slice, count: int) -> Slice:
    """Average a slice's pixels where so many such slices would take too much memory.

    Raises
    ------
    InputRefusedError
        ``too-large``: they would even then.
    """
    if item.plane is not None and item.pixels.size * count > _MOST_VOXELS:
        small = Stack.of([item]).coarser(_ENOUGH_MM)
        (pixels,), (plane,) = small.voxels, small.planes
        item = replace(
            item, pixels=pixels, air=None, position=plane.position, spacing=plane.spacing
        )
    if item.pixels.size * count > _MOST_VOXELS:
        reason = f"more than {_MOST_VOXELS} voxels of {_ENOUGH_MM:g} mm"
        raise InputRefusedError("too-large", reason)
    return item
