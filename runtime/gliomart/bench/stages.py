"""Slices one by one, series as a whole, and the model alone."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gliomart import sources
from gliomart.bench.machine import joules, percentiles
from gliomart.errors import InputRefusedError, NothingAnalysedError, ProviderError
from gliomart.host.clock import ms_since
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Refusal, Slice
from gliomart.model.model import Model
from gliomart.outputs import pictures
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.options import OutputOptions
from gliomart.providers.choice import PROVIDERS
from gliomart.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gliomart.bench.report import Energy, NotMeasured, Percentiles, Series, SlabTimes
    from gliomart.detector import Detector
    from gliomart.findings.results import SliceResult
    from gliomart.outputs.options import Overlays
    from gliomart.sources import Inventory, SourceFile

STAGES = ("read", "preprocess", "infer", "score", "write")
_MODEL_RUNS = 100
# An isotropic FLAIR of the head, sagittal, 1 mm.
_LONG_SERIES = 176


@dataclass(frozen=True)
class Slices:
    """What slices took one by one.

    Attributes
    ----------
    count
        Slices in the study that were analysed.
    shape
        Rows and columns of the first.
    ms
        p50, p95 and p99 of each stage, and of their sum, ``slice``.
    """

    count: int
    shape: tuple[int, int]
    ms: dict[str, Percentiles]


@dataclass(frozen=True)
class Typical:
    """A slice from the middle of the study.

    Attributes
    ----------
    file
        The file that holds it and nothing else; None where there is no such file.
    slice
        What was read.
    image
        What the model takes of it: float32 (size, size, channels).
    """

    file: Path | None
    slice: Slice
    image: NDArray[np.float32]


def slices(detector: Detector, inventory: Inventory, repeats: int) -> Slices:
    """Analyse file after file, from opening each to its overlay on disk, as a scanner sends them.

    Raises
    ------
    NothingAnalysedError
        Nothing in the study could be analysed.
    """
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    limit = detector.calibration.display_limit
    shape, count = (0, 0), 0
    files = [file for each in detector.arrange(inventory.series) for file in each.files]
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder) / "overlay.png"
        for number in range(repeats + 1):
            for file in files:
                for result in _results(detector, file):
                    started = perf_counter()
                    write_atomically(overlay, pictures.png(pictures.overlay(result, limit)))
                    write_ms = ms_since(started)
                    if number == 0:  # the first pass warms caches, allocators and the provider
                        count += 1
                        height, width = result.slice.pixels.shape
                        shape = shape if any(shape) else (height, width)
                        continue
                    for stage, ms in {**vars(result.ms), "write": write_ms}.items():
                        times[stage].append(ms)
            if count == 0:
                raise NothingAnalysedError("nothing of the study can be analysed")
    times["slice"] = [sum(each) for each in zip(*times.values(), strict=True)]
    return Slices(count, shape, {stage: percentiles(values) for stage, values in times.items()})


def series(detector: Detector, study: Path, repeats: int, overlays: Overlays | None) -> Series:
    """Analyse the study as ``gliomart infer`` does, from the scan of the folder to results.json."""
    written = OutputOptions() if overlays is None else OutputOptions(overlays)
    seconds, count = [], 0
    for number in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            run = Run(detector, sources.scan([study]), Path(folder), written)
            count = len(run.write()["slices"])
            if number > 0:
                seconds.append(perf_counter() - started)
    middle = float(np.median(seconds))
    return {
        "slices": count,
        "overlays": overlays,
        "seconds": round(middle, 3),
        "slices_per_second": round(count / middle, 2),
        "seconds_for_176_slices": round(_LONG_SERIES * middle / count, 3),
    }


def model_only(
    model: Path | None, image: NDArray[np.float32], threads: int | None
) -> tuple[dict[str, Percentiles | NotMeasured], SlabTimes | None]:
    """Run the model alone on every provider that runs here; tell why the others do not.

    Returns
    -------
    Milliseconds for a slice, and for a slab; None where the model sees none.
    """
    of_slice: dict[str, Percentiles | NotMeasured] = {}
    of_slab: dict[str, Percentiles | NotMeasured] = {}
    for name in PROVIDERS:
        if name == "auto":
            continue
        try:
            opened = Model(model, provider=name, threads=threads)
        except ProviderError as error:
            of_slice[name] = of_slab[name] = {"not_measured": str(error)}
            continue
        opened.run(image)
        each = list(runs(opened, image, _MODEL_RUNS))
        of_slab[name] = percentiles(each)
        of_slice[name] = percentiles([ms / given(opened) for ms in each])
    slab = opened.slab  # of the CPU's, which always runs
    if slab is None:
        return of_slice, None
    return of_slice, {"seen": slab.seen, "given": slab.given, "ms": of_slab}


def energy(model: Path | None, image: NDArray[np.float32], threads: int | None) -> Energy:
    """Read what the processor uses while the model runs on it; the whole machine's work counts."""
    opened = Model(model, provider="cpu", threads=threads)
    opened.run(image)
    try:
        before = joules()
        list(runs(opened, image, _MODEL_RUNS))
        used = joules() - before
    except OSError as error:
        return {"joules_per_slice": None, "reason": str(error)}
    if used <= 0:
        return {"joules_per_slice": None, "reason": "the counter wrapped around"}
    return {"joules_per_slice": round(used / (_MODEL_RUNS * given(opened)), 4)}


def runs(model: Model, image: NDArray[np.float32], count: int) -> Iterator[float]:
    """Yield the milliseconds of each of several runs, on a slice or a slab of it."""
    for _ in range(count):
        started = perf_counter()
        model.run(image)
        yield ms_since(started)


def given(model: Model) -> int:
    """Tell for how many slices a run gives something."""
    return 1 if model.slab is None else model.slab.given


def typical(detector: Detector, inventory: Inventory) -> Typical:
    """Pick a slice from the middle of the longest series that can be analysed.

    Raises
    ------
    NothingAnalysedError
        No file of the study holds a slice that can be analysed.
    """
    longest_first = sorted(detector.arrange(inventory.series), key=lambda each: -len(each.files))
    for file in (file for each in longest_first for file in _from_the_middle(each.files)):
        read = [item for item in sources.read(file) if isinstance(item, Slice)]
        for one in read[len(read) // 2 :]:
            try:
                normalisation = detector.detect(one).normalisation
            except InputRefusedError:
                continue
            alone = [None] * (len(detector.card.images) - 1)
            image = prepare(one, normalisation, detector.card.preprocessing, alone).image
            return Typical(file.path if len(read) == 1 else None, one, image)
    raise NothingAnalysedError("no slice of the study can be analysed by itself")


def _from_the_middle(files: Sequence[SourceFile]) -> Iterator[SourceFile]:
    middle = len(files) // 2
    yield from (*files[middle:], *files[:middle])


def _results(detector: Detector, file: SourceFile) -> Iterator[SliceResult]:
    try:
        yield detector.detect(file.path)
    except InputRefusedError:  # several slices in one file, or one that cannot be analysed
        for item in detector.stream([file.path]):
            if not isinstance(item, Refusal):
                yield item
