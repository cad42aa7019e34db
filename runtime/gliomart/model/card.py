"""The card inside a model file: everything needed to run the model and to judge its results.

It is JSON under the ONNX metadata key ``gliomart``. A card of any earlier schema is read (see
:mod:`gliomart.model.migration`); one of a newer schema, or one that lacks what its schema needs, is
refused rather than guessed at.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from warnings import warn

from gliomart.errors import ModelCardError
from gliomart.image.steps import Preprocessing
from gliomart.model import checks
from gliomart.model.contents import (
    PONS,
    Calibration,
    GraphOutput,
    InputImage,
    JudgeCard,
    Limits,
    PonsCalibration,
    Scoring,
    SiteCalibration,
)
from gliomart.model.decoding import build
from gliomart.model.familiar import Familiar
from gliomart.model.migration import migrated

METADATA_KEY = "gliomart"
SCHEMA: Literal[6] = 6
_DEEPEST = 32


@dataclass(frozen=True)
class ModelCard:
    """Who a model is, what it may be used for, and how it is run.

    Attributes
    ----------
    name, version
        Of the model, not of the software.
    family
        How it looks at images, such as ``slice``: see :mod:`gliomart.families`.
    network
        Name and options of the network, and how its residual becomes the anomaly map.
    images
        The images that it takes, in the order in which the graph does.
    plane
        The anatomical plane that slices are looked at in, such as ``axial``; a volume is turned
        into it.
    preprocessing, scoring
        What surrounds the graph.
    limits
        Bounds of the images that it answers for.
    outputs
        What the graph gives.
    calibration
        None only while a model is being calibrated.
    judges
        The structures that are looked for and judged by themselves.
    site
        How a site calibrated it; None where it did not.
    familiar
        How images that it knows are told from others by their content; None where it does not say.
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
    family: str
    network: Mapping[str, object]
    images: tuple[InputImage, ...]
    plane: str
    preprocessing: Preprocessing
    outputs: tuple[GraphOutput, ...]
    scoring: Scoring
    limits: Limits
    calibration: Calibration | None
    judges: tuple[JudgeCard, ...]
    site: SiteCalibration | None
    training: Mapping[str, object]
    metrics: Mapping[str, object]
    parity: Mapping[str, float]
    licence: str
    intended_use: str
    familiar: Familiar | None = None
    schema: Literal[6] = SCHEMA

    @property
    def image(self) -> InputImage:
        """The first image, on which the anomaly map lies."""
        return self.images[0]

    def has_output(self, role: str) -> bool:
        """Tell whether the graph has an output of this role."""
        return any(output.role == role for output in self.outputs)

    def rules_of(self, judge: str) -> PonsCalibration | None:
        """Give the rules of a judge by its name; None where it has none, or there is no such."""
        return next((each.rules for each in self.judges if each.name == judge), None)

    @property
    def saw_masks(self) -> bool:
        """Whether tumour masks taught the model, itself or through a network it is built on.

        Such a model is there for comparison alone, and is never built in.
        """
        return bool(self.training.get("saw_masks"))

    @property
    def modality(self) -> str:
        """What the modality of :attr:`image` was called before."""
        warn("ModelCard.modality is image.modality now", DeprecationWarning, stacklevel=2)
        return self.image.modality

    @property
    def sequence(self) -> str | None:
        """What the sequence of :attr:`image` was called before."""
        warn("ModelCard.sequence is image.sequence now", DeprecationWarning, stacklevel=2)
        return self.image.sequence

    @property
    def pons(self) -> PonsCalibration | None:
        """What the rules of the judge of the pons were called before."""
        warn('ModelCard.pons is rules_of("pons") now', DeprecationWarning, stacklevel=2)
        return self.rules_of(PONS)

    def to_json(self) -> str:
        """Serialise for the model file."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card of this or any earlier schema.

        Raises
        ------
        ModelCardError
            The text is not a card, or of a newer schema.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelCardError("the model's card is not valid JSON") from error
        if _nests_deeper(values, _DEEPEST):  # whoever walks it by recursion would fail
            raise ModelCardError(f"the model's card nests deeper than {_DEEPEST} levels")
        schema = values.get("schema") if isinstance(values, dict) else None
        if type(schema) is not int:
            raise ModelCardError("the model's card states no schema")
        if not 1 <= schema <= SCHEMA:
            age = "newer" if schema > SCHEMA else "older"
            raise ModelCardError(
                f"the model's card has schema {schema}, {age} than the 1 to {SCHEMA} read here"
            )
        card = build(cls, migrated(values), "card")
        for problem in _problems(card):
            raise ModelCardError(f"the model's card is not usable: {problem}")
        if not _is_writable(values):  # results and records of it could not be, either
            raise ModelCardError(
                "the model's card holds numbers that are not finite, or half a character"
            )
        return card


def _problems(card: ModelCard) -> Iterator[str]:
    """Find values that no model can be run or judged with."""
    yield from checks.of_images(card.images)
    yield from checks.of_preprocessing(card.preprocessing)
    yield from checks.of_outputs(card.outputs, card.judges)
    yield from checks.of_scoring(card.scoring)
    yield from checks.of_limits(card.limits)
    if card.calibration is not None:
        yield from checks.of_calibration(card.calibration)
    for judge in card.judges:
        yield from checks.of_judge(judge)
    if card.site is not None:
        yield from (f"its site's {problem}" for problem in checks.of_site(card.site))
    if card.familiar is not None:
        yield from checks.of_familiar(card.familiar)


def _is_writable(values: object) -> bool:
    """Tell whether parsed JSON can be written again: Python reads NaN and lone surrogates."""
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True


def _nests_deeper(values: object, levels: int) -> bool:
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
