"""The pons localiser: what it learns from, and how it is trained.

It learns where the pons is in healthy anatomy: from slices in which somebody marked it, from slices
of the same patients that are clear of it, and from simulated heads, whose anatomy is known. No
tumour and no tumour label enters. What it learns is the pons, not the whole brainstem: midbrain and
medulla are nowhere marked.

Its grid is a quarter of the model's: a pons is then a dozen pixels wide, enough to be outlined to a
pixel or two of the image.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import keras
import numpy as np
from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.errors import DatasetError, InputRefusedError, TrainingError
from gliomart.image.grid import crop
from gliomart.image.normalisation import estimate_normalisations
from gliomart.image.preprocess import prepare
from gliomart.image.slices import Slice
from gliomart_training.corruption import lesions_anywhere
from gliomart_training.network_file import check_finite
from gliomart_training.networks import PONS_POOLING, pons_localiser

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gliomart.image.normalisation import Normalisation
    from gliomart.image.steps import Preprocessing
    from gliomart_training.batches import Variation
    from gliomart_training.dataset import Ellipse, Patient

# Simulated slices with less of the pons than this fraction of its largest section teach nothing:
# nobody would have marked them, or left them out.
_PARTIAL = 0.5
_SIMULATED_SLICES = 24
# Independent displacements along each side of a bent image.
_BEND_CELLS = 7


@dataclass(frozen=True)
class PonsRecipe:
    """Everything that decides what localiser comes out of a training, the data aside.

    Attributes
    ----------
    steps, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine schedule, from a linear warm-up over the first twentieth.
    shown
        Fraction of a batch that shows the pons.
    corrupted
        Fraction of a batch that noise shaped like lesions is added to.
    recoloured
        Standard deviation of the logarithm of a factor that the pons is multiplied by, and what
        lies about it with a softness drawn anew. Brightness then says nothing about where the pons
        is, and one that is far brighter than usual is still found (domain randomisation: Billot et
        al., SynthSeg, Medical Image Analysis 2023).
    bend
        Standard deviation of a smooth displacement, in pixels of the localiser's grid. Every pons
        then has a size and shape of its own, and the localiser learns to follow its border rather
        than to expect the usual.
    simulated
        Fraction of a batch that is from simulated heads.
    heads
        Number of simulated heads.
    seed
        Of weights, heads, order and variation.
    """

    steps: int = 700
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    shown: float = 0.6
    corrupted: float = 0.4
    recoloured: float = 0.3
    bend: float = 1.2
    simulated: float = 0.25
    heads: int = 12
    seed: int = 0


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
    frames = estimate_normalisations(patient.slices, spec)
    drawn: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for example, clear in zip(patient.examples, patient.clear_of_pons(), strict=True):
        if example.pons is None and not (clear and example.tumour_free):
            continue
        with suppress(InputRefusedError):  # blank: there is nothing to learn from
            frame = frames[example.slice.pixels.shape]
            plain = prepare(example.slice, frame, spec).plain
            pons = np.zeros_like(plain)
            if example.pons is not None:
                pons = _on_model_grid(example.pons, cast("Normalisation", frame), spec)
            drawn.append((_coarse(plain), _coarse(pons)))
    return _stacked(drawn, spec)


def simulated_images(recipe: PonsRecipe, spec: Preprocessing) -> PonsImages:
    """Simulate healthy heads; their pons is known in every slice."""
    from gliomart_training.simulation import simulate_head

    drawn = []
    for number in range(recipe.heads):
        head = simulate_head(slices=_SIMULATED_SLICES, size=spec.size, seed=recipe.seed + number)
        slices = [Slice(pixels) for pixels in head.pixels]
        (frame,) = estimate_normalisations(slices, spec).values()
        if isinstance(frame, InputRefusedError):
            raise frame
        areas = head.pons.sum(axis=(1, 2))
        for source, pons, area in zip(slices, head.pons, areas, strict=True):
            if area and area < _PARTIAL * areas.max():
                continue
            with suppress(InputRefusedError):  # the vertex alone
                plain = prepare(source, frame, spec).plain
                mask = crop(pons.astype(np.float32), frame.box, spec.size, 0.0)
                drawn.append((_coarse(plain), _coarse(mask)))
    return _stacked(drawn, spec)


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
        image, pons = _bend(images.plain[number], images.pons[number], self.recipe.bend, random)
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
    keras.utils.set_random_seed(recipe.seed)
    localiser = pons_localiser(spec.size)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(recipe.steps - recipe.steps // 20, 1),
        warmup_target=recipe.learning_rate,
        warmup_steps=recipe.steps // 20,
    )
    localiser.compile(
        optimizer=keras.optimizers.AdamW(
            schedule, weight_decay=recipe.weight_decay, global_clipnorm=1.0
        ),
        loss=keras.losses.BinaryCrossentropy(),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    batches = PonsBatches(marked, simulated, variation, recipe, spec.brain_level)
    watched = _Losses(len(batches))
    localiser.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[watched])
    if not np.isfinite(watched.losses).all():
        raise TrainingError("training the pons localiser diverged: its loss is not finite")
    # Without its optimizer, which a network that is joined with it would carry into its file, and
    # which another backend could not read.
    trained = pons_localiser(spec.size)
    trained.set_weights(localiser.get_weights())
    check_finite(trained, "training the pons localiser diverged: not all weights are numbers")
    parts = np.array_split(watched.losses, min(20, len(watched.losses)))
    return trained, [float(np.mean(part)) for part in parts]


class _Losses(keras.callbacks.Callback):
    """Keeps the loss of every batch, and shows how far the training is."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.losses: list[float] = []
        self._sum = 0.0
        self._bar = tqdm(
            total=batches, desc="pons", unit="batch", leave=False, dynamic_ncols=True,
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


def _bend(
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


def _on_model_grid(pons: Ellipse, frame: Normalisation, spec: Preprocessing) -> NDArray[np.float32]:
    """Draw an ellipse where the model sees it; float32 (size, size), 0 or 1."""
    x, y = np.meshgrid(np.arange(spec.size), np.arange(spec.size))
    grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    points = frame.box.to_source(grid, spec.size) - (pons.cx, pons.cy)
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
