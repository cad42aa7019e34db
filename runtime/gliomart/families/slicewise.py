"""Models that look at one slice at a time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from gliomart.errors import ModelCardError
from gliomart.families.analysis import concluded, one_alone, see_each
from gliomart.families.pairing import paired
from gliomart.families.reading import open_series
from gliomart.host.clock import ms_since
from gliomart.host.forking import at_input
from gliomart.image.slices import Refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from gliomart.families.analysis import Seen
    from gliomart.families.family import Setup
    from gliomart.families.reading import One, Opened
    from gliomart.findings.results import SliceResult
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
        """Look at every series by itself, but for those that stand beside another one."""
        return paired(series, [image.sequence for image in self._setup.card.images])

    def open(self, series: SeriesFiles) -> Opened:
        """Begin to read a series, and read its companions."""
        card, forced = self._setup.card, self._setup.settings.forced
        opened = open_series(replace(series, companions=()), card, forced=forced)
        if len(card.images) == 1:
            return opened
        reason = f"it stands beside {series.source}, of which nothing could be analysed"
        unseen = tuple(
            Refusal(file.source, None, "left-out", reason)
            for other in series.companions
            for file in other.files
        )
        if not opened.sample:  # nothing of it can be analysed
            return replace(opened, unseen=unseen)
        from gliomart.families import companions  # it takes as long as a slice

        started = perf_counter()
        with at_input:
            registered = self._setup.settings.registered
            found = companions.beside(series, opened.leading, card, register=registered)
        shared = opened.shared_ms + ms_since(started) / max(len(series.files), 1)
        opened = replace(opened, beside=found.companions, considered=found.results)
        return replace(opened, notes=found.notes, unseen=unseen, shared_ms=shared, sample=())

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        """Analyse slices as they are read, several at a time, in their order.

        Where none can be, the files that stand beside them are refused as well.
        """
        analysed = False
        with closing(concluded(self._see(series), self._setup)) as items:
            for item in items:
                analysed |= not isinstance(item, Refusal)
                yield item
        if not analysed:
            yield from series.unseen

    def analyse_one(self, image: One) -> SliceResult:
        """Analyse a slice as a series of its own."""
        return one_alone(image, self._setup, self._setup.model.run)

    def _see(self, series: Opened) -> Generator[Seen | Refusal, None, None]:
        return see_each(series, self._setup, self._setup.model.run)
