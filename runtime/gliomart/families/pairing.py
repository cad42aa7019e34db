"""Which series of an examination a model sees together, told before any of them is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.findings.statements import sequence_of_series
from gliomart.image.geometry import usual_step
from gliomart.model.built_in import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.sources.inventory import SeriesFiles

# Two companions cover as much of a series where their parts of it differ by less.
_AS_MUCH = 0.1


def suited(every_series: Sequence[SeriesFiles]) -> tuple[str, int]:
    """Choose the model that comes along which sees most companions beside series.

    Returns
    -------
    Its name, and how many series it sees others beside.
    """
    counts = {
        name: sum(bool(each.companions) for each in paired(every_series, sequences))
        for name, sequences in MODELS.items()
    }
    name = max(counts, key=lambda each: counts[each])  # the first of equals: the default
    return name, counts[name]


def paired(every_series: Sequence[SeriesFiles], wanted: Sequence[str | None]) -> list[SeriesFiles]:
    """Put companions to the series that lead, and leave those out that are companions now.

    ``wanted`` are the sequences that a model takes, that of the leading series first.

    A companion is of the same examination and person, of a sequence that the model takes beside the
    first, and both say where they lie. Of several the one counts that covers most of the leading
    series, then the one of the thinnest slices. One companion may stand beside several series.
    """
    first, *further = wanted
    if not further:
        return list(every_series)
    sequences = {each.id: sequence_of_series(each) for each in every_series}
    leads, taken = {}, set()
    for series in every_series:
        if sequences[series.id] != first or series.study is None or not _placed(series):
            continue
        beside = []
        for sequence in further:
            others = [each for each in every_series if sequences[each.id] == sequence]
            if (found := _best(series, others)) is not None:
                beside.append(found)
                taken.add(found.id)
        if beside:
            leads[series.id] = replace(series, companions=tuple(beside))
    return [leads.get(each.id, each) for each in every_series if each.id not in taken]


def _best(series: SeriesFiles, others: Sequence[SeriesFiles]) -> SeriesFiles | None:
    """Choose a companion among series of one sequence; None where none is of the examination."""
    own = [each for each in others if _of_one_examination(series, each) and _placed(each)]
    if not own:
        return None
    ranked = [(round(_covered(series, each) / _AS_MUCH), -_step(each), each) for each in own]
    return max(ranked, key=lambda rank: rank[:2])[-1]


def _of_one_examination(one: SeriesFiles, other: SeriesFiles) -> bool:
    return (
        one.study is not None
        and other.study is not None
        and (one.study.id, one.study.person) == (other.study.id, other.study.person)
    )


def _placed(series: SeriesFiles) -> bool:
    return all(plane is not None for file in series.files for plane in file.planes)


def _heights(series: SeriesFiles) -> list[float]:
    planes = [plane for file in series.files for plane in file.planes if plane is not None]
    return sorted(plane.height for plane in planes)


def _step(series: SeriesFiles) -> float:
    return usual_step(_heights(series))


def _covered(series: SeriesFiles, other: SeriesFiles) -> float:
    """Tell which part of a series another one covers, by the places of their images' centres."""
    (plane, *_), *_ = (file.planes for file in series.files)
    assert plane is not None  # noqa: S101  # series that are not placed are no candidates
    normal = plane.axes[0]
    own = _heights(series)
    places = [p.position for file in other.files for p in file.planes if p is not None]
    # Images of another plane reach along the normal as well, which their positions do not tell.
    (across, *_), *_ = (file.planes for file in other.files)
    if across is None or across.name != plane.name:
        return 1.0
    reach = np.array(places) @ normal
    half = _step(other) / 2
    inside = [reach.min() - half <= height <= reach.max() + half for height in own]
    return float(np.mean(inside))
