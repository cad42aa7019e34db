"""A second simulator of pontine gliomas: they grow through tissue, have no border and do not swell.

It shares nothing with :mod:`.pontine` but the result, so that a score that was chosen by both does
not owe its figures to one simulator's habits. There a lesion is drawn: a disk with a margin, which
multiplies what it covers. Here it grows from one place by diffusion and proliferation, as in the
model of Swanson et al. (Cell Proliferation 2000;33:317): faster along the transverse fibres, slowly
out of the pons, hardly through fluid. What it covers moves towards one brightness, so that the
contrast of nuclei and fibres fades in it. For evaluation only, as the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gliomart_training.pontine import Implanted
from gliomart_training.sigmoid import sigmoid

if TYPE_CHECKING:
    from gliomart_training.dataset import Ellipse

Values = NDArray[np.floating[Any]]

# Lengths in radii of the pons, the mean of its ellipse's.
_REACH = 3.0  # nothing changes from here on outwards
_START = 0.6  # a lesion starts no further from the middle, in radii of the ellipse
_SEED = 0.12  # size of what it starts from
_STEP = 0.055  # of diffusion, the deviation of a Gaussian
_ACROSS, _ALONG = 1.3, 0.8  # times that, along transverse fibres and across them
_PROLIFERATION = 0.1  # in a step, of what is left to fill
_MOST_STEPS = 600
# How well cells move outside the pons and through fluid, as a share of that in the pons.
_OUTSIDE, _FLUID = 0.25, 0.03
# Fluid does not brighten: tissue is what is above this share of the normal pons.
_TISSUE, _TISSUE_WIDTH = 0.6, 0.06
_FADES = 0.3  # by which share the contrast of what was there fades in it


@dataclass(frozen=True)
class SoftLesion:
    """A diffuse glioma of the pons on FLAIR, without a border and without swelling.

    Attributes
    ----------
    fraction
        Share of the pons' tissue in which the lesion has half its strength or more, in (0, 1].
    signal
        How much brighter than the normal pons it is where it is strongest, as a share of the
        latter; above 0.

    Raises
    ------
    ValueError
        A value is outside its range.
    """

    fraction: float
    signal: float

    def __post_init__(self) -> None:
        if not (0 < self.fraction <= 1 and self.signal > 0):
            raise ValueError(f"{self} is not a lesion: a share is outside its range")


def grow(
    pixels: NDArray[np.float32], pons: Ellipse, lesion: SoftLesion, random: np.random.Generator
) -> Implanted:
    """Let a lesion grow in a slice.

    Parameters
    ----------
    pixels
        float32 (H, W), any units; rows run to the back of the head.
    pons
        Where the pons is in it.
    lesion
        What grows there.
    random
        Decides where it starts. It is drawn from alike for every slice, so that the same generator
        starts the lesion at the same place of the pons in the neighbouring slice.

    Returns
    -------
    The slice; pixels further than 3 mean radii from the pons' centre are what they were.
    """
    radius = math.sqrt(pons.rx * pons.ry)
    y, x = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    inside = pons.mask((pixels.shape[0], pixels.shape[1]))
    near = np.hypot(x - pons.cx, y - pons.cy) < _REACH * radius
    normal = float(np.median(pixels[inside])) if inside.any() else 0.0
    if normal <= 0:
        return Implanted(pixels.copy(), inside, np.zeros_like(inside))
    soft = np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(0.6, radius / 20)), np.float32)
    tissue = sigmoid((soft / normal - _TISSUE) / _TISSUE_WIDTH)
    angle, away = 2 * np.pi * random.random(), _START * math.sqrt(random.random())
    seed = (pons.cx + away * pons.rx * np.cos(angle), pons.cy + away * pons.ry * np.sin(angle))
    start = np.exp(-((np.hypot(x - seed[0], y - seed[1]) / (_SEED * radius)) ** 2))
    speed = np.where(inside, 1.0, _OUTSIDE) * np.maximum(tissue, _FLUID) * near
    cells = _grown(start, speed, inside & (tissue > 0.5), lesion.fraction, _STEP * radius)  # noqa: PLR2004
    strength = np.where(near, cells * tissue, 0)
    change = strength * (lesion.signal * normal + _FADES * (normal - pixels))
    return Implanted(
        pixels=(pixels + change).astype(np.float32),
        pons=inside,
        lesion=np.asarray(strength >= 0.5),  # noqa: PLR2004
    )


def _grown(
    start: Values, speed: Values, pons: NDArray[np.bool_], fraction: float, step: float
) -> Values:
    """Let cells spread and multiply until they fill this share of the pons; in [0, 1].

    The density follows the equation of Fisher: diffusion, and growth towards 1.
    """
    rows, columns = (np.flatnonzero((speed > 0).any(axis=axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cells = start[window].astype(np.float32)
    moves, counted = speed[window].astype(np.float32), pons[window]
    for _ in range(_MOST_STEPS):
        if not counted.any() or (cells[counted] >= cells.max() / 2).mean() >= fraction:
            break
        spread = cv2.GaussianBlur(cells, (0, 0), sigmaX=_ACROSS * step, sigmaY=_ALONG * step)
        cells = cells + moves * (spread - cells)
        cells = cells + _PROLIFERATION * cells * (1 - cells)
    density = np.zeros_like(start)
    density[window] = cells / max(float(cells.max()), 1e-6)
    return density
