"""Overlays and overviews: the source, what departs from it, on one fixed colour scale.

The scale ends where the model's card says (``display_limit``, set on tumour-free slices) and
never at an image's own maximum, which would make every healthy brain look ill.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gliomart.errors import OutputError
from gliomart.image.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.image.normalisation import Normalisation

# Perceptually uniform, told apart by colour-blind readers, and without red: nothing that is not
# flagged may look like an alarm.
HEAT = cv2.COLORMAP_VIRIDIS
# How fast heat becomes visible along the scale, and how much of the source it hides at most.
HEAT_RISE, HEAT_OPACITY = 3.0, 0.6
_OUTLINE = (255, 255, 0)  # cyan in BGR: absent from greys and from the heat's colours
_STRUCTURE = (120, 220, 120)  # green: where a judged structure is, whatever it looks like
_TILE = 192
_COLUMNS = 6
_PNG = [
    cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE,
]  # fmt: skip
# Enough for any stack that is looked at as a whole; longer series are shown evenly thinned.
_MOST_TILES = 60
# Tiles that wait to be chosen from: 27 MB.
_MOST_WAITING = 256


def overlay(result: SliceResult, display_limit: float) -> NDArray[np.uint8]:
    """Draw one slice, its anomaly map as heat, its mask and judged structures as outlines.

    Returns
    -------
    uint8 (H, W, 3), BGR.
    """
    grey = cv2.convertScaleAbs(window(result.slice.pixels, result.normalisation)).astype(np.uint16)
    strength = cv2.convertScaleAbs(result.anomaly_map, alpha=255 / display_limit).astype(np.uint16)
    colour = _blends().take(256 * grey + strength)
    channels = colour.view(np.uint8).reshape(*colour.shape, 4)
    picture = cast("NDArray[np.uint8]", cv2.cvtColor(channels, cv2.COLOR_BGRA2BGR))
    for finding in result.structures.values():
        _outline(picture, finding.mask, _STRUCTURE)
    _outline(picture, result.mask, _OUTLINE)
    return picture


@cache
def _blends() -> NDArray[np.uint32]:
    """Blend each grey with each strength of heat: 65,536 colours, BGR and a spare byte.

    One look-up per pixel takes a tenth of what blending takes.
    """
    strength = np.arange(256, dtype=np.uint8)
    heat = cv2.applyColorMap(strength[np.newaxis], HEAT)[0]
    opacity = (HEAT_OPACITY * np.minimum(strength / 255 * HEAT_RISE, 1))[:, np.newaxis]
    grey = np.arange(256)[:, np.newaxis, np.newaxis]
    blends = np.zeros((256, 256, 4), np.uint8)
    blends[..., :3] = np.rint(grey * (1 - opacity) + heat * opacity)
    return blends.view(np.uint32).reshape(-1)


def _outline(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]
) -> None:
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1)


def tile(result: SliceResult, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink an overlay for the overview, with its p-value; a frame marks a flagged slice."""
    height, width = picture.shape[:2]
    scale = _TILE / max(height, width)
    small = cv2.resize(
        picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )
    square = np.zeros((_TILE, _TILE, 3), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    label = f"p {result.p_value:.3f}"
    place = (6, _TILE - 8)
    cv2.putText(square, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    colour = _OUTLINE if result.flagged else (200, 200, 200)
    cv2.putText(square, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    if result.flagged:
        cv2.rectangle(square, (1, 1), (_TILE - 2, _TILE - 2), _OUTLINE, 2)
    return square


def overview(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay tiles out in rows, in series order; uint8 (H, W, 3), BGR."""
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    picture = np.zeros((rows * _TILE, columns * _TILE, 3), np.uint8)
    for number, each in enumerate(tiles):
        y, x = _TILE * (number // columns), _TILE * (number % columns)
        picture[y : y + _TILE, x : x + _TILE] = each
    return picture


class Overview:
    """The tiles of a series as they come.

    Of a long series they are thinned evenly on the way, so that memory does not grow with it: one
    of more than 256 slices shows, for each place in the picture, that slice or one just before it.
    """

    def __init__(self) -> None:
        self._tiles: dict[int, NDArray[np.uint8]] = {}
        self._count, self._step = 0, 1

    def add(self, tile: NDArray[np.uint8]) -> None:
        """Add the next slice."""
        if self._count % self._step == 0:
            self._tiles[self._count] = tile
        self._count += 1
        if len(self._tiles) > _MOST_WAITING:
            self._step *= 2
            self._tiles = {at: each for at, each in self._tiles.items() if at % self._step == 0}

    def picture(self) -> NDArray[np.uint8]:
        """Lay them out; see :func:`overview`."""
        chosen = evenly_spaced(range(self._count), _MOST_TILES)
        return overview([self._tiles[at - at % self._step] for at in chosen])


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) or BGR (H, W, 3) as PNG.

    Fast rather than small: without the filters, which grey with some colour in it does not profit
    from, an overlay takes two thirds of the time and a fourteenth more room.
    """
    encoded, content = cv2.imencode(".png", picture, _PNG)
    if not encoded:
        raise OutputError("a picture could not be encoded as PNG")
    return content.tobytes()


def window(pixels: NDArray[np.float32], norm: Normalisation) -> NDArray[np.float32]:
    """Grey levels in [0, 255], from the normalisation's black to 2.2 times its brain's median."""
    white = 2.2 * (norm.brain - norm.black)
    levels = (pixels - norm.black) / white
    return np.clip(levels, 0, 1, dtype=np.float32) * np.float32(255)
