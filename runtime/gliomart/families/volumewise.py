"""Models that look at slabs of neighbouring slices of a series."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gliomart.errors import ModelCardError
from gliomart.families.analysis import Entered, Seen, enter, seen_or_refused
from gliomart.families.slicewise import Slicewise
from gliomart.host.clock import ms_since
from gliomart.host.forking import at_work
from gliomart.image.geometry import SAME_PLACE_MM
from gliomart.image.slices import Refusal
from gliomart.pipeline import in_order
from gliomart.providers.choice import LARGEST_BATCH

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from gliomart.families.family import Setup
    from gliomart.families.reading import Opened, Timed
    from gliomart.model.contents import Slab

    Item: TypeAlias = Entered | Refusal

# Slices further apart than this many of the least steps before them have something missing between
# them; those of a series that was never whole differ by less.
_GAP = 1.5


@dataclass(frozen=True)
class Part:
    """What a model sees at a time of a series.

    Attributes
    ----------
    own
        The slices that it is to predict for, in order; at most the ``given`` ones of a slab.
    seen
        The ``seen`` ones of the slab. Beyond an end of what is unbroken its last slice stands.
    """

    own: tuple[Entered, ...]
    seen: tuple[Entered, ...]


class Volumewise(Slicewise):
    """A family whose models see slabs; see :class:`gliomart.families.family.Family`.

    Slices are neighbours as long as none is missing or refused between them, and all lie on one
    grid; at a gap a slab ends as at an end of the series. An image alone is a series of one slice.

    Raises
    ------
    ModelCardError
        As of :class:`.slicewise.Slicewise`, or the model sees no slabs.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.model.slab is None:
            raise ModelCardError("the model sees no slabs of slices, and its family only those")
        self._slab = setup.model.slab
        # A graph takes memory for every slice of a slab, and all together get so much of it
        # (providers.session.LARGEST_MEMORY): slabs under way show as many as a GPU's batch may.
        self._workers = min(setup.workers, LARGEST_BATCH // self._slab.seen)

    def _see(self, series: Opened) -> Generator[Seen | Refusal, None, None]:
        setup = self._setup

        def take(timed: Timed) -> Item:
            return enter(series, timed, setup)

        with (
            closing(in_order(take, series.items, workers=setup.workers)) as entered,
            closing(parts(entered, self._slab)) as ready,
            closing(in_order(self._seen, ready, workers=self._workers)) as seen,
        ):
            for several in seen:
                yield from several

    @at_work
    def _seen(self, part: Part | Refusal) -> Sequence[Seen | Refusal]:
        if isinstance(part, Refusal):
            return (part,)
        started = perf_counter()
        slab = np.stack([each.prepared.image for each in part.seen])
        predictions = self._setup.model.run_slab(slab)[: len(part.own)]
        each_ms = ms_since(started) / len(part.own)
        return [
            seen_or_refused(own, prediction, self._setup, each_ms)
            for own, prediction in zip(part.own, predictions, strict=True)
        ]


def parts(items: Iterable[Item], slab: Slab) -> Generator[Part | Refusal, None, None]:
    """Cut slices into what a model sees at a time, in their order; refusals stay between them."""
    run = _Run(slab)
    for item in items:
        if isinstance(item, Refusal) or not run.goes_on_with(item):
            yield from run.rest()
            run = _Run(slab)
        if isinstance(item, Refusal):
            yield item
        else:
            yield from run.with_next(item)
    yield from run.rest()


class _Run:
    """Slices that follow on each other; those that no slab needs any more are let go."""

    def __init__(self, slab: Slab) -> None:
        self._slab = slab
        self._slices: list[Entered] = []
        self._done = 0  # of these, so many have been given for prediction
        self._step = float("inf")  # the least so far, in mm

    def goes_on_with(self, item: Entered) -> bool:
        """Tell whether nothing is missing between the last slice and this one."""
        if not self._slices:
            return True
        last = self._slices[-1]
        step = _step(last, item)
        return last.normalisation.box == item.normalisation.box and not step > _GAP * self._step

    def with_next(self, item: Entered) -> Generator[Part, None, None]:
        """Add a slice; give a part once all is there that it sees."""
        if self._slices:
            step = _step(self._slices[-1], item)
            self._step = min(self._step, step) if step > SAME_PLACE_MM else self._step
        self._slices.append(item)
        if len(self._slices) - self._done == self._slab.given + self._slab.context:
            yield self._next()
            spare = max(self._done - self._slab.context, 0)
            del self._slices[:spare]
            self._done -= spare

    def rest(self) -> Generator[Part, None, None]:
        """Give the last parts, which end where the slices do."""
        while self._done < len(self._slices):
            yield self._next()

    def _next(self) -> Part:
        slab, slices, first = self._slab, self._slices, self._done
        places = np.clip(np.arange(slab.seen) + first - slab.context, 0, len(slices) - 1)
        self._done = min(first + slab.given, len(slices))
        return Part(tuple(slices[first : self._done]), tuple(slices[place] for place in places))


def _step(one: Entered, other: Entered) -> float:
    """Distance between slices in mm; NaN where one does not say where it lies."""
    planes = (one.prepared.source.plane, other.prepared.source.plane)
    if planes[0] is None or planes[1] is None:
        return float("nan")
    return abs(planes[1].height - planes[0].height)
