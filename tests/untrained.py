"""Networks that nobody trained, with all outputs that their anomaly map is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart_training import networks
from gliomart_training.batches import PreparedImages
from gliomart_training.network import Learning

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.contents import Slab


def untrained(name: str, spec: Preprocessing) -> keras.Model:
    """Build a network, and settle it on two drawn brains where it lacks what its map is made of."""
    declared = networks.network(name)
    network = declared.build(spec.size, len(spec.channels))
    if declared.outputs <= set(network.output):
        return network
    assert declared.settle is not None
    random = np.random.default_rng(0)
    plain = np.clip(0.4 + 0.05 * random.standard_normal((2, spec.size, spec.size)), 0, 1)
    images = PreparedImages(plain.astype(np.float32), np.ones(plain.shape, bool))
    return declared.settle(network, Learning(images, spec, declared.recipe))


def as_seen(images: NDArray[np.float32], slab: Slab | None) -> NDArray[np.float32]:
    """Make of images (N, H, W, C) what a network is given: slabs of them, each as it is."""
    return images if slab is None else np.stack([images] * slab.seen, axis=1)


def as_given(images: NDArray[np.float32], slab: Slab | None) -> NDArray[np.float32]:
    """Make of images what it is to give."""
    return images if slab is None else np.stack([images] * slab.given, axis=1)
