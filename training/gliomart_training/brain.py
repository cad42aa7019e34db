"""Where the brain is in a series, by region growing: what the networks' brain output learns from.

On FLAIR, grey and white matter are of like brightness and lie inside a dark ring of bone and
fluid. Slice by slice, what is as bright as brain is eroded, so that bridges to muscle, orbit and
scalp break; of the pieces, those that go on from the brain of the neighbouring slice are kept and
grown back (opening by reconstruction, Vincent 1993). It begins in the widest slice of the upper
half, where the brain is the one large thing in the head.

It needs whole series of nearly healthy heads and is wrong in a slice here and there: good enough to
teach a network, which then sees through single errors, and knows single images too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gliomart.image.grid import depth
from gliomart.image.head import inside_skull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Brightness of grey and white matter, where the brain's median is 0.4.
_TISSUE = (0.26, 0.66)
# All lengths are in pixels of this grid.
_SIDE = 256
# Scalp and skull are at least this thick, on heads of this radius.
_SKULL, _DOME = 9.0, 80.0
# Bridges thinner than twice this do not join the brain to anything.
_BRIDGE = 5
# Sulci and ventricles up to twice this wide belong to the brain.
_GAP = 6
# Smallest piece, after erosion.
_SMALLEST_PIECE = 30
# A piece goes on from its neighbour if this much of it lies on the neighbour's brain; the brain of
# the first slice lies deeper in the head than this fraction of its depth.
_OVERLAP, _FIRST_OVERLAP, _FIRST_DEPTH = 0.6, 0.3, 0.22
# How much wider the brain may become from one slice to the next, downwards and upwards.
_WIDENING_DOWN, _WIDENING_UP = 9, 5


def brain_masks(
    planes: Sequence[NDArray[np.float32]], heads: Sequence[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """Find the brain in all slices of one series.

    Parameters
    ----------
    planes
        Normalised slices, lowest first, (size, size) each in [0, 1], brain median at 0.4:
        ``plain`` of :func:`gliomart.image.preprocess.prepare`.
    heads
        Their head masks.

    Returns
    -------
    Masks, bool (size, size) each, empty below and above the brain. Ventricles and sulci are brain.
    """
    if not planes:
        return []
    side = planes[0].shape[0]
    if side != _SIDE:
        planes = [
            cast("NDArray[np.float32]", cv2.resize(plane, (_SIDE, _SIDE))) for plane in planes
        ]
        masks = brain_masks(planes, [_resize_mask(head, _SIDE) for head in heads])
        return [_resize_mask(mask, side) for mask in masks]
    count = len(planes)
    first = max(range(count // 2, 3 * count // 4 + 1), key=lambda k: heads[k].sum())
    inward = depth(heads[first])
    found: dict[int, NDArray[np.bool_]] = {}
    seed = inward > _FIRST_DEPTH * inward.max()
    found[first] = _grow(planes[first], heads[first], seed, _FIRST_OVERLAP)
    for step, widening in ((-1, _WIDENING_DOWN), (1, _WIDENING_UP)):
        stop = -1 if step < 0 else count
        for k in range(first + step, stop, step):
            within = _dilate(found[k - step], widening)
            seed = _dilate(found[k - step], widening // 3)
            found[k] = _grow(planes[k], heads[k], seed, _OVERLAP) & within
    return [found[k] for k in range(count)]


def _grow(
    plane: NDArray[np.float32],
    head: NDArray[np.bool_],
    seed: NDArray[np.bool_],
    overlap: float,
) -> NDArray[np.bool_]:
    """Keep what of a slice's tissue lies on a seed, with its gaps closed and its holes filled."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 1.2)
    tissue = (smooth > _TISSUE[0]) & (smooth < _TISSUE[1]) & inside_skull(head, _SKULL, _DOME)
    closed = cv2.morphologyEx(tissue.astype(np.uint8), cv2.MORPH_CLOSE, _disk(1))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        cv2.erode(closed, _disk(_BRIDGE)), connectivity=4
    )
    on_seed = np.bincount(labels[seed], minlength=count)
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = (areas >= _SMALLEST_PIECE) & (on_seed >= overlap * areas)
    kept[0] = False
    grown = _dilate(kept[labels], _BRIDGE + 1) & closed.astype(bool)
    brain = cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_CLOSE, _disk(_GAP))
    outlines, _ = cv2.findContours(brain, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(brain, outlines, -1, 1, cv2.FILLED)
    return brain.astype(bool)


def _resize_mask(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    resized = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return resized > 0.5  # noqa: PLR2004


def _dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), _disk(radius)).astype(bool)


def _disk(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return cast("NDArray[np.uint8]", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
