"""Which series of an examination a model sees together, told before any of them is read."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gliomart.findings.statements import sequence_of_series
from gliomart.image.geometry import usual_step
from gliomart.model.built_in import DEFAULT, MODELS, OF_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gliomart.sources.inventory import SeriesFiles

# Two companions cover as much of a series where their parts of it differ by less.
_AS_MUCH = 0.1
# The fewest slices of which one has a neighbour on either side.
_STACK = 3
# About how far a head reaches across slices of any plane.
_HEAD_MM = 140.0


def suited(every_series: Sequence[SeriesFiles]) -> tuple[str, int]:
    """Choose the model that comes along which sees most of what there is.

    One that sees companions beside series comes before one that sees neighbouring slices, and this
    one before the default, which sees one slice at a time. Slices are known for neighbours where
    they say where they lie.

    Returns
    -------
    Its name, and of how many series it sees more than slices by themselves.
    """
    counts = {
        name: sum(bool(each.companions) for each in paired(every_series, sequences))
        for name, sequences in MODELS.items()
    }
    name = max(counts, key=lambda each: counts[each])  # the first of equals: the default
    if counts[name]:
        return name, counts[name]
    (led_by,) = MODELS[OF_SERIES]
    stacks = sum(
        _is_stack(series) and sequence_of_series(series) in {None, led_by}
        for series in every_series
    )
    return (OF_SERIES, stacks) if stacks else (DEFAULT, 0)


def _is_stack(series: SeriesFiles) -> bool:
    """Tell whether a series is of several slices that say where they lie."""
    return sum(len(file.planes) for file in series.files) >= _STACK and _placed(series)


def paired(every_series: Sequence[SeriesFiles], wanted: Sequence[str | None]) -> list[SeriesFiles]:
    """Put companions to the series that lead, and leave those out that are companions now.

    ``wanted`` are the sequences that a model takes, that of the leading series first.

    A companion is of the same examination and person, of a sequence that the model takes beside the
    first, and both say where they lie. Of several of one sequence that comes first which should be
    seen: in the same frame of reference, covering most of the leading series, of the thinnest
    slices; the next one counts where it cannot be. One companion may stand beside several series.
    """
    first, *further = wanted
    beside = [sequence for sequence in further if sequence not in {None, first}]
    if not beside:
        return list(every_series)
    sequences = [sequence_of_series(each) for each in every_series]
    found, taken = list(every_series), set()
    for place, series in enumerate(every_series):
        if sequences[place] != first:
            continue
        own = [n for n, other in enumerate(every_series) if _stands_beside(series, other)]
        chosen = [
            sorted((n for n in own if sequences[n] == sequence), key=_rank(series, every_series))
            for sequence in dict.fromkeys(beside)
        ]
        companions = list(chain.from_iterable(chosen))
        taken.update(companions)
        found[place] = replace(series, companions=tuple(every_series[n] for n in companions))
    return [each for place, each in enumerate(found) if place not in taken]


def _stands_beside(one: SeriesFiles, other: SeriesFiles) -> bool:
    """Tell whether two series are of one examination and person, and say where they lie."""
    if one.study is None or other.study is None:
        return False
    same = (one.study.id, one.study.person) == (other.study.id, other.study.person)
    return same and _placed(one) and _placed(other)


def _rank(
    series: SeriesFiles, others: Sequence[SeriesFiles]
) -> Callable[[int], tuple[bool, int, float, str]]:
    """Give what puts candidates in order, by their places, so that theirs does not count."""

    def rank(place: int) -> tuple[bool, int, float, str]:
        other = others[place]
        apart = other_frame_of_reference(series, other)
        return apart, -round(_covered(series, other) / _AS_MUCH), _step(other), other.id

    return rank


def other_frame_of_reference(one: SeriesFiles, other: SeriesFiles) -> bool:
    """Tell whether places in two series are counted from different points (PS3.3 C.7.4.1)."""
    return len({each.study and each.study.frame_of_reference for each in (one, other)}) > 1


def _placed(series: SeriesFiles) -> bool:
    return all(plane is not None for file in series.files for plane in file.planes)


def _heights(series: SeriesFiles) -> list[float]:
    planes = [plane for file in series.files for plane in file.planes if plane is not None]
    return sorted(plane.height for plane in planes)


def _step(series: SeriesFiles) -> float:
    return usual_step(_heights(series))


def _covered(series: SeriesFiles, other: SeriesFiles) -> float:
    """Tell about which part of a series another one covers, by the places of their images."""
    (plane, *_), *_ = (file.planes for file in series.files)
    (across, *_), *_ = (file.planes for file in other.files)
    assert plane is not None and across is not None  # noqa: S101, PT018  # both are placed
    heights, step = _heights(other), _step(other)
    if across.name != plane.name:  # images reach along the series, as far as nobody says here
        return min(1.0, (heights[-1] - heights[0] + step) / _HEAD_MM)
    normal = plane.axes[0]
    reach = np.array([p.position for file in other.files for p in file.planes if p]) @ normal
    low, high = reach.min() - step / 2, reach.max() + step / 2
    return float(np.mean([low <= height <= high for height in _heights(series)]))
