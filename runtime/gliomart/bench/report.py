"""A report of ``gliomart bench`` as types: what its keys are called and what they hold (schema 2).

Times are in milliseconds unless a name says otherwise.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict, final

from gliomart.outputs.options import Overlays  # noqa: TC001  # types are read at run time

SCHEMA: Literal[2] = 2


@final
class Percentiles(TypedDict):
    """How times, or ratios of them, are spread.

    Attributes
    ----------
    p50, p95, p99
        Percentiles.
    """

    p50: float
    p95: float
    p99: float


@final
class NotMeasured(TypedDict):
    """What takes the place of figures that could not be measured.

    Attributes
    ----------
    not_measured
        Why.
    """

    not_measured: str


class Machine(TypedDict):
    """The machine that was measured.

    Attributes
    ----------
    system, processor
        Their names.
    cores
        Processors that this process may use.
    instructions
        Sets of instructions that decide how fast a network runs.
    virtual
        It is a virtual machine; null where it does not say.
    busy_before
        Load average of the last minute when it was asked; null where it does not say.
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
        As its card says.
    sha256
        Of the file, in hexadecimal.
    precision
        Numbers that its features are computed in.
    """

    name: str
    version: str
    sha256: str
    precision: str


class Study(TypedDict):
    """The images that were analysed.

    Attributes
    ----------
    name
        Of their folder.
    slices
        Number of slices.
    pixels
        Rows and columns of the first.
    repeats
        Passes through them.
    """

    name: str
    slices: int
    pixels: list[int]
    repeats: int


class SeriesTimes(TypedDict):
    """Time from the scan of the folder to results.json.

    Attributes
    ----------
    slices
        Number of slices.
    overlays
        Slices that overlays were written of; null for what infer does by itself.
    seconds, slices_per_second
        Median over all passes.
    seconds_for_176_slices
        The same for an isotropic series of the head.
    """

    slices: int
    overlays: Overlays | None
    seconds: float
    slices_per_second: float
    seconds_for_176_slices: float


class Energy(TypedDict):
    """What the processor uses while the model runs on it.

    Attributes
    ----------
    joules_per_slice
        The whole machine's work counts; null where it was not measured.
    reason
        Why it was not.
    """

    joules_per_slice: float | None
    reason: NotRequired[str]


class LoadTimes(TypedDict):
    """Times without and with a process that fills one core.

    Attributes
    ----------
    idle, loaded
        Without and with it.
    p99_loaded_by_p50_idle
        The slowest in a hundred with it by the usual one without.
    """

    idle: Percentiles
    loaded: Percentiles
    p99_loaded_by_p50_idle: float


class Load(TypedDict):
    """How steady times are while something else works the machine.

    Attributes
    ----------
    model, slice
        Of the model alone, and of one slice.
    """

    model: LoadTimes
    slice: LoadTimes


class Ratio(TypedDict):
    """An engine's time by that of gliomart's own, over all rounds.

    Attributes
    ----------
    p5, p50, p95
        Percentiles.
    """

    p5: float
    p50: float
    p95: float


class EngineTimes(TypedDict):
    """What one engine takes for a slice.

    Attributes
    ----------
    name, precision
        What it is, and the numbers it computes in.
    ms
        Of all its runs.
    ratio
        By gliomart's own engine.
    difference
        Largest difference of its anomaly map from gliomart's own; null where it runs other weights.
    """

    name: str
    precision: str
    ms: Percentiles
    ratio: Ratio
    difference: float | None


class Floor(TypedDict):
    """What the hardware does at best.

    Attributes
    ----------
    sgemm_gflops
        Products of float32 matrices, 10⁹ operations a second.
    int8_gops
        Products of 8-bit matrices, 10⁹ operations a second.
    copy_gb_per_s
        Bytes read and written, in 10⁹ a second.
    share
        Share of these rates that the model reaches, by its precision.
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
        The first is gliomart's own.
    floor
        What the hardware does at best.
    """

    engines: list[EngineTimes]
    floor: Floor


class Comparison(TypedDict):
    """The same network on several engines, turn by turn.

    Attributes
    ----------
    what
        What is compared, in words.
    rounds
        Turns that every engine took.
    operations
        Of a slice in 10⁹, by precision: all, and those on integers.
    by_threads
        By the number of threads.
    not_compared
        What was not, and why.
    """

    what: str
    rounds: int
    operations: dict[str, dict[str, float]]
    by_threads: dict[str, AtThreads]
    not_compared: dict[str, str]


class Report(TypedDict):
    """Everything that was measured.

    Attributes
    ----------
    schema
        Number of this schema; it rises when a key changes its meaning.
    machine, versions, model, provider, threads
        What was measured: versions of libraries, the provider by ONNX Runtime's name, and the
        number of CPU threads asked for, null for one per processor.
    study
        On which images.
    ms
        Times of slices one by one, by stage, and of all stages as ``slice``.
    series
        Time of the study as infer takes it.
    model_ms
        The model alone, by provider.
    energy
        Of the model alone.
    import_ms
        Of importing gliomart, the interpreter running.
    cold_start_ms
        From the start of a process to its first result.
    peak_memory_mb
        Of such a process.
    load
        Times beside a busy process.
    comparison
        With other engines.
    """

    schema: Literal[2]
    machine: Machine
    versions: dict[str, str]
    model: MeasuredModel
    provider: str
    threads: int | None
    study: Study
    ms: dict[str, Percentiles]
    series: SeriesTimes
    model_ms: dict[str, Percentiles | NotMeasured]
    energy: Energy
    import_ms: Percentiles
    cold_start_ms: NotRequired[Percentiles]
    peak_memory_mb: NotRequired[float]
    load: NotRequired[Load]
    comparison: NotRequired[Comparison]
