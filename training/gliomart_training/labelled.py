"""Slices with their tumour masks, for supervised networks alone.

Such networks are there to be compared with. Whatever saw a mask here, or builds on what did, is
marked in its record and its card, and is never built in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.grid import crop
from gliomart.image.preprocess import stack_channels
from gliomart.image.sampling import evenly_spaced
from gliomart_training.batches import ImageBatches, PreparedImages, prepared_slices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from gliomart.image.grid import Box
    from gliomart.image.steps import Preprocessing
    from gliomart_training.corruption import Plane
    from gliomart_training.patients import Patient


@dataclass(frozen=True)
class LabelledImages(PreparedImages):
    """Prepared slices of whole series.

    Attributes
    ----------
    lesion
        bool (N, size, size): what their masks mark; nothing in slices without one.
    """

    lesion: NDArray[np.bool_]

    @property
    def marked(self) -> int:
        """How many of them a mask marks something in."""
        return int(self.lesion.any(axis=(1, 2)).sum())

    def thinned(self, most: int) -> Self:
        """At most this many of the images, evenly spaced."""
        chosen = evenly_spaced(range(len(self)), most)
        return type(self)(self.plain[chosen], self.brain[chosen], self.lesion[chosen])

    @classmethod
    def joined(cls, parts: Sequence[LabelledImages], size: int) -> Self:
        """Join the images of several patients."""
        prepared = PreparedImages.together(parts, size)
        none = np.empty((0, size, size), bool)
        lesion = np.concatenate([none, *(part.lesion for part in parts)])
        return cls(prepared.plain, prepared.brain, lesion)


def labelled_images(patient: Patient, spec: Preprocessing) -> LabelledImages:
    """Prepare all slices of a patient that show anything, with their masks on the model's grid."""
    prepared = prepared_slices(patient, spec)
    parts = [
        LabelledImages(
            each.input.plain[np.newaxis],
            each.brain[np.newaxis],
            _on_model_grid(each.example.truth(), each.norm.box, spec)[np.newaxis],
        )
        for each in prepared
    ]
    return LabelledImages.joined(parts, spec.size)


def _on_model_grid(truth: NDArray[np.bool_], box: Box, spec: Preprocessing) -> NDArray[np.bool_]:
    return crop(truth.astype(np.float32), box, spec.size, 0.0) >= 0.5  # noqa: PLR2004


class LabelledBatches(ImageBatches):
    """Batches likewise, with a further truth: ``lesion`` (B, side, side, 1), 0 to 1."""

    images: LabelledImages

    def _draw(self, index: int, random: np.random.Generator) -> tuple[Plane, dict[str, Plane]]:
        masks = np.dstack([self.images.brain[index], self.images.lesion[index]])
        image, moved = self.variation.apply(
            self.images.plain[index], masks.astype(np.float32), self.spec.brain_level, random
        )
        window = self._window(random)
        seen = stack_channels(image, self.spec)[window]
        brain, lesion = (moved[window][..., n : n + 1] for n in range(2))
        return seen, {"reconstruction": seen, "brain": brain, "lesion": lesion}
