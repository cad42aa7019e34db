"""Two more families of another package: several networks in one file, and two sequences.

Neither the detector, nor the outputs, nor the command knows of them: they hold the protocol to its
word, as :mod:`volume_family` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gliomart.errors import InputRefusedError
from gliomart.families.analysis import Entered, Seen, conclude, enter, one_alone, slice_by_slice
from gliomart.families.family import Setup
from gliomart.families.reading import One, Opened, open_series
from gliomart.findings.results import SliceResult
from gliomart.findings.statements import sequence_of_series
from gliomart.host.clock import ms_since
from gliomart.image.slices import Refusal, Slice
from gliomart.model.contents import ANOMALY_MAP
from gliomart.model.prediction import Prediction
from gliomart.sources import SeriesFiles

_SAME_PLACE_MM = 1.0


class Ensemble:
    """Averages the anomaly maps of several networks in one file."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        return series

    def open(self, series: SeriesFiles) -> Opened:
        return open_series(series, self._setup.card, forced=self._setup.settings.forced)

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        return slice_by_slice(series, self._setup, self._predict)

    def analyse_one(self, image: One) -> SliceResult:
        return one_alone(image, self._setup, self._predict)

    def _predict(self, image: NDArray[np.float32]) -> Prediction:
        found = self._setup.model.run(image)
        mean = np.mean(found.by_role[ANOMALY_MAP], axis=0)
        return replace(found, by_role={**found.by_role, ANOMALY_MAP: (mean,)})


class Paired:
    """Sees a series of the card's first sequence with one of its second, place by place."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._first, self._second = (image.sequence for image in setup.card.images)

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        seconds = {each.study: each for each in series if sequence_of_series(each) == self._second}
        firsts = {
            number: seconds.pop(each.study)
            for number, each in enumerate(series)
            if sequence_of_series(each) == self._first and each.study in seconds
        }
        return [
            each.together_with(firsts[number]) if number in firsts else each
            for number, each in enumerate(series)
            if each not in firsts.values()
        ]

    def open(self, series: SeriesFiles) -> Opened:
        return open_series(series, self._setup.card, forced=self._setup.settings.forced)

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        seconds: list[Entered] = []
        for other in series.companions:
            for timed in other.items:
                entered = enter(other, timed, self._setup)
                if isinstance(entered, Refusal):
                    yield entered
                else:
                    seconds.append(entered)
        for timed in series.items:
            first = enter(series, timed, self._setup)
            yield first if isinstance(first, Refusal) else self._pair(first, seconds)

    def analyse_one(self, image: One) -> SliceResult:
        reason = f"{image.slice.source} by itself is of one sequence"
        raise InputRefusedError("missing-sequence", reason)

    def _pair(self, first: Entered, seconds: Sequence[Entered]) -> SliceResult | Refusal:
        own = first.prepared.source
        for second in seconds:
            if _apart(own, second.prepared.source) < _SAME_PLACE_MM:
                started = perf_counter()
                both = np.concatenate([first.prepared.image, second.prepared.image], axis=-1)
                prediction = self._setup.model.run(both)
                seen = Seen.of(first, prediction, self._setup, ms_since(started))
                return conclude([seen], self._setup)
        reason = f"no {self._second} of this place is in its study"
        return Refusal(own.source, own.frame, "missing-sequence", reason)


def _apart(one: Slice, other: Slice) -> float:
    if one.plane is None or other.plane is None:
        return np.inf
    return abs(one.plane.height - other.plane.height)
