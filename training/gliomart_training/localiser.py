"""Localisers: networks of their own that tell where something is, joined to an autoencoder.

This is what they have in common, and the pons localiser.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

import cv2
import keras
import numpy as np
from keras import layers
from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.errors import DatasetError, TrainingError
from gliomart_training.corruption import lesions_anywhere
from gliomart_training.layers import (
    MiddleSlices,
    SlicesApart,
    SlicesTogether,
    convolution,
    upsample,
)
from gliomart_training.network_file import check_finite
from gliomart_training.optimiser import adamw, jit_compile
from gliomart_training.pons_images import POOLING, PonsImages

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_training.batches import Variation
    from gliomart_training.recipe import BrainRecipe, PonsRecipe

# Independent displacements along each side of a bent image.
_BEND_CELLS = 7


def localiser(size: int, filters: tuple[int, ...], name: str) -> keras.Model:
    """U-Net of a few channels that tells where something is, on a quarter of the model's grid.

    Takes ``image`` (N, size / 4, size / 4, 1), the plain channel averaged; gives the probability
    that a pixel belongs to it, of the same shape. ``filters`` are those of its levels, finest
    first.
    """
    side = size // POOLING
    image = keras.Input((side, side, 1), name="image")
    x = convolution(image, filters[0])
    skips = [x]
    for wider in filters[1:]:
        x = convolution(layers.AveragePooling2D(2)(x), wider)
        skips.append(x := convolution(x, wider))
    for skip in reversed(skips[:-1]):
        narrower = skip.shape[-1]
        x = layers.Conv2D(narrower, 1, use_bias=False)(x)
        x = convolution(layers.Add()([upsample(x), skip]), narrower)
    logits = layers.Conv2D(1, 3, padding="same", name="logits")(x)
    return keras.Model(image, layers.Activation("sigmoid")(logits), name=f"{name}_localiser")


def joined(network: keras.Model, branch: keras.Model, name: str) -> keras.Model:
    """Give a network an output (N, size, size, 1) in [0, 1] from a localiser.

    The localiser is a branch of its own: what it learns cannot change what the rest does. An output
    of the same name makes way for it. Of slabs it sees each slice by itself, and only those in the
    middle, that the network gives something for: (N, given, size, size, 1).
    """
    (image,) = network.inputs
    of_slabs = len(image.shape) == 5  # noqa: PLR2004
    seen = image[..., :1]
    if of_slabs:
        _, depth, *_ = image.shape
        _, given, *_ = network.output["brain"].shape
        apart = SlicesApart(name=f"{name}_apart")(seen)
        seen = MiddleSlices(depth, given, name=f"{name}_middle")(apart)
    # By a name of its own: a network read from a file brings the names it was given once.
    coarse = layers.AveragePooling2D(POOLING, name=f"{name}_pooling")(seen)
    found = layers.UpSampling2D(POOLING, interpolation="bilinear", name=f"{name}_enlarged")(
        branch(coarse)
    )
    if of_slabs:
        found = SlicesTogether(given, name=f"{name}_together")(found)
    return keras.Model(image, {**network.output, name: found}, name=network.name)


def pons_localiser(size: int) -> keras.Model:
    """Make an untrained localiser of the pons: an eighth of the denoising network's operations."""
    return localiser(size, (16, 32, 48, 64), "pons")


def with_pons(network: keras.Model, branch: keras.Model) -> keras.Model:
    """Give a network an output ``pons``, and leave it as it is."""
    return joined(network, branch, "pons")


class PonsBatches(keras.utils.PyDataset):
    """One batch after another, varied and with noise shaped like lesions on what the network sees.

    The noise is not to move the pons: a localiser that knows healthy brains alone would lose it in
    the very patients it is for.
    """

    def __init__(
        self,
        marked: PonsImages,
        simulated: PonsImages,
        variation: Variation,
        recipe: PonsRecipe,
        level: float,
    ) -> None:
        super().__init__()
        others = simulated if len(simulated) else marked
        self.sources = [(images, images.shown) for images in (marked, others)]
        self.variation, self.recipe, self.level = variation, recipe, level

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        random = np.random.default_rng((self.recipe.seed, index))
        drawn = [self._draw(random) for _ in range(self.recipe.batch_size)]
        seen, pons = (np.stack(planes)[..., np.newaxis] for planes in zip(*drawn, strict=True))
        return seen, pons

    def _draw(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        images, shown = self.sources[random.random() < self.recipe.simulated]
        chosen = shown == (random.random() < self.recipe.shown)
        number = random.choice(np.flatnonzero(chosen) if chosen.any() else len(images))
        image, pons = bend(images.plain[number], images.pons[number], self.recipe.bend, random)
        image = _recolour(image, pons, self.recipe.recoloured, random)
        image, pons = self.variation.apply(image, pons, self.level, random)
        if random.random() < self.recipe.corrupted:
            image, _ = lesions_anywhere(image, pons, random)
        return image, pons


def fit_localiser(
    marked: PonsImages,
    simulated: PonsImages,
    recipe: PonsRecipe,
    variation: Variation,
    spec: Preprocessing,
) -> tuple[keras.Model, list[float]]:
    """Train one localiser; returns it and its loss, averaged over twentieths of the training.

    Raises
    ------
    DatasetError
        No image shows the pons, or none is clear of it.
    TrainingError
        It diverged.
    """
    everything = PonsImages.together([marked, simulated], spec)
    if not everything.shown.any() or everything.shown.all():
        raise DatasetError("the pons is to be learned from slices with it and slices without")
    batches = PonsBatches(marked, simulated, variation, recipe, spec.brain_level)
    return fit_on(batches, lambda: pons_localiser(spec.size), recipe, "pons")


def fit_on(
    batches: keras.utils.PyDataset,
    build: Callable[[], keras.Model],
    recipe: PonsRecipe | BrainRecipe,
    name: str,
) -> tuple[keras.Model, list[float]]:
    """Train a localiser on batches; returns it and its loss, averaged over twentieths of them.

    Raises
    ------
    TrainingError
        It diverged.
    """
    keras.utils.set_random_seed(recipe.seed)
    trainer = build()
    trainer.compile(
        optimizer=adamw(
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            steps=recipe.steps,
        ),
        loss=keras.losses.BinaryCrossentropy(),
        jit_compile=jit_compile(),
    )
    watched = _Losses(len(batches), name)
    trainer.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[watched])
    if not np.isfinite(watched.losses).all():
        raise TrainingError(f"training the {name} localiser diverged: its loss is not finite")
    # Without its optimizer, which a network that is joined with it would carry into its file, and
    # which another backend could not read.
    trained = build()
    trained.set_weights(trainer.get_weights())
    check_finite(trained, f"training the {name} localiser diverged: not all weights are numbers")
    parts = np.array_split(watched.losses, min(20, len(watched.losses)))
    return trained, [float(np.mean(part)) for part in parts]


class _Losses(keras.callbacks.Callback):
    """Keeps the loss of every batch, and shows how far the training is."""

    def __init__(self, batches: int, name: str) -> None:
        super().__init__()
        self.losses: list[float] = []
        self._sum = 0.0
        self._bar = tqdm(
            total=batches, desc=name, unit="batch", leave=False, dynamic_ncols=True,
            file=sys.stderr, disable=not is_terminal(sys.stderr),
        )  # fmt: skip

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self._bar.close()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # Keras reports the mean since the epoch began.
        total = (logs or {})["loss"] * (batch + 1)
        self.losses.append(total - self._sum)
        self._sum = total
        self._bar.update()


def bend(
    image: NDArray[np.float32],
    pons: NDArray[np.float32],
    strength: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Displace (side, side) images alike, by independent amounts some pons' width apart."""
    side = image.shape[0]
    shape = (2, _BEND_CELLS, _BEND_CELLS)
    coarse = strength * random.standard_normal(shape, np.float32)
    y, x = np.indices((side, side), np.float32)
    across, along = (cv2.resize(c, (side, side), interpolation=cv2.INTER_CUBIC) for c in coarse)
    image, pons = (
        cast("NDArray[np.float32]", cv2.remap(plane, x + across, y + along, cv2.INTER_LINEAR))
        for plane in (image, pons)
    )
    return image, pons


def _recolour(
    image: NDArray[np.float32],
    pons: NDArray[np.float32],
    strength: float,
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Brighten or darken the pons of a (side, side) image, beyond its border by a random blur."""
    gain, blur = np.exp(strength * random.standard_normal()), random.uniform(0.3, 2.5)
    soft = cv2.GaussianBlur(pons, (0, 0), blur)
    return np.clip(image * (1 + (gain - 1) * soft), 0, 1, dtype=np.float32)
