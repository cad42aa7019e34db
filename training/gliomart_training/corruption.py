"""What a denoising network learns to undo: noise shaped like lesions.

Only ``keras`` and ``keras.ops``. To add a corruption, write a layer and name it in
``CORRUPTIONS``; a corruption is active in training alone and is never part of the exported
network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

# Air stays air: noise is added where the clean image is above this.
_AIR = 0.06
# Noise is smooth: it is drawn on this many points a side and enlarged once, at the end.
_GRID = 64
# Blobs of about 20, 35 and 60 pixels at 256².
_BLOB_CELLS = (12, 7, 4)
# More than a seed generator is asked for in one epoch.
_DRAWS_PER_EPOCH = 1_000_000


class LesionNoise(layers.Layer):
    """Add soft-edged blobs of any size, or coarse noise, inside the head.

    A *blob* is a level set of smooth noise, ``amount · sigmoid((g - t) / softness)``: a few
    lesions of one scale, with a plateau and a soft margin, mottled by a second smooth noise.
    Most of them brighten, as gliomas do on FLAIR. *Coarse noise* is Gaussian noise on a coarse
    grid made smooth (Kascenas et al., MIDL 2022).

    Parameters
    ----------
    seed
        Of all random draws.
    weakest, strongest
        Range of a blob's brightness, in units of the normalised image (the brain lies at 0.4).
    bright
        Fraction of the images whose blobs brighten; the others' darken.
    coarse
        Fraction of the images that get coarse noise instead of blobs.
    coarse_strength
        Standard deviation of coarse noise.
    """

    def __init__(
        self,
        seed: int,
        *,
        weakest: float = 0.04,
        strongest: float = 0.4,
        bright: float = 0.75,
        coarse: float = 0.25,
        coarse_strength: float = 0.15,
    ) -> None:
        super().__init__(name="lesion_noise")
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.weakest, self.strongest, self.bright = weakest, strongest, bright
        self.coarse, self.coarse_strength = coarse, coarse_strength

    def start(self, epoch: int) -> None:
        """Draw an epoch's own noise, whether training was resumed before it or not."""
        self.random.state.assign([self.seed, epoch * _DRAWS_PER_EPOCH])

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: ANN401, D102
        if not training:
            return inputs
        batch, size = ops.shape(inputs)[0], inputs.shape[1]
        noise = ops.where(
            self._uniform(batch) < self.coarse,
            self.coarse_strength * self._smooth(batch, 16),
            self._blobs(batch),
        )
        noise = ops.image.resize(noise, (size, size), interpolation="bilinear")
        # Blurred, so that the noise of the air around the head does not open holes in it.
        blurred = ops.average_pool(inputs[..., :1], 5, strides=1, padding="same")
        head = ops.sigmoid((blurred - _AIR) * 100.0)
        return ops.clip(inputs + noise * head, 0.0, 1.0)

    def _blobs(self, batch: Any) -> Any:  # noqa: ANN401
        scale = self._uniform(batch)
        fine, medium, large = (self._smooth(batch, cells) for cells in _BLOB_CELLS)
        place = ops.where(scale < 1 / 3, fine, ops.where(scale < 2 / 3, medium, large))
        threshold = self._uniform(batch, 0.0, 1.3)
        softness = self._uniform(batch, 0.05, 0.35)
        shape = ops.sigmoid((place - threshold) / softness)
        amount = self._uniform(batch, self.weakest, self.strongest)
        sign = ops.where(self._uniform(batch) < self.bright, 1.0, -1.0)
        mottle = 1.0 + 0.35 * self._smooth(batch, 16)
        return sign * amount * shape * mottle

    def _uniform(self, batch: Any, low: float = 0.0, high: float = 1.0) -> Any:  # noqa: ANN401
        return keras.random.uniform((batch, 1, 1, 1), low, high, seed=self.random)

    def _smooth(self, batch: Any, cells: int) -> Any:  # noqa: ANN401
        """Smooth noise of about unit variance, with ``cells`` independent values a side."""
        coarse = keras.random.normal((batch, cells, cells, 1), seed=self.random)
        return 1.3 * ops.image.resize(coarse, (_GRID, _GRID), interpolation="bicubic")


class NoCorruption(layers.Layer):
    """Leave the image as it is: a plain autoencoder's training."""

    def __init__(self, seed: int) -> None:  # noqa: ARG002
        super().__init__(name="no_corruption")

    def start(self, epoch: int) -> None:
        """Do nothing: there is nothing to draw."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401, D102
        return inputs


CORRUPTIONS: dict[str, Callable[[int], LesionNoise | NoCorruption]] = {
    "cae": NoCorruption,
    "dae": LesionNoise,
}
