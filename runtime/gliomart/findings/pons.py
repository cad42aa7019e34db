"""The pons of a slice: whether it shows, where it is, and how far it departs from healthy ones.

Gliomas of the brainstem begin in the pons, so it is judged by itself, against the pons of
tumour-free slices. It is the pons that is found, not the whole brainstem.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.equality import ByContent
from gliomart.findings.scoring import p_value, smallest_p_value
from gliomart.image.grid import depth, uncrop
from gliomart.model.card import Signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gliomart.image.grid import Box
    from gliomart.model.card import PonsCalibration
    from gliomart.model.prediction import Prediction

COVERED, NOT_COVERED = "pons covered", "pons not covered"
# No pons was found in images of which it is not known how they lie in the patient, or of which some
# were refused. It may well be there: the network knows it the usual way up alone.
NOT_JUDGED = "pons not judged"
# Slices that are refused for this have no head in them, and so no pons.
_SHOW_NO_PONS = frozenset({"blank-slice", "no-head"})
# A pixel belongs to the pons where that is likelier than not.
_LIKELY = 0.5
# Of an image in [0, 1]; what is darker is taken for this.
_DARK = 1e-3


@dataclass(frozen=True, eq=False)
class Section(ByContent):
    """The pons as one slice cuts it, on the model's grid.

    Attributes
    ----------
    mask
        bool (size, size), connected.
    signs
        What of a glioma it shows.
    """

    mask: NDArray[np.bool_]
    signs: Signs


@dataclass(frozen=True, eq=False)
class Pons(ByContent):
    """What a slice shows of the pons; where nothing, the mask is empty and what follows None.

    Attributes
    ----------
    probability
        float32 (size, size) in [0, 1], on the model's grid: that a pixel lies in the pons.
    section
        Where it is on the model's grid.
    mask
        bool (H, W), on the source's grid.
    box
        (x0, y0, x1, y1) in source pixels: left, upper, and one past the right and lower edge.
    score, p_value
        Higher scores are more anomalous; the p-value is conformal, against tumour-free pons.
    flagged
        ``p_value <= false_alarm_rate``; None also where the model was calibrated on too few slices
        to tell at this rate.
    fraction_anomalous
        Share, in [0, 1], of the pons in which the anomaly map is above the pons' own threshold.
    """

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
        """The slice shows enough of the pons for it to be judged."""
        return self.section is not None

    @property
    def part(self) -> Part | None:
        """What it adds to the verdict on its series; None where the pons does not show."""
        if self.score is None or self.fraction_anomalous is None:
            return None
        return Part(self.score, self.fraction_anomalous, int(self.mask.sum()))


@dataclass(frozen=True)
class Part:
    """One section among those of a series: its score, its anomalous share, its source pixels."""

    score: float
    fraction_anomalous: float
    area_px: int


@dataclass(frozen=True)
class PonsVerdict:
    """What a series shows of the pons.

    Attributes
    ----------
    coverage
        ``pons covered``, ``pons not covered``, or, where it is not known how the images lie in the
        patient or slices that may show it were refused, ``pons not judged``. In the last two
        nothing is said about it, least of all that it is healthy.
    slices
        Number of slices that show it.
    score, p_value, flagged
        As of a slice, against the pons of whole tumour-free series; None where none was found.
    fraction_anomalous
        As of a slice, of all sections taken together.
    """

    coverage: str
    slices: int
    score: float | None = None
    p_value: float | None = None
    flagged: bool | None = None
    fraction_anomalous: float | None = None


def find_section(
    image: NDArray[np.float32], outputs: Prediction, rules: PonsCalibration
) -> Section | None:
    """Find the pons in a slice and see what it shows; None where it is not to be seen.

    It is the largest 4-connected part in which the pons is likelier than not, if that is large
    enough and lies in a brain.

    Parameters
    ----------
    image
        float32 (size, size): the first channel of what the model saw.
    outputs
        What the model made of it.
    """
    assert outputs.pons is not None  # noqa: S101  # a card with a pons has a graph with one
    likely = (outputs.pons > _LIKELY).astype(np.uint8)
    if np.count_nonzero(likely) < rules.minimum_area_px:  # most slices: no need to look for parts
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.max(initial=0) < rules.minimum_area_px:
        return None
    mask = labels == 1 + int(areas.argmax())
    around, window = _surroundings(mask, outputs.brain, rules)
    section, plane = mask[window], image[window]
    if not (around.any() and section.any()):
        return None
    return Section(mask, _signs(plane, section, around, rules))


def _surroundings(
    mask: NDArray[np.bool_], brain: NDArray[np.float32], rules: PonsCalibration
) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """Brain about a section, (h, w), and the window of the model's grid that it is seen in."""
    rows, columns = np.nonzero(mask)
    radius = math.sqrt(len(rows) / math.pi)
    y, x = float(rows.mean()), float(columns.mean())
    reach = math.ceil(rules.far_radii * radius)
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    window = np.s_[top : round(y) + reach + 1, left : round(x) + reach + 1]
    seen = brain[window] > _LIKELY
    down, across = np.ogrid[top : top + seen.shape[0], left : left + seen.shape[1]]
    distance = np.hypot(down - y, across - x) / radius
    return seen & (distance > rules.near_radii) & (distance < rules.far_radii), window


def _signs(
    plane: NDArray[np.float32],
    section: NDArray[np.bool_],
    around: NDArray[np.bool_],
    rules: PonsCalibration,
) -> Signs:
    """See what a section shows; all beside the brain about it or itself, as coils are uneven."""
    level = max(float(np.quantile(plane[around], rules.level_quantile)), _DARK)
    smooth = cv2.GaussianBlur(plane, (0, 0), rules.smoothing_px)
    count = max(1, round(rules.top_fraction * int(section.sum())))
    brightest = float(np.partition(smooth[section], -count)[-count:].mean())
    deep = depth(section) > rules.border_px
    inside = smooth[deep if deep.any() else section]
    touching = ~section & (depth(~section) <= rules.border_px)
    return Signs(
        brightness=math.log(max(brightest, _DARK) / level),
        size=math.log(section.sum()),
        unevenness=math.log(max(float(inside.std()), _DARK) / max(float(inside.mean()), _DARK)),
        crowding=-float(np.clip(1 - plane[touching] / level, 0, 1).mean()),
    )


def section_score(section: Section, rules: PonsCalibration) -> float:
    """Add up the signs of a glioma of the pons.

    Each is counted in standard deviations of tumour-free sections, from their median, and only
    upwards: a pons that is small or dark is not the less ill for what else it shows.
    """
    medians, spreads = astuple(rules.medians), astuple(rules.spreads)
    return sum(
        max(0.0, (value - median) / spread)
        for value, median, spread in zip(astuple(section.signs), medians, spreads, strict=True)
    )


def look(
    image: NDArray[np.float32],
    outputs: Prediction,
    anomaly_map: NDArray[np.float32],
    *,
    box: Box,
    rules: PonsCalibration,
    false_alarm_rate: float,
) -> Pons:
    """Find and judge the pons of a slice.

    Parameters
    ----------
    image, outputs
        First channel of what the model saw, and what it made of it.
    anomaly_map
        float32 (H, W), on the source's grid.
    box
        Of the slice's frame.
    """
    assert outputs.pons is not None  # noqa: S101  # a card with a pons has a graph with one
    height, width = anomaly_map.shape
    section = find_section(image, outputs, rules)
    if section is None:
        return Pons(outputs.pons, None, mask=np.zeros((height, width), bool))
    mask = uncrop(section.mask.astype(np.float32), box, (height, width)) > _LIKELY
    score = section_score(section, rules)
    p = p_value(score, rules.slice_scores)
    left, top, across, down = cv2.boundingRect(mask.view(np.uint8))
    anomalous = anomaly_map[mask] > rules.pixel_threshold
    return Pons(
        outputs.pons,
        section,
        mask=mask,
        box=(left, top, left + across, top + down),
        score=score,
        p_value=p,
        flagged=_flag(p, rules.slice_scores, false_alarm_rate),
        fraction_anomalous=float(anomalous.mean()) if len(anomalous) else 0.0,
    )


def series_score(slice_scores: Sequence[float], rules: PonsCalibration) -> float:
    """Mean of the highest scores of the slices that show the pons."""
    return float(np.mean(sorted(slice_scores, reverse=True)[: rules.series_top]))


def judge(
    sections: Iterable[Part | None],
    rules: PonsCalibration | None,
    false_alarm_rate: float,
    *,
    placed: bool,
    missed: Iterable[str] = (),
) -> PonsVerdict | None:
    """Judge the pons of a whole series; None for a model that does not know it.

    Parameters
    ----------
    sections
        What each analysed slice shows of it.
    placed
        It is known of every slice how it lies in the patient.
    missed
        Codes of why slices of the series were not analysed.
    """
    if rules is None:
        return None
    analysed = list(sections)
    parts = [part for part in analysed if part is not None]
    if not parts:
        seen = analysed and placed and set(missed) <= _SHOW_NO_PONS
        return PonsVerdict(NOT_COVERED if seen else NOT_JUDGED, slices=0)
    score = series_score([part.score for part in parts], rules)
    p = p_value(score, rules.series_scores)
    anomalous = sum(part.fraction_anomalous * part.area_px for part in parts)
    return PonsVerdict(
        COVERED,
        len(parts),
        score,
        p,
        flagged=_flag(p, rules.series_scores, false_alarm_rate),
        fraction_anomalous=anomalous / max(sum(part.area_px for part in parts), 1),
    )


def _flag(p: float, healthy: Sequence[float], rate: float) -> bool | None:
    return p <= rate if smallest_p_value(healthy) <= rate else None
