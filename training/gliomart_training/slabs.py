"""Neighbouring slices of tumour-free series as training batches, for networks that see slabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from gliomart.image.preprocess import stack_channels
from gliomart.model.contents import ANOMALY_MAP
from gliomart_training.batches import ImageBatches
from gliomart_training.network import slices_apart
from gliomart_training.networks import network
from gliomart_training.residual import AcrossSlices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras import KerasTensor
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import Slab
    from gliomart_training.batches import PreparedImages
    from gliomart_training.corruption import Plane
    from gliomart_training.residual import AnomalyMap

# This fraction of slabs is of slices as they were scanned; of the others the step is this part of
# the series' own, at least and at most, and what lies between two slices is between them.
_AS_SCANNED, _STEP = 0.4, (0.3, 1.4)


def around(
    images: PreparedImages, index: int, slab: Slab, step: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Take the slices about one of some images, as far as they follow on each other.

    Parameters
    ----------
    index
        Of the image in the middle.
    step
        Between slices, in those of the series; slices in between are interpolated.

    Returns
    -------
    Images and their brains, float32 (seen, size, size) each. Beyond the ends of the series, and
    where a slice is missing, the last one stands.
    """
    first, last = _row(images, index)
    places = index + step * (np.arange(slab.seen) - slab.seen // 2)
    places = np.clip(places, first, last)
    below = places.astype(int)
    above = np.minimum(below + 1, last)
    share = (places - below).astype(np.float32)[:, np.newaxis, np.newaxis]
    plain, brain = (
        (1 - share) * planes[below] + share * planes[above]
        for planes in (images.plain, images.brain)
    )
    return plain.astype(np.float32), brain.astype(np.float32)


def stacked(planes: Plane, spec: Preprocessing) -> NDArray[np.float32]:
    """Make of slices (D, H, W) what a network takes of them, (D, H, W, channels)."""
    return np.stack([stack_channels(plane, spec) for plane in planes])


def with_map(
    residual: AnomalyMap, image: KerasTensor, outputs: Mapping[str, KerasTensor]
) -> dict[str, KerasTensor]:
    """Add the anomaly map to a network's outputs of images, or of slabs.

    Parameters
    ----------
    image
        (N, H, W, C), or (N, D, H, W, C).
    outputs
        (N, H, W, any) each, or (N, R, H, W, any) in the middle of slabs.

    Returns
    -------
    They and ``anomaly_map`` (N, H, W, 1); of slabs, as many in the middle as the map is known for.
    """
    brain = outputs["brain"]
    if len(brain.shape) != 5:  # noqa: PLR2004
        return {**outputs, ANOMALY_MAP: residual.anomaly_map(image, outputs)}
    _, given, *size, _ = brain.shape
    apart = {name: slices_apart(values) for name, values in outputs.items()}
    maps = residual.anomaly_map(slices_apart(_middle(image, given)), apart)
    maps = ops.reshape(maps, (-1, given, *size, 1))
    if isinstance(residual, AcrossSlices):
        maps = residual.across_slices(maps, outputs.get("pons"))
    known = {name: _middle(values, maps.shape[1]) for name, values in outputs.items()}
    return {**known, ANOMALY_MAP: maps}


def _middle(slabs: KerasTensor, depth: int) -> KerasTensor:
    first = (slabs.shape[1] - depth) // 2
    return slabs[:, first : first + depth]


def _row(images: PreparedImages, index: int) -> tuple[int, int]:
    """Find the first and the last image of those that follow on each other about one."""
    first = last = index
    if images.follows is not None:
        while images.follows[first]:
            first -= 1
        while last + 1 < len(images) and images.follows[last + 1]:
            last += 1
    return first, last


class SlabBatches(ImageBatches):
    """Batches likewise: slabs (B, seen, side, side, channels), and truths for their middle.

    An epoch is as many slabs as it takes to give every image once, about images drawn at random.
    """

    @property
    def slab(self) -> Slab:
        """What the network of the recipe sees."""
        slab = network(self.network).slab
        assert slab is not None  # noqa: S101  # others are taught slice by slice
        return slab

    def __len__(self) -> int:
        return max(len(self.images) // (self.batch_size * self.slab.given), 1)

    def _draw(self, index: int, random: np.random.Generator) -> tuple[Plane, dict[str, Plane]]:
        step = 1.0
        if random.random() >= _AS_SCANNED:
            step = float(np.exp(random.uniform(*np.log(_STEP))))
        plain, brain = around(self.images, index, self.slab, step)
        if random.random() < 0.5:  # noqa: PLR2004  # nothing says which end of a series is up
            plain, brain = plain[::-1], brain[::-1]
        plain, brain = self.variation.apply(plain, brain, self.spec.brain_level, random)
        seen, clean = self.corruption(plain, brain, random)
        rows, columns = self._window(random)
        context = self.slab.context
        middle = np.s_[context : context + self.slab.given, rows, columns]
        return stacked(seen[:, rows, columns], self.spec), {
            "reconstruction": stacked(clean[middle], self.spec),
            "brain": brain[middle][..., np.newaxis],
        }
