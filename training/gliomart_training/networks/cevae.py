"""Context-encoding variational autoencoder on tissue classes (StRegA).

Chatterjee et al., *StRegA: unsupervised anomaly detection in brain MRIs using a compact
context-encoding variational autoencoder*, Computers in Biology and Medicine 2022; Zimmerer et al.,
*Context-encoding variational autoencoder for unsupervised anomaly detection*, 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from gliomart.image.preprocess import stack_channels
from gliomart_training.healthy import HEALTHY, with_healthy_residual
from gliomart_training.layers import brain_output, convolution, upsample
from gliomart_training.network import Loss, Network, on_cells, usual_losses
from gliomart_training.recipe import Recipe
from gliomart_training.residual import ScaledResidual

if TYPE_CHECKING:
    from keras import KerasTensor
    from numpy.typing import NDArray

    from gliomart_training.network import Learning

    Shape = tuple[int | None, ...]

# The autoencoder works on cells of this many pixels a side; tissue is told on smaller ones.
_CELL, _TISSUE_CELL = 4, 2
_FILTERS = (24, 32, 64, 96)
_LATENT = 32
# Where the means of tissues begin: fluid, white and grey matter.
_TISSUES = (0.2, 0.38, 0.44)
# The class that is brighter than tissue lies this many spreads above the brightest one.
_BRIGHTER = 3.0
# Steps of expectation-maximisation, and images and pixels that it sees at most.
_STEPS, _IMAGES, _PIXELS = 40, 100, 20_000
_LEAST_SPREAD = 0.01
# A squared error is a log-likelihood at a spread of 0.05; the other terms are weighted beside it.
_SQUARED, _BRAIN, _DIVERGENCE = 200.0, 0.3, 0.05
# What is brighter counts as this: how bright fat is would take up most of the squared error.
_BRIGHTEST = 0.7


def context_vae(size: int, channels: int, *, tissue: bool = True) -> keras.Model:
    """Build it.

    Brightness at half the resolution becomes probabilities of four classes: fluid, white and grey
    matter, and what is brighter. They are those of Gaussians of one spread, which a 1×1 convolution
    and a softmax give. The autoencoder draws the classes at a quarter of the resolution through
    (size/32)² × 32 latent values, and the reconstruction is the brightness that they have on
    average. Without ``tissue`` it draws brightness itself.
    """
    image = keras.Input((size, size, channels), name="image")
    if tissue:
        fine = layers.AveragePooling2D(_TISSUE_CELL)(image)
        classes = _frozen(len(_TISSUES) + 1, name="tissue", use_bias=True)(fine)
        cells = layers.AveragePooling2D(_CELL // _TISSUE_CELL, name="cells")(
            layers.Activation("softmax")(classes)
        )
    else:
        cells = layers.AveragePooling2D(_CELL, name="cells")(image)
    latent = Sampled(_DIVERGENCE, name="latent")(_encoded(cells))
    x = convolution(latent, _FILTERS[-1])
    for filters in reversed(_FILTERS[:-1]):
        x = convolution(upsample(x), filters)
    drawn = layers.Conv2D(cells.shape[-1], 3, padding="same", name="drawn")(x)
    if tissue:
        drawn = _frozen(channels, name="brightness")(layers.Activation("softmax")(drawn))
    enlarge = layers.UpSampling2D(_CELL, interpolation="bilinear", name="reconstruction")
    reconstruction = enlarge(drawn)
    outputs = {"reconstruction": reconstruction, "brain": brain_output(x, _CELL)}
    return keras.Model(image, outputs, name="cevae" if tissue else "cevae-plain")


def _frozen(filters: int, *, name: str, use_bias: bool = False) -> layers.Conv2D:
    """Make a 1×1 convolution whose weights :func:`tell_tissues` sets."""
    return layers.Conv2D(filters, 1, use_bias=use_bias, trainable=False, name=name)


def _encoded(x: KerasTensor) -> list[KerasTensor]:
    """Make mean and logarithm of the variance of latent values, (N, H / 8, W / 8, 32) each."""
    x = convolution(x, _FILTERS[0])
    for filters in _FILTERS[1:]:
        x = convolution(layers.AveragePooling2D(2)(x), filters)
    x = convolution(x, _FILTERS[-1])
    mean = layers.Conv2D(_LATENT, 1, name="mean")(x)
    log_variance = layers.Conv2D(_LATENT, 1, kernel_initializer="zeros", name="log_variance")(x)
    return [mean, log_variance]


@keras.saving.register_keras_serializable("gliomart")
class Sampled(layers.Layer):
    """Draw latent values while training, and take their mean afterwards.

    Their distribution's divergence from the standard normal one (Kingma and Welling, 2014), per
    cell of the encoder's input, is added to the loss with a weight.
    """

    def __init__(self, weight: float, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.weight, self.seeds = weight, keras.random.SeedGenerator()

    def call(self, inputs: list[KerasTensor], *, training: bool = False) -> KerasTensor:  # noqa: D102
        mean, log_variance = inputs
        divergence = (mean**2 + ops.exp(log_variance) - log_variance - 1) / 2
        cells = 4 ** (len(_FILTERS) - 1)
        self.add_loss(self.weight / cells * ops.mean(ops.sum(divergence, axis=-1)))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return mean + ops.exp(log_variance / 2) * noise

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:  # noqa: D102
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {**super().get_config(), "weight": self.weight}


def losses(recipe: Recipe) -> dict[str, Loss]:
    """Hold the reconstruction to healthy brightness, as a likelihood beside the divergence."""
    reconstruction = Loss(on_cells(_squared_error, recipe.cell), _SQUARED)
    return usual_losses(recipe) | {"reconstruction": reconstruction}


def _squared_error(truth: KerasTensor, output: KerasTensor) -> KerasTensor:
    return keras.losses.mean_squared_error(ops.minimum(truth, _BRIGHTEST), output)


def told_what_is_left(trained: keras.Model, learning: Learning) -> keras.Model:
    """Tell from the decoder's last features what healthy images leave."""
    return with_healthy_residual(trained, trained.get_layer("drawn").input, learning)


def tell_tissues(network: keras.Model, learning: Learning) -> None:
    """Set the classes by the brains of healthy images; nobody has to outline tissue."""
    means, spread, shares = mixture(_brain_pixels(learning))
    means = np.vstack([means, means[-1] + _BRIGHTER * spread])
    shares = np.append(shares, shares[-1])
    offsets = np.log(shares) - (means**2).sum(axis=1) / (2 * spread**2)
    network.get_layer("tissue").set_weights([(means / spread**2).T[None, None], offsets])
    network.get_layer("brightness").set_weights([means[None, None]])


def _brain_pixels(learning: Learning) -> NDArray[np.float64]:
    """Take pixels of brains, (N, C), evenly spaced, as fine as tissue is told."""
    images = learning.images.thinned(_IMAGES)
    stacked = np.stack([stack_channels(plain, learning.spec) for plain in images.plain])
    brain = images.brain[..., np.newaxis].astype(np.float32)
    pixels, inside = (
        ops.convert_to_numpy(ops.average_pool(planes, _TISSUE_CELL)) for planes in (stacked, brain)
    )
    found = pixels[inside[..., 0] > 0.5].astype(np.float64)  # noqa: PLR2004
    return found[:: max(len(found) // _PIXELS, 1)]


def mixture(pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Fit a Gaussian to each tissue by expectation-maximisation; all have the same spread.

    Parameters
    ----------
    pixels
        (N, C), of brains; there may be none.

    Returns
    -------
    means, spread, shares
        (3, C), the darkest first; a standard deviation; (3,), which sum to 1.
    """
    count, channels = pixels.shape
    begin = np.repeat(np.array(_TISSUES)[:, np.newaxis], channels, axis=1)
    means, spread, shares = begin, 0.05, np.full(len(begin), 1 / len(begin))
    for _ in range(_STEPS):
        squared = ((pixels[:, np.newaxis] - means) ** 2).sum(axis=-1)
        logits = np.log(shares) - squared / (2 * spread**2)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        # A pixel of its own in every class: none is ever empty.
        sums = weights.sum(axis=0) + 1
        means = (weights.T @ pixels + begin) / sums[:, np.newaxis]
        shares = sums / sums.sum()
        variance = (weights * squared).sum() / max(count * channels, 1)
        spread = max(float(np.sqrt(variance)), _LEAST_SPREAD)
    order = np.argsort(means[:, 0])
    return means[order], spread, shares[order]


RECIPE = Recipe(
    network="cevae",
    corruption="context",
    # Later epochs draw finer detail, that of lesions as well.
    epochs=8,
    learning_rate=3e-3,
    brain_weight=_BRAIN,
    residual=ScaledResidual(),
)
NETWORK = Network(
    build=context_vae,
    recipe=RECIPE,
    losses=losses,
    outputs=frozenset({HEALTHY}),
    start=tell_tissues,
    settle=told_what_is_left,
)
