"""What all slices of one series share on their way into a model: where the head is, how bright."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image import background
from gliomart.image.grid import Box, depth
from gliomart.image.head import HEAD_BRIGHTNESS, head_mask
from gliomart.image.sampling import evenly_spaced
from gliomart.image.shading import estimate_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.image.background import Background
    from gliomart.image.shading import Field
    from gliomart.image.slices import Slice
    from gliomart.image.steps import Preprocessing

# It is estimated from at most this many slices, evenly spaced, so that its cost and its memory do
# not grow with the series.
SAMPLED_SLICES = 32
# Shorter side, in pixels, of what is looked at: enough for a box and a median.
_SAMPLED_SIDE = 128
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
    field
        How unevenly the series is lit; None where that is left as it is. A slice is prepared with
        its own part of it (:meth:`at`).
    """

    box: Box
    black: float
    brain: float
    background: Background | None = None
    field: Field | None = None

    def at(self, number: int) -> Normalisation:
        """Give it for one slice of the series, by its place in it from 0."""
        return self if self.field is None else replace(self, field=self.field.at(number))


def estimate_normalisation(
    slices: Sequence[Slice],
    spec: Preprocessing,
    numbers: Sequence[int] | None = None,
    box: Box | None = None,
) -> Normalisation:
    """Find the head and the brain's brightness in a series.

    Parameters
    ----------
    slices
        Slices of one series, all of one shape, (H, W) each.
    spec
        The model's preprocessing.
    numbers
        Their places in the series, from 0, where they are not all of it.
    box
        The head's surroundings, where another series of the same pixels tells them; None to look
        for them.

    Returns
    -------
    Normalisation
        Shared by all slices, so that scale and brightness do not jump between them.

    Raises
    ------
    InputRefusedError
        ``no-head``: there is nothing like a head in any of the slices.
    """
    chosen = evenly_spaced(range(len(slices)), SAMPLED_SLICES)
    sample = [slices[k] for k in chosen]
    step = max(1, min(sample[0].pixels.shape) // _SAMPLED_SIDE)
    around = background.find(sample)
    shown = [background.filled(s, around) for s in sample]
    planes = [cv2.blur(pixels, (step, step))[::step, ::step] for pixels in shown]
    black, bright = np.percentile(planes, (1, 99))
    if not bright > black:
        raise InputRefusedError("no-head", "nothing brighter than its surroundings is in the image")
    level = HEAD_BRIGHTNESS * (bright - black)
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
    if box is None:
        left, top = np.percentile(boxes[:, :2], 15, axis=0) * step
        right, bottom = np.percentile(boxes[:, :2] + boxes[:, 2:], 85, axis=0) * step
        box = _square_box((left, top, right, bottom), sample[0].spacing, spec.margin)
    field = None
    if spec.shading is not None and brain > black:
        places = [k if numbers is None else numbers[k] for k in chosen]
        field = estimate_field(shown, places, box, (float(black), brain), spec)
    return Normalisation(box, float(black), brain, around, field)


def estimate_normalisations(
    slices: Sequence[Slice], spec: Preprocessing, numbers: Sequence[int] | None = None
) -> dict[tuple[int, ...], Normalisation | InputRefusedError]:
    """Estimate one for every image size in a series, or tell the reason why there is none."""
    found: dict[tuple[int, ...], Normalisation | InputRefusedError] = {}
    places = range(len(slices)) if numbers is None else numbers
    for shape in dict.fromkeys(s.pixels.shape for s in slices):
        alike = [(s, n) for s, n in zip(slices, places, strict=True) if s.pixels.shape == shape]
        try:
            found[shape] = estimate_normalisation(
                [s for s, _ in alike], spec, [n for _, n in alike]
            )
        except InputRefusedError as error:
            found[shape] = error
    return found


def normalisation_of(
    item: Slice,
    number: int,
    found: Mapping[tuple[int, ...], Normalisation | InputRefusedError],
) -> Normalisation:
    """Give how one slice of a series, by its place in it from 0, is normalised.

    Raises
    ------
    InputRefusedError
        The reason why slices of its shape cannot be.
    """
    norm = found[item.pixels.shape]
    if isinstance(norm, InputRefusedError):
        raise norm
    return norm.at(number)


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
