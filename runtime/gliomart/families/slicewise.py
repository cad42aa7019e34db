"""Models that look at one slice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.errors import ModelCardError
from gliomart.families.analysis import one_alone, slice_by_slice
from gliomart.families.reading import open_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.families.family import Setup
    from gliomart.families.reading import One, Opened
    from gliomart.findings.results import SliceResult
    from gliomart.image.slices import Refusal
    from gliomart.sources import SeriesFiles


class Slicewise:
    """A family whose models see slices one by one; see :class:`gliomart.families.family.Family`.

    Raises
    ------
    ModelCardError
        The model takes a window of an image, needs more than one, or gives two outputs of one role:
        nothing here would give it those, or read them.
    """

    def __init__(self, setup: Setup) -> None:
        card = setup.card
        if any(image.required for image in card.images[1:]):
            raise ModelCardError("the model needs several images, and its family only ever one")
        if any(image.window is not None for image in card.images):
            raise ModelCardError("the model windows its images, which its family does not")
        roles = [output.role for output in card.outputs]
        if len(set(roles)) < len(roles):
            raise ModelCardError("the model has two outputs of one role, and its family reads one")
        self._setup = setup

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        """Look at every series by itself."""
        return series

    def open(self, series: SeriesFiles) -> Opened:
        """Begin to read a series."""
        return open_series(series, self._setup.card, forced=self._setup.settings.forced)

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        """Analyse slices as they are read, several at a time, in their order."""
        return slice_by_slice(series, self._setup, self._setup.model.run)

    def analyse_one(self, image: One) -> SliceResult:
        """Analyse a slice as a series of its own."""
        return one_alone(image, self._setup, self._setup.model.run)
