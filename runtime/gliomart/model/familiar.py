"""What a card holds about images that a model knows, and about others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Concerns that the appearance of images raises.
Code = Literal["not-a-head", "turned", "wrong-plane", "skull-stripped", "unusual-contrast"]


@dataclass(frozen=True)
class Unfamiliar:
    """A kind of images that a model was not made for, and how it is told from those it was.

    Attributes
    ----------
    code
        Of the concern that it raises.
    name
        What such images look like, after "looks like".
    weights, offset
        Of what :func:`gliomart.image.appearance.appearance` says of a slice: their product, and the
        offset added to it. 0 is halfway between both kinds.
    series_bound, image_bound
        It is such an image where the median of a series' slices, or an image alone, is above this;
        None where that is not asked.
    """

    code: Code
    name: str
    weights: tuple[float, ...]
    offset: float
    series_bound: float | None
    image_bound: float | None


@dataclass(frozen=True)
class ExpectedBrain:
    """How much brain a slice should show, as its appearance tells.

    Attributes
    ----------
    weights, offset
        As of :class:`Unfamiliar`; they give a fraction of the model's grid.
    bound
        A slice in which a model finds less than that by more than this has lost its brain.
    """

    weights: tuple[float, ...]
    offset: float
    bound: float


@dataclass(frozen=True)
class Familiar:
    """How images that a model knows are told from others by their content.

    Attributes
    ----------
    kinds
        Of others.
    brain
        None where nothing is said about it.
    method
        How bounds were set, in words.
    """

    kinds: tuple[Unfamiliar, ...]
    brain: ExpectedBrain | None
    method: str
