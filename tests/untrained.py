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
    from gliomart_training.network import Network


def untrained(name: str, spec: Preprocessing) -> keras.Model:
    """Build a network, and settle it on two drawn brains where it lacks what its map is made of."""
    declared = networks.network(name)
    network = declared.build(spec.size, declared.depth(spec))
    if declared.outputs <= set(network.output):
        return network
    assert declared.settle is not None
    random = np.random.default_rng(0)
    plain = np.clip(0.4 + 0.05 * random.standard_normal((2, spec.size, spec.size)), 0, 1)
    images = PreparedImages(plain.astype(np.float32), np.ones(plain.shape, bool))
    return declared.settle(network, Learning(images, spec, declared.recipe))


def as_seen(images: NDArray[np.float32], declared: Network) -> NDArray[np.float32]:
    """Make of images (N, H, W, C) what a network is given: every sequence, and slabs, of them."""
    seen = np.tile(images, 1 + len(declared.companions))
    return seen if declared.slab is None else np.stack([seen] * declared.slab.seen, axis=1)


def as_given(images: NDArray[np.float32], declared: Network) -> NDArray[np.float32]:
    """Make of images (N, H, W, C) what it is to give, for each slice of a slab."""
    return images if declared.slab is None else np.stack([images] * declared.slab.given, axis=1)
