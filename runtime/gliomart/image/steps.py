"""How pixels become a model's input, as its card declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Channel = Literal["plain", "clahe"]


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the model's input; stored in the model's card.

    Attributes
    ----------
    size
        Side of the model's square input, in pixels.
    margin
        Room left around the head on every side, as a fraction of the head's longer side.
    brain_level
        Value in (0, 1) that the median of the brain is scaled to.
    channels
        The input's channels in order; the anomaly map is computed on the first.
    clahe_clip_limit
        Contrast limit of the CLAHE channel (relative to a flat histogram).
    clahe_tiles
        Tiles of the CLAHE channel along each side.
    head_level
        Pixels above this fraction of the brain's median belong to the head.
    minimum_head
        Smallest head, as a fraction of the model's input, that a slice is analysed for.
    """

    size: int = 256
    margin: float = 0.04
    brain_level: float = 0.4
    channels: tuple[Channel, ...] = ("plain",)
    clahe_clip_limit: float = 2.0
    clahe_tiles: int = 8
    head_level: float = 0.25
    minimum_head: float = 0.03
