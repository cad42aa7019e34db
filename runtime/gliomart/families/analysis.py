"""What every family does with a slice: before the model sees it, and with what that predicts."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from gliomart.errors import InputRefusedError
from gliomart.families.reading import open_alone
from gliomart.findings import scoring, suitability
from gliomart.findings.familiar import BRAIN_NOT_FOUND, missed_brain
from gliomart.findings.results import Milliseconds, SliceResult
from gliomart.findings.structures import AnalysedSlice
from gliomart.host.clock import ms_since
from gliomart.host.forking import at_work
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Concern, Refusal
from gliomart.model.contents import BRAIN
from gliomart.pipeline import in_order, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.families.family import Setup
    from gliomart.families.reading import One, Opened, Timed
    from gliomart.findings.results import CompanionResult
    from gliomart.findings.scoring import Region
    from gliomart.findings.structures import Section, StructureFinding
    from gliomart.image.grid import Box
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.preprocess import ModelInput
    from gliomart.image.slices import Slice
    from gliomart.model.card import ModelCard
    from gliomart.model.prediction import Prediction


# Makes what a model predicts for one slice of its input, float32 (size, size, channels).
Predict: TypeAlias = "Callable[[NDArray[np.float32]], Prediction]"


@dataclass(frozen=True)
class Entered:
    """One slice, ready for the model.

    Attributes
    ----------
    normalisation
        How it was brought onto the model's grid and scale.
    prepared
        The slice, and what the model takes of it.
    concerns, notes
        Why it lies outside the model's intended use, and what has to be told of it.
    read_ms, preprocess_ms
        Milliseconds so far, its part of what its series shares included.
    companions
        What became of the series that were to be seen beside its own.
    """

    normalisation: Normalisation
    prepared: ModelInput
    concerns: tuple[Concern, ...]
    notes: tuple[Concern, ...]
    read_ms: float
    preprocess_ms: float
    companions: tuple[CompanionResult, ...] = ()


def enter(series: Opened, timed: Timed, setup: Setup) -> Entered | Refusal:
    """Prepare one slice of a series for the model.

    Returns
    -------
    The slice; or a refusal, where one takes its place already, what its pixels say speaks against
    it, it shows no head, or its series has no normalisation.
    """
    item = timed.item
    if isinstance(item, Refusal):
        return item
    try:
        return _entered(series, item, timed, setup)
    except InputRefusedError as error:
        return Refusal(item.source, item.frame, error.code, error.reason)


@at_work
def _entered(series: Opened, item: Slice, timed: Timed, setup: Setup) -> Entered:
    content = series.content_of(item)
    refusing = suitability.refusing(content.concerns)
    if refusing and not setup.settings.forced:
        raise suitability.refused(refusing)
    started = perf_counter()
    normalisation, spec = series.normalisation_of(item, timed.number), setup.card.preprocessing
    beside = [
        None if each is None else each.plain(item, timed.number, spec) for each in series.beside
    ]
    prepared = prepare(item, normalisation, spec, beside)
    return Entered(
        normalisation,
        prepared,
        concerns=series.concerns.get(item.source, ()) + content.concerns,
        notes=series.notes + content.notes + _of_brain(setup.card),
        read_ms=timed.read_ms,
        preprocess_ms=series.shared_ms + ms_since(started),
        companions=series.considered,
    )


def _of_brain(card: ModelCard) -> tuple[Concern, ...]:
    """Tell what is scored where a model does not say what is brain."""
    if card.has_output(BRAIN):
        return ()
    scored = "all of the slice" if card.scoring.scalp is None else "the head without its scalp"
    reason = f"the model does not tell brain from what surrounds it: {scored} is scored"
    return (Concern("no-brain-output", reason),)


@dataclass(frozen=True)
class Seen:
    """A slice that the model has seen.

    Attributes
    ----------
    entered
        The slice.
    prediction
        On the model's grid; of one slice, whatever a model saw beside it.
    sections
        What of each structure that is judged it shows, by the structure's name.
    infer_ms, find_ms
        Milliseconds that the model took for it, and that finding these took.
    """

    entered: Entered
    prediction: Prediction
    sections: Mapping[str, Section | None]
    infer_ms: float
    find_ms: float

    @classmethod
    @at_work
    def of(cls, entered: Entered, prediction: Prediction, setup: Setup, infer_ms: float) -> Seen:
        """Find structures in what a model predicted for a slice."""
        started = perf_counter()
        image = entered.prepared.image[..., 0]
        found = {judge.structure.name: judge.find(image, prediction) for judge in setup.judges}
        return cls(entered, prediction, found, infer_ms, ms_since(started))


@at_work
def conclude(row: Sequence[Seen | None], setup: Setup, *, alone: bool = False) -> SliceResult:
    """Score what a model predicted for a slice, and judge the structures in it.

    Parameters
    ----------
    row
        The slice in the middle of those beside it, an odd number in all; None where nothing is, or
        nothing could be analysed. Those beside it count as far as the card says.
    setup
        Of the detector.
    alone
        It is an image by itself, held against scores of such.
    """
    settings = setup.settings_now
    started = perf_counter()
    (own,) = _middle(row, 1)
    assert own is not None  # noqa: S101  # it is what the others are beside
    entered, prediction = own.entered, own.prediction
    source, box = entered.prepared.source, entered.normalisation.box
    rules = setup.card.scoring

    def inside(anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        return scoring.without_scalp(anomaly_map, entered.prepared.head, rules.scalp)

    counted = inside(prediction.anomaly_map)
    averaged = _averaged(_middle(row, len(rules.neighbours)), rules.neighbours, box)
    score = scoring.slice_score(counted if averaged is None else inside(averaged), rules)
    on_source, mask, regions = _segmented(counted, source, box, setup)
    without_any = bool(rules.neighbours) and averaged is None
    p = scoring.p_value(score, setup.calibration.of_slices(alone=alone or without_any))
    return SliceResult(
        slice=source,
        normalisation=entered.normalisation,
        reconstruction=prediction.reconstruction,
        brain=prediction.brain,
        anomaly_map=on_source,
        mask=mask,
        regions=regions,
        score=score,
        p_value=p,
        flagged=p <= settings.false_alarm_rate,
        structures=_structures(row, on_source, setup, alone=alone),
        concerns=entered.concerns,
        notes=entered.notes,
        settings=settings,
        ms=Milliseconds(
            entered.read_ms,
            entered.preprocess_ms,
            own.infer_ms,
            own.find_ms + ms_since(started),
        ),
        companions=entered.companions,
    )


def _structures(
    row: Sequence[Seen | None], anomaly_map: NDArray[np.float32], setup: Setup, *, alone: bool
) -> dict[str, StructureFinding]:
    """Judge the structures in the middle slice, by their names."""
    (own,) = _middle(row, 1)
    assert own is not None  # noqa: S101  # as above
    found = {}
    for judge in setup.judges:
        name, near = judge.structure.name, _middle(row, judge.width)
        slices = sum(each is not None for each in near)
        shown = AnalysedSlice(
            own.prediction,
            anomaly_map,
            own.entered.normalisation.box,
            sections=tuple(None if each is None else each.sections[name] for each in near),
            alone=alone or slices == 1 < judge.width,
        )
        found[name] = judge.judge_slice(shown, setup.settings.false_alarm_rate)
    return found


def _middle(row: Sequence[Seen | None], width: int) -> list[Seen | None]:
    """Take so many from the middle of a row; None beyond its ends."""
    first = len(row) // 2 - width // 2
    return [row[n] if 0 <= n < len(row) else None for n in range(first, first + width)]


def slice_by_slice(
    series: Opened, setup: Setup, predict: Predict
) -> Generator[SliceResult | Refusal, None, None]:
    """Analyse slices, each seen by itself, several at a time, in their order as they are read."""
    return concluded(see_each(series, setup, predict), setup)


def see_each(
    series: Opened, setup: Setup, predict: Predict
) -> Generator[Seen | Refusal, None, None]:
    """Let the model see slices one by one as they are read, several at a time, in their order."""

    @at_work
    def see(timed: Timed) -> Seen | Refusal:
        entered = enter(series, timed, setup)
        if isinstance(entered, Refusal):
            return entered
        started = perf_counter()
        prediction = predict(entered.prepared.image)
        return seen_or_refused(entered, prediction, setup, ms_since(started))

    yield from in_order(see, series.items, workers=setup.workers)


def concluded(
    slices: Generator[Seen | Refusal, None, None], setup: Setup
) -> Generator[SliceResult | Refusal, None, None]:
    """Score slices that the model has seen, several at a time, in their order.

    The score of one is that of its map averaged with its neighbours', and that of a structure in it
    likewise, where the card says so.
    """

    def score(row: tuple[Seen | Refusal | None, ...]) -> SliceResult | Refusal:
        own = row[len(row) // 2]
        if isinstance(own, Refusal):
            return own
        return conclude([each if isinstance(each, Seen) else None for each in row], setup)

    widths = (len(setup.card.scoring.neighbours), *(judge.width for judge in setup.judges))
    with closing(slices) as seen:
        yield from in_order(score, windows(seen, max(*widths, 1)), workers=setup.workers)


def _averaged(
    row: Sequence[Seen | None], weights: Sequence[float], box: Box
) -> NDArray[np.float32] | None:
    """Average a slice's map with its neighbours', as far as they are there and lie on its grid.

    None where none is.
    """
    maps = [
        each.prediction.anomaly_map if each and each.entered.normalisation.box == box else None
        for each in row
    ]
    if sum(values is not None for values in maps) <= 1:  # nothing beside itself
        return None
    return scoring.averaged(maps, weights)


def one_alone(image: One, setup: Setup, predict: Predict) -> SliceResult:
    """Analyse an image as a series of its own.

    Raises
    ------
    InputRefusedError
        It cannot be analysed.
    """
    with at_work:
        series = open_alone(image, setup.card, forced=setup.settings.forced)
        (timed,) = series.items
        entered = _entered(series, image.slice, timed, setup)
        started = perf_counter()
        prediction = predict(entered.prepared.image)
        seen = _seen(entered, prediction, setup, ms_since(started))
        return conclude([seen], setup, alone=True)


def seen_or_refused(
    entered: Entered, prediction: Prediction, setup: Setup, infer_ms: float
) -> Seen | Refusal:
    """Take what the model predicted for a slice, unless it is blind in it: see :func:`_seen`."""
    try:
        return _seen(entered, prediction, setup, infer_ms)
    except InputRefusedError as error:
        item = entered.prepared.source
        return Refusal(item.source, item.frame, error.code, error.reason)


def _seen(entered: Entered, prediction: Prediction, setup: Setup, infer_ms: float) -> Seen:
    """Take what the model predicted for a slice.

    Raises
    ------
    InputRefusedError
        ``brain-not-found``: what it does not take for brain it is blind in.
    """
    missed = _missed_brain(entered, prediction, setup.card)
    if missed and not setup.settings.forced:
        raise suitability.refused(missed)
    told = replace(entered, concerns=entered.concerns + missed)
    return Seen.of(told, prediction, setup, infer_ms)


def _missed_brain(entered: Entered, prediction: Prediction, card: ModelCard) -> tuple[Concern, ...]:
    """Tell whether a slice shows far more brain than a model finds in it."""
    if card.familiar is None or prediction.brain is None:
        return ()
    brain = scoring.likely_brain(prediction.brain, prediction.brain.shape)
    found = float(brain.mean())
    norm, spec = entered.normalisation, card.preprocessing
    reason = missed_brain(entered.prepared, norm, spec, found, card.familiar)
    return (Concern(BRAIN_NOT_FOUND, reason),) if reason else ()


def _segmented(
    anomaly_map: NDArray[np.float32], source: Slice, box: Box, setup: Setup
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[Region, ...]]:
    """Bring an anomaly map onto the source's grid, and find what of it is anomalous."""
    height, width = source.pixels.shape
    on_source, pixels_per_pixel = scoring.to_source(anomaly_map, box, (height, width))
    mask, regions = scoring.find_regions(
        on_source,
        setup.calibration.pixel_threshold,
        setup.card.scoring.minimum_area_px * pixels_per_pixel,
        source.spacing,
        source.plane,
    )
    return on_source, mask, regions
