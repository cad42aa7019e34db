"""A plain supervised U-Net (Ronneberger et al., 2015), of the default network's size.

It learns from tumour masks, to be compared with, and is never built in.
"""

from __future__ import annotations

import keras

from gliomart_training.layers import brain_output
from gliomart_training.network import Network
from gliomart_training.networks.dae import unet
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Marked
from gliomart_training.supervised import lesion_output, losses_of_masks


def segmenting_unet(size: int, channels: int) -> keras.Model:
    """Build it: the trunk of the denoising network, with lesions in place of a correction."""
    image = keras.Input((size, size, channels), name="image")
    x = unet(image)
    outputs = {"lesion": lesion_output(x), "brain": brain_output(x, 4)}
    return keras.Model(image, outputs, name="unet")


NETWORK = Network(
    build=segmenting_unet,
    recipe=Recipe(network="unet", corruption="none", brain_weight=0.1, residual=Marked()),
    losses=losses_of_masks,
    outputs=frozenset({"lesion"}),
    supervised=True,
)
