"""How pixels become a model's input, as its card declares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Channel = Literal["plain", "clahe"]


@dataclass(frozen=True)
class Shading:
    """How a series' uneven brightness is found and undone; see :mod:`gliomart.image.shading`.

    Attributes
    ----------
    side
        Pixels of the field along each side of the model's grid.
    levels, steps
        Meshes of B-splines, each twice as fine as the one before, from one element a side on; and
        steps on each of them.
    sharpness
        Full width at half maximum, in natural logarithms, of the Gaussian that the histogram of
        brightness is deconvolved by.
    limit
        Largest logarithm of the field.
    disagreement
        The slices of a series disagree in level where the logarithm of the ratio of two neighbours
        typically (in the median) jumps by more than this from one pair to the next; or where each
        was exported with a window of its own.
    """

    side: int = 32
    levels: int = 3
    steps: int = 20
    sharpness: float = 0.15
    limit: float = 1.2
    disagreement: float = 0.05


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
    shading
        How uneven brightness is undone; None where it is left as it is.
    """

    size: int = 256
    margin: float = 0.04
    brain_level: float = 0.4
    channels: tuple[Channel, ...] = ("plain",)
    clahe_clip_limit: float = 2.0
    clahe_tiles: int = 8
    head_level: float = 0.25
    minimum_head: float = 0.03
    shading: Shading | None = None
