"""Structures of the brain that are looked for and judged by themselves, beside the whole slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gliomart.equality import ByContent
from gliomart.findings.scoring import flag, p_value, series_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.image.grid import Box
    from gliomart.model.contents import Signs
    from gliomart.model.prediction import Prediction

# Slices that are refused for this have no head in them, and so no structure of it.
_SHOW_NOTHING = frozenset({"blank-slice", "no-head"})


@dataclass(frozen=True)
class Structure:
    """A structure by its name in results, and by its code in DICOM (PS3.16).

    Attributes
    ----------
    name
        In lower case; the key in results.json.
    code, scheme, meaning
        Code Value, Coding Scheme Designator and Code Meaning (PS3.3 8.1 to 8.3).
    """

    name: str
    code: str
    scheme: str
    meaning: str

    @property
    def covered(self) -> str:
        """Coverage where some slice shows it."""
        return f"{self.name} covered"

    @property
    def not_covered(self) -> str:
        """Coverage where no slice shows it: nothing is said about it."""
        return f"{self.name} not covered"

    @property
    def not_judged(self) -> str:
        """Coverage where it may be there and was not found.

        That is in images of which it is not known how they lie in the patient, since a network
        knows it the usual way up alone, or of which some were refused.
        """
        return f"{self.name} not judged"


@dataclass(frozen=True, eq=False)
class Section(ByContent):
    """A structure as one slice cuts it, on the model's grid.

    Attributes
    ----------
    mask
        bool (size, size), connected.
    signs
        What of a glioma it shows; None where it is found and not judged.
    anomaly
        How high the anomaly map is in it, beside the rest of the brain, 0 upwards; None likewise.
    """

    mask: NDArray[np.bool_]
    signs: Signs | None
    anomaly: float | None = None


@dataclass(frozen=True)
class SectionScore:
    """One section among those of a series; None where it was found and not judged.

    Attributes
    ----------
    score, fraction_anomalous
        As of :class:`StructureFinding`.
    area_px
        Source pixels.
    """

    score: float | None
    fraction_anomalous: float | None
    area_px: int


@dataclass(frozen=True, eq=False)
class StructureFinding(ByContent):
    """What a slice shows of a structure; where nothing, the mask is empty and what follows None.

    Attributes
    ----------
    structure
        Which it is.
    probability
        float32 (size, size) in [0, 1], on the model's grid: that a pixel lies in it.
    section
        Where it is on the model's grid.
    mask
        bool (H, W), on the source's grid.
    box
        (x0, y0, x1, y1) in source pixels: left, upper, and one past the right and lower edge.
    score, p_value
        Higher scores are more anomalous; the p-value is conformal, against tumour-free sections.
    flagged
        ``p_value <= false_alarm_rate``; None also where the model was calibrated on too few slices
        to tell at this rate.
    fraction_anomalous
        Share, in [0, 1], of it in which the anomaly map is above the structure's own threshold.
    """

    structure: Structure
    probability: NDArray[np.float32]
    section: Section | None
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    p_value: float | None = None
    flagged: bool | None = None
    fraction_anomalous: float | None = None

    @property
    def visible(self) -> bool:
        """The slice shows enough of it for it to be found."""
        return self.section is not None

    @property
    def part(self) -> SectionScore | None:
        """What it adds to the verdict on its series; None where it does not show."""
        if self.section is None:
            return None
        return SectionScore(self.score, self.fraction_anomalous, int(self.mask.sum()))


@dataclass(frozen=True)
class StructureVerdict:
    """What a series shows of a structure.

    Attributes
    ----------
    structure
        Which it is.
    coverage
        ``pons covered``, ``pons not covered``, or, where it is not known how the images lie in the
        patient or slices that may show it were refused, ``pons not judged``; with the name of the
        structure. In the last two nothing is said about it, least of all that it is healthy.
    slices
        Number of slices that show it.
    score, p_value, flagged
        As of a slice, against the sections of whole tumour-free series; None where none was found
        or none is judged.
    fraction_anomalous
        As of a slice, of all sections taken together.
    """

    structure: Structure
    coverage: str
    slices: int
    score: float | None = None
    p_value: float | None = None
    flagged: bool | None = None
    fraction_anomalous: float | None = None


@dataclass(frozen=True, eq=False)
class AnalysedSlice(ByContent):
    """What a judge is shown of a slice.

    Attributes
    ----------
    prediction
        What the model predicted.
    anomaly_map
        float32 (H, W), on the source's grid.
    box
        Where the model's grid lies among source pixels.
    sections
        What the judge found in as many slices in a row as it asks for, the middle one of which is
        this; None where one does not show the structure, or is not there.
    alone
        No other slice lies beside it: it is held against sections by themselves.
    """

    prediction: Prediction
    anomaly_map: NDArray[np.float32]
    box: Box
    sections: tuple[Section | None, ...]
    alone: bool

    @property
    def section(self) -> Section | None:
        """What was found in the slice itself."""
        return self.sections[len(self.sections) // 2]


class Judge(Protocol):
    """Looks for a structure in slices, and judges what it finds of it."""

    @property
    def structure(self) -> Structure:
        """The structure that it looks for."""

    @property
    def width(self) -> int:
        """How many slices in a row it judges the middle one of a series by, an odd number."""

    def find(self, image: NDArray[np.float32], prediction: Prediction) -> Section | None:
        """Find it in one slice; None where it is not to be seen.

        Parameters
        ----------
        image
            float32 (size, size): the first channel of what the model saw.
        prediction
            What it predicted.
        """

    def judge_slice(self, shown: AnalysedSlice, false_alarm_rate: float) -> StructureFinding:
        """Judge what one slice shows of it."""

    def judge_series(
        self, sections: Sequence[SectionScore], false_alarm_rate: float
    ) -> StructureVerdict:
        """Judge what all slices of a series show of it, one section or more."""


def coverage_without_sections(
    structure: Structure, *, analysed: int, placed: bool, missed: Iterable[str]
) -> StructureVerdict:
    """Tell what it means that no slice of a series shows a structure.

    Parameters
    ----------
    structure
        Which it is.
    analysed
        Number of slices that were analysed.
    placed
        It is known of every slice how it lies in the patient.
    missed
        Codes of why slices of the series were not analysed.
    """
    seen = analysed and placed and set(missed) <= _SHOW_NOTHING
    return StructureVerdict(structure, structure.not_covered if seen else structure.not_judged, 0)


def score_of_sections(
    sections: Iterable[tuple[float, int]], series_top: int, least_area: float
) -> float:
    """Score a series by the mean of its highest sections' scores.

    Parameters
    ----------
    sections
        Score and area of each, at least one.
    series_top
        How many of the highest are averaged.
    least_area
        Smaller ones than this fraction of the largest do not count: a structure's ends are little
        of it and much of what surrounds it.
    """
    known = list(sections)
    largest = max(area for _, area in known)
    return series_score([s for s, area in known if area >= least_area * largest], series_top)


def judge_sections(
    structure: Structure,
    sections: Sequence[SectionScore],
    score: float,
    healthy: Sequence[float],
    false_alarm_rate: float,
) -> StructureVerdict:
    """Judge the sections of a series by a score of them all.

    Parameters
    ----------
    structure
        Which it is.
    sections
        All of them judged, and at least one.
    score
        As of :func:`score_of_sections`.
    healthy
        Such scores of tumour-free series, rising.
    false_alarm_rate
        Rate at which tumour-free series are flagged.
    """
    p = p_value(score, healthy)
    anomalous = sum((part.fraction_anomalous or 0.0) * part.area_px for part in sections)
    return StructureVerdict(
        structure,
        structure.covered,
        len(sections),
        score,
        p,
        flagged=flag(p, healthy, false_alarm_rate),
        fraction_anomalous=anomalous / max(sum(part.area_px for part in sections), 1),
    )
