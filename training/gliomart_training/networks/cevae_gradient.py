"""The same autoencoder scored by residual times gradient of the divergence (Zimmerer et al., 2018).

Where a small change of the image would make its latent values less usual, the image is unusual. The
encoder's backward pass is written out, so that it stands in the exported graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers, ops

from gliomart_training.networks import cevae
from gliomart_training.residual import ScaledResidual, constant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keras import KerasTensor
    from numpy.typing import NDArray

    from gliomart_training.network import Learning


@dataclass(frozen=True)
class GradientResidual(ScaledResidual):
    """A residual in units of the usual one's spread, multiplied by the divergence's gradient.

    Attributes
    ----------
    usual_gradient
        Gradient at which the map is in units of the normalised image.
    """

    usual_gradient: float = 1.0

    def weight(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Count a residual by the output ``divergence_gradient`` (N, H, W, 1)."""
        gradient = outputs["divergence_gradient"] / constant(self.usual_gradient)
        return super().weight(image, outputs) * gradient


# A rectifier passes its gradient in part below this activation: rounding does not switch it.
_SOFT = 1e-3


@keras.saving.register_keras_serializable("gliomart")
class LatentGradient(layers.Layer):
    """Derive the divergence by means and logarithms of variances; (N, H, W, 2 L)."""

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:  # noqa: D102
        mean, log_variance = inputs
        return ops.concatenate([mean, (ops.exp(log_variance) - 1) / 2], axis=-1)


@keras.saving.register_keras_serializable("gliomart")
class Rectified(layers.Layer):
    """Pass a gradient where a rectifier's activation is above zero."""

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:  # noqa: D102
        gradient, activation = inputs
        return gradient * ops.minimum(activation / _SOFT, 1.0)


@keras.saving.register_keras_serializable("gliomart")
class Magnitude(layers.Layer):
    """Add the absolute values of all channels; (N, H, W, 1)."""

    def call(self, inputs: KerasTensor) -> KerasTensor:  # noqa: D102
        return ops.sum(ops.abs(inputs), axis=-1, keepdims=True)


def with_gradient(trained: keras.Model, learning: Learning) -> keras.Model:
    """Give a trained network the output ``divergence_gradient`` (N, size, size, 1).

    It is the magnitude of the gradient of the latent values' divergence by the encoder's input.
    """
    coarse = Magnitude()(divergence_gradient(trained))
    factor = trained.input_shape[1] // coarse.shape[1]
    name = "divergence_gradient"
    enlarged = layers.UpSampling2D(factor, interpolation="bilinear", name=name)(coarse)
    outputs = {**cevae.told_what_is_left(trained, learning).output, name: enlarged}
    return keras.Model(trained.input, outputs, name="cevae-gradient")


def divergence_gradient(network: keras.Model) -> KerasTensor:
    """Derive the summed divergence of latent values by the encoder's input; a tensor of its shape.

    The encoder's convolutions have stride 1 and an odd kernel: each backward step is one as well,
    with the kernel turned round, and with the normalisation that followed it folded in.
    """
    heads = [network.get_layer(name) for name in ("mean", "log_variance")]
    gradient = LatentGradient()([head.output for head in heads])
    turned = [np.swapaxes(head.get_weights()[0], 2, 3) for head in heads]
    gradient = _convolved(gradient, np.concatenate(turned, axis=2))
    scale, share = np.ones(1, np.float32), 1.0
    for layer in _backwards(network, heads[0].input):
        if isinstance(layer, layers.ReLU):
            gradient = Rectified()([gradient, layer.output])
        elif isinstance(layer, layers.BatchNormalization):
            gamma, _, _, variance = layer.get_weights()
            scale = gamma / np.sqrt(variance + layer.epsilon)
        elif isinstance(layer, layers.Conv2D):
            kernel, share = layer.get_weights()[0] * scale * share, 1.0
            gradient = _convolved(gradient, np.swapaxes(kernel[::-1, ::-1], 2, 3))
        else:  # a mean of 2×2: each has a quarter of its gradient, which the next kernel takes
            gradient, share = layers.UpSampling2D(2)(gradient), 0.25
    return gradient


def _backwards(network: keras.Model, last: KerasTensor) -> Iterator[layers.Layer]:
    """Go through the encoder's layers from the one that gives ``last`` to the first."""
    givers = {id(layer.output): layer for layer in network.layers}
    while (layer := givers[id(last)]).name != "cells":
        yield layer
        last = layer.input


def _convolved(x: KerasTensor, kernel: NDArray[np.float32]) -> KerasTensor:
    layer = layers.Conv2D(
        kernel.shape[-1], kernel.shape[:2], padding="same", use_bias=False, trainable=False
    )
    convolved = layer(x)
    layer.set_weights([kernel])
    return convolved


NETWORK = replace(
    cevae.NETWORK,
    recipe=replace(
        cevae.RECIPE,
        network="cevae-gradient",
        residual=GradientResidual(),
    ),
    outputs=cevae.NETWORK.outputs | {"divergence_gradient"},
    settle=with_gradient,
)
