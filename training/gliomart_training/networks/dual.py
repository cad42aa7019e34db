"""Two autoencoders with different views of an image, and how far both find patches of it to depart.

After Aswani and Menaka (BMC Medical Imaging, 2021), who reduce the features of two autoencoders by
a singular value decomposition and tell tumour from brain by them. Made for one class: the
classifier knows healthy patches and what lesions put into them change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import keras
from keras import layers

from gliomart_training.layers import DepthToSpace, brain_output, convolution, upsample
from gliomart_training.network import Network
from gliomart_training.patches import departure, tell_apart
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Departure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras import KerasTensor

    from gliomart_training.network import Learning

_COARSER = 4
# That features of both are reduced to.
_DIRECTIONS = 24


class _Autoencoder(NamedTuple):
    """Features of each stage of its encoder, the last of its decoder, and what it rebuilds."""

    stages: list[KerasTensor]
    last: KerasTensor
    rebuilt: KerasTensor


def dual_autoencoder(size: int, channels: int) -> keras.Model:
    """Build it.

    With two channels, plain and equalised, each autoencoder sees one of them. With one, the first
    sees the image at a quarter of its resolution, and the second what that leaves out; what both
    rebuild is added.
    """
    image = keras.Input((size, size, channels), name="image")
    if channels == 1:
        small = layers.AveragePooling2D(_COARSER)(image)
        detail = layers.Subtract()([image, upsample(small, _COARSER)])
        first = _autoencoder(small, (48, 64, 96))
        second = _autoencoder(detail, (16, 32, 64))
        rebuilt = [upsample(first.rebuilt, _COARSER), second.rebuilt]
        reconstruction = layers.Add(name="reconstruction")(rebuilt)
        scales = [*second.stages[1:], *first.stages[:2]]
    else:
        first, second = (
            _autoencoder(image[..., n : n + 1], (16, 32, 64, 96)) for n in range(channels)
        )
        rebuilt = [first.rebuilt, second.rebuilt]
        reconstruction = layers.Concatenate(name="reconstruction")(rebuilt)
        scales = [*first.stages[1:3], *second.stages[1:3]]
        scales.sort(key=lambda scale: -scale.shape[1])
    outputs = {
        "reconstruction": reconstruction,
        "departure": departure(scales, size // scales[0].shape[1]),
        "brain": brain_output(first.last, size // first.last.shape[1]),
    }
    return keras.Model(image, outputs, name="dual")


def _autoencoder(view: KerasTensor, filters: Sequence[int]) -> _Autoencoder:
    """Build one for a view (N, height, width, 1): a stage for each number of filters."""
    x, stages = view, []
    for count in filters:
        x = convolution(x, count, strides=2)
        stages.append(x)
    x = layers.Conv2D(filters[0], 1)(x)
    for count in reversed(filters[:-1]):
        x = convolution(upsample(x), count)
    subpixels = layers.Conv2D(4, 3, padding="same")(x)
    return _Autoencoder(stages, x, DepthToSpace()(subpixels))


def _telling(trained: keras.Model, learning: Learning) -> keras.Model:
    tell_apart(trained, learning, _DIRECTIONS)
    return trained


NETWORK = Network(
    build=dual_autoencoder,
    recipe=Recipe(network="dual", corruption="none", cell=1, residual=Departure()),
    layers=frozenset({"Concatenate", "Subtract"}),
    outputs=frozenset({"departure"}),
    settle=_telling,
)
