"""Values of a card that no model can be run or judged with, found part by part."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from gliomart.model.contents import ANOMALY_MAP, BRAIN, RECONSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import (
        Calibration,
        GraphOutput,
        InputImage,
        JudgeCard,
        Limits,
        PonsCalibration,
        Scoring,
    )

_SMALLEST, _LARGEST = 32, 2048  # sides of a model's grid


def of_images(images: Sequence[InputImage]) -> Iterator[str]:
    """Check what a model takes."""
    if not any(image.required for image in images):
        yield "it takes no image that is required"
    for image in images:
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
    yield from _not_lengths(_named(spec, "margin", "clahe_clip_limit"))


def of_outputs(outputs: Sequence[GraphOutput], judges: Sequence[JudgeCard]) -> Iterator[str]:
    """Check what the graph gives: one anomaly map, and what the judges read."""
    roles = [output.role for output in outputs]
    names = [output.name for output in outputs]
    known = {RECONSTRUCTION, ANOMALY_MAP, BRAIN, *(judge.name for judge in judges)}
    if ANOMALY_MAP not in roles:
        yield "it has no anomaly map"
    if len(set(names)) < len(names):
        yield "two outputs have one name"
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


def of_scoring(rules: Scoring) -> Iterator[str]:
    """Check how a map is scored."""
    yield from _not_fractions(_named(rules, "top_fraction"))
    yield from _not_lengths(_named(rules, "minimum_area_px"))
    if rules.series_top < 1:
        yield f"series_top {rules.series_top} is below 1"
    if rules.scalp is not None:
        yield from _not_lengths(dataclasses.asdict(rules.scalp))


def of_limits(limits: Limits) -> Iterator[str]:
    """Check the bounds of what a model answers for."""
    yield from _not_lengths(dataclasses.asdict(limits))


def of_calibration(calibration: Calibration) -> Iterator[str]:
    """Check what scores are held against."""
    yield from _not_fractions(_named(calibration, "false_alarm_rate"))
    yield from _not_lengths(_named(calibration, "pixel_threshold"))
    if not 0 < calibration.display_limit < math.inf:
        yield f"display_limit {calibration.display_limit} is not above 0"
    yield from _unordered(calibration)


def of_judge(judge: JudgeCard) -> Iterator[str]:
    """Check how a structure is found and judged."""
    found = _not_lengths({"minimum_area_px": judge.minimum_area_px})
    rules = () if judge.rules is None else _of_rules(judge.rules)
    yield from (f"{judge.name} {problem}" for each in (found, rules) for problem in each)


def _of_rules(rules: PonsCalibration) -> Iterator[str]:
    yield from _not_fractions(
        _named(rules, "level_quantile", "top_fraction", "pixel_false_alarm_rate")
    )
    yield from (
        f"{name} {value} is not above 0"
        for name, value in _named(rules, "near_radii", "smoothing_px", "border_px").items()
        if not 0 < value < math.inf
    )
    yield from _not_lengths(_named(rules, "pixel_threshold"))
    if not rules.near_radii < rules.far_radii < math.inf:
        yield f"far_radii {rules.far_radii} is not above near_radii"
    usual = zip(dataclasses.astuple(rules.medians), dataclasses.astuple(rules.spreads), strict=True)
    if not all(math.isfinite(median) and 0 < spread < math.inf for median, spread in usual):
        yield "medians are not finite, or spreads not above 0"
    if rules.series_top < 1:
        yield f"series_top {rules.series_top} is below 1"
    yield from _unordered(rules)


def _named(part: object, *names: str) -> dict[str, float]:
    return {name: getattr(part, name) for name in names}


def _not_fractions(values: Mapping[str, float]) -> Iterator[str]:
    return (f"{name} {v} is not in (0, 1)" for name, v in values.items() if not 0 < v < 1)


def _not_lengths(values: Mapping[str, float]) -> Iterator[str]:
    return (f"{name} {v} is not a length" for name, v in values.items() if not 0 <= v < math.inf)


def _unordered(scored: Calibration | PonsCalibration) -> Iterator[str]:
    for name in ("slice_scores", "series_scores"):
        scores = getattr(scored, name)
        if not all(map(math.isfinite, scores)) or list(scores) != sorted(scores):
            yield f"{name} are not finite and rising"
