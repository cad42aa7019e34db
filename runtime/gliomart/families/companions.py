"""Further sequences of an examination, slice by slice on the pixels of the series that leads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputRefusedError
from gliomart.image.normalisation import (
    Normalisation,
    estimate_normalisation,
    normalisation_of,
)
from gliomart.image.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.image.slices import Slice
    from gliomart.image.steps import Preprocessing

    # From a slice of the series that leads, and its place there from 0, to the companion on its
    # pixels; None where the companion has nothing there.
    At = Callable[[Slice, int], Slice | None]
    Normalisations = Mapping[tuple[int, ...], Normalisation | InputRefusedError]


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
