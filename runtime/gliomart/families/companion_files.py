"""The files of a further sequence of an examination: whether the model takes it, and its slices."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputRefusedError
from gliomart.findings import suitability
from gliomart.image.resampling import Stack
from gliomart.image.slices import Refusal, Slice
from gliomart.sources.reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.model.card import ModelCard
    from gliomart.model.contents import InputImage
    from gliomart.sources.inventory import SeriesFiles

# A companion may lie in any plane, and need not show all of a head.
_OF_NO_COMPANION = frozenset({"wrong-plane", "incomplete-volume", "oblique", "coverage"})
# Voxels of a companion, which is in memory as a whole: 64 MiB of them. Of more, pixels are averaged
# to about this size, which models see.
_MOST_VOXELS, _ENOUGH_MM = 1 << 24, 1.5


def check(other: SeriesFiles, image: InputImage, card: ModelCard) -> None:
    """See that a companion is what the model takes.

    Raises
    ------
    InputRefusedError
        It is not.
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


class Read(NamedTuple):
    """Slices of a companion, what is missing or refused of them, and what is told of it."""

    slices: Sequence[Slice] = ()
    refused: tuple[Refusal, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def stack(self) -> Stack:
        """The slices as a stack.

        Raises
        ------
        InputRefusedError
            All of them are refused, or as :meth:`gliomart.image.resampling.Stack.of`.
        """
        if self.refused and not self.slices:
            raise InputRefusedError(self.refused[0].code, self.refused[0].reason)
        return Stack.of(self.slices)


def read_whole(other: SeriesFiles) -> Read:
    """Read a companion whole; slices that are refused are missing in it.

    Raises
    ------
    InputRefusedError
        ``too-large``: it does not fit, whatever its pixels are averaged to.
    """
    slices: list[Slice] = []
    refused: list[Refusal] = []
    count = sum(len(file.planes) for file in other.files)
    for item in chain.from_iterable(map(read, other.files)):
        if isinstance(item, Refusal):
            refused.append(item)
        else:
            slices.append(_small(item, count))
    missing = list(other.missing())
    words = [note.reason for note in other.notes] + [gap.reason for gap in missing]
    if refused:
        first, lost = refused[0], f"{len(refused)} of its {count} slices are refused"
        words.append(f"{lost}, first {first.source}: {first.code}, {first.reason}")
    return Read(slices, (*refused, *missing), tuple(words))


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
