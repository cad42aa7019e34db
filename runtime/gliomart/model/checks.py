"""Values of a card that no model can be run or judged with, found part by part."""

from __future__ import annotations

import dataclasses
import math
from itertools import chain
from typing import TYPE_CHECKING

from gliomart.image.appearance import NUMBERS
from gliomart.model.contents import ANOMALY_MAP, BRAIN, RECONSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gliomart.image.steps import Preprocessing, Shading
    from gliomart.model.contents import (
        Calibration,
        GraphOutput,
        InputImage,
        JudgeCard,
        Limits,
        PonsCalibration,
        Scoring,
        SiteCalibration,
    )
    from gliomart.model.familiar import Familiar

_SMALLEST, _LARGEST = 32, 2048  # sides of a model's grid
_WIDEST_MARGIN = 4.0  # of a head's longer side: the head is then a hundredth of the grid
# Of a field of brightness: its resolution, meshes and steps on each; logarithms of brightness.
_SMALLEST_FIELD, _LARGEST_FIELD, _MOST_LEVELS, _MOST_STEPS, _STEEPEST = 8, 128, 6, 200, 10.0
_MOST_NEIGHBOURS = 15
_MOST = 1e38  # of what is compared with pixels, which are of single precision
# Of what is done to a section of a structure: pixels that are blurred, and radii of its size.
_WIDEST_BLUR_PX, _WIDEST_BORDER_PX, _FARTHEST_RADII = 64.0, 64.0, 100.0


def of_images(images: Sequence[InputImage]) -> Iterator[str]:
    """Check what a model takes."""
    if not images or not images[0].required:
        yield "it takes no first image that is required"
    for image in images:
        if not image.modality:
            yield "an image has no modality"
        if image.window is not None and not (
            math.isfinite(image.window[0]) and 0 < image.window[1] < math.inf
        ):
            yield f"window {image.window} is no centre and width"


def of_preprocessing(spec: Preprocessing) -> Iterator[str]:
    """Check how images become the graph's input."""
    if not spec.channels:
        yield "it has no channels"
    if not _SMALLEST <= spec.size <= _LARGEST:
        yield f"size {spec.size} is not in {_SMALLEST} to {_LARGEST}"
    if not 1 <= spec.clahe_tiles <= spec.size:
        yield f"clahe_tiles {spec.clahe_tiles} is not in 1 to size"
    yield from _not_fractions(_named(spec, "brain_level", "head_level", "minimum_head"))
    if not 0 <= spec.margin <= _WIDEST_MARGIN:
        yield f"margin {spec.margin} is not in 0 to {_WIDEST_MARGIN:g}"
    yield from _not_lengths(_named(spec, "clahe_clip_limit"))
    if spec.shading is not None:
        yield from _of_shading(spec.shading)


def _of_shading(rules: Shading) -> Iterator[str]:
    for name, low, high in (
        ("side", _SMALLEST_FIELD, _LARGEST_FIELD),
        ("levels", 1, _MOST_LEVELS),
        ("steps", 1, _MOST_STEPS),
    ):
        if not low <= (value := getattr(rules, name)) <= high:
            yield f"{name} {value} of its shading is not in {low} to {high}"
    for name in ("sharpness", "limit"):
        if not 0 < (value := getattr(rules, name)) <= _STEEPEST:
            yield f"{name} {value} of its shading is not above 0, up to {_STEEPEST:g}"
    if not 0 <= rules.disagreement <= _MOST:
        yield f"disagreement {rules.disagreement} of its shading is below 0"


def of_outputs(outputs: Sequence[GraphOutput], judges: Sequence[JudgeCard]) -> Iterator[str]:
    """Check what the graph gives: one anomaly map, and what the judges read."""
    roles = [output.role for output in outputs]
    names = [output.name for output in outputs]
    known = {RECONSTRUCTION, ANOMALY_MAP, BRAIN, *(judge.name for judge in judges)}
    if ANOMALY_MAP not in roles:
        yield "it has no anomaly map"
    if len(set(names)) < len(names):
        yield "two outputs have one name"
    if len({judge.name for judge in judges}) < len(judges):
        yield "two judges have one name"
    yield from (f"no judge reads {role!r}"[:80] for role in roles if role not in known)
    yield from (
        f"the judge of the {judge.name} has no output to read"
        for judge in judges
        if judge.name not in roles
    )
    for output in outputs:
        low, high = output.minimum, output.maximum
        if any(bound is not None and not math.isfinite(bound) for bound in (low, high)) or (
            low is not None and high is not None and not low < high
        ):
            yield f"{output.role} has no range from {low} to {high}"
        elif output.role != RECONSTRUCTION and (low is None or low < 0):
            yield f"{output.role} may be below 0"
        elif output.role not in {RECONSTRUCTION, ANOMALY_MAP} and (high is None or high > 1):
            yield f"{output.role} may be above 1, which no probability is"


def of_scoring(rules: Scoring) -> Iterator[str]:
    """Check how a map is scored."""
    yield from _not_fractions(_named(rules, "top_fraction"))
    yield from _not_lengths(_named(rules, "minimum_area_px"))
    if rules.series_top < 1:
        yield f"series_top {rules.series_top} is below 1"
    yield from _of_neighbours(rules.neighbours)
    if rules.scalp is not None:
        yield from _not_lengths(dataclasses.asdict(rules.scalp))
        if rules.scalp.thickness_px > rules.scalp.dome_px:
            yield "the scalp is thicker than its dome_px"


def of_limits(limits: Limits) -> Iterator[str]:
    """Check the bounds of what a model answers for."""
    yield from _not_lengths(dataclasses.asdict(limits))


def of_calibration(calibration: Calibration) -> Iterator[str]:
    """Check what scores are held against."""
    yield from _not_fractions(_named(calibration, "false_alarm_rate", "pixel_false_alarm_rate"))
    yield from _not_lengths(_named(calibration, "pixel_threshold"))
    if not 0 < calibration.display_limit <= _MOST:
        yield f"display_limit {calibration.display_limit} is not above 0"
    if calibration.patients < 0:
        yield f"patients {calibration.patients} is below 0"
    yield from _unordered(calibration)


def of_judge(judge: JudgeCard) -> Iterator[str]:
    """Check how a structure is found and judged."""
    found = _not_lengths({"minimum_area_px": judge.minimum_area_px})
    rules = () if judge.rules is None else _of_rules(judge.rules)
    yield from (f"{judge.name} {problem}" for each in (found, rules) for problem in each)


def of_site(site: SiteCalibration) -> Iterator[str]:
    """Check what a site's calibration tells, the model's own among it."""
    if not 0 <= site.contaminated < 1:
        yield f"contaminated {site.contaminated} is not in [0, 1)"
    counts = _named(site, "patients", "series", "slices")
    yield from (f"{name} {count} is below 0" for name, count in counts.items() if count < 0)
    yield from of_calibration(site.model_calibration)
    yield from chain.from_iterable(map(of_judge, site.model_judges))


def of_familiar(familiar: Familiar) -> Iterator[str]:
    """Check how images that a model knows are told from others."""
    told: list[tuple[str, tuple[float, ...], tuple[float | None, ...]]] = [
        (kind.name, kind.weights, (kind.offset, kind.series_bound, kind.image_bound))
        for kind in familiar.kinds
    ]
    if familiar.brain is not None:
        brain = familiar.brain
        told.append(("brain", brain.weights, (brain.offset, brain.bound)))
    for name, weights, others in told:
        if len(weights) != NUMBERS:
            yield f"what tells {name!r:.40} has {len(weights)} weights, not {NUMBERS}"
        if not all(abs(value) <= _MOST for value in (*weights, *others) if value is not None):
            yield f"what tells {name!r:.40} is not finite"


def _of_rules(rules: PonsCalibration) -> Iterator[str]:
    yield from _not_fractions(
        _named(
            rules, "level_quantile", "top_fraction", "elsewhere_fraction", "pixel_false_alarm_rate"
        )
    )
    for name, low, high in (
        ("near_radii", 0.0, _FARTHEST_RADII),
        ("far_radii", rules.near_radii, _FARTHEST_RADII),
        ("smoothing_px", 0.0, _WIDEST_BLUR_PX),
        ("border_px", 1.0, _WIDEST_BORDER_PX),
        ("elsewhere_least", 0.0, 1.0),
    ):
        if not low < (value := getattr(rules, name)) <= high:
            yield f"{name} {value} is not above {low:g}, up to {high:g}"
    yield from _not_lengths(_named(rules, "pixel_threshold"))
    usual = zip(dataclasses.astuple(rules.medians), dataclasses.astuple(rules.spreads), strict=True)
    if not all(math.isfinite(median) and 0 < spread < math.inf for median, spread in usual):
        yield "medians are not finite, or spreads not above 0"
    if not all(0 <= weight < math.inf for weight in dataclasses.astuple(rules.weights)):
        yield "weights are not 0 or above"
    if rules.scales is not None and not all(
        0 < scale < math.inf for scale in dataclasses.astuple(rules.scales)
    ):
        yield "scales are not above 0"
    if not 0 <= rules.series_least_area < 1:
        yield f"series_least_area {rules.series_least_area} is not in [0, 1)"
    if rules.series_top < 1:
        yield f"series_top {rules.series_top} is below 1"
    yield from _of_neighbours(rules.neighbours)
    yield from _unordered(rules)


def _of_neighbours(weights: Sequence[float]) -> Iterator[str]:
    if weights and (len(weights) % 2 == 0 or len(weights) > _MOST_NEIGHBOURS):
        yield f"neighbours are {len(weights)} weights, not an odd number up to {_MOST_NEIGHBOURS}"
    if not all(0 < weight <= 1 for weight in weights):
        yield "neighbours have a weight that is not in (0, 1]"


def _named(part: object, *names: str) -> dict[str, float]:
    return {name: getattr(part, name) for name in names}


def _not_fractions(values: Mapping[str, float]) -> Iterator[str]:
    return (f"{name} {v} is not in (0, 1)" for name, v in values.items() if not 0 < v < 1)


def _not_lengths(values: Mapping[str, float]) -> Iterator[str]:
    return (f"{name} {v} is not a length" for name, v in values.items() if not 0 <= v <= _MOST)


def _unordered(scored: Calibration | PonsCalibration) -> Iterator[str]:
    for name in ("slice_scores", "series_scores", "single_scores"):
        scores = getattr(scored, name) or ()
        if not all(map(math.isfinite, scores)) or list(scores) != sorted(scores):
            yield f"{name} are not finite and rising"
