"""Series that a model was not made for, made of those that it was: what the content check knows.

Every kind is a change of a patient's series. What cannot be made of them (other sequences) is read
from folders.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.grid import uncrop
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice
from gliomart.image.steps import Preprocessing
from gliomart_training.brain import brain_masks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]

# Height of a head, in parts of its length, where nothing says how far slices are apart.
_HEAD_HEIGHT = 0.85
# Of the brain's brightness: what is darker in it is fluid, and how much brighter that becomes.
_FLUID, _BRIGHTER = 0.85, 2.2
# Suppressed fat: what is left of the brightness outside the brain.
_SUPPRESSED = (0.05, 0.5)
# What is done to the brain is done so many pixels beyond it; fluid lies farther out.
_AROUND, _FLUID_AROUND = 5, 13
# Sides of drawn pictures, in pixels.
_SIDE = 256

TURNS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "a head turned by 90 degrees": np.rot90,
    "a head turned by 180 degrees": lambda pixels: np.rot90(pixels, 2),
    "a head turned by 270 degrees": lambda pixels: np.rot90(pixels, 3),
    "a head upside down": lambda pixels: pixels[::-1],
}
# Of a volume (Z, H, W), what sagittal and coronal slices are cut across.
_AXES = {"sagittal": 2, "coronal": 1}
PLANES = tuple(_AXES)


def turned(slices: Sequence[Slice], how: str) -> list[Slice]:
    """Turn or mirror every slice, by a name of :data:`TURNS`."""
    return [_with(s, np.ascontiguousarray(TURNS[how](s.pixels))) for s in slices]


def resliced(slices: Sequence[Slice], plane: str) -> list[Slice]:
    """Cut a stack of axial slices of one shape, lowest first, into sagittal or coronal ones."""
    volume = np.stack([s.pixels for s in slices])[::-1]  # the vertex above
    axis = _AXES[plane]
    norm = estimate_normalisation(slices, Preprocessing())
    height = max(round(_HEAD_HEIGHT * norm.box.height), 8)
    box = norm.box
    start, length = (box.x, box.width) if plane == "sagittal" else (box.y, box.height)
    inner = start + length * np.linspace(0.25, 0.75, len(slices))
    places = np.clip(inner.round().astype(int), 0, volume.shape[axis] - 1)
    planes = np.moveaxis(volume.take(places, axis), axis, 0)
    return [
        _with(s, cv2.resize(plane, (plane.shape[1], height), interpolation=cv2.INTER_CUBIC))
        for s, plane in zip(slices, planes, strict=True)
    ]


def brains(slices: Sequence[Slice]) -> list[NDArray[np.bool_]]:
    """Find the brain in slices of one shape, lowest first; none where no head is."""
    spec = Preprocessing()
    norm = estimate_normalisation(slices, spec)
    found = [np.zeros(s.pixels.shape, bool) for s in slices]
    prepared = {}
    for number, item in enumerate(slices):
        try:
            prepared[number] = prepare(item, norm, spec)
        except InputRefusedError:
            continue
    masks = brain_masks([p.plain for p in prepared.values()], [p.head for p in prepared.values()])
    for number, mask in zip(prepared, masks, strict=True):
        shape = slices[number].pixels.shape
        found[number] = uncrop(mask.astype(np.float32), norm.box, (shape[0], shape[1])) > 0.5  # noqa: PLR2004
    return found


def stripped(slices: Sequence[Slice], masks: Sequence[NDArray[np.bool_]]) -> list[Slice]:
    """Take away what is no brain; slices without brain are left out."""
    pairs = zip(slices, masks, strict=True)
    return [_with(s, np.where(mask, s.pixels, s.pixels.min())) for s, mask in pairs if mask.any()]


def fat_suppressed(
    slices: Sequence[Slice], masks: Sequence[NDArray[np.bool_]], random: np.random.Generator
) -> list[Slice]:
    """Darken what is no brain, as suppressed fat is: a familiar change."""
    left = np.float32(random.uniform(*_SUPPRESSED))
    return [
        _with(s, np.where(_grown(mask), s.pixels, left * s.pixels))
        for s, mask in zip(slices, masks, strict=True)
    ]


def with_bright_fluid(slices: Sequence[Slice], masks: Sequence[NDArray[np.bool_]]) -> list[Slice]:
    """Make a T2 of a FLAIR: what is dark in the brain becomes brighter than it."""
    norm = estimate_normalisation(slices, Preprocessing())
    level = np.float32(norm.black + _FLUID * (norm.brain - norm.black))
    changed = []
    for item, mask in zip(slices, masks, strict=True):
        dark = np.maximum(level - item.pixels, 0)
        inside = _grown(mask, _FLUID_AROUND)
        changed.append(_with(item, np.where(inside, item.pixels + _BRIGHTER * dark, item.pixels)))
    return changed


def drawn(random: np.random.Generator) -> Slice:
    """Draw a picture that is no head: noise, text, fruit, or a phantom."""
    kind = random.integers(4)
    if kind == 0:
        picture = _noise(random, random.uniform(0, 12))
    elif kind == 1:
        picture = _page(random)
    else:
        picture = _things(random, int(random.integers(1, 12)) if kind == 2 else 1)  # noqa: PLR2004
    return Slice(picture)


def _noise(random: np.random.Generator, smoothness: float) -> Pixels:
    plane = random.rayleigh(1, (_SIDE, _SIDE)).astype(np.float32)
    if smoothness <= 1:
        return plane
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), smoothness), np.float32)


def _page(random: np.random.Generator) -> Pixels:
    page = np.zeros((_SIDE, _SIDE), np.uint8)
    size = random.uniform(0.3, 1.2)
    for row in np.arange(20, _SIDE, 26 * size):
        letters = "".join(random.choice(list("abcdefghij klmnop qrstuvwxyz"), 60))
        cv2.putText(page, letters, (8, int(row)), cv2.FONT_HERSHEY_SIMPLEX, size, 255)
    return page.astype(np.float32)


def _things(random: np.random.Generator, count: int) -> Pixels:
    plane = np.zeros((_SIDE, _SIDE), np.float32)
    largest = 110 if count == 1 else 60
    for _ in range(count):
        centre = 128 + (0 if count == 1 else 1) * random.integers(-80, 81, 2)
        axes = random.integers(largest // 3, largest, 2)
        angle = float(random.uniform(0, 180))
        for share in np.linspace(1, 0.2, int(random.integers(1, 6))):
            inner = (int(axes[0] * share), int(axes[1] * share))
            where = (int(centre[0]), int(centre[1]))
            level = float(random.uniform(0.2, 1.0))
            cv2.ellipse(plane, where, inner, angle, 0, 360, level, -1)
    texture = 1 + random.uniform(0, 0.5) * (_noise(random, random.uniform(0, 4)) - 1)
    return np.asarray(np.maximum(plane * texture, 0), np.float32)


def _grown(mask: NDArray[np.bool_], width: int = _AROUND) -> NDArray[np.bool_]:
    return cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)) > 0


def _with(item: Slice, pixels: Any) -> Slice:  # noqa: ANN401  # OpenCV's and NumPy's
    """Give a slice other pixels, of which it is not known where they lie."""
    return replace(
        item, pixels=np.asarray(pixels, np.float32), air=None, position=None, orientation=None
    )
