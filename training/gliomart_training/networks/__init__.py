"""The networks: every file of this folder is one, and is called as the network is.

To add a network, add a file whose ``NETWORK`` is a :class:`gliomart_training.network.Network`. The
commands then know it, and the tests of all networks test it. Only ``keras`` and ``keras.ops``: a
network trains on any Keras backend.

Convolutions with a 1×1 kernel and stride 2 are avoided (their gradient corrupts memory on some
TensorFlow builds), and upsampling is bilinear (it exports to one ONNX node).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gliomart_training.network import Network


def names() -> tuple[str, ...]:
    """List the networks, without importing Keras."""
    return tuple(sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules(__path__)))


def network(name: str) -> Network:
    """Import what a network declares; Keras then knows its layers.

    Raises
    ------
    KeyError
        There is no network of this name.
    """
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    declared: Network = module.NETWORK
    return declared


def every_network() -> dict[str, Network]:
    """Import all networks, by name."""
    return {name: network(name) for name in names()}
