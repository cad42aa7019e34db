"""Simulated pontine gliomas in real slices, to measure what a model finds of them.

For evaluation only: the shipped model never sees one of these in training. Real diffuse gliomas of
the pons are rare, and where none is at hand the next best is a real, tumour-free slice with the
disease's known signs put into it: a swollen pons that narrows the fourth ventricle and the cistern,
a bright field without a border, spread into the middle cerebellar peduncles, transverse fibres that
run through it unharmed, a necrotic core, a basilar artery grown around.

How often a sign occurs is taken from 357 baseline MRI of diffuse intrinsic pontine glioma (Leach
et al., Neuro-Oncology 2020;22:1647, table 3). How bright a lesion is on FLAIR, how far a pons
swells and what a sign looks like in detail are assumptions, stated here and to be varied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gliomart_training.sigmoid import sigmoid

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomart_training.dataset import Ellipse

Values = NDArray[np.floating[Any]]

# All lengths are in radii of the normal pons: 1 is on its border.
_UNTOUCHED = 2.6  # nothing moves from here on outwards
_WIDEST = 1.6
# Bone does not yield: towards the clivus the pons swells by this share of what it does elsewhere.
_VENTRAL = 0.5
_MARGIN = 0.13  # over which a lesion fades out
_UNEVEN = 0.16  # how far its border wanders
_MOTTLED = 0.08  # of its own strength
# Beyond the pons a lesion ends, in radii of the swollen pons, but for the peduncles.
_END, _END_WIDTH = 1.12, 0.05
# Fluid and flowing blood do not brighten: tissue is what is above this share of the normal pons.
_TISSUE, _TISSUE_WIDTH = 0.6, 0.06
# A sign that takes room is only given to a lesion of at least this share of the pons.
_LARGE = 0.5
_SPREAD, _FIBRES, _NECROSIS = 0.80, 0.70, 0.44  # of 357
_ARTERY = 0.8  # typical of the disease; its frequency is an assumption


@dataclass(frozen=True)
class PontineLesion:
    """A diffuse glioma of the pons on FLAIR.

    Attributes
    ----------
    fraction
        Share of the swollen pons in which the lesion has half its strength or more, in [0, 1]. In
        patients over one half in 99 %, over two thirds in 94 %; smaller ones are for telling how
        early a model sees something.
    signal
        How much brighter than the normal pons it is, as a share of the latter; 0 is a swollen pons
        of normal signal. T2-bright in 96 %; how bright is an assumption (0.15 to 0.60).
    expansion
        How many times wider the pons becomes, in [1, 1.6]; 1 leaves every pixel where it was.
    spread
        Strength of the spread into the middle cerebellar peduncles, as a share of the lesion's own.
    fibres
        Crossing fibres are preserved: transverse bands of less signal.
    necrosis
        A core that is darker than the normal pons, with a brighter rim.
    artery
        The basilar artery lies inside the swollen pons: a flow void behind its front border.

    Raises
    ------
    ValueError
        A value is outside its range.
    """

    fraction: float
    signal: float
    expansion: float
    spread: float = 0.0
    fibres: bool = False
    necrosis: bool = False
    artery: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.fraction <= 1 and self.signal >= 0 and 0 <= self.spread <= 1):
            raise ValueError(f"{self} is not a lesion: a share is outside its range")
        if not 1 <= self.expansion <= _WIDEST:
            raise ValueError(f"expansion {self.expansion} is not in [1, {_WIDEST}]")


@dataclass(frozen=True)
class Implanted:
    """A slice with a simulated lesion.

    Attributes
    ----------
    pixels
        float32 (H, W), in the slice's own units.
    pons
        bool (H, W): the pons, swollen as it may be.
    lesion
        bool (H, W): where the lesion has half its strength or more, in tissue, peduncles included;
        nowhere without signal.
    """

    pixels: NDArray[np.float32]
    pons: NDArray[np.bool_]
    lesion: NDArray[np.bool_]


def draw_lesion(
    random: np.random.Generator, *, fraction: float, signal: float, expansion: float
) -> PontineLesion:
    """Give a lesion of this size, signal and swelling the signs that its patients show."""
    spread, fibres, necrosis, artery = random.random(4)
    strength = random.uniform(0.5, 1.0)
    large = signal > 0 and fraction >= _LARGE
    return PontineLesion(
        fraction=fraction,
        signal=signal,
        expansion=expansion,
        spread=strength if large and spread < _SPREAD else 0.0,
        fibres=large and bool(fibres < _FIBRES),
        necrosis=large and bool(necrosis < _NECROSIS),
        artery=large and expansion > 1 and bool(artery < _ARTERY),
    )


def implant(
    pixels: NDArray[np.float32], pons: Ellipse, lesion: PontineLesion, random: np.random.Generator
) -> Implanted:
    """Put a lesion into a slice.

    Parameters
    ----------
    pixels
        float32 (H, W), any units; rows run to the back of the head.
    pons
        Where the pons is in it.
    lesion
        What to put there.
    random
        Decides place and shape. It is drawn from alike for every slice, so that the same generator
        makes the same lesion in the neighbouring slice, fitted to the pons there.

    Returns
    -------
    The slice; pixels further than 2.6 radii from the pons' centre are what they were.
    """
    across, back = _axes(pixels.shape, pons)
    reach = np.hypot(across, back)
    normal = float(np.median(pixels[reach < 0.8]))  # noqa: PLR2004  # the border left out
    swelling = _swelling(across, back, lesion.expansion)
    swollen = _swell(pixels, pons, reach, swelling) if lesion.expansion > 1 else pixels
    # Where a place of the swollen pons was before, in radii of the normal one.
    across, back = across / swelling, back / swelling
    where = reach <= swelling
    change, field = _field(across, back, where, lesion, random)
    soft = np.asarray(cv2.GaussianBlur(swollen, (0, 0), max(0.6, pons.rx / 20)), np.float32)
    tissue = sigmoid((soft / normal - _TISSUE) / _TISSUE_WIDTH) if normal > 0 else 0 * soft
    changed = swollen * (1 + tissue * change) if lesion.signal and lesion.fraction else swollen
    if lesion.artery:
        changed = changed * (1 - 0.75 * _disk(across, back, (0.0, -0.8), 0.13))
    near = reach < _UNTOUCHED
    lesioned = (field >= 0.5) & (tissue >= 0.5)  # noqa: PLR2004
    return Implanted(
        pixels=np.where(near, changed, pixels).astype(np.float32, copy=False),
        pons=where,
        lesion=lesioned & near & (lesion.signal > 0) & (lesion.fraction > 0),
    )


def _axes(shape: tuple[int, ...], pons: Ellipse) -> tuple[Values, Values]:
    """Every pixel's place beside and behind the centre of the pons, in its radii."""
    y, x = np.indices(shape, np.float32)
    return (x - pons.cx) / pons.rx, (y - pons.cy) / pons.ry


def _swelling(across: Values, back: Values, expansion: float) -> Values:
    """How far the border moves outwards in every direction: less in front, where bone is."""
    forwards = np.maximum(-back, 0) / np.maximum(np.hypot(across, back), 1e-6)
    return np.asarray(1 + (expansion - 1) * (1 - (1 - _VENTRAL) * forwards**2))


def _swell(
    pixels: NDArray[np.float32], pons: Ellipse, reach: Values, swelling: Values
) -> NDArray[np.float32]:
    """Move what is in the pons outwards and press together what surrounds it."""
    came_from = _came_from(reach, swelling) / np.maximum(reach, 1e-6)
    y, x = np.indices(pixels.shape, np.float32)
    warped = cv2.remap(
        pixels,
        (pons.cx + (x - pons.cx) * came_from).astype(np.float32),
        (pons.cy + (y - pons.cy) * came_from).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    # Cubic interpolation overshoots at edges.
    warped = np.clip(warped, pixels.min(), pixels.max())
    return np.where(reach < _UNTOUCHED, warped, pixels)


def _came_from(reach: Values, swelling: Values) -> Values:
    """Radius from which a place was pushed to where it is.

    Inside the swollen pons everything came from nearer the centre in proportion. Around it a cubic
    goes on with the same slope and ends in no movement at all; its slope never falls to 0, so that
    nothing folds.
    """
    width = _UNTOUCHED - swelling
    t = np.clip((reach - swelling) / width, 0, 1)
    start, end = 1 / swelling, 1.0
    cubic = (
        (2 * t**3 - 3 * t**2 + 1)
        + (t**3 - 2 * t**2 + t) * width * start
        + (3 * t**2 - 2 * t**3) * _UNTOUCHED
        + (t**3 - t**2) * width * end
    )
    outside = np.where(reach < _UNTOUCHED, cubic, reach)
    return np.asarray(np.where(reach <= swelling, reach / swelling, outside))


@dataclass(frozen=True)
class _Drawn:
    """What chance decides of a lesion, drawn alike for every slice of a patient.

    Attributes
    ----------
    border, mottling, curve
        Smooth functions of places in the pons: how the border wanders, how uneven the lesion is,
        how the fibres bend.
    angle, offset
        Direction and distance, in [0, 1], of the lesion's middle from that of the pons.
    core, phase
        Size of the necrosis and place of the fibres, in [0, 1]; together, where the necrosis is.
    """

    border: Callable[[Values, Values], Values]
    mottling: Callable[[Values, Values], Values]
    curve: Callable[[Values, Values], Values]
    angle: float
    offset: float
    core: float
    phase: float

    @classmethod
    def of(cls, random: np.random.Generator) -> _Drawn:
        border, mottling, curve = (_waves(random, length) for length in (0.9, 0.5, 2.5))
        angle, offset, core, phase = random.random(4)
        return cls(border, mottling, curve, angle, offset, core, phase)


def _field(
    across: Values,
    back: Values,
    pons: NDArray[np.bool_],
    lesion: PontineLesion,
    random: np.random.Generator,
) -> tuple[Values, Values]:
    """Return by which share the signal changes, and the lesion's strength in [0, 1]."""
    drawn = _Drawn.of(random)
    # The smaller a lesion, the further from the middle it may lie.
    away = 0.75 * (1 - np.sqrt(lesion.fraction)) * np.sqrt(drawn.offset)
    x = across - away * np.cos(2 * np.pi * drawn.angle)
    y = back - away * np.sin(2 * np.pi * drawn.angle)
    wander = _UNEVEN * drawn.border(across, back)
    distance = np.hypot(x, y) + wander
    edge = np.quantile(distance[pons], lesion.fraction) if pons.any() else 0.0
    ends = sigmoid((_END - np.hypot(across, back)) / _END_WIDTH)
    strength: Values = sigmoid((edge - distance) / _MARGIN) * ends
    strength = strength / max(float(strength.max()), 1e-6)
    if lesion.spread:
        strength = _with_peduncles(strength, across, back, wander, lesion.spread)
    change: Values = lesion.signal * strength * (1 + _MOTTLED * drawn.mottling(across, back))
    if lesion.fibres:
        change = _with_fibres(change, across, back, drawn)
    if lesion.necrosis:
        change = _with_necrosis(change, (x, y), drawn.mottling(across, back), drawn)
    return change, strength


def _with_peduncles(
    strength: Values, across: Values, back: Values, wander: Values, spread: float
) -> Values:
    """Spread a lesion into the middle cerebellar peduncles, on both sides."""
    for side in (-1, 1):
        lobe = np.hypot((across - 1.2 * side) / 0.55, (back - 0.3) / 0.45) + wander
        strength = np.maximum(strength, spread * sigmoid((1 - lobe) / (2 * _MARGIN)))
    return strength


def _with_fibres(change: Values, across: Values, back: Values, drawn: _Drawn) -> Values:
    """Leave transverse bands of less signal, which end before the border of the pons."""
    bands = np.cos(2 * np.pi * (2.0 * back + 0.25 * drawn.curve(across, back) + drawn.phase))
    within = sigmoid((0.9 - np.abs(across)) / 0.1)
    return np.asarray(change * (1 - 0.3 * np.clip(bands, 0, 1) * within))


def _with_necrosis(
    change: Values, from_middle: tuple[Values, Values], mottling: Values, drawn: _Drawn
) -> Values:
    """Put a dark core with a brighter rim into the middle of a lesion."""
    x, y = from_middle
    size = 0.18 + 0.17 * drawn.core
    hole = np.hypot(x - 0.15 * (drawn.core - 0.5), y - 0.2 * (drawn.phase - 0.5)) + 0.08 * mottling
    rim = np.exp(-(((hole - size - 0.1) / 0.12) ** 2))
    inside = sigmoid((size - hole) / 0.05)
    return np.asarray(change * (1 + 0.25 * rim) * (1 - inside) - 0.35 * inside)


def _waves(random: np.random.Generator, length: float) -> Callable[[Values, Values], Values]:
    """Draw a smooth random function of places in the pons, of deviation 1: plane waves."""
    directions = random.standard_normal((8, 2)) * 2 * np.pi / (length * np.sqrt(2) * 2)
    phases = random.uniform(0, 2 * np.pi, 8)

    def values(across: Values, back: Values) -> Values:
        waves = [
            np.sin(a * across + b * back + phase)
            for (a, b), phase in zip(directions, phases, strict=True)
        ]
        return np.asarray(sum(waves) / 2)

    return values


def _disk(across: Values, back: Values, centre: tuple[float, float], radius: float) -> Values:
    distance = np.hypot(across - centre[0], back - centre[1])
    return sigmoid((radius - distance) / 0.03)
