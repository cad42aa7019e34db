"""A family of models beside those that come with gliomart: a slice is seen with its neighbours.

It is as small as a volume model can be, and holds the protocol to its word: nothing but this file
knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gliomart.errors import InputRefusedError
from gliomart.families.analysis import Entered, Seen, conclude, enter
from gliomart.families.family import Setup
from gliomart.families.reading import One, Opened, open_series
from gliomart.findings.results import SliceResult
from gliomart.host.clock import ms_since
from gliomart.image.slices import Refusal
from gliomart.model.prediction import Prediction
from gliomart.sources import SeriesFiles

WEIGHTS = (0.25, 0.5, 0.25)


class Averaging:
    """Averages every output over a slice and those next to it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        return series

    def open(self, series: SeriesFiles) -> Opened:
        return open_series(series, self._setup.card, forced=self._setup.settings.forced)

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        items = [enter(series, timed, self._setup) for timed in series.items]
        started = perf_counter()
        images = [item.prepared.image for item in items if isinstance(item, Entered)]
        predicted = iter(_averaged([self._setup.model.run(image) for image in images]))
        each_ms = ms_since(started) / max(len(images), 1)
        for item in items:
            if isinstance(item, Refusal):
                yield item
            else:
                seen = Seen.of(item, next(predicted), self._setup, each_ms)
                yield conclude([seen], self._setup)

    def analyse_one(self, image: One) -> SliceResult:
        reason = f"{image.slice.source} by itself has no neighbours to be seen with"
        raise InputRefusedError("not-a-volume", reason)


def _averaged(predictions: Sequence[Prediction]) -> Iterator[Prediction]:
    for number, own in enumerate(predictions):
        before, after = predictions[max(number - 1, 0)], predictions[number + 1 : number + 2]
        beside = (before, own, after[0] if after else own)
        maps: dict[str, tuple[NDArray[np.float32], ...]] = {
            role: (
                sum(
                    np.float32(weight) * each.by_role[role][0]
                    for weight, each in zip(WEIGHTS, beside, strict=True)
                ),
            )  # type: ignore[dict-item]  # a sum of arrays is one
            for role in own.by_role
        }
        yield replace(own, by_role=maps)
