"""The entry for embedders: a model, ready to look at images."""

from __future__ import annotations

from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import cv2

from gliomart import log, sources
from gliomart.errors import InputRefusedError, ModelError, UsageError
from gliomart.families import family_of, reading
from gliomart.families.family import Setup
from gliomart.findings import scoring
from gliomart.findings.results import (
    SeriesResult,
    Settings,
    SiteThresholds,
    SliceResult,
    StudyResult,
)
from gliomart.findings.verdict import SeriesTally
from gliomart.host import processors
from gliomart.host.clock import ms_since
from gliomart.image.slices import Refusal
from gliomart.model.model import Model
from gliomart.pipeline import in_order
from gliomart.sources import given
from gliomart.sources.simulated import simulated_image, simulated_slice

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.families.reading import Image, Opened
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import Calibration
    from gliomart.providers import Requested
    from gliomart.sources.given import Member


# Slices that are analysed at a time. More would wait for the interpreter's lock, and the memory
# that each takes in the model adds up.
_MOST_WORKERS = 8


class Detector:
    """Shows where a scan departs from the tumour-free ones its model was trained on.

    Any number of threads may share one. What it holds is fixed when it is made: to change a setting
    is to make another. It logs as :mod:`gliomart.log` says.

    Parameters
    ----------
    model
        A model file, or the name of one that comes with gliomart (``flair-t1-dae``); None for the
        default one.
    provider
        ``auto`` (TensorRT, TensorRT-RTX, CUDA, then CPU), or one by name, which then has to run.
    allow_fallback
        Let a provider asked for by name fall back to the CPU; results say ``degraded``.
    false_alarm_rate
        Nominal rate at which tumour-free slices are flagged, in (0, 1); None for the model's own.
    threads
        CPU threads, and slices that are analysed at a time (at most 8); None for one per processor
        that this process may use (:mod:`gliomart.host.processors`).
    force
        Analyse what the model was not made for as well; results say so in ``concerns``.
    budget
        What may be spent on reading one file.
    plane
        Which colour plane of pictures and arrays is analysed, from 1; None where all have to be
        alike.
    sequence
        Which MR sequence images are of (``flair``, ``t1``, ``t1c``, ``t2``), as far as they do not
        say it themselves; None where nobody says. One that says another is refused. Inventories
        that are given hold what :func:`gliomart.scan` was told.

    register
        Move further sequences of an examination onto the series that they stand beside, where they
        do not lie on it (extra ``registration``).

    Raises
    ------
    ModelError
        The model file is refused.
    ProviderError
        The provider asked for does not run here.
    MissingExtraError, BrokenExtraError
        ``register`` needs what is not installed, or does not load.
    UsageError
        An option is not of its kind, or the false-alarm rate is not one the model's calibration
        can hold.

    Examples
    --------
    >>> detector = Detector()  # doctest: +SKIP
    >>> detector.detect("slice.dcm").flagged  # doctest: +SKIP
    False
    """

    card: ModelCard
    calibration: Calibration
    budget: sources.Budget

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
        plane: int | None = None,
        sequence: str | None = None,
        register: bool = False,
    ) -> None:
        most = processors.usable()
        threads = given.count("threads", threads) or most
        false_alarm_rate = given.rate("false_alarm_rate", false_alarm_rate)
        plane, sequence = given.count("plane", plane), given.sequence(sequence)
        given.instance("provider", provider, str)
        given.instance("budget", budget, sources.Budget)
        if cv2.getNumThreads() > most:  # it is the host's as well, which may not use more either
            cv2.setNumThreads(most)
        loaded = Model(
            None if model is None else given.path("model", model),
            provider=provider,
            allow_fallback=given.choice("allow_fallback", allow_fallback),
            threads=threads,
            rehearsal=simulated_image,
        )
        self.card = loaded.card
        if self.card.calibration is None:
            raise ModelError("the model has not been calibrated")
        self.calibration = self.card.calibration
        settings = Settings(
            model_name=self.card.name,
            model_version=self.card.version,
            model_sha256=loaded.sha256,
            provider=loaded.provider,
            false_alarm_rate=_checked_rate(false_alarm_rate, self.calibration),
            forced=given.choice("force", force),
            plane=plane,
            site=SiteThresholds.of(self.card),
            sequence=sequence,
            registered=given.choice("register", register),
        )
        if register:
            from gliomart.image import registration  # nothing else needs it

            registration.check()
        self.budget = budget
        # One slice after the other leaves processors idle wherever a step is not parallel.
        # They leave threads to the model's first run and to who watches over the decoder.
        self.workers = processors.affordable(min(threads, _MOST_WORKERS))
        self._setup = Setup.of(loaded, self.calibration, settings, self.workers)
        self._family = family_of(self.card.family)(self._setup)
        log.choice(settings)

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a detector is neither copied nor sent to another process; make one there,"
            " and send files and results"
        )

    @property
    def settings(self) -> Settings:
        """What results depend on beside their inputs; the provider is the one that runs now."""
        return self._setup.settings_now

    def warm_up(self) -> float:
        """Analyse one slice of the simulated study that comes along, as a check and a rehearsal.

        Libraries are loaded and memory is taken when they are first needed, and some providers
        build an engine: all that is over afterwards, so that the first scan need not wait for it.

        Returns
        -------
        float
            Milliseconds that it took.

        Raises
        ------
        ModelError
            The model does not run.
        """
        started = perf_counter()
        try:
            self.detect(simulated_slice())
        except InputRefusedError:  # of a model that sees more than one slice of one series
            self._setup.model.rehearse()
        return ms_since(started)

    def detect(self, image: Image) -> SliceResult:
        """Analyse one image by itself.

        Parameters
        ----------
        image
            A file of one slice, a seekable binary stream of a DICOM file, which is read from where
            it stands, an array (H, W) or RGB (H, W, 3), whose planes have to be alike, a pydicom
            data set, or a slice.

        Raises
        ------
        InputRefusedError
            The image cannot be analysed; ``code`` says why.
        UsageError
            The stream is one of text, or cannot be sought in.
        StarvedError
            The system refuses the thread in which a model runs for the first time.
        """
        one = reading.read_one(image, self.budget, self.settings, self.card)
        result = self._family.analyse_one(one)
        log.outcome(result)
        return result

    def detect_series(
        self,
        series: Path | str | sources.SeriesFiles | Iterable[Member] | NDArray[Any],
        companions: Mapping[str, Sequence[Any]] | None = None,
    ) -> SeriesResult:
        """Analyse all slices of one series together.

        Parameters
        ----------
        series
            A folder or file of exactly one series, or one series of an inventory. Paths or pydicom
            data sets of exactly one, in any order: they are sorted as those of a folder are. Slices
            and arrays in anatomical order, or an array (Z, H, W). What is refused of them stays out
            of the way of the others. Of none there is a result without slices and a verdict.
        companions
            Other sequences of the examination that the model takes, by their names (``T1``): slices
            and arrays on the same pixels, one for each of the series', None where there is none.
            Of a series that is given as slices or arrays alone.

        Raises
        ------
        UsageError
            It is none of these, or holds no series, or several: :func:`gliomart.scan` tells them
            apart. Companions are not those of such a series.
        """
        if isinstance(series, sources.SeriesFiles) and not companions:
            return self._gather(series.id, series.source, self.stream_series(series))
        whole: Any = series if given.is_path(series) else given.members(series)
        inventory = reading.inventory_of(whole, self.budget, self.settings)
        if inventory is None:
            planes = reading.open_planes(whole, self.card, self.settings, companions)
            return self._gather("series", "series", self._analyse(planes))
        if companions:
            raise UsageError("companions stand beside slices and arrays; files bring their own")
        arranged = self.arrange(inventory.series)
        if len(arranged) != 1:
            what = "the list" if isinstance(whole, list) else whole
            raise UsageError(f"{what}: holds {len(arranged)} series, not one")
        (files,) = arranged
        refused = log.each(inventory.refused)
        return self._gather(files.id, files.source, chain(refused, self.stream_series(files)))

    def detect_study(self, study: Path | str | Iterable[Path | str | Dataset]) -> StudyResult:
        """Analyse all series of an examination, each with those that the model sees beside it.

        Parameters
        ----------
        study
            A folder or file, a list of such, or pydicom data sets, in any order.

        Raises
        ------
        UsageError
            It is none of these.
        """
        whole: Any = [study] if given.is_path(study) else given.members(study)
        inventory = reading.inventory_of(whole, self.budget, self.settings)
        if inventory is None:
            raise UsageError("a study is given as paths or data sets, which say what they are of")
        arranged = self.arrange(inventory.series)
        each = zip(arranged, self.stream_each(arranged), strict=True)
        found = tuple(self._gather(files.id, files.source, items) for files, items in each)
        return StudyResult(found, tuple(log.each(inventory.refused)), self.settings)

    def stream(self, paths: Iterable[Path | str]) -> Iterator[SliceResult | Refusal]:
        """Analyse files and folders, series by series, one result or refusal per slice.

        Single-frame DICOM is read as it is analysed, and never more than a few ten slices of it
        are in memory; of other series, which may have to be put together, two at a time.
        """
        inventory = self._scan(paths)
        yield from log.each(inventory.refused)
        yield from chain.from_iterable(self.stream_each(self.arrange(inventory.series)))

    def arrange(self, every_series: Sequence[sources.SeriesFiles]) -> Sequence[sources.SeriesFiles]:
        """Choose which series of an inventory are looked at by themselves.

        A model that takes several sequences looks at some as parts of others.
        """
        return self._family.arrange(every_series)

    def stream_each(
        self, every_series: Iterable[sources.SeriesFiles]
    ) -> Generator[Generator[SliceResult | Refusal, None, None], None, None]:
        """Analyse series of an inventory; the next one is begun while one is analysed.

        What a series raises is raised by its own iterator, and the others can be gone on with.

        Raises
        ------
        UsageError
            They are no list, or one of them is no series of an inventory.
        """

        def begin(series: sources.SeriesFiles) -> Opened | Exception:
            try:
                return self._open(series)
            except Exception as error:  # noqa: BLE001  # raised where the series is taken
                return error

        for opened in in_order(begin, given.series(every_series), workers=1):
            yield _raising(opened) if isinstance(opened, Exception) else self._analyse(opened)

    def stream_series(
        self, series: sources.SeriesFiles
    ) -> Generator[SliceResult | Refusal, None, None]:
        """Analyse one series of an inventory, one result or refusal per slice."""
        return self._analyse(self._open(series))

    def _scan(self, paths: Iterable[Path | str]) -> sources.Inventory:
        return sources.scan(
            paths, self.budget, plane=self.settings.plane, sequence=self.settings.sequence
        )

    def _open(self, series: sources.SeriesFiles) -> Opened:
        given.instance("a series", series, sources.SeriesFiles)
        return self._family.open(series)

    def _gather(
        self, identity: str, source: str, items: Iterable[SliceResult | Refusal]
    ) -> SeriesResult:
        tally, analysed, refused = SeriesTally(), [], []
        for item in items:
            tally.add(item)
            if isinstance(item, Refusal):
                refused.append(item)
            else:
                analysed.append(item)
        settings = self.settings
        return SeriesResult(
            id=identity,
            source=source,
            slices=tuple(analysed),
            not_analysed=tuple(refused),
            verdict=tally.verdict(self.card, settings.false_alarm_rate),
            structures=tally.structures(self.card, settings.false_alarm_rate),
            settings=settings,
            notes=tally.told,
            companions=tally.companions,
        )

    def _analyse(self, series: Opened) -> Generator[SliceResult | Refusal, None, None]:
        return log.each(self._family.analyse(series))


def _raising(error: Exception) -> Generator[SliceResult | Refusal, None, None]:
    raise error
    yield


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
