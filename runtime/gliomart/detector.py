"""The entry for embedders: a model, ready to look at images."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gliomart import pons, scoring, sources, suitability
from gliomart.errors import InputRefusedError, ModelError, UsageError
from gliomart.model import Model
from gliomart.pipeline import in_order
from gliomart.preprocess import (
    FRAME_SLICES,
    Frame,
    estimate_frame,
    estimate_frames,
    evenly_spaced,
    prepare,
)
from gliomart.results import Milliseconds, SeriesResult, Settings, SliceResult
from gliomart.series import judge
from gliomart.slices import Refusal, Slice, checked, greyscale
from gliomart.sources import dicom
from gliomart.sources.header import Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.card import Calibration, ModelCard
    from gliomart.providers import Requested
    from gliomart.suitability import Concern


# A slice or what takes its place, and how long it took to read, in ms.
_Timed = tuple[Slice | Refusal, float]


class _Opened(NamedTuple):
    """A series that is being read, and what its slices share."""

    items: Iterable[_Timed]
    frames: Mapping[tuple[int, ...], Frame | InputRefusedError]
    shared_ms: float
    concerns: Mapping[str, tuple[Concern, ...]]


class Detector:
    """Shows where a scan departs from the tumour-free ones its model was trained on.

    Parameters
    ----------
    model
        A model file; None for the one that comes with gliomart.
    provider
        ``auto`` (TensorRT, then CUDA, then CPU), or one by name, which then has to run.
    allow_fallback
        Let a provider asked for by name fall back to the CPU; results say ``degraded``.
    false_alarm_rate
        Nominal rate at which tumour-free slices are flagged, in (0, 1); None for the model's own.
    threads
        CPU threads; None for one per core.
    force
        Analyse what the model was not made for as well; results say so in ``concerns``.
    budget
        What may be spent on reading one file.

    Raises
    ------
    ModelError
        The model file is refused.
    ProviderError
        The provider asked for does not run here.
    UsageError
        The false-alarm rate is not one the model's calibration can hold.

    Examples
    --------
    >>> detector = Detector()  # doctest: +SKIP
    >>> detector.detect("slice.dcm").flagged  # doctest: +SKIP
    False
    """

    settings: Settings
    card: ModelCard
    calibration: Calibration

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        provider: Requested = "auto",
        allow_fallback: bool = False,
        false_alarm_rate: float | None = None,
        threads: int | None = None,
        force: bool = False,
        budget: sources.Budget = sources.DEFAULT,
    ) -> None:
        self._model = Model(
            model, provider=provider, allow_fallback=allow_fallback, threads=threads
        )
        self.card = self._model.card
        if self.card.calibration is None:
            raise ModelError("the model has not been calibrated")
        self.calibration = self.card.calibration
        self.settings = Settings(
            model_name=self.card.name,
            model_version=self.card.version,
            model_sha256=self._model.sha256,
            provider=self._model.provider,
            false_alarm_rate=_checked_rate(false_alarm_rate, self.calibration),
            forced=force,
        )
        self.budget = budget
        # One slice after the other would leave cores idle wherever a step is not parallel itself.
        self.workers = threads or os.cpu_count() or 1

    def detect(self, image: Path | str | NDArray[Any] | Dataset | Slice) -> SliceResult:
        """Analyse one image by itself.

        Parameters
        ----------
        image
            A file of one slice, an array (H, W) or RGB (H, W, 3), a pydicom data set, or a slice.

        Raises
        ------
        InputRefusedError
            The image cannot be analysed; ``code`` says why.
        """
        started = perf_counter()
        source, header = self._one_slice(image)
        read_ms = _since(started)
        started = perf_counter()
        concerns = suitability.judge_image(header, self.card) if header else ()
        if concerns and not self.settings.forced:
            raise suitability.refused(concerns)
        frame = estimate_frame([source], self.card.preprocessing)
        return self._analyse(source, frame, concerns, read_ms, shared_ms=_since(started))

    def detect_series(self, series: Path | str | Sequence[Slice] | NDArray[Any]) -> SeriesResult:
        """Analyse all slices of one series together.

        Parameters
        ----------
        series
            A folder or file of exactly one series, slices in anatomical order, or an array
            (Z, H, W).

        Raises
        ------
        UsageError
            The folder holds no series, or several: :meth:`stream` takes those.
        """
        if isinstance(series, (str, Path)):
            inventory = sources.scan([series], self.budget)
            if len(inventory.series) != 1:
                raise UsageError(f"{series}: holds {len(inventory.series)} series, not one")
            (files,) = inventory.series
            items = chain(inventory.refused, self.stream_series(files))
            return self._gather(files.id, files.source, items)
        planes = [(_plane(number, plane), 0.0) for number, plane in enumerate(series)]
        opened = self._framed(planes, planes, len(planes), {})
        return self._gather("series", "series", self._stream(opened))

    def stream(self, paths: Iterable[Path | str]) -> Iterator[SliceResult | Refusal]:
        """Analyse files and folders, series by series, one result or refusal per slice.

        Single-frame DICOM is read as it is analysed, and never more than a few ten slices of it
        are in memory; of other series, which may have to be put together, two at a time.
        """
        inventory = sources.scan(paths, self.budget)
        yield from inventory.refused
        yield from chain.from_iterable(self.stream_each(inventory.series))

    def stream_each(
        self, every_series: Iterable[sources.SeriesFiles]
    ) -> Iterator[Iterator[SliceResult | Refusal]]:
        """Analyse series of an inventory; the next one is begun while one is analysed."""
        yield from map(self._stream, in_order(self._open, every_series, workers=1))

    def stream_series(self, series: sources.SeriesFiles) -> Iterator[SliceResult | Refusal]:
        """Analyse one series of an inventory, one result or refusal per slice."""
        return self._stream(self._open(series))

    def _open(self, series: sources.SeriesFiles) -> _Opened:
        """Begin to read a series; what the model was not made for is refused unread."""
        concerns = suitability.judge(series, self.card)
        refused: list[Refusal] = []
        suitable = []
        for file in series.files:
            if concerns[file.source] and not self.settings.forced:
                error = suitability.refused(concerns[file.source])
                refused.append(Refusal(file.source, None, error.code, error.reason))
            else:
                suitable.append(file)
        if suitable:
            refused += series.missing()
        concerns[series.source] = tuple(dict.fromkeys(chain.from_iterable(concerns.values())))
        sample, items = _begin(suitable, series.source)
        unread = [(refusal, 0.0) for refusal in refused]
        return self._framed(sample, chain(unread, items), len(suitable), concerns)

    def _framed(
        self,
        sample: Iterable[_Timed],
        items: Iterable[_Timed],
        count: int,
        concerns: Mapping[str, tuple[Concern, ...]],
    ) -> _Opened:
        started = perf_counter()
        slices = [item for item, _ in sample if isinstance(item, Slice)]
        frames = estimate_frames(slices, self.card.preprocessing)
        return _Opened(items, frames, _since(started) / max(count, 1), concerns)

    def _gather(
        self, identity: str, source: str, items: Iterable[SliceResult | Refusal]
    ) -> SeriesResult:
        analysed, refused = [], []
        for item in items:
            if isinstance(item, Refusal):
                refused.append(item)
            else:
                analysed.append(item)
        return SeriesResult(
            id=identity,
            source=source,
            slices=tuple(analysed),
            not_analysed=tuple(refused),
            verdict=judge([r.score for r in analysed], self.card, self.settings.false_alarm_rate),
            pons=pons.judge(
                (r.pons.part for r in analysed if r.pons),
                self.card.pons,
                self.settings.false_alarm_rate,
            ),
            settings=self.settings,
        )

    def _stream(self, series: _Opened) -> Iterator[SliceResult | Refusal]:
        """Analyse what is read of one series."""

        def look(timed: _Timed) -> SliceResult | Refusal:
            item, read_ms = timed
            if isinstance(item, Refusal):
                return item
            frame = series.frames[item.pixels.shape]
            known = series.concerns.get(item.source, ())
            try:
                return self._analyse(item, frame, known, read_ms, series.shared_ms)
            except InputRefusedError as error:
                return Refusal(item.source, item.frame, error.code, error.reason)

        return in_order(look, series.items, workers=self.workers)

    def _analyse(
        self,
        source: Slice,
        frame: Frame | InputRefusedError,
        concerns: tuple[Concern, ...],
        read_ms: float,
        shared_ms: float,
    ) -> SliceResult:
        started = perf_counter()
        prepared = prepare(source, frame, self.card.preprocessing)
        assert isinstance(frame, Frame)  # noqa: S101  # prepare raises the reason there is none
        preprocess_ms = shared_ms + _since(started)

        started = perf_counter()
        outputs = self._model.run(prepared.image)
        infer_ms = _since(started)

        started = perf_counter()
        rules, calibration = self.card.scoring, self.calibration
        score = scoring.slice_score(outputs.anomaly_map, rules)
        height, width = source.pixels.shape
        on_source, pixels_per_pixel = scoring.to_source(
            outputs.anomaly_map, frame.box, (height, width)
        )
        mask, regions = scoring.find_regions(
            on_source,
            calibration.pixel_threshold,
            rules.minimum_area_px * pixels_per_pixel,
            source.spacing,
            source.plane,
        )
        p = scoring.p_value(score, calibration.slice_scores)
        rate, rules_of_pons = self.settings.false_alarm_rate, self.card.pons
        return SliceResult(
            slice=source,
            frame=frame,
            reconstruction=outputs.reconstruction,
            brain=outputs.brain,
            anomaly_map=on_source,
            mask=mask,
            regions=regions,
            score=score,
            p_value=p,
            flagged=p <= rate,
            pons=pons.look(
                prepared.image[..., 0],
                outputs,
                on_source,
                box=frame.box,
                rules=rules_of_pons,
                false_alarm_rate=rate,
            )
            if rules_of_pons
            else None,
            concerns=concerns,
            settings=self.settings,
            ms=Milliseconds(read_ms, preprocess_ms, infer_ms, _since(started)),
        )

    def _one_slice(
        self, image: Path | str | NDArray[Any] | Dataset | Slice
    ) -> tuple[Slice, Header | None]:
        if isinstance(image, Slice):
            return image, None
        if isinstance(image, np.ndarray):
            return Slice(greyscale(image)), None
        read: list[Slice | Refusal]
        header = None
        if isinstance(image, (str, Path)):
            inventory = sources.scan([image], self.budget)
            files = [file for series in inventory.series for file in series.files]
            read = [*inventory.refused, *sources.read_series(files, str(image))]
            header = files[0].header if files else None
        else:
            header = Header.of(image)
            read = list(map(checked, dicom.slices_of(image, header, "image", "image", self.budget)))
        if len(read) != 1:
            raise InputRefusedError("not-one-slice", f"{len(read)} slices where one was expected")
        if isinstance(read[0], Refusal):
            raise InputRefusedError(read[0].code, read[0].reason)
        return read[0], header


def _begin(
    files: Sequence[sources.SourceFile], source: str
) -> tuple[list[_Timed], Iterable[_Timed]]:
    """Read the slices that a series' frame is estimated from, and go on to read all of them.

    What can be read file by file is read as it is analysed, and is never in memory as a whole.
    """
    if sources.one_by_one(files):
        sample = {file.source: _read_alone(file) for file in evenly_spaced(files, FRAME_SLICES)}
        if any(isinstance(item, Slice) for item, _ in sample.values()):

            def read(file: sources.SourceFile) -> _Timed:
                return sample.pop(file.source, None) or _read_alone(file)

            return list(sample.values()), in_order(read, files, workers=1)
    started = perf_counter()
    items = list(sources.read_series(files, source))
    each = _since(started) / max(len(items), 1)
    timed = [(item, each) for item in items]
    return timed, timed


def _read_alone(file: sources.SourceFile) -> _Timed:
    started = perf_counter()
    (item,) = sources.read(file)
    return item, _since(started)


def _plane(number: int, plane: Slice | NDArray[Any]) -> Slice | Refusal:
    if isinstance(plane, Slice):
        return plane
    try:
        return Slice(greyscale(plane), frame=number)
    except InputRefusedError as error:
        return Refusal("image", number, error.code, error.reason)


def _checked_rate(asked: float | None, calibration: Calibration) -> float:
    if asked is None:
        return calibration.false_alarm_rate
    finest = scoring.smallest_p_value(calibration.slice_scores)
    if not finest <= asked < 1:
        raise UsageError(
            f"a false-alarm rate of {asked:g} is outside [{finest:.3g}, 1),"
            " which is what the model's calibration can hold"
        )
    return asked


def _since(started: float) -> float:
    return (perf_counter() - started) * 1e3
