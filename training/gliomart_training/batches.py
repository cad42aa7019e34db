"""Tumour-free slices as training batches: prepared once, varied afresh in every epoch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import keras
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.preprocess import Preprocessing, estimate_frames, prepare, stack_channels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from gliomart_training.dataset import Patient


def tumour_free_images(patients: Iterable[Patient], spec: Preprocessing) -> NDArray[np.float32]:
    """Prepare the tumour-free slices of some patients, as the runtime would.

    The frame is estimated on all slices of a patient, as at the scanner; blank ones are left out.

    Returns
    -------
    float32 (N, size, size) in [0, 1]; the plain channel, from which all others are made.
    """
    images = []
    for patient in patients:
        frames = estimate_frames(patient.slices, spec)
        for example in patient.examples:
            if not example.tumour_free:
                continue
            frame = frames[example.slice.pixels.shape]
            with suppress(InputRefusedError):  # blank: there is nothing to learn from
                images.append(prepare(example.slice, frame, spec).plain)
    return np.stack(images) if images else np.empty((0, spec.size, spec.size), np.float32)


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
        Standard deviation of the logarithm of a smooth bias field.
    gain, gamma
        Largest relative change of brightness, and of contrast as an exponent.
    """

    rotation: float = 10.0
    scale: float = 0.12
    shift: float = 0.04
    shading: float = 0.06
    gain: float = 0.12
    gamma: float = 0.15

    def apply(
        self, image: NDArray[np.float32], level: float, random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Vary one image (size, size) in [0, 1]; half of them are mirrored left to right.

        ``level`` is where the brain lies: contrast changes around it, brightness does not.
        """
        size = image.shape[0]
        centre = (size - 1) / 2
        warp = cv2.getRotationMatrix2D(
            (centre, centre),
            random.uniform(-self.rotation, self.rotation),
            1 + random.uniform(-self.scale, self.scale),
        )
        if random.random() < 0.5:  # noqa: PLR2004
            warp = warp @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1]])
        warp[:, 2] += random.uniform(-self.shift, self.shift, 2) * size
        varied = cv2.warpAffine(image, warp, (size, size), flags=cv2.INTER_LINEAR)
        field = random.normal(0, self.shading, (4, 4)).astype(np.float32)
        shading = np.exp(cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC))
        gain = 1 + random.uniform(-self.gain, self.gain)
        gamma = 1 + random.uniform(-self.gamma, self.gamma)
        contrasted = level * (varied / level) ** gamma
        return np.clip(contrasted * shading * gain, 0, 1, dtype=np.float32)


class HealthyBatches(keras.utils.PyDataset):
    """Batches (image, image) of one epoch after another, the same for the same seed.

    Parameters
    ----------
    images
        float32 (N, size, size), from :func:`tumour_free_images`.
    spec
        Says which channels are made of each image.
    batch_size
        Images in a batch; the last, incomplete one of an epoch is dropped when varying.
    seed
        Of order and variation; epoch ``e`` is the same whether training was resumed or not.
    variation
        None gives the images as they are, in order: validation.
    """

    def __init__(
        self,
        images: NDArray[np.float32],
        spec: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        variation: Variation | None,
    ) -> None:
        super().__init__()
        self.images, self.spec = images, spec
        self.batch_size, self.seed, self.variation = batch_size, seed, variation
        self.start(epoch=0)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return max(whole, 1) if self.variation or not rest else whole + 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        random = np.random.default_rng((self.seed, self.epoch, index))
        batch = np.stack([self._image(i, random) for i in chosen])
        return batch, batch

    def start(self, epoch: int) -> None:
        """Take the order and the variations of an epoch."""
        self.epoch = epoch
        self._order = self._shuffle()

    def _image(self, index: int, random: np.random.Generator) -> NDArray[np.float32]:
        plain = self.images[index]
        if self.variation is not None:
            plain = self.variation.apply(plain, self.spec.brain_level, random)
        return stack_channels(plain, self.spec)

    def _shuffle(self) -> NDArray[np.int64]:
        if self.variation is None:
            return np.arange(len(self.images))
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self.images))
