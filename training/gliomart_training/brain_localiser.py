"""The brain localiser: it says where the anomaly map counts.

A lesion outside of what it takes for brain is not found at all, so it has to know a brain by its
shape, whatever its scalp is like and whatever lies in it. It sees whole heads, at a quarter of the
resolution, and learns from masks of tumour-free slices (:mod:`.brain`) and from simulated heads,
changed in every way that scanners and diseases are known to change them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import keras
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.grid import crop, depth, uncrop
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart_training.batches import Variation, prepared_slices
from gliomart_training.corruption import lesions_of_any_brightness
from gliomart_training.localiser import bend, fit_on, localiser
from gliomart_training.pons_images import coarser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_training.corruption import Plane
    from gliomart_training.patients import Patient
    from gliomart_training.pons_images import SimulatedSlice
    from gliomart_training.recipe import BrainRecipe

# Heads of all sizes, children's among them, unevenly lit: wider than what the autoencoder sees.
VARIATION = Variation(
    rotation=15.0, scale=0.22, shift=0.06, shading=0.15, gain=0.25, gamma=0.25, window=1.0
)
# What is darker is air; of the head's width, the outermost part that may be missing.
_AIR, _THICKEST = 0.06, 0.09
# Region growing draws brains this many pixels too tightly, as it does those of simulated heads, and
# loses most of the last slices: above its widest slice, a brain is learned from if it has this
# share of the widest's. Simulated heads teach what a vertex is.
_TOO_TIGHT, _VERTEX = 1, 0.4
# How wide a rim may be left around a bare brain, and over what width the surroundings change, in
# pixels of the localiser's grid.
_RIM, _SOFT = 2.0, (0.3, 1.2)


def brain_localiser(size: int) -> keras.Model:
    """Make an untrained localiser of the brain: a seventh of the denoising network's operations."""
    return localiser(size, (24, 32, 64, 96), "brain")


class BrainImage(NamedTuple):
    """An image, and how much of each of its pixels is brain; float32 (size / 4, size / 4) each."""

    plain: NDArray[np.float32]
    brain: NDArray[np.float32]


def brain_images(patient: Patient, spec: Preprocessing) -> list[BrainImage]:
    """Prepare the tumour-free slices of a patient, each in its series and by itself.

    By itself, the vertex is as large and as bright as any other slice.
    """
    slices = prepared_slices(patient, spec)
    areas = [prepared.brain.sum() for prepared in slices]
    widest = int(np.argmax(areas)) if areas else 0
    square = np.ones(2 * [2 * _TOO_TIGHT + 1], np.uint8)
    images = []
    for number, (example, prepared, norm, _, tight) in enumerate(slices):
        vertex = number > widest and areas[number] < _VERTEX * areas[widest]
        if vertex or not example.tumour_free:
            continue
        brain = cast("Plane", cv2.dilate(tight.astype(np.float32), square))
        images.append(BrainImage(coarser(prepared.plain), coarser(brain)))
        with suppress(InputRefusedError):
            alone = estimate_normalisation([example.slice], spec)
            plain = prepare(example.slice, alone, spec).plain
            shape = example.slice.pixels.shape
            there = uncrop(brain, norm.box, (shape[0], shape[1]))
            moved = crop(there, alone.box, spec.size, 0.0)
            images.append(BrainImage(coarser(plain), coarser(moved)))
    return images


class BrainBatches(keras.utils.PyDataset):
    """One batch after another: images (B, size / 4, size / 4, 1), and how much of each is brain."""

    def __init__(
        self,
        images: Sequence[BrainImage],
        simulated: Sequence[SimulatedSlice],
        recipe: BrainRecipe,
        level: float,
    ) -> None:
        super().__init__()
        self.sources = (images, [BrainImage(s.plain, s.brain) for s in simulated] or images)
        self.recipe, self.level = recipe, level

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        random = np.random.default_rng((self.recipe.seed, index))
        drawn = [self._draw(random) for _ in range(self.recipe.batch_size)]
        seen, brain = (np.stack(planes)[..., np.newaxis] for planes in zip(*drawn, strict=True))
        return seen, brain

    def _draw(self, random: np.random.Generator) -> tuple[Plane, Plane]:
        images = self.sources[random.random() < self.recipe.simulated]
        image, brain = images[int(random.integers(len(images)))]
        image, brain = bend(image, brain, self.recipe.bend, random)
        image = self._with_other_surroundings(image, brain, random)
        image, brain = VARIATION.apply(image, brain, self.level, random)
        if random.random() < self.recipe.lesions:
            image = lesions_of_any_brightness(image, brain, self.recipe.lesion_strength, random)
        return image, brain

    def _with_other_surroundings(
        self, image: Plane, brain: Plane, random: np.random.Generator
    ) -> Plane:
        """Recolour what surrounds the brain, or take some or all of it away."""
        kind, amount = random.random(2)
        within = brain > 0.5  # noqa: PLR2004
        if kind < self.recipe.bare:
            rim = depth(~within) > 1 + _RIM * amount
            return np.where(rim, np.float32(0), image)
        if kind < self.recipe.bare + self.recipe.thin:
            head = cv2.blur(image, (3, 3)) > _AIR
            outermost = depth(head) <= _THICKEST * amount * image.shape[0]
            return np.where(outermost & ~within, np.float32(0), image)
        if kind < self.recipe.bare + self.recipe.thin + self.recipe.around:
            gain = np.exp(random.uniform(*np.log(self.recipe.around_gain)))
            soft = cv2.GaussianBlur(brain, (0, 0), random.uniform(*_SOFT))
            return np.clip(image * (soft + (1 - soft) * gain), 0, 1, dtype=np.float32)
        return image


def fit_brain_localiser(
    images: Sequence[BrainImage],
    simulated: Sequence[SimulatedSlice],
    recipe: BrainRecipe,
    spec: Preprocessing,
) -> tuple[keras.Model, list[float]]:
    """Train one; returns it and its loss, averaged over twentieths of the training.

    Raises
    ------
    TrainingError
        It diverged.
    """
    batches = BrainBatches(images, simulated, recipe, spec.brain_level)
    return fit_on(batches, lambda: brain_localiser(spec.size), recipe, "brain")
