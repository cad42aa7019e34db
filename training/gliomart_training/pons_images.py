"""What a pons localiser learns from: slices with the pons marked, clear ones, simulated ones.

No tumour and no tumour label is among them. What is marked is the pons, not the whole brainstem:
midbrain and medulla are nowhere marked.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.grid import crop
from gliomart.image.normalisation import estimate_normalisations, normalisation_of
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.steps import Preprocessing
    from gliomart_training.dataset import Ellipse, Patient

# The localiser sees images at this fraction of their resolution: a pons is then a dozen pixels
# wide, enough to be outlined to a pixel or two of the image.
PONS_POOLING = 4
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
        none = np.empty((0, *(2 * [spec.size // PONS_POOLING])), np.float32)
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
            drawn.append((_coarse(plain), _coarse(pons)))
    return _stacked(drawn, spec)


def simulated_images(heads: int, seed: int, spec: Preprocessing) -> PonsImages:
    """Simulate so many healthy heads; their pons is known in every slice."""
    from gliomart_training.simulation import simulate_head

    drawn = []
    for head_number in range(heads):
        head = simulate_head(slices=_SIMULATED_SLICES, size=spec.size, seed=seed + head_number)
        slices = [Slice(pixels) for pixels in head.pixels]
        norms = estimate_normalisations(slices, spec)
        areas = head.pons.sum(axis=(1, 2))
        for number, (source, pons) in enumerate(zip(slices, head.pons, strict=True)):
            if areas[number] and areas[number] < _PARTIAL * areas.max():
                continue
            with suppress(InputRefusedError):  # the vertex alone
                norm = normalisation_of(source, number, norms)
                plain = prepare(source, norm, spec).plain
                mask = crop(pons.astype(np.float32), norm.box, spec.size, 0.0)
                drawn.append((_coarse(plain), _coarse(mask)))
    return _stacked(drawn, spec)


def _on_model_grid(pons: Ellipse, norm: Normalisation, spec: Preprocessing) -> NDArray[np.float32]:
    """Draw an ellipse where the model sees it; float32 (size, size), 0 or 1."""
    x, y = np.meshgrid(np.arange(spec.size), np.arange(spec.size))
    grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    points = norm.box.to_source(grid, spec.size) - (pons.cx, pons.cy)
    reach = np.hypot(points[:, 0] / pons.rx, points[:, 1] / pons.ry)
    return (reach <= 1).astype(np.float32).reshape(spec.size, spec.size)


def _coarse(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    side = plane.shape[0] // PONS_POOLING
    return cast(
        "NDArray[np.float32]", cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA)
    )


def _stacked(
    drawn: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]], spec: Preprocessing
) -> PonsImages:
    parts = [PonsImages(plain[np.newaxis], pons[np.newaxis]) for plain, pons in drawn]
    return PonsImages.together(parts, spec)
