"""What a slice looks like, in numbers that scanners hardly move: edges, and their surroundings.

``edges`` are histograms of oriented gradients (Dalal and Triggs, CVPR 2005), each gradient in units
of those about it; directions keep their sign, so that dark ventricles differ from bright ones.
``texture`` counts, deep inside the head, how bright pixels are beside how much they stand out of
what surrounds them, at two scales: in FLAIR grey matter, in T1 white matter is the brighter one.
Gain, gamma, shading and noise change both little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.image.grid import depth
from gliomart.image.head import head_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Side of what is looked at, in pixels, and of what edges are looked for in.
SIDE = 128
_EDGES_SIDE = 64
_CELLS, _DIRECTIONS = 8, 8
EDGES = _CELLS * _CELLS * _DIRECTIONS
_LEVELS = 8
_SCALES = (1.0, 2.0)
TEXTURE = _LEVELS * _LEVELS * len(_SCALES)
NUMBERS = EDGES + TEXTURE
# Gradients are in units of those within so many pixels, and of no less than this.
_ABOUT_PX, _FAINT = 6.0, 0.02
# The head is brighter than this; its inside is deeper than so many pixels.
_HEAD, _DEEP_PX = 0.1, 10.0
# An inside of fewer pixels has no texture.
_FEWEST = 100
# Levels are in units of those within so many pixels, and darker than this is black.
_LEVEL_PX, _BLACK = 8.0, 0.03
_LEAST = 1e-3
# What is added up for edges has roots up to 2, about ten times those of shares of a histogram.
_EDGE_WEIGHT = 0.15


def appearance(plain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe a normalised slice.

    Parameters
    ----------
    plain
        float32 (SIDE, SIDE) in [0, 1].

    Returns
    -------
    float32 (NUMBERS,), 0 or more: EDGES of edges, then TEXTURE of texture.
    """
    return np.concatenate([_EDGE_WEIGHT * _edges(plain), _texture(plain)])


def _edges(plain: NDArray[np.float32]) -> NDArray[np.float32]:
    small = cv2.resize(plain, (_EDGES_SIDE, _EDGES_SIDE), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.8)
    across = cv2.Sobel(small, cv2.CV_32F, 1, 0, scale=0.25)
    down = cv2.Sobel(small, cv2.CV_32F, 0, 1, scale=0.25)
    length, angle = cv2.cartToPolar(across, down)
    length = np.asarray(length, np.float32)
    size = length / (cv2.GaussianBlur(length, (0, 0), _ABOUT_PX) + np.float32(_FAINT))
    turn = angle.ravel() * np.float32(_DIRECTIONS / (2 * np.pi))
    first = turn.astype(np.int64)
    second_share = turn - first
    cell = np.arange(_EDGES_SIDE) * _CELLS // _EDGES_SIDE
    where = (cell[:, None] * _CELLS + cell).ravel() * _DIRECTIONS
    sums = np.zeros(EDGES)
    for direction, share in ((first, 1 - second_share), (first + 1, second_share)):
        bins = where + direction % _DIRECTIONS
        sums += np.bincount(bins, weights=size.ravel() * share, minlength=EDGES)
    return np.sqrt(sums / (_EDGES_SIDE // _CELLS) ** 2, dtype=np.float32, casting="same_kind")


def _texture(plain: NDArray[np.float32]) -> NDArray[np.float32]:
    inside = depth(head_mask(plain, _HEAD)) > _DEEP_PX
    if np.count_nonzero(inside) < _FEWEST:
        return np.zeros(TEXTURE, np.float32)
    weight = inside.astype(np.float32)
    about = cv2.GaussianBlur(plain * weight, (0, 0), _LEVEL_PX)
    about = about / (cv2.GaussianBlur(weight, (0, 0), _LEVEL_PX) + np.float32(_LEAST))
    level = np.log((plain + np.float32(_BLACK)) / (about + np.float32(_BLACK)))
    spread = float(level[inside].std()) + _LEAST
    found = []
    for scale in _SCALES:
        smooth = cv2.GaussianBlur(level, (0, 0), 0.7 * scale)
        standing = (smooth - cv2.GaussianBlur(level, (0, 0), 1.6 * scale))[inside]
        bright = smooth[inside]
        rows = _bins((bright - np.median(bright)) / spread)
        columns = _bins(standing / (float(standing.std()) + _LEAST))
        counts = np.bincount(rows * _LEVELS + columns, minlength=_LEVELS**2)
        found.append(counts / len(bright))
    return np.sqrt(np.concatenate(found)).astype(np.float32)


def _bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count in halves, the middle being 0, from -2 to 2."""
    half = _LEVELS // 2
    return np.clip(np.floor(2 * values) + half, 0, _LEVELS - 1).astype(np.int64)
