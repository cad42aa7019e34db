"""What evaluations return: JSON values, as ``--out`` writes them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from gliomart_training.patients import MaskCounts  # noqa: TC001  # types are read at run time


class FigureEntry(TypedDict):
    """A figure and its interval; None where there is nothing to measure it on."""

    value: float | None
    interval: list[float] | None


Figures = dict[str, FigureEntry]


class BootstrapEntry(TypedDict):
    """What intervals come from."""

    unit: str
    resamples: int
    seed: int
    level: float


class Counts(TypedDict):
    """What the patients' slices are."""

    patients: int
    patients_with_tumour: int
    slices: int
    analysed: int
    refused: dict[str, int]
    tumour_slices: int
    refused_tumour_slices: int
    tumour_free_slices: int
    beside_tumour_slices: int


class BaseRates(TypedDict):
    """How frequent tumours are among pixels and slices."""

    pixels: float
    slices: float


class PonsCounts(TypedDict):
    """How many slices of how many patients show the pons, or surely do not."""

    patients: int
    patients_with_pons: int
    marked_slices: int
    clear_slices: int


class Contents(TypedDict):
    """What was there to evaluate on."""

    counts: Counts
    base_rates: BaseRates


class PonsContents(TypedDict):
    """The same of an evaluation of the pons."""

    counts: PonsCounts


class DatasetHead(TypedDict):
    """Where patients are from, and how their masks look, which earlier versions did not say."""

    folder: str
    split: str | None
    held_out_by: str | None
    masks: NotRequired[MaskCounts]


class Dataset(DatasetHead, Contents):
    """Whom a model was evaluated on."""


class PonsDataset(DatasetHead, PonsContents):
    """Whose pons a model was evaluated on."""


class Evaluated(TypedDict):
    """What was run: ``software``, ``model`` and ``provider`` as in results.json."""

    software: dict[str, str]
    model: dict[str, object]
    provider: dict[str, object]


class FalseAlarm(TypedDict):
    """How often tumour-free slices are to be flagged, and are."""

    nominal: float
    realised: NotRequired[FigureEntry]


class BesideTumour(TypedDict):
    """Slices next to a marked one, and how many of them are flagged."""

    slices: int
    flagged: FigureEntry


class Judged(TypedDict):
    """A number of series with a tumour, and of what of them is tumour-free."""

    with_tumour: int
    tumour_free: int


class SeriesPart(TypedDict):
    """Verdicts on whole series."""

    sensitivity: FigureEntry
    false_alarm: FigureEntry
    judged: Judged
    not_judged: Judged


class Height(TypedDict):
    """Figures of a third of the patients' height."""

    tumour_slices: int
    tumour_free_slices: int
    columns: dict[str, Figures]
    flag_sensitivity: FigureEntry
    false_alarm_rate: FigureEntry


class PatientRow(TypedDict):
    """Figures of one patient."""

    patient: str
    slices: int
    tumour_slices: int
    analysed: int
    refused: int
    tumour_pixels: int
    dice: float | None
    pixel_average_precision: dict[str, float | None]
    score: float | None
    flagged: bool | None
    false_alarm: bool | None


class LessBaseline(TypedDict):
    """The model's ranking figures less those of a baseline, on the same resamples of patients."""

    baseline: str
    figures: Figures
    heights: dict[str, Figures]


class Seconds(TypedDict):
    """How long it took."""

    analysis: float
    figures: float


class Evaluation(Evaluated):
    """What :func:`.evaluation.evaluate` returns."""

    schema: int
    dataset: Dataset
    protocol: dict[str, str]
    method: Figures
    baselines: dict[str, Figures]
    less_baseline: NotRequired[LessBaseline]
    false_alarm: FalseAlarm
    beside_tumour: BesideTumour
    series: SeriesPart
    heights: dict[str, Height]
    patients: list[PatientRow]
    bootstrap: BootstrapEntry
    seconds: Seconds


class TotalCounts(TypedDict):
    """Whom a total is over."""

    patients: int
    tumour_slices: int
    tumour_free_slices: int


class Total(TypedDict):
    """What means something over the patients of several data sets: verdicts of one model."""

    counts: TotalCounts
    figures: Figures


class SeveralEvaluation(Evaluated):
    """What :func:`.several.evaluate` returns: an evaluation of every data set, by its name."""

    schema: int
    protocol: dict[str, str]
    datasets: dict[str, Evaluation]
    total: Total
    bootstrap: BootstrapEntry
    seconds: float


class StressRow(TypedDict):
    """Figures under one change of all series.

    ``changes`` are those fields of :class:`gliomart_training.stress.Stress` that it sets, empty
    where nothing is changed or every patient's are drawn; ``less_as_scanned`` are ``figures`` less
    those of the series as scanned, on the same resamples.
    """

    name: str
    changes: dict[str, float | bool]
    analysed: int
    refused: dict[str, int]
    figures: Figures
    less_as_scanned: Figures


class StressEvaluation(Evaluated):
    """What :func:`.stresses.evaluate` returns."""

    schema: int
    dataset: Dataset
    protocol: dict[str, str]
    nominal: float
    rows: list[StressRow]
    bootstrap: BootstrapEntry
    seconds: float


class Side(Evaluated):
    """One of two models that are compared."""

    dataset: Dataset
    false_alarm: FalseAlarm


class Pair(TypedDict):
    """A figure of two models; ``better`` is how often B is, of the resamples."""

    a: FigureEntry
    b: FigureEntry
    difference: FigureEntry
    better: float | None


class Comparison(TypedDict):
    """What :func:`.comparison.compare` returns; pairs by group and name."""

    schema: int
    a: Side
    b: Side
    protocol: dict[str, str]
    figures: dict[str, dict[str, Pair]]
    bootstrap: BootstrapEntry
    seconds: Seconds


class Untouched(TypedDict):
    """How often the pons is flagged without a lesion in it."""

    flagged: FigureEntry
    series_flagged: FigureEntry
    nominal: float


class LesionRow(TypedDict):
    """Figures of one kind of simulated lesion."""

    name: str
    arm: str
    fraction: float
    signal: float
    expansion: float | None
    slices: int
    columns: dict[str, Figures]
    dice: FigureEntry
    flagged: FigureEntry
    series_flagged: FigureEntry
    visible: FigureEntry
    centre_within_6_px: FigureEntry


class PonsEvaluation(Evaluated):
    """What :func:`.pons_evaluation.evaluate` returns."""

    schema: int
    dataset: PonsDataset
    protocol: dict[str, str]
    location: Figures
    untouched: Untouched
    rows: list[LesionRow]
    bootstrap: BootstrapEntry
    seconds: float
