"""Whether pixels are what a model was made for, where no header tells.

What is found is judged like what a header says (suitability.py): a concern refuses the images
unless it is overruled or one that is only told, a note is told as well and no reason to doubt. What
was done to pictures altered.py looks for, what they look like familiar.py. All is looked for in the
slices that a series' normalisation is estimated from, so that it costs next to nothing and all
slices of a series are treated alike.

Bounds were set on the training series (lgg_flair/train, 45 series, 8 bit as published). No series
and no single slice of these, nor of others at hand (34 series of lgg_flair/dev, 143 of lgg_t1, 9 of
ms_ljubljana, a CT and an MPRAGE) is past one. ``border`` is the mean brightness of a slice's
border, ``share`` the part of the head at its highest value, ``height`` that value; brightness in
units of the brain's, above black.

========================  ============================  =========================================
measure                   train: median, 99 %, highest  elsewhere
========================  ============================  =========================================
border                    .011, .08, .15                highest .20; negatives of all 1.0
share                     .0003, .0009, .0009           highest .0013
height                    3.3, 5.8, 5.8                 lowest 1.57 (2.10 in train)
========================  ============================  =========================================

Rendered with ever narrower windows, six real series (three gliomas of lgg_flair, ms_ljubljana) keep
their score within 1 % down to a height of 2.5 and within 12 % down to 2.2; gliomas have half of it
at 1.6, and no slice is flagged at 1.2. The share is .001 to .18 at 1.6, and .003 to .20 at 1.5.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from gliomart.findings.altered import alterations
from gliomart.findings.familiar import appearances, unfamiliar
from gliomart.image.background import doubtful, filled
from gliomart.image.head import head_mask, outermost
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Concern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.errors import InputRefusedError
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.slices import Slice
    from gliomart.model.card import ModelCard

# A border this bright is no air.
_LIGHT_BORDER = 0.5
# A closed frame: this much of an outline of what looks like a head is bright, and less than this
# of an outline further in. A head touches its own bounding box with a quarter of it.
_FRAMED, _WITHIN_FRAME = 0.8, 0.5
# Of a line across the image, a side of a frame takes at least this; few heads do on all four sides.
_SIDE_OF_A_FRAME = 0.4
# Or its outline is on average as bright as this, which the box around a head is not (highest .26).
_LIGHT_OUTLINE = 0.8
# A panel or bar lies along a side of the image where more than this much of the side, and of what
# lies up to this part of the way across, is alike (in units of the brain). Of a cropped brain a
# side is alike in less than half. A thinner bar is told from the head.
_ALONG, _THICK, _PLAIN_PANEL = 0.6, 0.06, 0.03
# Brighter than this is no air, while frames are looked for; in units of the brain.
_BRIGHT = 0.3
# A border or an outline is plain where its mean, above black, is so many times what neighbours on
# it differ by: noise (all that slices above the head show) reaches 9, negatives begin at 15.
_PLAIN = 12.0
# The head, while clipping is looked for.
_HEAD = 0.25
# The highest value of a head, but for so small a part of it (text, a hot pixel), and what is as
# good as that, between black and it.
_HIGHEST, _ALIKE = 0.999, 0.01
# Cut off, values heap up: there are so many times more at the highest than just below it.
_HEAPED = 2.0
# Text or a drawing may lie above. Then they heap up below it: there are so many times more than
# just above and below, at a level from here on, in units of the brain (in grey levels that were
# stretched or merged it is up to 2.3 times).
_HEAPED_WITHIN, _WITHIN = 4.0, 1.05
# Clipping is told from this share on, where it is lower than what preprocessing leaves anyway
# (a card's 1 / brain_level is 2.5); and refuses from this share on, where it is this low.
_NOTED_SHARE, _NOTED_HEIGHT = 0.005, 2.5
_REFUSED_SHARE, _REFUSED_HEIGHT = 0.01, 1.6
# Where more than this part of a head has one value, there is no picture in it.
_ONE_VALUE = 0.5
# Brighter than a wall is what was drawn on the picture, which takes at most this share of the head.
_DRAWN = 0.03
# Pixels along the shorter side that are looked at, and slices that frames are looked for in.
_SIDE, _FEW = 128, 8


class Content(NamedTuple):
    """What pixels say of the images of one shape in a series."""

    concerns: tuple[Concern, ...] = ()
    notes: tuple[Concern, ...] = ()


def contents_of(
    slices: Sequence[Slice],
    norms: Mapping[tuple[int, ...], Normalisation | InputRefusedError],
    card: ModelCard,
) -> dict[tuple[int, ...], Content]:
    """Judge slices of a series, by shape, as far as they have a normalisation."""
    found = {}
    for shape, norm in norms.items():
        sample = [s for s in slices if s.pixels.shape == shape]
        if sample and not isinstance(norm, Exception):
            found[shape] = content_of(sample, norm, card)
    return found


def content_of(slices: Sequence[Slice], norm: Normalisation, card: ModelCard) -> Content:
    """Judge slices of one shape that share a normalisation."""
    shown = [filled(s, norm.background) for s in slices]
    concerns, notes = list(_of_border(shown, norm)), list(_of_padding(slices, norm))
    clipped = _of_clipping(shown, norm)
    if clipped is not None:
        concern, refused = clipped
        (concerns if refused else notes).append(concern)
    concerns += alterations(shown, norm)
    if card.familiar is not None:
        concerns += unfamiliar(appearances(slices, norm, card.preprocessing), card.familiar)
    return Content(tuple(concerns), tuple(notes))


def _of_padding(slices: Sequence[Slice], norm: Normalisation) -> Iterator[Concern]:
    known = norm.background
    if known is None or known.below is None:
        constant = doubtful(slices)
        if constant is not None:
            reason = (
                f"a constant {constant:g} surrounds the picture, and may be no air: what is dark"
                " may be scaled wrongly and a lesion missed"
            )
            yield Concern("uncertain-black", reason)
    if known is None:
        return
    bounds = [f"up to {known.below:g}"] if known.below is not None else []
    bounds += [f"from {known.above:g} on"] if known.above is not None else []
    bounds += [f"of {known.around:g}"] if known.around is not None else []
    if bounds:
        reason = f"values {' and '.join(bounds)} surround the picture, and count as air"
        yield Concern("undeclared-padding", reason)


def _of_border(shown: Sequence[NDArray[np.float32]], norm: Normalisation) -> Iterator[Concern]:
    light = sum(_is_light(outermost(pixels), _LIGHT_BORDER, norm) for pixels in shown)
    if light:
        yield Concern(
            "light-border",
            f"the border of {light} of {len(shown)} slices looked at is as bright as a head:"
            " a negative, or a picture in a light frame",
        )
        return
    few = evenly_spaced(shown, _FEW)
    panelled = sum(_has_a_panel(pixels, norm) for pixels in few)
    if 2 * panelled > len(few):
        reason = "a light panel or bar lies along a side of the picture; cut it off"
        yield Concern("light-border", reason)
        return
    framed = sum(_is_framed(pixels, norm) for pixels in few)
    if 2 * framed > len(few):
        reason = "what surrounds the head is light: a frame is drawn around it, or it is a negative"
        yield Concern("light-border", reason)


def _is_light(line: NDArray[np.float32], level: float, norm: Normalisation) -> bool:
    """Tell whether a line of pixels is bright, in units of the brain, and plain, unlike noise.

    For the first, what is brighter than the brain counts like it: a scalp that touches the line is
    no frame.
    """
    span = norm.brain - norm.black
    capped = np.minimum(line, np.float32(norm.brain))
    if not float(np.mean(capped, dtype=np.float64)) - norm.black > level * span:
        return False
    over = float(np.mean(line, dtype=np.float64)) - norm.black
    return over > _PLAIN * float(np.mean(np.abs(np.diff(line)), dtype=np.float64))


def _has_a_panel(pixels: NDArray[np.float32], norm: Normalisation) -> bool:
    """Tell whether one of the four sides is plain and as bright as a head, for some way across.

    Plain is what lies on a straight line, as brightness may run along a panel evenly.
    """
    span = norm.brain - norm.black
    for side in (pixels, pixels[::-1], pixels.T, pixels.T[::-1]):
        lines = side[: max(1, math.ceil(_THICK * len(side)))].astype(np.float64)
        outermost, half = lines[0], lines.shape[1] // 2
        slope = np.median(outermost[-half:] - outermost[:half]) / (lines.shape[1] - half)
        lines -= slope * np.arange(lines.shape[1])
        level = np.median(lines[0])
        if level + slope * half - norm.black <= _LIGHT_BORDER * span:
            continue
        alike = np.abs(lines - level) <= _PLAIN_PANEL * span
        if min(alike[0].mean(), alike.mean()) > _ALONG:
            return True
    return False


def _is_framed(pixels: NDArray[np.float32], norm: Normalisation) -> bool:
    """Tell whether what looks like a head is the outline of a rectangle, with dark inside."""
    step = max(1, min(pixels.shape) // _SIDE)
    plane = cv2.blur(pixels, (step, step))[::step, ::step]
    level = np.float32(_BRIGHT * (norm.brain - norm.black))
    if not _has_four_sides(plane > np.float32(norm.black) + level):
        return False
    left, top, width, height = cv2.boundingRect(
        head_mask(plane - np.float32(norm.black), float(level)).view(np.uint8)
    )
    within = plane[top : top + height, left : left + width]
    depths = range(min(width, height) // 4)
    # A filter blurs the outermost lines.
    outlines = [outermost(_inner(within, depth)) for depth in depths[:3]]
    if any(_is_light(line, _LIGHT_OUTLINE, norm) for line in outlines):
        return True
    if not any(_is_light(line, _BRIGHT, norm) for line in outlines):
        return False
    bright = within > np.float32(norm.black) + level
    shares = [float(outermost(_inner(bright, depth)).mean()) for depth in depths]
    return max(shares[:3]) > _FRAMED and min(shares) < _WITHIN_FRAME


def _has_four_sides(bright: NDArray[np.bool_]) -> bool:
    """Tell quickly whether a line in each outer quarter of an image is bright for a good part."""
    for axis in (0, 1):
        lines = bright.mean(axis=axis)
        quarter = len(lines) // 4
        if min(lines[:quarter].max(), lines[-quarter:].max()) < _SIDE_OF_A_FRAME:
            return False
    return True


def _inner(pixels: NDArray[Any], depth: int) -> NDArray[Any]:
    return pixels[depth : len(pixels) - depth, depth : pixels.shape[1] - depth]


class _Wall(NamedTuple):
    """Where values end or heap up: how many of the head's, and how high in units of the brain."""

    share: float
    height: float
    highest: bool

    @property
    def refused(self) -> bool:
        return self.share >= _REFUSED_SHARE and self.height < _REFUSED_HEIGHT

    @property
    def reason(self) -> str:
        if self.share > _ONE_VALUE:
            return (
                f"{self.share:.0%} of the head have one value: a mask or a drawing, or all that is"
                " brighter was cut off"
            )
        what = "its highest value" if self.highest else "one value"
        return (
            f"{self.share:.1%} of the head have {what}, {self.height:.2f} times the brain's: what"
            " is brighter was cut off (export the images with a wider window, or as DICOM)"
        )


def _of_clipping(
    shown: Sequence[NDArray[np.float32]], norm: Normalisation
) -> tuple[Concern, bool] | None:
    """Tell how much of the head was cut off at a value, and whether that is too much."""
    step = max(1, min(shown[0].shape) // _SIDE)
    span = norm.brain - norm.black
    thin = (pixels[::step, ::step] for pixels in shown)
    head = np.concatenate([pixels[pixels > norm.black + _HEAD * span] for pixels in thin])
    if len(head) == 0:
        return None
    # In units of the brain: neither scale nor what black is matters.
    head = np.sort((head - np.float32(norm.black)) / np.float32(span))
    walls = [wall for wall in (_end(head), *_heaps(head)) if wall is not None]
    if not walls:
        return None
    worst = max(walls, key=lambda wall: (wall.refused, wall.share))
    return Concern("clipped", worst.reason), worst.refused


def _end(head: NDArray[np.float32]) -> _Wall | None:
    """Look at the highest of all values, sorted; None where they run out evenly."""
    highest = float(head[int(_HIGHEST * (len(head) - 1))])
    alike = _ALIKE * highest
    here = _count(head, highest, alike)
    share = here / len(head)
    if share < _NOTED_SHARE or highest >= _NOTED_HEIGHT:
        return None
    if here < _HEAPED * _below(head, highest, alike):  # few grey levels, none of them a wall
        return None
    return _Wall(share, highest, highest=True)


def _heaps(head: NDArray[np.float32]) -> Iterator[_Wall]:
    """Look for a level, of sorted values, that far more have than have those beside it."""
    low, high = head[len(head) // 100], head[int(_HIGHEST * (len(head) - 1))]
    alike = _ALIKE * min(
        1.0, float(high - low) / 2
    )  # less of the brain's, where black is far below
    edges = np.arange(_WITHIN, _NOTED_HEIGHT, max(alike, _ALIKE / 10))
    for first, last in pairwise(np.searchsorted(head, edges)):
        if last - first < _REFUSED_SHARE / 2 * len(head):
            continue
        level = float(head[(first + last) // 2])
        here = _count(head, level, alike)
        brighter = len(head) - int(np.searchsorted(head, level + alike, "right"))
        if brighter > _DRAWN * len(head):  # nothing was cut off there
            continue
        beside = max(_below(head, level, alike), _above(head, level, alike))
        if here >= max(_REFUSED_SHARE * len(head), _HEAPED_WITHIN * beside):
            yield _Wall(here / len(head), level, highest=False)


def _count(head: NDArray[np.float32], level: float, alike: float) -> int:
    low, high = np.searchsorted(head, level - alike), np.searchsorted(head, level + alike, "right")
    return int(high - low)


def _below(head: NDArray[np.float32], level: float, alike: float) -> int:
    """Count the values just below those alike; the next there are, where grey levels are few."""
    last = int(np.searchsorted(head, level - alike))
    return last - int(np.searchsorted(head, head[last - 1] - 2 * alike)) if last else 0


def _above(head: NDArray[np.float32], level: float, alike: float) -> int:
    first = int(np.searchsorted(head, level + alike, "right"))
    if first == len(head):
        return 0
    return int(np.searchsorted(head, head[first] + 2 * alike, "right")) - first
