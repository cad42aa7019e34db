"""The denoising U-Net with self-attention at its bottom (Vaswani et al., 2017; four heads)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras import layers

from gliomart_training.network import Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor


def attentive_unet(size: int, channels: int) -> keras.Model:
    """Build it."""
    return denoising_unet(size, channels, at_the_bottom=_self_attention)


def _self_attention(x: KerasTensor) -> KerasTensor:
    height, width, filters = x.shape[1:]
    places = layers.LayerNormalization()(layers.Reshape((height * width, filters))(x))
    attended = layers.MultiHeadAttention(num_heads=4, key_dim=filters // 4)(places, places)
    return layers.Add()([x, layers.Reshape((height, width, filters))(attended)])


NETWORK = Network(build=attentive_unet, recipe=Recipe(network="dae-attention"))
