"""Batches of several sequences of one examination, of which some are missing at times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.preprocess import stack_images
from gliomart_training.batches import ImageBatches

if TYPE_CHECKING:
    from gliomart_training.corruption import Plane

# A further sequence is left out this often, each by itself.
_LEFT_OUT = 0.35
# What darkens or brightens the first sequence does the opposite to a further one this often, as
# most lesions do on T1 that are bright on FLAIR; by at most as much.
_OPPOSITE = 0.75


class TogetherBatches(ImageBatches):
    """Batches likewise, of images with further sequences beside the first.

    All sequences are moved alike, and lit each by itself. A lesion lies in all of them at one
    place, with a brightness of its own in each.
    """

    def _draw(self, index: int, random: np.random.Generator) -> tuple[Plane, dict[str, Plane]]:
        assert self.images.beside is not None  # noqa: S101  # nothing else is batched by this
        level = self.spec.brain_level
        moving = np.dstack([self.images.brain[index], self.images.beside[index]])
        image, moved = self.variation.apply(
            self.images.plain[index], moving.astype(np.float32), level, random
        )
        brain = np.ascontiguousarray(moved[..., 0])
        seen, clean = self.corruption(image, brain, random)
        changed = seen - clean
        all_seen: list[Plane | None] = [seen]
        all_clean: list[Plane | None] = [clean]
        for number in range(1, moved.shape[-1]):
            further = np.ascontiguousarray(moved[..., number])
            if random.random() < _LEFT_OUT or not further.any():
                all_seen.append(None)
                all_clean.append(None)
                continue
            healthy = self.variation.relit(further, level, random)
            sign = -1 if random.random() < _OPPOSITE else 1
            amount = np.float32(sign * random.random())
            all_seen.append(np.clip(healthy + amount * changed, 0, 1, dtype=np.float32))
            all_clean.append(healthy)
        window = self._window(random)
        return stack_images(all_seen, self.spec)[window], {
            "reconstruction": stack_images(all_clean, self.spec)[window],
            "brain": brain[window][..., np.newaxis],
        }
