"""The card inside a model file: everything needed to run the model and to judge its results.

It is JSON under the ONNX metadata key ``gliomart``. A card of a newer schema, or one that lacks
what this version needs, is refused rather than guessed at.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from gliomart.errors import ModelCardError
from gliomart.image.steps import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA_KEY = "gliomart"
SCHEMA = 4
_DEEPEST = 32


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
    """

    top_fraction: float = 0.008
    series_top: int = 5
    minimum_area_px: float = 20.0


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
    """

    false_alarm_rate: float
    pixel_false_alarm_rate: float
    pixel_threshold: float
    display_limit: float
    slice_scores: tuple[float, ...]
    series_scores: tuple[float, ...]
    patients: int
    method: str


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
class PonsCalibration:
    """How the pons is judged, and what it scores in tumour-free slices.

    Attributes
    ----------
    minimum_area_px
        Smallest section of the pons that is judged, in pixels of the model's grid.
    near_radii, far_radii, level_quantile
        Its surroundings are the brain between these distances from its centre, in radii of a disk
        of its size; their level, this quantile of them.
    smoothing_px
        Its pixels are those of the image after a Gaussian of this standard deviation.
    top_fraction
        Its brightest part is this fraction of it.
    border_px
        Its inside is further than this from its border; what is no further outside touches it.
    medians, spreads
        Of each sign in tumour-free sections: median, and standard deviation upwards from it.
    pixel_threshold
        Anomaly-map value that ``pixel_false_alarm_rate`` of their pixels exceed.
    pixel_false_alarm_rate
        See there.
    series_top
        A series' score is the mean of its this many highest sections' scores.
    slice_scores, series_scores
        Scores of tumour-free sections, and of patients' tumour-free sections taken together, in
        rising order. Every one comes from a model that never saw its patient.
    """

    minimum_area_px: float
    near_radii: float
    far_radii: float
    level_quantile: float
    smoothing_px: float
    top_fraction: float
    border_px: float
    medians: Signs
    spreads: Signs
    pixel_threshold: float
    pixel_false_alarm_rate: float
    series_top: int
    slice_scores: tuple[float, ...]
    series_scores: tuple[float, ...]


@dataclass(frozen=True)
class ModelCard:
    """Who a model is, what it may be used for, and how it is run.

    Attributes
    ----------
    name, version
        Of the model, not of the software.
    network
        Name and options of the network, and how its residual becomes the anomaly map.
    preprocessing, scoring
        What surrounds the graph.
    calibration
        None only while a model is being calibrated.
    pons
        How the pons is judged; None for a model that does not know where it is.
    modality, sequence, plane
        What the model was trained for; ``modality`` as in DICOM.
    training
        Data, patients, recipe, seeds, library versions.
    metrics
        Measured figures, each with its interval and what it was measured on.
    parity
        Largest absolute difference between the exported graph and the network it came from.
    licence
        Of the weights.
    intended_use
        In words; always says that it is not a medical device.
    """

    name: str
    version: str
    network: dict[str, Any]
    preprocessing: Preprocessing
    scoring: Scoring
    calibration: Calibration | None
    pons: PonsCalibration | None
    modality: str
    sequence: str
    plane: str
    training: dict[str, Any]
    metrics: dict[str, Any]
    parity: dict[str, float]
    licence: str
    intended_use: str
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Serialise for the model file."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card.

        Raises
        ------
        ModelCardError
            The text is not a card, or of a schema that this version does not read.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelCardError("the model's card is not valid JSON") from error
        if _nests_deeper(values, _DEEPEST):  # whoever walks it by recursion would fail
            raise ModelCardError(f"the model's card nests deeper than {_DEEPEST} levels")
        schema = values.get("schema") if isinstance(values, dict) else None
        if not isinstance(schema, int):
            raise ModelCardError("the model's card states no schema")
        if schema != SCHEMA:
            age = "newer" if schema > SCHEMA else "older"
            raise ModelCardError(
                f"the model's card has schema {schema}, {age} than the {SCHEMA} read here"
            )
        card: ModelCard = _build(cls, values, "card")
        for problem in _problems(card):
            raise ModelCardError(f"the model's card is not usable: {problem}")
        return card


def _nests_deeper(values: Any, levels: int) -> bool:  # noqa: ANN401
    """Tell whether lists and objects of parsed JSON lie in one another beyond so many levels."""
    level = [values]
    for _ in range(levels):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _problems(card: ModelCard) -> Iterator[str]:
    """Find values that no model can be run or judged with."""
    spec, rules, calibration = card.preprocessing, card.scoring, card.calibration
    if not spec.channels or set(spec.channels) - {"plain", "clahe"}:
        yield f"unknown channels {', '.join(spec.channels)}"
    if not 32 <= spec.size <= 2048:  # noqa: PLR2004
        yield f"size {spec.size} is not in 32 to 2048"
    if not 1 <= spec.clahe_tiles <= spec.size:
        yield f"clahe_tiles {spec.clahe_tiles} is not in 1 to size"
    fractions = {
        "brain_level": spec.brain_level,
        "head_level": spec.head_level,
        "minimum_head": spec.minimum_head,
        "top_fraction": rules.top_fraction,
    }
    lengths = {
        "margin": spec.margin,
        "clahe_clip_limit": spec.clahe_clip_limit,
        "minimum_area_px": rules.minimum_area_px,
    }
    if calibration is not None:
        fractions["false_alarm_rate"] = calibration.false_alarm_rate
        lengths["pixel_threshold"] = calibration.pixel_threshold
        if not 0 < calibration.display_limit < math.inf:
            yield f"display_limit {calibration.display_limit} is not above 0"
        yield from _unordered(calibration)
    if card.pons is not None:
        yield from _problems_of_pons(card.pons)
    yield from (f"{name} {v} is not in (0, 1)" for name, v in fractions.items() if not 0 < v < 1)
    yield from (
        f"{name} {v} is not a length" for name, v in lengths.items() if not 0 <= v < math.inf
    )
    if rules.series_top < 1:
        yield f"series_top {rules.series_top} is below 1"


def _problems_of_pons(pons: PonsCalibration) -> Iterator[str]:
    for name in ("level_quantile", "top_fraction", "pixel_false_alarm_rate"):
        if not 0 < getattr(pons, name) < 1:
            yield f"pons {name} {getattr(pons, name)} is not in (0, 1)"
    for name in ("near_radii", "smoothing_px", "border_px"):
        if not 0 < getattr(pons, name) < math.inf:
            yield f"pons {name} {getattr(pons, name)} is not above 0"
    for name in ("minimum_area_px", "pixel_threshold"):
        if not 0 <= getattr(pons, name) < math.inf:
            yield f"pons {name} {getattr(pons, name)} is below 0"
    if not pons.near_radii < pons.far_radii < math.inf:
        yield f"pons far_radii {pons.far_radii} is not above near_radii"
    usual = zip(dataclasses.astuple(pons.medians), dataclasses.astuple(pons.spreads), strict=True)
    if not all(math.isfinite(median) and 0 < spread < math.inf for median, spread in usual):
        yield "pons medians are not finite, or spreads not above 0"
    if pons.series_top < 1:
        yield f"pons series_top {pons.series_top} is below 1"
    yield from (f"pons {problem}" for problem in _unordered(pons))


def _unordered(scored: Calibration | PonsCalibration) -> Iterator[str]:
    for name in ("slice_scores", "series_scores"):
        scores = getattr(scored, name)
        if not all(map(math.isfinite, scores)) or list(scores) != sorted(scores):
            yield f"{name} are not finite and rising"


_T = TypeVar("_T")
_NESTED = {
    "preprocessing": Preprocessing,
    "scoring": Scoring,
    "calibration": Calibration,
    "pons": PonsCalibration,
    "medians": Signs,
    "spreads": Signs,
}


def _build(cls: type[_T], values: Any, where: str) -> _T:  # noqa: ANN401
    """Make a dataclass of parsed JSON; its fields are exactly the keys, of the right types."""
    if not isinstance(values, dict):
        raise ModelCardError(f"the model's {where} is not an object")
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for problem, keys in (
        ("lacks", names - values.keys()),
        ("has an unknown", values.keys() - names),
    ):
        if keys:
            raise ModelCardError(f"the model's {where} {problem} {', '.join(sorted(keys))}")
    hints = get_type_hints(cls)
    built: dict[str, Any] = {}
    for name, value in values.items():
        nested = _NESTED.get(name)
        if nested is not None and value is not None:
            built[name] = _build(nested, value, name)
        else:
            built[name] = _check(value, hints[name], f"{where}.{name}")
    return cls(**built)


def _check(value: Any, hint: Any, where: str) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        kinds: tuple[type, ...] = (int, float) if "float" in str(hint) else (str,)
        if "tuple" in str(hint) and all(isinstance(item, kinds) for item in value):
            return tuple(value)
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif (hint in (int, str) and isinstance(value, hint)) or (
        str(hint).startswith("dict") and isinstance(value, dict)
    ):
        return value
    elif value is None and "None" in str(hint):
        return None
    raise ModelCardError(f"the model's {where} has a value of the wrong kind")
