"""The networks, by name. Only ``keras`` and ``keras.ops``: they train on any Keras backend.

Every network takes ``image`` (N, size, size, channels) and gives two outputs: ``reconstruction``,
of the same shape, and ``brain`` (N, size, size, 1) in [0, 1], the probability that a pixel lies in
the brain. The pons localiser is trained by itself and joined to one afterwards. To add a network,
write a function ``(size, channels) -> keras.Model`` and name it in ``NETWORKS``; ``size`` is any
multiple of 32, and the weights fit all of them.

Convolutions with a 1×1 kernel and stride 2 are avoided (their gradient corrupts memory on some
TensorFlow builds), and upsampling is bilinear (it exports to one ONNX node).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

# The pons localiser sees the image at this fraction of its resolution.
PONS_POOLING = 4


def convolutional_autoencoder(size: int, channels: int) -> keras.Model:
    """Convolutional autoencoder with a bottleneck and no skip connections.

    Five stride-2 stages lead to a latent of (size/32)² × 32 values, an eighth of the input's
    pixels at one channel; the decoder mirrors them. What does not fit through is lost: healthy
    texture as well as lesions.
    """
    image = keras.Input((size, size, channels), name="image")
    x = image
    for filters in (16, 32, 64, 96, 128):
        x = _convolution(x, filters, strides=2)
    x = layers.Conv2D(32, 1, name="latent")(x)
    for filters in (96, 64, 32, 16):
        x = _convolution(_upsample(x), filters)
    # Four values per position and channel, dealt out to a 2×2 block.
    subpixels = layers.Conv2D(4 * channels, 3, padding="same", name="subpixels")(x)
    reconstruction = DepthToSpace(name="reconstruction")(subpixels)
    return _model("cae", image, reconstruction, _brain(x, 2))


def denoising_unet(
    size: int, channels: int, *, at_the_bottom: Callable[[Any], Any] = lambda x: x
) -> keras.Model:
    """U-Net that removes what does not belong (Kascenas et al., MIDL 2022).

    It predicts a correction that is added to its input (residual learning, Zhang et al., IEEE TIP
    2017): healthy detail passes as it is, and nothing has to be learned to draw it again. The
    correction is smooth by nature, so everything happens at a quarter of the resolution and below,
    from a stem that sees patches of 8×8 pixels. Skips are added, not concatenated, after a 1×1
    projection. ``at_the_bottom`` goes between encoder and decoder, at 1/32 of the resolution.
    """
    image = keras.Input((size, size, channels), name="image")
    x = _convolution(image, 32, kernel=8, strides=4)
    skips = [x := _convolution(_convolution(x, 32), 32)]
    for filters in (64, 96, 128):
        x = _convolution(layers.AveragePooling2D(2)(x), filters)
        skips.append(x := _convolution(x, filters))
    x = at_the_bottom(x)
    for skip in reversed(skips[:-1]):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = layers.Add()([_upsample(x), layers.Conv2D(filters, 1)(skip)])
        x = _convolution(_convolution(x, filters), filters)
    correction = layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(x)
    reconstruction = layers.Add(name="reconstruction")([image, _upsample(correction, 4)])
    return _model("dae", image, reconstruction, _brain(x, 4))


def attentive_unet(size: int, channels: int) -> keras.Model:
    """Give the denoising U-Net self-attention at its bottom (Vaswani et al., 2017; four heads)."""
    return denoising_unet(size, channels, at_the_bottom=_self_attention)


def pons_localiser(size: int) -> keras.Model:
    """U-Net of a few channels that tells where the pons is, on a quarter of the model's grid.

    Takes ``image`` (N, size / 4, size / 4, 1), the plain channel averaged; gives the probability
    that a pixel is pons, of the same shape. An eighth of the denoising network's operations.
    """
    side = size // PONS_POOLING
    image = keras.Input((side, side, 1), name="image")
    x = _convolution(image, 16)
    skips = [x]
    for filters in (32, 48, 64):
        x = _convolution(layers.AveragePooling2D(2)(x), filters)
        skips.append(x := _convolution(x, filters))
    for skip in reversed(skips[:-1]):
        filters = skip.shape[-1]
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = _convolution(layers.Add()([_upsample(x), skip]), filters)
    logits = layers.Conv2D(1, 3, padding="same", name="logits")(x)
    return keras.Model(image, layers.Activation("sigmoid")(logits), name="pons_localiser")


NETWORKS: dict[str, Callable[[int, int], keras.Model]] = {
    "cae": convolutional_autoencoder,
    "dae": denoising_unet,
    "dae-attention": attentive_unet,
}


def with_pons(network: keras.Model, localiser: keras.Model) -> keras.Model:
    """Give a network a third output, ``pons`` (N, size, size, 1) in [0, 1], and leave it as it is.

    The localiser is a branch of its own: what it learns cannot change what the rest does.
    """
    (image,) = network.inputs
    # By a name of its own: a network read from a file brings the names it was given once.
    coarse = layers.AveragePooling2D(PONS_POOLING, name="pons_pooling")(image[..., :1])
    pons = layers.UpSampling2D(PONS_POOLING, interpolation="bilinear", name="pons")(
        localiser(coarse)
    )
    return keras.Model(image, {**network.output, "pons": pons}, name=network.name)


def _convolution(x: Any, filters: int, *, kernel: int = 3, strides: int = 1) -> Any:  # noqa: ANN401
    x = layers.Conv2D(filters, kernel, strides, padding="same", kernel_initializer="he_normal")(x)
    # Training does not leave the identity without normalisation. An exported graph has it folded
    # into the convolutions.
    x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.ReLU()(x)


def _self_attention(x: Any) -> Any:  # noqa: ANN401
    height, width, filters = x.shape[1:]
    places = layers.LayerNormalization()(layers.Reshape((height * width, filters))(x))
    attended = layers.MultiHeadAttention(num_heads=4, key_dim=filters // 4)(places, places)
    return layers.Add()([x, layers.Reshape((height, width, filters))(attended)])


def _upsample(x: Any, factor: int = 2) -> Any:  # noqa: ANN401
    return layers.UpSampling2D(factor, interpolation="bilinear")(x)


def _brain(x: Any, factor: int) -> Any:  # noqa: ANN401
    """From the last features, ``factor`` times coarser than the image."""
    logits = layers.Conv2D(1, 3, padding="same")(x)
    return layers.Activation("sigmoid", name="brain")(_upsample(logits, factor))


def _model(name: str, image: Any, reconstruction: Any, brain: Any) -> keras.Model:  # noqa: ANN401
    return keras.Model(image, {"reconstruction": reconstruction, "brain": brain}, name=name)


@keras.saving.register_keras_serializable("gliomart")
class DepthToSpace(layers.Layer):
    """Rearrange (N, H, W, 4 C) into (N, 2 H, 2 W, C) (Shi et al., CVPR 2016)."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401, D102
        _, height, width, depth = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, depth // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, depth // 4))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:  # noqa: D102
        batch, height, width, depth = input_shape
        assert height is not None and width is not None and depth is not None  # noqa: PT018, S101
        return (batch, 2 * height, 2 * width, depth // 4)
