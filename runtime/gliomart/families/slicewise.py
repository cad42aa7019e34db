"""Models that look at one slice at a time."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError, ModelCardError
from gliomart.families.analysis import conclude, enter
from gliomart.families.reading import open_alone, open_series
from gliomart.host.clock import ms_since
from gliomart.host.forking import at_work
from gliomart.image.slices import Refusal
from gliomart.pipeline import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.families.family import Setup
    from gliomart.families.reading import One, Opened, Timed
    from gliomart.findings.results import SliceResult
    from gliomart.sources import SeriesFiles


class Slicewise:
    """A family whose models see slices one by one; see :class:`gliomart.families.family.Family`.

    Raises
    ------
    ModelCardError
        The model takes several images, or a window of them: nothing here would give it those.
    """

    def __init__(self, setup: Setup) -> None:
        if len(setup.card.images) > 1:
            raise ModelCardError(
                f"the model takes {len(setup.card.images)} images, and its family sees one"
            )
        if setup.card.image.window is not None:
            raise ModelCardError("the model windows its images, which its family does not")
        self._setup = setup

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        """Look at every series by itself."""
        return series

    def open(self, series: SeriesFiles) -> Opened:
        """Begin to read a series."""
        return open_series(series, self._setup.card, forced=self._setup.settings.forced)

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        """Analyse slices as they are read, several at a time, in their order."""

        @at_work
        def analyse(timed: Timed) -> SliceResult | Refusal:
            item, _read_ms = timed
            if isinstance(item, Refusal):
                return item
            try:
                return self._analyse(series, timed)
            except InputRefusedError as error:
                return Refusal(item.source, item.frame, error.code, error.reason)

        return in_order(analyse, series.items, workers=self._setup.workers)

    def analyse_one(self, image: One) -> SliceResult:
        """Analyse a slice as a series of its own."""
        with at_work:
            opened, timed = open_alone(image, self._setup.card, forced=self._setup.settings.forced)
            return self._analyse(opened, timed)

    def _analyse(self, series: Opened, timed: Timed) -> SliceResult:
        entered = enter(series, timed, self._setup)
        started = perf_counter()
        prediction = self._setup.model.run(entered.prepared.image)
        return conclude(entered, prediction, self._setup, infer_ms=ms_since(started))
