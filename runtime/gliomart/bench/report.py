"""What a report of ``gliomart bench`` holds, as its JSON file has it.

Times are milliseconds of wall clock unless the name says otherwise.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict, final

SCHEMA = 2


@final  # told apart from NotMeasured by its keys
class Percentiles(TypedDict):
    """Times of many runs.

    Attributes
    ----------
    p50
        The median.
    p95
        What 95 % of the runs take at most.
    p99
        What 99 % of the runs take at most.
    """

    p50: float
    p95: float
    p99: float


class Ratio(TypedDict):
    """An engine's time by gliomart's own, compared round by round.

    Attributes
    ----------
    p50
        The median of the rounds.
    p5, p95
        Between them lie 90 % of the rounds.
    """

    p5: float
    p50: float
    p95: float


class Machine(TypedDict):
    """What was measured on.

    Attributes
    ----------
    system
        Its name in Python's ``platform``, such as ``Linux``.
    processor
        Its name.
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
    """The model that was measured.

    Attributes
    ----------
    name, version
        As its card has them.
    sha256
        The file's identity.
    precision
        Numbers that it computes in: ``fp32``, ``fp16`` or ``int8``.
    """

    name: str
    version: str
    sha256: str
    precision: str


class Study(TypedDict):
    """The slices that were measured.

    Attributes
    ----------
    name
        Of the folder.
    slices
        How many of them were analysed.
    pixels
        Rows and columns of the first.
    repeats
        Passes that were timed.
    """

    name: str
    slices: int
    pixels: list[int]
    repeats: int


class Series(TypedDict):
    """A series, from the scan of its folder to results.json.

    Attributes
    ----------
    slices
        How many of them were analysed.
    overlays
        Of which slices overlays were written; null for the default of ``infer``.
    seconds
        Median of the passes.
    slices_per_second
        Slices by seconds.
    seconds_for_176_slices
        What an isotropic series of 176 slices would take at that pace.
    """

    slices: int
    overlays: str | None
    seconds: float
    slices_per_second: float
    seconds_for_176_slices: float


@final
class NotMeasured(TypedDict):
    """A provider that was not measured.

    Attributes
    ----------
    not_measured
        Why not.
    """

    not_measured: str


class SlabTimes(TypedDict):
    """A run of a model that sees slabs of neighbouring slices.

    Attributes
    ----------
    seen, given
        How many slices it sees, and for how many in the middle of them it gives something.
    ms
        Of a slab, by provider.
    """

    seen: int
    given: int
    ms: dict[str, Percentiles | NotMeasured]


class Energy(TypedDict):
    """What the processors use while the model runs.

    Attributes
    ----------
    joules_per_slice
        Of the whole machine; null where it is not known.
    reason
        Why it is not known.
    """

    joules_per_slice: float | None
    reason: NotRequired[str]


class Starts(TypedDict):
    """A process from its start to its first result.

    Attributes
    ----------
    cold_start_ms
        Time until the first result.
    peak_memory_mb
        The most memory that it had, in MiB.
    """

    cold_start_ms: Percentiles
    peak_memory_mb: float


class Steadiness(TypedDict):
    """Times without and with a process that fills one core.

    Attributes
    ----------
    idle, loaded
        Without and with it.
    p99_loaded_by_p50_idle
        The slowest in a hundred with it, by the median without.
    """

    idle: Percentiles
    loaded: Percentiles
    p99_loaded_by_p50_idle: float


class Operations(TypedDict):
    """Operations of a run on one slice, or slab, in 10⁹; a multiply-add is two.

    Attributes
    ----------
    all
        Those of convolutions and matrix products.
    int8
        Those of them that work on integers.
    """

    all: float
    int8: float


class EngineTimes(TypedDict):
    """One engine in a comparison.

    Attributes
    ----------
    name, precision
        What it is, and the numbers that it computes in.
    ms
        Of all its runs.
    ratio
        Its time by that of gliomart's own.
    difference
        Largest absolute difference of its anomaly map from gliomart's own; null where it runs other
        weights.
    """

    name: str
    precision: str
    ms: Percentiles
    ratio: Ratio
    difference: float | None


class Floor(TypedDict):
    """The hardware's best rates; null where they were not measured.

    Attributes
    ----------
    sgemm_gflops
        Matrix product in float32, in GFLOP/s.
    int8_gops
        Matrix product in 8-bit integers, in GOP/s.
    copy_gb_per_s
        Memory copy, read and written, in GB/s.
    share
        By precision, the share of these rates that the model reaches.
    """

    sgemm_gflops: float | None
    int8_gops: float | None
    copy_gb_per_s: float | None
    share: dict[str, float]


class AtThreads(TypedDict):
    """A comparison at one number of threads.

    Attributes
    ----------
    engines
        Each engine's times; the first is gliomart's own.
    floor
        The hardware's own pace.
    """

    engines: list[EngineTimes]
    floor: Floor


class Comparison(TypedDict):
    """The same network on several engines.

    Attributes
    ----------
    what
        What is compared, in words.
    rounds
        Turns that every engine took.
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
    schema
        Counts up when a key changes its meaning.
    machine, model, study
        What was measured, and on what.
    versions
        Of what the figures depend on.
    provider
        ONNX Runtime's name of the execution provider.
    threads
        As asked for; null for one for each processor.
    ms
        Of each stage of a slice by itself, and of their sum, ``slice``; where the model sees slabs,
        such a slice is a slab of its own.
    series
        A series as a whole.
    model_ms
        Of the model alone for a slice, by provider; where it sees slabs, of each that it gives.
    slab
        Of the model alone for a slab; absent where it sees slices by themselves.
    energy
        Of the model on the processor.
    import_ms
        Of ``from gliomart import Detector``.
    cold_start_ms, peak_memory_mb
        Of a process that analyses one file; absent where no file holds one slice alone.
    load
        Of ``model`` and ``slice``; only with ``--load``.
    comparison
        Only with ``--compare``.
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
    slab: NotRequired[SlabTimes]
    energy: Energy
    import_ms: Percentiles
    cold_start_ms: NotRequired[Percentiles]
    peak_memory_mb: NotRequired[float]
    load: NotRequired[dict[str, Steadiness]]
    comparison: NotRequired[Comparison]
