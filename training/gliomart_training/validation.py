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
from gliomart_training.slabs import around, stacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import Slab
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
        float32 (N, side, side, C), or (N, seen, side, side, C): as a network takes them, without
        and with lesions.
    lesions
        bool (N, side, side): where they are, in the middle of slabs.
    brain
        bool (N, side, side): where pixels count.
    """

    untouched: NDArray[np.float32]
    seen: NDArray[np.float32]
    lesions: NDArray[np.bool_]
    brain: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        images: PreparedImages,
        which: Sequence[int],
        spec: Preprocessing,
        side: int,
        *,
        seed: int,
        slab: Slab | None = None,
    ) -> WithLesions:
        """Put lesions into some of the images, or slabs about them, cut to their middle ``side``.

        Through the slices of a slab a lesion goes on.
        """
        random = np.random.default_rng(seed)
        start = (spec.size - side) // 2
        middle = np.s_[start : start + side, start : start + side]
        untouched, seen, lesions = [], [], []
        for n in which:
            if slab is None:
                plain, brain = images.plain[n], images.brain[n].astype(np.float32)
                changed, where = bright_lesions(plain, brain, random)
                untouched.append(images.input(n, spec)[middle])
                seen.append(images.with_plain(n, changed, spec)[middle])
            else:
                plain, brain = around(images, n, slab)
                changed, where = bright_lesions(plain, brain, random)
                untouched.append(stacked(plain, spec)[:, *middle])
                seen.append(stacked(changed, spec)[:, *middle])
                where = where[slab.seen // 2]
            lesions.append(where[middle])
        brains = images.brain[which][:, *middle]
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

    By what is brighter than its reconstruction, or by what it gives instead of one; in the middle
    of slabs.
    """
    if "reconstruction" not in outputs:
        (name,) = {"lesion", "departure"} & outputs.keys()
        return in_the_middle(outputs[name])[..., 0]
    rebuilt = in_the_middle(outputs["reconstruction"])
    return np.asarray(np.maximum(in_the_middle(images) - rebuilt, 0)[..., 0])


def in_the_middle(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the slice in the middle of slabs (N, D, H, W, C); slices (N, H, W, C) as they are."""
    return values[:, values.shape[1] // 2] if values.ndim == 5 else values  # noqa: PLR2004


def _residuals(network: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate([departures(network.predict_on_batch(part), part) for part in parts])


def _highest(values: NDArray[np.float32]) -> float:
    count = max(round(_TOP_FRACTION * len(values)), 1)
    return float(np.sort(values)[-count:].mean()) if len(values) else 0.0
