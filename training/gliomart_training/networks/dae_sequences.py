"""The default network, trained on FLAIR, with what T1 of the same examination tells beside it.

Where T1 shows usual tissue, what is bright on FLAIR counts less, and where it does not, more.
Nothing is learned for that, so that FLAIR by itself is seen as the network sees it which this one
is built on, and calibrated by itself. How much more was set so that tumour-free slices of held-out
training patients reach as high with T1 as without: its thresholds serve both.

A network that was taught FLAIR, T1 and T1 with contrast together, of which some were left out at
random, reconstructed FLAIR worse than one that was taught FLAIR alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
from keras import layers, ops

from gliomart_training.network import Bases, Network
from gliomart_training.networks.dae import denoising_unet
from gliomart_training.recipe import Recipe
from gliomart_training.residual import Residual, constant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras import KerasTensor

    from gliomart_training.network import Learning

_T1, _T1C = 1, 2


@dataclass(frozen=True)
class BesideT1(Residual):
    """A residual that counts less where T1 shows usual tissue, and more where it does not.

    Most of what is bright on FLAIR and a lesion is dark on T1; what is bright on FLAIR alone often
    is none (plexus, flow, cortex, the edge of coils). T1 decides where there is one, and T1 with
    contrast elsewhere, on which an enhancing lesion is bright. A pixel at which a sequence is 0 is
    one that it does not show.

    Attributes
    ----------
    dark_at, dark_width
        Step of the brightness below which T1 counts as dark; usual brain is at 0.4.
    enhancing_at
        T1 with contrast counts as enhancing above this, by a step of the same width.
    least
        What usual tissue counts by, in (0, 1], beside what is dark.
    t1_gain, t1c_gain
        What everything is multiplied by where T1, or T1 with contrast, decides.
    """

    dark_at: float = 0.33
    dark_width: float = 0.05
    enhancing_at: float = 0.75
    least: float = 0.1
    t1_gain: float = 4.0
    t1c_gain: float = 2.8

    def __post_init__(self) -> None:
        """See that the options make a map.

        Raises
        ------
        ValueError
            They do not.
        """
        super().__post_init__()
        if not (self.dark_width > 0 and 0 < self.least <= 1):
            raise ValueError("the step has to be wider than 0, and the least above 0, up to 1")
        if not min(self.t1_gain, self.t1c_gain) > 0:
            raise ValueError("gains are above 0")

    def weight(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Tell how much a residual counts, (N, H, W, 1)."""
        return super().weight(image, outputs) * self.beside(image)

    def beside(self, image: KerasTensor) -> KerasTensor:
        """Tell by what a residual counts for other sequences, (N, H, W, 1) above 0."""
        t1, t1c = image[..., _T1 : _T1 + 1], image[..., _T1C : _T1C + 1]
        enhancing = self._step(t1c - constant(self.enhancing_at))
        by_t1 = self._counted(self._dark(t1), self.t1_gain)
        by_t1c = self._counted(ops.maximum(self._dark(t1c), enhancing), self.t1c_gain)
        one = constant(1.0)
        # The sign is 0 where a sequence shows nothing.
        otherwise = one + ops.sign(t1c) * (by_t1c - one)
        return otherwise + ops.sign(t1) * (by_t1 - otherwise)

    def _dark(self, image: KerasTensor) -> KerasTensor:
        return self._step(constant(self.dark_at) - image)

    def _step(self, above: KerasTensor) -> KerasTensor:
        return ops.sigmoid(above / constant(self.dark_width))

    def _counted(self, unusual: KerasTensor, gain: float) -> KerasTensor:
        return constant(gain * self.least) + constant(gain * (1 - self.least)) * unusual


def untrained(size: int, channels: int) -> keras.Model:
    """Build it upon a network that knows nothing, in the place of the one that a run brings."""
    return beside(denoising_unet(size, 1), channels)


def beside(base: keras.Model, channels: int) -> keras.Model:
    """Give a network of one image further ones, which it does not look at."""
    image = keras.Input((*base.input_shape[1:3], channels), name="image")
    given = base(image[..., :1])
    reconstruction = layers.Concatenate(name="reconstruction")(
        [given["reconstruction"], image[..., 1:]]
    )
    # By a layer, so that the output is called as what it gives.
    brain = layers.Activation("linear", name="brain")(given["brain"])
    outputs = {"reconstruction": reconstruction, "brain": brain}
    return keras.Model(image, outputs, name="dae-sequences")


def _upon_base(network: keras.Model, learning: Learning) -> keras.Model:
    (base,) = learning.bases
    (_, _, _, channels) = network.input_shape
    return beside(base.network, channels)


NETWORK = Network(
    build=untrained,
    recipe=Recipe(network="dae-sequences", residual=BesideT1()),
    losses=lambda _: {},
    layers=frozenset({"Concatenate"}),
    bases=Bases("encoder", 1, 1),
    settle=_upon_base,
    companions=("T1", "T1C"),
)
