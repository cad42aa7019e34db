"""From a slice's pixels to the model's input, and the exact way back.

The steps, all of them described by a :class:`Preprocessing` that is stored in the model's card:

1. one :class:`Frame` per series: where the head is, and how bright its brain is;
2. crop to the frame's box (black outside the image) and resize to ``size`` × ``size``;
3. scale linearly so that the frame's black is 0 and the brain's median is ``brain_level``,
   then clip to [0, 1];
4. stack the channels: the plain intensity, its CLAHE (contrast-limited adaptive histogram
   equalisation, Zuiderveld 1994), or both.

Everything here is a pure function of pixels and the specification. Training uses the same
functions, so what a model learned on and what it sees at the scanner cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import cv2
import numpy as np

from gliomart import background
from gliomart.equality import ByContent
from gliomart.errors import InputRefusedError
from gliomart.head import depth, head_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.background import Background
    from gliomart.slices import Slice

Channel = Literal["plain", "clahe"]
_Item = TypeVar("_Item")

# A frame is estimated from at most this many slices, evenly spaced, so that its cost and its
# memory do not grow with the series.
FRAME_SLICES = 32
# A quarter of the resolution is plenty for a box and a median.
_FRAME_SIDE = 128
# While the frame is sought: the head is what is brighter than this, between black and bright,
_HEAD_BRIGHTNESS = 0.12
# and covers at least this much of the image; the brain lies deeper in it than this fraction of
# its shorter side.
_SMALLEST_HEAD = 0.02
_BRAIN_DEPTH = 0.2


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


@dataclass(frozen=True)
class Box:
    """A rectangle in source pixels; it may reach beyond the image.

    ``x`` and ``y`` are the left and upper edge: pixel (0, 0) covers [0, 1) × [0, 1).
    """

    x: int
    y: int
    width: int
    height: int

    def to_model(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Map points (N, 2), as (x, y) with pixel centres at integers, onto the model's grid."""
        scale = size / np.array([self.width, self.height])
        return (points + 0.5 - (self.x, self.y)) * scale - 0.5

    def to_source(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Map points (N, 2) of the model's grid back onto source pixels."""
        scale = np.array([self.width, self.height]) / size
        return (points + 0.5) * scale - 0.5 + (self.x, self.y)


@dataclass(frozen=True)
class Frame:
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


@dataclass(frozen=True, eq=False)
class ModelInput(ByContent):
    """One slice as the model takes it.

    Attributes
    ----------
    image
        float32 (size, size, channels) in [0, 1].
    plain
        float32 (size, size) in [0, 1]: the normalised intensity that the channels are made of.
    head
        bool (size, size): the head without the air around it, holes filled.
    """

    image: NDArray[np.float32]
    plain: NDArray[np.float32]
    head: NDArray[np.bool_]


def estimate_frame(slices: Sequence[Slice], spec: Preprocessing) -> Frame:
    """Find the head and the brain's brightness in a series.

    Parameters
    ----------
    slices
        Slices of one series, all of one shape, (H, W) each.
    spec
        The model's preprocessing.

    Returns
    -------
    Frame
        Shared by all slices, so that scale and brightness do not jump between them.

    Raises
    ------
    InputRefusedError
        ``no-head``: there is nothing like a head in any of the slices.
    """
    sample = evenly_spaced(slices, FRAME_SLICES)
    step = max(1, min(sample[0].pixels.shape) // _FRAME_SIDE)
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
    return Frame(
        box=_square_box((left, top, right, bottom), sample[0].spacing, spec.margin),
        black=float(black),
        brain=brain,
        background=around,
    )


def estimate_frames(
    slices: Sequence[Slice], spec: Preprocessing
) -> dict[tuple[int, ...], Frame | InputRefusedError]:
    """Estimate a frame for every image size in a series, or the reason why there is none."""
    frames: dict[tuple[int, ...], Frame | InputRefusedError] = {}
    for shape in dict.fromkeys(s.pixels.shape for s in slices):
        try:
            frames[shape] = estimate_frame([s for s in slices if s.pixels.shape == shape], spec)
        except InputRefusedError as error:
            frames[shape] = error
    return frames


def prepare(source: Slice, frame: Frame | InputRefusedError, spec: Preprocessing) -> ModelInput:
    """Bring one slice into the model's frame.

    Raises
    ------
    InputRefusedError
        ``blank-slice``: no head, or less than ``spec.minimum_head`` of one, is in the slice;
        ``not-finite``; or the reason why its series has no frame.
    """
    if isinstance(frame, InputRefusedError):
        raise frame
    pixels = background.filled(source, frame.background)
    plain = normalise(crop(pixels, frame.box, spec.size, frame.black), frame, spec)
    if not np.isfinite(plain.sum()):  # a model that is shown NaN would be blamed
        raise InputRefusedError("not-finite", "the slice cannot be brought to finite values")
    head = head_mask(plain, spec.head_level * spec.brain_level)
    if head.mean() < spec.minimum_head:
        raise InputRefusedError("blank-slice", "the slice shows no head, or only its very edge")
    return ModelInput(image=stack_channels(plain, spec), plain=plain, head=head)


def crop(pixels: NDArray[np.float32], box: Box, size: int, outside: float) -> NDArray[np.float32]:
    """Cut a box out of (H, W) pixels as (size, size); ``outside`` where it reaches beyond them."""
    height, width = pixels.shape
    x0, y0 = max(box.x, 0), max(box.y, 0)
    x1, y1 = min(box.x + box.width, width), min(box.y + box.height, height)
    cut = cv2.copyMakeBorder(
        pixels[y0:y1, x0:x1],
        y0 - box.y,
        box.y + box.height - y1,
        x0 - box.x,
        box.x + box.width - x1,
        cv2.BORDER_CONSTANT,
        value=outside,
    )
    interpolation = cv2.INTER_AREA if min(box.width, box.height) > size else cv2.INTER_LINEAR
    resized = cv2.resize(cut, (size, size), interpolation=interpolation)
    return cast("NDArray[np.float32]", resized)


def uncrop(image: NDArray[np.float32], box: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Put an image of the model's grid back onto (H, W) source pixels, zero outside the box."""
    height, width = shape
    patch = cv2.resize(image, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    x0, y0 = max(box.x, 0), max(box.y, 0)
    x1, y1 = min(box.x + box.width, width), min(box.y + box.height, height)
    source = np.zeros(shape, np.float32)
    source[y0:y1, x0:x1] = patch[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x]
    return source


def normalise(
    pixels: NDArray[np.float32], frame: Frame, spec: Preprocessing
) -> NDArray[np.float32]:
    """Scale modality values so that black is 0 and the brain's median is ``brain_level``."""
    scale = spec.brain_level / (frame.brain - frame.black)
    return np.clip((pixels - frame.black) * scale, 0, 1, dtype=np.float32)


def stack_channels(plain: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    """Turn a normalised (size, size) image into the model's (size, size, channels) input."""
    planes = [plain if channel == "plain" else equalise(plain, spec) for channel in spec.channels]
    return np.stack(planes, axis=-1)


def equalise(plain: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    """CLAHE of a normalised image, on 8 bits (sixteen times faster than on 16)."""
    clahe = cv2.createCLAHE(spec.clahe_clip_limit, (spec.clahe_tiles, spec.clahe_tiles))
    equalised = clahe.apply(np.rint(plain * 255).astype(np.uint8))
    return equalised.astype(np.float32) / np.float32(255)


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


def evenly_spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    """Choose at most so many, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
