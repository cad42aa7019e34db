"""Tumour-free slices as training batches: prepared once, varied afresh in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from gliomart.errors import InputRefusedError
from gliomart.families.companions import Companion, Leading
from gliomart.image.grid import crop
from gliomart.image.normalisation import estimate_normalisations, normalisation_of
from gliomart.image.preprocess import prepare, stack_channels, stack_images
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Slice
from gliomart_training.brain import brain_masks
from gliomart_training.corruption import CORRUPTIONS, each_plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.preprocess import ModelInput
    from gliomart.image.steps import Preprocessing
    from gliomart_training.corruption import Plane
    from gliomart_training.patients import Example, Patient
    from gliomart_training.recipe import Recipe

# Detail is what is finer than a Gaussian of this standard deviation, as a fraction of the image; a
# blur below the second, in pixels, is none.
_DETAIL, _NO_BLUR = 0.02, 0.05
# Slices of simulated heads, from medulla to vertex.
_SLICES_OF_HEADS = (24, 24, 40)
# Networks take images whose side is a multiple of this.
_NETWORK_STEP = 32
# From images as a network sees them to truths by name, float32 (B, side, side, any).
Teacher = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
# What the usual outputs are held to.
USUAL_TRUTHS = {"reconstruction": "reconstruction", "brain": "brain"}


@dataclass(frozen=True)
class PreparedImages:
    """Prepared slices; but for supervised networks, tumour-free ones.

    Attributes
    ----------
    plain
        float32 (N, size, size) in [0, 1]; the plain channel, from which all others are made.
    brain
        bool (N, size, size): where the brain is, from :func:`.brain.brain_masks`.
    beside
        float32 (N, size, size, K) in [0, 1]: further sequences, 0 where there is none; None where
        the network takes no other.
    follows
        bool (N,): the image before it is the slice before it in its series; None where nobody asks.
    """

    plain: NDArray[np.float32]
    brain: NDArray[np.bool_]
    beside: NDArray[np.float32] | None = field(default=None, kw_only=True)
    follows: NDArray[np.bool_] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.plain)

    def thinned(self, most: int) -> PreparedImages:
        """At most this many of the images, evenly spaced."""
        return self.chosen(evenly_spaced(range(len(self)), most))

    def showing_brain(self, least: float) -> list[int]:
        """Find the images of which the brain is at least this fraction, by their places."""
        places: list[int] = np.flatnonzero(self.brain.mean(axis=(1, 2)) >= least).tolist()
        return places

    def chosen(self, which: Sequence[int] | NDArray[np.intp]) -> PreparedImages:
        """Take some of them, by their places."""
        places = np.asarray(which, np.intp)
        beside = None if self.beside is None else self.beside[places]
        follows = None
        if self.follows is not None:
            follows = self.follows[places] & (np.diff(places, prepend=-1) == 1)
        return PreparedImages(
            self.plain[places], self.brain[places], beside=beside, follows=follows
        )

    def input(self, index: int, spec: Preprocessing) -> NDArray[np.float32]:
        """Stack one of them as a network takes it, float32 (size, size, channels)."""
        return self.with_plain(index, self.plain[index], spec)

    def with_plain(self, index: int, plain: Plane, spec: Preprocessing) -> NDArray[np.float32]:
        """Stack one of them with another plain image (size, size) in the place of its own."""
        beside = () if self.beside is None else np.moveaxis(self.beside[index], -1, 0)
        return stack_images([plain, *beside], spec)

    @classmethod
    def together(cls, parts: Sequence[PreparedImages], size: int) -> PreparedImages:
        """Join the images of several patients."""
        none = np.empty((0, size, size))
        further = [part.beside for part in parts if part.beside is not None]
        rows = [part.follows for part in parts if part.follows is not None]
        return cls(
            np.concatenate([none.astype(np.float32), *(part.plain for part in parts)]),
            np.concatenate([none.astype(bool), *(part.brain for part in parts)]),
            beside=np.concatenate(further) if further else None,
            follows=np.concatenate(rows) if len(rows) == len(parts) > 0 else None,
        )


class Prepared(NamedTuple):
    """One slice of a patient, the so manieth of its series: as prepared, and its brain."""

    example: Example
    input: ModelInput
    norm: Normalisation
    number: int
    brain: NDArray[np.bool_]


def prepared_slices(
    patient: Patient, spec: Preprocessing, companions: Sequence[str] = ()
) -> list[Prepared]:
    """Prepare the slices of a patient, as the runtime would; blank ones are left out.

    ``companions`` names the further sequences that a network takes.
    """
    norms = estimate_normalisations(patient.slices, spec)
    leading = Leading(patient.slices, range(len(patient.slices)), norms)
    having = patient.companions
    further = [Companion.aligned(having.get(name, ()), leading, spec) for name in companions]
    prepared = []
    for number, example in enumerate(patient.examples):
        with suppress(InputRefusedError):  # blank: there is nothing to learn from
            norm = normalisation_of(example.slice, number, norms)
            beside = [each.plain(example.slice, number, spec) for each in further]
            prepared.append((example, prepare(example.slice, norm, spec, beside), norm, number))
    brains = brain_masks([p.plain for _, p, *_ in prepared], [p.head for _, p, *_ in prepared])
    return [Prepared(*each, brain) for each, brain in zip(prepared, brains, strict=True)]


def tumour_free_images(
    patients: Iterable[Patient], spec: Preprocessing, companions: Sequence[str] = ()
) -> PreparedImages:
    """Prepare the tumour-free slices of some patients, with further sequences by their names."""
    parts = []
    for patient in patients:
        slices = prepared_slices(patient, spec, companions)
        chosen = [p for p in slices if p.example.tumour_free]
        if chosen:
            plain = np.stack([p.input.plain for p in chosen])
            brain = np.stack([p.brain for p in chosen])
            beside = np.stack([_beside(p.input, spec) for p in chosen]) if companions else None
            follows = np.diff([p.number for p in chosen], prepend=-2) == 1
            parts.append(PreparedImages(plain, brain, beside=beside, follows=follows))
    return PreparedImages.together(parts, spec.size)


def simulated_images(heads: int, spec: Preprocessing) -> PreparedImages:
    """Prepare so many simulated heads, whose slices are as thick as those of scanners differ."""
    from gliomart_training.simulation import simulate_head

    parts = []
    for seed in range(heads):
        count = _SLICES_OF_HEADS[seed % len(_SLICES_OF_HEADS)]
        head = simulate_head(slices=count, size=spec.size, seed=seed)
        slices = [Slice(pixels) for pixels in head.pixels]
        norms = estimate_normalisations(slices, spec)
        shown: list[int] = []
        plain, brain = [], []
        for number, item in enumerate(slices):
            with suppress(InputRefusedError):  # the vertex alone
                norm = normalisation_of(item, number, norms)
                plain.append(prepare(item, norm, spec).plain)
                there = head.brain[number].astype(np.float32)
                brain.append(crop(there, norm.box, spec.size, 0.0) >= 0.5)  # noqa: PLR2004
                shown.append(number)
        follows = np.diff(shown, prepend=-2) == 1
        parts.append(PreparedImages(np.stack(plain), np.stack(brain), follows=follows))
    return PreparedImages.together(parts, spec.size)


def _beside(prepared: ModelInput, spec: Preprocessing) -> NDArray[np.float32]:
    """Take the channels of further sequences, (size, size, K): one each, plain."""
    return prepared.image[..., len(spec.channels) :]


@dataclass(frozen=True)
class Variation:
    """How far a training image is varied.

    Attributes
    ----------
    rotation
        Largest rotation, in degrees.
    scale, shift
        Largest change of size, and largest shift, as fractions of the image.
    shading
        Standard deviation of the logarithm of a smooth bias field: what is left of uneven light, or
        all of it in a slice that could not be evened out.
    gain, gamma
        Largest relative change of brightness, and of contrast as an exponent.
    detail
        Largest relative change of the contrast of detail, such as grey matter against white, which
        differs between sequences and with the thickness of slices.
    blur
        Largest blur, a standard deviation as a fraction of the image: resolution differs as well.
    noise
        Largest standard deviation of noise.
    movement
        Standard deviation of how far neighbouring slices lie beside each other, as a fraction of
        the image: heads move.
    window
        Side of the square that is cut out at random, as a fraction of the image: most of a step's
        work would otherwise go into air, and into the same neighbours again.
    """

    rotation: float = 10.0
    scale: float = 0.12
    shift: float = 0.04
    shading: float = 0.09
    gain: float = 0.12
    gamma: float = 0.15
    detail: float = 0.4
    blur: float = 0.0047
    noise: float = 0.02
    movement: float = 0.0015
    window: float = 0.625

    def apply(
        self, image: Plane, brain: Plane, level: float, random: np.random.Generator
    ) -> tuple[Plane, Plane]:
        """Vary one image and its brain, (size, size) each; half are mirrored left to right.

        Neighbouring slices (D, size, size) are varied alike, but for noise, and for what a head
        that moves does to them. ``level`` is where the brain's brightness lies: contrast changes
        around it, brightness does not.
        """
        size = image.shape[-1]
        centre = (size - 1) / 2
        warp = cv2.getRotationMatrix2D(
            (centre, centre),
            random.uniform(-self.rotation, self.rotation),
            1 + random.uniform(-self.scale, self.scale),
        )
        if random.random() < 0.5:  # noqa: PLR2004
            warp = warp @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
        warp[:, 2] += random.uniform(-self.shift, self.shift, 2) * size
        varied, moved = self._warped(image, brain, warp, random)
        field = random.normal(0, self.shading, (4, 4)).astype(np.float32)
        shading = np.exp(cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC))
        gain = 1 + random.uniform(-self.gain, self.gain)
        gamma = 1 + random.uniform(-self.gamma, self.gamma)
        contrasted = self._texture(level * (varied / level) ** gamma, random)
        return np.clip(contrasted * shading * gain, 0, 1, dtype=np.float32), moved

    def _warped(
        self, image: Plane, brain: Plane, warp: NDArray[Any], random: np.random.Generator
    ) -> tuple[Plane, Plane]:
        """Warp an image and its brain; neighbouring slices each a little differently."""
        size = image.shape[1]

        def warped(plane: Plane, how: NDArray[Any]) -> Plane:
            moved = cv2.warpAffine(plane, how, (size, size), flags=cv2.INTER_LINEAR)
            return np.asarray(moved, np.float32)

        if image.ndim == 2:  # noqa: PLR2004
            return warped(image, warp), warped(brain, warp)
        moves = random.normal(0, self.movement * size, (len(image), 2))
        each = [warp + np.column_stack([np.zeros((2, 2)), move]) for move in moves]
        stacks = (np.stack(list(map(warped, planes, each))) for planes in (image, brain))
        varied, moved = stacks
        return varied, moved

    def _texture(self, image: Plane, random: np.random.Generator) -> Plane:
        """Vary detail, resolution and noise, each of half the images, as scanners do."""
        strength, blur, noise = random.random(3)
        size = image.shape[-1]
        if random.random() < 0.5:  # noqa: PLR2004
            smooth = each_plane(lambda p: cv2.GaussianBlur(p, (0, 0), _DETAIL * size), image)
            image = smooth + (1 + self.detail * (2 * strength - 1)) * (image - smooth)
        if random.random() < 0.5:  # noqa: PLR2004
            width = max(self.blur * blur * size, _NO_BLUR)
            image = each_plane(lambda p: cv2.GaussianBlur(p, (0, 0), width), image)
        if random.random() < 0.5:  # noqa: PLR2004
            grain = random.standard_normal(image.shape, np.float32)
            image = image + np.float32(self.noise * noise) * grain
        return image

    def window_side(self, size: int) -> int:
        """Side of the window in pixels: a multiple of 32, as networks want it."""
        return min(
            size, max(_NETWORK_STEP, round(self.window * size / _NETWORK_STEP) * _NETWORK_STEP)
        )


class ImageBatches(keras.utils.PyDataset):
    """Batches of one epoch after another, the same for the same seed.

    A batch is the images that a network is given, (B, side, side, channels), and the truths that
    its outputs are held to: ``reconstruction`` of the same shape, ``brain`` (B, side, side, 1).
    They are varied, corrupted, and cut to a window.

    Parameters
    ----------
    images
        From :func:`tumour_free_images`.
    spec
        Says which channels are made of each image.
    recipe
        Names the corruption and the images in a batch; the last, incomplete batch of an epoch is
        dropped. Its seed is that of order, variation and corruption; epoch ``e`` is the same
        whether training was resumed or not.
    variation
        How far images are varied.
    frozen
        Every epoch is the first one: validation.
    truths
        For every output of the network that is held to one, which truth it is.
    teacher
        Gives further truths, or others, from images as the network sees them.
    """

    def __init__(
        self,
        images: PreparedImages,
        spec: Preprocessing,
        recipe: Recipe,
        variation: Variation,
        *,
        frozen: bool = False,
        truths: Mapping[str, str] = USUAL_TRUTHS,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.images, self.spec, self.frozen = images, spec, frozen
        self.corruption, self.variation = CORRUPTIONS[recipe.corruption], variation
        self.truths, self.teacher, self.network = truths, teacher, recipe.network
        self.batch_size, self.seed = min(recipe.batch_size, len(images)), recipe.seed
        self.side = variation.window_side(spec.size)
        self.start(epoch=0)

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        random = np.random.default_rng((self.seed, self.epoch, index))
        drawn = [self._draw(i, random) for i in chosen]
        seen = np.stack([image for image, _ in drawn])
        known = {name: np.stack([of[name] for _, of in drawn]) for name in drawn[0][1]}
        if self.teacher is not None:
            known |= self.teacher(seen)
        return seen, {output: known[truth] for output, truth in self.truths.items()}

    def start(self, epoch: int) -> None:
        """Take the order and the variations of an epoch."""
        self.epoch = 0 if self.frozen else epoch
        self._order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.images))

    def _draw(self, index: int, random: np.random.Generator) -> tuple[Plane, dict[str, Plane]]:
        image, brain = self.variation.apply(
            self.images.plain[index],
            self.images.brain[index].astype(np.float32),
            self.spec.brain_level,
            random,
        )
        seen, clean = self.corruption(image, brain, random)
        window = self._window(random)
        return stack_channels(seen, self.spec)[window], {
            "reconstruction": stack_channels(clean, self.spec)[window],
            "brain": brain[window][..., np.newaxis],
        }

    def _window(self, random: np.random.Generator) -> tuple[slice, slice]:
        top, left = random.integers(0, self.spec.size - self.side + 1, 2)
        return np.s_[top : top + self.side, left : left + self.side]
