"""What a pons localiser learns from: slices with the pons marked, clear ones, simulated ones.

No tumour and no tumour label is among them. What is marked is the pons, not the whole brainstem:
midbrain and medulla are nowhere marked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.grid import crop
from gliomart.image.normalisation import (
    estimate_normalisation,
    estimate_normalisations,
    normalisation_of,
)
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.steps import Preprocessing
    from gliomart_training.dataset import Ellipse, Patient

# Localisers see images at this fraction of their resolution: a pons is then a dozen pixels
# wide, enough to be outlined to a pixel or two of the image.
POOLING = 4
# Simulated slices with less of the pons than this fraction of its largest section teach nothing:
# nobody would have marked them, or left them out.
_PARTIAL = 0.5
_SIMULATED_SLICES = 24


@dataclass(frozen=True)
class PonsImages:
    """Prepared slices, a quarter of the model's grid.

    Attributes
    ----------
    plain
        float32 (N, size / 4, size / 4) in [0, 1].
    pons
        float32 (N, size / 4, size / 4): how much of each pixel the pons covers.
    """

    plain: NDArray[np.float32]
    pons: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which of the images show the pons; bool (N,)."""
        return np.asarray(self.pons.any(axis=(1, 2)))

    @classmethod
    def together(cls, parts: Sequence[PonsImages], spec: Preprocessing) -> PonsImages:
        """Join the images of several patients."""
        none = np.empty((0, *(2 * [spec.size // POOLING])), np.float32)
        return cls(
            np.concatenate([none, *(part.plain for part in parts)]),
            np.concatenate([none, *(part.pons for part in parts)]),
        )


def marked_images(patient: Patient, spec: Preprocessing) -> PonsImages:
    """Prepare the slices of a patient in which the pons is marked, and those clear of it.

    Slices near a marked one, and whole patients without a mark, are left out: whether they show
    the pons is not known. So are slices in or near a tumour.
    """
    norms = estimate_normalisations(patient.slices, spec)
    drawn: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    clear_of_pons = patient.clear_of_pons()
    for number, (example, clear) in enumerate(zip(patient.examples, clear_of_pons, strict=True)):
        if example.pons is None and not (clear and example.tumour_free):
            continue
        with suppress(InputRefusedError):  # blank: there is nothing to learn from
            norm = normalisation_of(example.slice, number, norms)
            plain = prepare(example.slice, norm, spec).plain
            pons = np.zeros_like(plain)
            if example.pons is not None:
                pons = _on_model_grid(example.pons, norm, spec)
            drawn.append((coarser(plain), coarser(pons)))
    return _stacked(drawn, spec)


class SimulatedSlice(NamedTuple):
    """One slice of a simulated head, a quarter of the model's grid; float32 (size / 4, size / 4).

    ``plain`` is in [0, 1]; ``pons`` and ``brain`` are how much of each pixel they cover. The pons
    is None where it is cut so thinly that nobody would have marked it, or left it out, and where
    the slice stands by itself.
    """

    plain: NDArray[np.float32]
    pons: NDArray[np.float32] | None
    brain: NDArray[np.float32]


def simulated_slices(heads: int, seed: int, spec: Preprocessing) -> list[SimulatedSlice]:
    """Simulate so many healthy heads, whose anatomy is known in every slice.

    Each slice comes as part of its series, and by itself.
    """
    from gliomart_training.simulation import simulate_head

    drawn = []
    for head_number in range(heads):
        head = simulate_head(slices=_SIMULATED_SLICES, size=spec.size, seed=seed + head_number)
        slices = [Slice(pixels) for pixels in head.pixels]
        norms = estimate_normalisations(slices, spec)
        areas = head.pons.sum(axis=(1, 2))
        for number, source in enumerate(slices):
            brain, pons = head.brain[number], head.pons[number]
            partial = areas[number] and areas[number] < _PARTIAL * areas.max()
            with suppress(InputRefusedError):  # the vertex alone
                norm = normalisation_of(source, number, norms)
                seen = _simulated(source, norm, spec, brain, None if partial else pons)
                drawn.append(seen)
            with suppress(InputRefusedError):
                norm = estimate_normalisation([source], spec)
                drawn.append(_simulated(source, norm, spec, brain, None))
    return drawn


def _simulated(
    source: Slice,
    norm: Normalisation,
    spec: Preprocessing,
    brain: NDArray[np.bool_],
    pons: NDArray[np.bool_] | None,
) -> SimulatedSlice:
    def covered(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        return coarser(crop(mask.astype(np.float32), norm.box, spec.size, 0.0))

    plain = coarser(prepare(source, norm, spec).plain)
    return SimulatedSlice(plain, None if pons is None else covered(pons), covered(brain))


def pons_of(simulated: Iterable[SimulatedSlice], spec: Preprocessing) -> PonsImages:
    """Take the simulated slices that teach where the pons is."""
    return _stacked([(s.plain, s.pons) for s in simulated if s.pons is not None], spec)


def _on_model_grid(pons: Ellipse, norm: Normalisation, spec: Preprocessing) -> NDArray[np.float32]:
    """Draw an ellipse where the model sees it; float32 (size, size), 0 or 1."""
    x, y = np.meshgrid(np.arange(spec.size), np.arange(spec.size))
    grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    points = norm.box.to_source(grid, spec.size) - (pons.cx, pons.cy)
    reach = np.hypot(points[:, 0] / pons.rx, points[:, 1] / pons.ry)
    return (reach <= 1).astype(np.float32).reshape(spec.size, spec.size)


def coarser(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average a plane of the model's grid down to the localisers' grid."""
    side = plane.shape[0] // POOLING
    return cast(
        "NDArray[np.float32]", cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
    )


def _stacked(
    drawn: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]], spec: Preprocessing
) -> PonsImages:
    parts = [PonsImages(plain[np.newaxis], pons[np.newaxis]) for plain, pons in drawn]
    return PonsImages.together(parts, spec)
