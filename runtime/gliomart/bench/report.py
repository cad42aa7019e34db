"""What a report of ``gliomart bench`` holds, as its JSON file has it.

Times are milliseconds of wall clock unless the name says otherwise.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict, final

SCHEMA = 2


@final  # told apart from NotMeasured by its keys
class Percentiles(TypedDict):
    """Times of many runs: the median, and what 95 and 99 % of the runs stay below."""

    p50: float
    p95: float
    p99: float


class Ratio(TypedDict):
    """An engine's time by gliomart's own, round by round: the median and the middle 90 %."""

    p5: float
    p50: float
    p95: float


class Machine(TypedDict):
    """What was measured on.

    Attributes
    ----------
    cores
        Processors that this process may use.
    instructions
        Those of the processor that decide how fast a network runs.
    virtual
        It runs under a hypervisor; null where that is not known.
    busy_before
        Load average of the minute before; null where the system does not tell.
    """

    system: str
    processor: str
    cores: int
    instructions: list[str]
    virtual: bool | None
    busy_before: float | None


class MeasuredModel(TypedDict):
    """The model that was measured."""

    name: str
    version: str
    sha256: str
    precision: str


class Study(TypedDict):
    """The slices that were measured, and how often; ``pixels`` are rows and columns."""

    name: str
    slices: int
    pixels: list[int]
    repeats: int


class Series(TypedDict):
    """A series, from the scan of its folder to results.json."""

    slices: int
    overlays: str | None
    seconds: float
    slices_per_second: float
    seconds_for_176_slices: float


@final
class NotMeasured(TypedDict):
    """Why a provider was not measured."""

    not_measured: str


class Energy(TypedDict):
    """What the processor uses while the model runs; null with the reason where it is not known."""

    joules_per_slice: float | None
    reason: NotRequired[str]


class Starts(TypedDict):
    """What a process needs from its start to the first result, and the memory that it takes."""

    cold_start_ms: Percentiles
    peak_memory_mb: float


class Steadiness(TypedDict):
    """Times without and with a process that fills one core."""

    idle: Percentiles
    loaded: Percentiles
    p99_loaded_by_p50_idle: float


class Operations(TypedDict):
    """Operations of a slice in 10⁹: all of them, and those on integers."""

    all: float
    int8: float


class EngineTimes(TypedDict):
    """One engine in a comparison.

    Attributes
    ----------
    difference
        Largest absolute difference of its anomaly map from gliomart's own; null where it runs
        other weights.
    """

    name: str
    precision: str
    ms: Percentiles
    ratio: Ratio
    difference: float | None


class Floor(TypedDict):
    """The hardware's best rates, null where not measured, and each network's share of them."""

    sgemm_gflops: float | None
    int8_gops: float | None
    copy_gb_per_s: float | None
    share: dict[str, float]


class AtThreads(TypedDict):
    """A comparison at one number of threads; the first engine is gliomart's own."""

    engines: list[EngineTimes]
    floor: Floor


class Comparison(TypedDict):
    """The same network on several engines.

    Attributes
    ----------
    what
        What is compared, in words.
    operations
        By precision.
    by_threads
        By number of threads.
    not_compared
        Reasons, by what is missing.
    """

    what: str
    rounds: int
    operations: dict[str, Operations]
    by_threads: dict[str, AtThreads]
    not_compared: dict[str, str]


class Report(TypedDict):
    """A report.

    Attributes
    ----------
    versions
        Of what the figures depend on.
    threads
        As asked for; null for one for each processor.
    ms
        Of each stage of a slice, and of their sum, ``slice``.
    model_ms
        Of the model alone, by provider.
    import_ms
        Of ``from gliomart import Detector``.
    load
        Of ``model`` and ``slice``; with ``--load`` alone.
    comparison
        With ``--compare`` alone.
    """

    schema: int
    machine: Machine
    versions: dict[str, str]
    model: MeasuredModel
    provider: str
    threads: int | None
    study: Study
    ms: dict[str, Percentiles]
    series: Series
    model_ms: dict[str, Percentiles | NotMeasured]
    energy: Energy
    import_ms: Percentiles
    cold_start_ms: NotRequired[Percentiles]
    peak_memory_mb: NotRequired[float]
    load: NotRequired[dict[str, Steadiness]]
    comparison: NotRequired[Comparison]
