"""What all slices of one series share on their way into a model: where the head is, how bright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image import background
from gliomart.image.grid import Box, depth
from gliomart.image.head import head_mask
from gliomart.image.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.background import Background
    from gliomart.image.slices import Slice
    from gliomart.image.steps import Preprocessing

# It is estimated from at most this many slices, evenly spaced, so that its cost and its memory do
# not grow with the series.
SAMPLED_SLICES = 32
# Shorter side, in pixels, of what is looked at: enough for a box and a median.
_SAMPLED_SIDE = 128
# A pixel is taken for head where it is brighter than this, black being 0 and the brightest 1.
_HEAD_BRIGHTNESS = 0.12
# A head covers at least this fraction of the image.
_SMALLEST_HEAD = 0.02
# A pixel is taken for brain where it lies deeper in the head than this fraction of the head's
# shorter side.
_BRAIN_DEPTH = 0.2


@dataclass(frozen=True)
class Normalisation:
    """What all slices of one series share on their way into the model.

    Attributes
    ----------
    box
        The head's surroundings in source pixels, square in millimetres.
    black, brain
        Modality values that become 0 and ``Preprocessing.brain_level``.
    background
        What is no part of the picture and becomes black; None where the picture needs no such.
    """

    box: Box
    black: float
    brain: float
    background: Background | None = None


def estimate_normalisation(slices: Sequence[Slice], spec: Preprocessing) -> Normalisation:
    """Find the head and the brain's brightness in a series.

    Parameters
    ----------
    slices
        Slices of one series, all of one shape, (H, W) each.
    spec
        The model's preprocessing.

    Returns
    -------
    Normalisation
        Shared by all slices, so that scale and brightness do not jump between them.

    Raises
    ------
    InputRefusedError
        ``no-head``: there is nothing like a head in any of the slices.
    """
    sample = evenly_spaced(slices, SAMPLED_SLICES)
    step = max(1, min(sample[0].pixels.shape) // _SAMPLED_SIDE)
    around = background.find(sample)
    shown = [background.filled(s, around) for s in sample]
    planes = [cv2.blur(pixels, (step, step))[::step, ::step] for pixels in shown]
    black, bright = np.percentile(planes, (1, 99))
    if not bright > black:
        raise InputRefusedError("no-head", "nothing brighter than its surroundings is in the image")
    level = _HEAD_BRIGHTNESS * (bright - black)
    heads = [(plane, head_mask(plane - black, level)) for plane in planes]
    heads = [(plane, head) for plane, head in heads if head.mean() > _SMALLEST_HEAD]
    if not heads:
        raise InputRefusedError("no-head", "nothing of a head's size is in the image")
    boxes = np.array([_bounds(head) for _, head in heads])
    inside = np.concatenate(
        [plane[depth(head) > _BRAIN_DEPTH * min(_bounds(head)[2:])] for plane, head in heads]
    )
    inside = inside[inside > black + level]
    if len(inside) == 0:
        raise InputRefusedError("no-head", "the head has nothing inside")
    brain = float(np.median(inside))
    left, top = np.percentile(boxes[:, :2], 15, axis=0) * step
    right, bottom = np.percentile(boxes[:, :2] + boxes[:, 2:], 85, axis=0) * step
    return Normalisation(
        box=_square_box((left, top, right, bottom), sample[0].spacing, spec.margin),
        black=float(black),
        brain=brain,
        background=around,
    )


def estimate_normalisations(
    slices: Sequence[Slice], spec: Preprocessing
) -> dict[tuple[int, ...], Normalisation | InputRefusedError]:
    """Estimate one for every image size in a series, or tell the reason why there is none."""
    found: dict[tuple[int, ...], Normalisation | InputRefusedError] = {}
    for shape in dict.fromkeys(s.pixels.shape for s in slices):
        try:
            found[shape] = estimate_normalisation(
                [s for s in slices if s.pixels.shape == shape], spec
            )
        except InputRefusedError as error:
            found[shape] = error
    return found


def _bounds(head: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(head.view(np.uint8))
    return left, top, width, height


def _square_box(
    bounds: tuple[float, float, float, float], spacing: tuple[float, float] | None, margin: float
) -> Box:
    left, top, right, bottom = bounds
    row, column = spacing or (1.0, 1.0)
    side = max((right - left) * column, (bottom - top) * row) * (1 + 2 * margin)
    width, height = max(round(side / column), 8), max(round(side / row), 8)
    return Box(
        x=round((left + right - width) / 2),
        y=round((top + bottom - height) / 2),
        width=width,
        height=height,
    )
