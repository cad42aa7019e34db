"""Whether a network in training finds lesions put into slices that it is not trained on.

This tells whether learning goes on. It is no measure of how well tumours are found: the lesions are
of the kind that training itself puts in, see :mod:`.corruption`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.model.contents import Scoring
from gliomart_training.corruption import bright_lesions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_training.batches import PreparedImages

# A slice's score is the mean of this fraction of its brain's pixels, the highest.
_TOP_FRACTION = Scoring().top_fraction
_AT_ONCE = 16


@dataclass(frozen=True)
class WithLesions:
    """Tumour-free slices, as they are and with simulated lesions.

    Attributes
    ----------
    untouched, seen
        float32 (N, side, side, C): as a network takes them, without and with lesions.
    lesions
        bool (N, side, side): where they are.
    brain
        bool (N, side, side): where pixels count.
    """

    untouched: NDArray[np.float32]
    seen: NDArray[np.float32]
    lesions: NDArray[np.bool_]
    brain: NDArray[np.bool_]

    @classmethod
    def of(cls, images: PreparedImages, spec: Preprocessing, side: int, seed: int) -> WithLesions:
        """Put lesions into images, and cut all to their middle ``side`` pixels."""
        random = np.random.default_rng(seed)
        start = (spec.size - side) // 2
        middle = np.s_[start : start + side, start : start + side]
        untouched, seen, lesions = [], [], []
        for n, (plain, brain) in enumerate(zip(images.plain, images.brain, strict=True)):
            changed, where = bright_lesions(plain, brain.astype(np.float32), random)
            untouched.append(images.input(n, spec)[middle])
            seen.append(images.with_plain(n, changed, spec)[middle])
            lesions.append(where[middle])
        brains = images.brain[:, middle[0], middle[1]]
        return cls(np.stack(untouched), np.stack(seen), np.stack(lesions), brains)

    def average_precision(self, network: keras.Model) -> float:
        """Rank all pixels of all brains by what a network takes away; NaN without lesions."""
        residuals = _residuals(network, self.seen)[self.brain]
        return average_precision(residuals, self.lesions[self.brain])

    def scores(self, network: keras.Model) -> dict[str, list[float]]:
        """Score every slice, without and with its lesions."""
        return {
            name: [
                round(_highest(residual[brain]), 6)
                for residual, brain in zip(_residuals(network, images), self.brain, strict=True)
            ]
            for name, images in (("untouched", self.untouched), ("with lesions", self.seen))
        }


def average_precision(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Mean precision at every positive; (N,) each.

    As scikit-learn defines it, but for ties; the extra ``training`` does without it.
    """
    if not positive.any():
        return float("nan")
    found = positive[np.argsort(-scores, kind="stable")]
    precision = found.cumsum() / np.arange(1, len(found) + 1)
    return float(precision[found].mean())


def departures(
    outputs: Mapping[str, NDArray[np.float32]], images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Tell how far images depart from what a network knows; (N, side, side), 0 or above.

    By what is brighter than its reconstruction, or by what it gives instead of one.
    """
    if "reconstruction" not in outputs:
        (name,) = {"lesion", "departure"} & outputs.keys()
        return outputs[name][..., 0]
    return np.asarray(np.maximum(images[..., 0] - outputs["reconstruction"][..., 0], 0))


def _residuals(network: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate([departures(network.predict_on_batch(part), part) for part in parts])


def _highest(values: NDArray[np.float32]) -> float:
    count = max(round(_TOP_FRACTION * len(values)), 1)
    return float(np.sort(values)[-count:].mean()) if len(values) else 0.0
