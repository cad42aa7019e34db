"""The judge of the pons: whether a slice shows it, where, and how far it departs from healthy ones.

Gliomas of the brainstem begin in the pons, so it is judged by itself, against the pons of
tumour-free slices. It is the pons that is found, not the whole brainstem.

Two tests are made of it: four signs of a glioma, which see swelling, and the anomaly map, which
sees what is brighter than expected. The greater of both is its score, so that there is one p-value
and one rate of false alarms.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.findings.scoring import averaged_score, flag, likely_brain, p_value
from gliomart.findings.structures import (
    AnalysedSlice,
    Section,
    SectionScore,
    Structure,
    StructureFinding,
    StructureVerdict,
    judge_sections,
    score_of_sections,
)
from gliomart.image.grid import depth, uncrop
from gliomart.model.contents import PONS, JudgeCard, PonsCalibration, Signs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.model.prediction import Prediction

STRUCTURE = Structure(PONS, "49557009", "SCT", "Pons")
# A pixel belongs to the pons where that is likelier than not.
_LIKELY = 0.5
# Of an image in [0, 1]; what is darker is taken for this.
_DARK = 1e-3


@dataclass(frozen=True)
class PonsJudge:
    """Finds the pons and judges it by two tests of one score; see :class:`~.structures.Judge`."""

    card: JudgeCard
    structure: Structure = STRUCTURE

    @property
    def width(self) -> int:
        """How many slices in a row it judges the middle one of a series by, an odd number."""
        return 1 if self.card.rules is None else max(len(self.card.rules.neighbours), 1)

    def find(self, image: NDArray[np.float32], prediction: Prediction) -> Section | None:
        """Find the pons in a slice; see :func:`find_section`."""
        return find_section(image, prediction, self.card)

    def judge_slice(self, shown: AnalysedSlice, false_alarm_rate: float) -> StructureFinding:
        """Judge the pons in a slice; where the card has no rules, it is only outlined."""
        probability = shown.prediction.first(PONS)
        assert probability is not None  # noqa: S101  # a card with this judge has such an output
        height, width = shown.anomaly_map.shape
        section, rules = shown.section, self.card.rules
        if section is None:
            nothing = np.zeros((height, width), bool)
            return StructureFinding(self.structure, probability, None, nothing)
        mask = uncrop(section.mask.astype(np.float32), shown.box, (height, width)) > _LIKELY
        left, top, across, down = cv2.boundingRect(mask.view(np.uint8))
        box = (left, top, left + across, top + down)
        if rules is None:
            return StructureFinding(self.structure, probability, section, mask, box)
        score = score_in_row([_own_score(each, rules) for each in shown.sections], rules)
        healthy = rules.of_slices(alone=shown.alone)
        p = p_value(score, healthy)
        anomalous = shown.anomaly_map[mask] > rules.pixel_threshold
        return StructureFinding(
            self.structure,
            probability,
            section,
            mask,
            box,
            score=score,
            p_value=p,
            flagged=flag(p, healthy, false_alarm_rate),
            fraction_anomalous=float(anomalous.mean()) if len(anomalous) else 0.0,
        )

    def judge_series(
        self, sections: Sequence[SectionScore], false_alarm_rate: float
    ) -> StructureVerdict:
        """Judge the sections of a series; where the card has no rules, they are only counted."""
        rules = self.card.rules
        if rules is None:
            return StructureVerdict(self.structure, self.structure.covered, len(sections))
        judged = [(part.score, part.area_px) for part in sections if part.score is not None]
        score = score_of_sections(judged, rules.series_top, rules.series_least_area)
        return judge_sections(
            self.structure, sections, score, rules.series_scores, false_alarm_rate
        )


def find_section(
    image: NDArray[np.float32], prediction: Prediction, card: JudgeCard
) -> Section | None:
    """Find the pons in a slice and see what it shows; None where it is not to be seen.

    It is the largest 4-connected part in which the pons is likelier than not, if that is large
    enough and lies in a brain.

    Parameters
    ----------
    image
        float32 (size, size): the first channel of what the model saw.
    prediction
        What it predicted.
    card
        Of the judge; without rules, it is not said what the section shows.
    """
    probability = prediction.first(PONS)
    assert probability is not None  # noqa: S101  # a card with this judge has such an output
    likely = (probability > _LIKELY).astype(np.uint8)
    if np.count_nonzero(likely) < card.minimum_area_px:  # most slices: no need to look for parts
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.max(initial=0) < card.minimum_area_px:
        return None
    mask = labels == 1 + int(areas.argmax())
    if card.rules is None:
        return Section(mask, None)
    brain = likely_brain(prediction.brain, mask.shape)
    around, window = _surroundings(mask, brain, card.rules)
    section, plane = mask[window], image[window]
    if not (around.any() and section.any()):
        return None
    elsewhere = prediction.anomaly_map[brain & ~mask]
    anomaly = _beside(prediction.anomaly_map[mask], elsewhere, card.rules)
    return Section(mask, _signs(plane, section, around, card.rules), anomaly)


def _surroundings(
    mask: NDArray[np.bool_], brain: NDArray[np.bool_], rules: PonsCalibration
) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """Brain about a section, (h, w), and the window of the model's grid that it is seen in."""
    rows, columns = np.nonzero(mask)
    radius = math.sqrt(len(rows) / math.pi)
    y, x = float(rows.mean()), float(columns.mean())
    reach = math.ceil(rules.far_radii * radius)
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    window = np.s_[top : round(y) + reach + 1, left : round(x) + reach + 1]
    seen = brain[window]
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
    smooth = np.asarray(cv2.GaussianBlur(plane, (0, 0), rules.smoothing_px), np.float32)
    brightest = _mean_of_highest(smooth[section], rules.top_fraction)
    deep = depth(section) > rules.border_px
    inside = smooth[deep if deep.any() else section]
    touching = ~section & (depth(~section) <= rules.border_px)
    return Signs(
        brightness=math.log(max(brightest, _DARK) / level),
        size=math.log(section.sum()),
        unevenness=math.log(max(float(inside.std()), _DARK) / max(float(inside.mean()), _DARK)),
        crowding=-float(np.clip(1 - plane[touching] / level, 0, 1).mean()),
    )


def _beside(
    values: NDArray[np.float32], elsewhere: NDArray[np.float32], rules: PonsCalibration
) -> float:
    """Say how high the anomaly map is in a section (N,), beside the rest of the brain (M,).

    Scanners whose pictures fit a model less well raise the map everywhere. A lesion elsewhere,
    where the map is highest, is left out.
    """
    count = max(1, round(rules.elsewhere_fraction * len(elsewhere)))
    usual = float(np.partition(elsewhere, count - 1)[:count].mean())
    highest = _mean_of_highest(values, rules.top_fraction)
    return highest / (usual + rules.elsewhere_least)


def _mean_of_highest(values: NDArray[np.float32], fraction: float) -> float:
    """Mean of this fraction of some values (N,), the highest, and of one at least."""
    count = max(1, round(fraction * len(values)))
    return float(np.partition(values, -count)[-count:].mean())


def score_in_row(scores: Sequence[float | None], rules: PonsCalibration) -> float:
    """Score a section in its series: by its own score and those of the sections beside it.

    A glioma goes on in them, and noise does not.

    Parameters
    ----------
    scores
        Of sections by themselves, in as many slices in a row as the rules have neighbours, or in
        one; the section is the middle one. None where a slice does not show the pons, or is not
        there: the others make up for it.
    rules
        The neighbours' weights stand in them.
    """
    return averaged_score(scores, rules.neighbours or (1.0,))


def _own_score(section: Section | None, rules: PonsCalibration) -> float | None:
    if section is None or section.signs is None or section.anomaly is None:
        return None
    return section_score(section.signs, section.anomaly, rules)


def section_score(signs: Signs, anomaly: float, rules: PonsCalibration) -> float:
    """Score a section by itself, by the greater of two tests, each in units of its scale.

    Swelling alone leaves the anomaly map as it was, and a lesion that it shows well may leave the
    signs nearly so: of a sum, each test would lose to the other's scatter. Where the rules have no
    scales, the signs alone count, in units of one.
    """
    added = sum_of_signs(signs, rules)
    if rules.scales is None:
        return added
    return max(added / rules.scales.signs, anomaly / rules.scales.anomaly)


def sum_of_signs(signs: Signs, rules: PonsCalibration) -> float:
    """Add up the signs of a glioma of the pons, by their weights.

    Each is counted in standard deviations of tumour-free sections, from their median, and only
    upwards: a small or dark pons does not make up for other signs.
    """
    parts = (astuple(part) for part in (signs, rules.medians, rules.spreads, rules.weights))
    return sum(
        weight * max(0.0, (value - median) / spread)
        for value, median, spread, weight in zip(*parts, strict=True)
    )
