"""What a card holds, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

# What the runtime does with a graph's output; any other role is the name of a judge that reads it.
RECONSTRUCTION, ANOMALY_MAP, BRAIN = "reconstruction", "anomaly_map", "brain"
PONS = "pons"
# How models look at images, as their cards name it: slice by slice, or at slabs of a series.
SLICE, VOLUME = "slice", "volume"


@dataclass(frozen=True)
class InputImage:
    """One of the images that a model takes.

    Attributes
    ----------
    modality
        As in DICOM (PS3.3 C.7.3.1.1.1), such as ``MR``.
    sequence
        Of MR, such as ``FLAIR``; None where the modality has none.
    window
        Of CT: centre and width in HU (PS3.3 C.11.2.1.2); None where values are not windowed.
    required
        Without it nothing is analysed.
    """

    modality: str
    sequence: str | None
    window: tuple[float, float] | None = None
    required: bool = True

    @property
    def kind(self) -> str:
        """What people call it: the sequence, or the modality where there is none."""
        return self.sequence or self.modality


class Slab(NamedTuple):
    """Neighbouring slices of a series that a model sees together.

    Attributes
    ----------
    seen
        How many it sees.
    given
        For how many in the middle of them it predicts something; as many more or less as there are
        on both sides of these.
    """

    seen: int
    given: int

    @property
    def context(self) -> int:
        """Slices on either side that are seen, and that nothing is predicted for."""
        return (self.seen - self.given) // 2


@dataclass(frozen=True)
class GraphOutput:
    """One output of the graph.

    Attributes
    ----------
    name
        As in the graph.
    role
        ``reconstruction``, ``anomaly_map``, ``brain``, or the name of the judge that reads it.
    minimum, maximum
        Smallest and largest value that it may have; None for no bound.
    """

    name: str
    role: str
    minimum: float | None
    maximum: float | None


def usual_outputs(*judges: str) -> tuple[GraphOutput, ...]:
    """Declare a graph whose outputs are named as their roles, with one probability for each judge.

    A reconstruction is an image plus a correction, which has no bounds.
    """
    return (
        GraphOutput(RECONSTRUCTION, RECONSTRUCTION, None, None),
        GraphOutput(ANOMALY_MAP, ANOMALY_MAP, 0.0, None),
        *(GraphOutput(name, name, 0.0, 1.0) for name in (BRAIN, *judges)),
    )


@dataclass(frozen=True)
class Limits:
    """Bounds of the images that a model answers for.

    Attributes
    ----------
    coarsest_pixel_mm
        Largest pixel: at 1.5 mm a pontine lesion of a centimetre is less than seven pixels wide.
    widest_step_mm
        Largest distance between slices.
    steepest_tilt_deg
        Largest angle between slices and the model's plane.
    widest_turned_step_mm
        Largest distance between slices of a volume that is turned into the model's plane: where
        it is larger, the pixels of turned slices are too coarse.
    least_coverage_mm
        Least extent of a series: less than half of a head is no basis for a verdict on it.
    """

    coarsest_pixel_mm: float = 1.5
    widest_step_mm: float = 10.0
    steepest_tilt_deg: float = 35.0
    widest_turned_step_mm: float = 2.0
    least_coverage_mm: float = 50.0


@dataclass(frozen=True)
class Scalp:
    """What is left out of the anomaly map of a model that does not tell brain from scalp.

    Attributes
    ----------
    thickness_px
        Of scalp and skull, in pixels of the model's grid.
    dome_px
        Radius of the sphere that the vertex is taken for: where a slice cuts it obliquely, the same
        thickness is wider (see :func:`gliomart.image.head.inside_skull`).
    """

    thickness_px: float
    dome_px: float


@dataclass(frozen=True)
class Scoring:
    """How an anomaly map becomes a mask, regions and a score.

    Attributes
    ----------
    top_fraction
        A slice's score is the mean of this fraction of the model's grid, the highest pixels.
    series_top
        A series' score is the mean of its this many highest slice scores.
    minimum_area_px
        Smallest region that is kept, in pixels of the model's grid.
    scalp
        What the map counts inside of; None where the graph restricts it to the brain.
    neighbours
        Weights of the maps of so many slices in a row, an odd number, by which they are averaged
        before the middle one is scored in its series; none where a slice is scored by its own map.
    """

    top_fraction: float = 0.008
    series_top: int = 5
    minimum_area_px: float = 20.0
    scalp: Scalp | None = None
    neighbours: tuple[float, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """What tumour-free slices score, so that a new score can be judged.

    Attributes
    ----------
    false_alarm_rate
        Nominal rate at which tumour-free slices, and series, are flagged.
    pixel_false_alarm_rate
        Fraction of all pixels of tumour-free slices that lie above ``pixel_threshold``.
    pixel_threshold
        Anomaly-map value above which a pixel belongs to a region.
    display_limit
        Anomaly-map value at which the colour scale of every heat map ends.
    slice_scores, series_scores
        Scores of tumour-free slices, and of patients' tumour-free slices taken together,
        in rising order. Every one comes from a model that never saw its patient.
    patients
        Number of patients they come from.
    method
        How they were obtained, in words.
    single_scores
        Of slices that are scored by themselves, likewise rising; None where that makes no
        difference.
    """

    false_alarm_rate: float
    pixel_false_alarm_rate: float
    pixel_threshold: float
    display_limit: float
    slice_scores: tuple[float, ...]
    series_scores: tuple[float, ...]
    patients: int
    method: str
    single_scores: tuple[float, ...] | None = None

    def of_slices(self, *, alone: bool) -> tuple[float, ...]:
        """Scores of tumour-free slices by themselves, or in their series; rising."""
        if alone and self.single_scores is not None:
            return self.single_scores
        return self.slice_scores


@dataclass(frozen=True)
class Signs:
    """What a glioma does to a section of the pons; the more of it, the higher each number.

    Attributes
    ----------
    brightness
        Logarithm of its brightest part over the level of its surroundings.
    size
        Logarithm of its area in pixels of the model's grid, and so relative to the head's.
    unevenness
        Logarithm of the coefficient of variation of its inside.
    crowding
        How little darker than its surroundings is what touches it, in [-1, 0]. Fluid does, which is
        dark on FLAIR; a swollen pons leaves it no room.
    """

    brightness: float
    size: float
    unevenness: float
    crowding: float


@dataclass(frozen=True)
class Scales:
    """What the two tests of a section of the pons are divided by, so that the greater one counts.

    Both are values that the same share of tumour-free sections exceed, above 0.

    Attributes
    ----------
    signs
        Of the sum of a section's signs.
    anomaly
        Of the anomaly map in it, beside that elsewhere.
    """

    signs: float
    anomaly: float


@dataclass(frozen=True)
class PonsCalibration:
    """How a section of the pons is judged, and what it scores in tumour-free slices.

    Attributes
    ----------
    near_radii, far_radii, level_quantile
        Its surroundings are the brain between these distances from its centre, in radii of a disk
        of its size; their level, this quantile of them.
    smoothing_px
        Its pixels are those of the image after a Gaussian of this standard deviation.
    top_fraction
        Its brightest part is this fraction of it; so is the part where the anomaly map is highest.
    border_px
        Its inside is further than this from its border; what is no further outside touches it.
    elsewhere_fraction, elsewhere_least
        The anomaly map is judged beside its mean in this fraction of the rest of the slice's brain,
        where it is lowest, and the latter added to that.
    medians, spreads
        Of each sign in tumour-free sections: median, and standard deviation upwards from it.
    weights
        How much each sign counts in their sum, 0 upwards.
    scales
        Of both tests; None where the signs alone are judged.
    pixel_threshold
        Anomaly-map value above which a pixel of the pons counts as anomalous.
    pixel_false_alarm_rate
        Fraction of all pixels of tumour-free sections that lie above it.
    series_top
        A series' score is the mean of its this many highest sections' scores.
    series_least_area
        Sections smaller than this fraction of its largest do not count in that, 0 to below 1.
    neighbours
        Weights of the scores of sections in so many slices in a row, an odd number, by which they
        are averaged for the middle one in its series; none where a section has its own score.
    slice_scores, series_scores
        Scores of tumour-free sections, and of patients' tumour-free sections taken together, in
        rising order. Every one comes from a model that never saw its patient.
    single_scores
        Of sections in images by themselves, likewise rising; None where there are none.
    """

    near_radii: float
    far_radii: float
    level_quantile: float
    smoothing_px: float
    top_fraction: float
    border_px: float
    elsewhere_fraction: float
    elsewhere_least: float
    medians: Signs
    spreads: Signs
    weights: Signs
    scales: Scales | None
    pixel_threshold: float
    pixel_false_alarm_rate: float
    series_top: int
    series_least_area: float
    neighbours: tuple[float, ...]
    slice_scores: tuple[float, ...]
    series_scores: tuple[float, ...]
    single_scores: tuple[float, ...] | None

    def of_slices(self, *, alone: bool) -> tuple[float, ...]:
        """Scores of tumour-free sections by themselves, or in their series; rising."""
        if alone and self.single_scores is not None:
            return self.single_scores
        return self.slice_scores


@dataclass(frozen=True)
class JudgeCard:
    """A structure that is looked for in every slice, and how what is found of it is judged.

    Attributes
    ----------
    name
        Of the judge, which is the role of the graph's output that it reads.
    minimum_area_px
        Smallest section of the structure that counts as found, in pixels of the model's grid.
    rules
        How sections are judged; None where they are found and not judged.
    """

    name: Literal["pons"]
    minimum_area_px: float
    rules: PonsCalibration | None


@dataclass(frozen=True)
class CalibratedScanner:
    """A kind of scanner whose scans calibrated a model.

    Attributes
    ----------
    manufacturer, model
        As headers say (DICOM PS3.3 C.7.5.1); empty where they do not.
    field_strength_t
        Magnetic Field Strength in T (PS3.3 C.8.3.1); None where headers do not say.
    series
        Number of its series.
    """

    manufacturer: str
    model: str
    field_strength_t: float | None
    series: int


@dataclass(frozen=True)
class SiteCalibration:
    """How a site calibrated a model on its own scans; nothing in it tells of a patient.

    What counts stands in the card's ``calibration`` and ``judges``, as in any other card.

    Attributes
    ----------
    date
        Of the calibration, such as ``2026-11-28``.
    software
        Version of gliomart that made it.
    patients, series, slices
        How many of them calibrated it.
    scanners
        Those that scanned them, as far as headers say.
    sequences
        Their sequences, as far as headers or names say.
    contaminated
        Share of the patients, in [0, 0.5), who may not be tumour-free: what is promised holds
        whoever they are (:mod:`gliomart.findings.calibration`).
    kept
        Levels that there were too few patients for, and whose thresholds are the model's own:
        ``series``, or a judge's name, or that with `` series`` added.
    model_sha256
        Of the file that was calibrated.
    model_calibration, model_judges
        The model's own.
    """

    date: str
    software: str
    patients: int
    series: int
    slices: int
    scanners: tuple[CalibratedScanner, ...]
    sequences: tuple[str, ...]
    contaminated: float
    kept: tuple[str, ...]
    model_sha256: str
    model_calibration: Calibration
    model_judges: tuple[JudgeCard, ...]
