"""Anomaly maps that tell lesions by their extent: specks go, gaps within lesions close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras import ops

from gliomart_training.residual import Residual, constant, smoothed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras import KerasTensor


@dataclass(frozen=True)
class MorphologicalResidual(Residual):
    """A residual in units of how far healthy images scatter there, opened and closed.

    Outputs of a network that this looks at where there are such: ``expected`` (N, H, W, 2 C), whose
    second half is the spread of healthy brightness about the reconstruction, and
    ``divergence_gradient`` (N, H, W, 1).

    Attributes
    ----------
    least_spread
        What is added to every spread, in units of the normalised image.
    gradient_power
        Of the divergence's gradient, by which the residual is multiplied (Zimmerer et al., 2018,
        with 1); with 0 it does not count.
    speck_px, gap_px
        Sides of the squares that the map is opened and then closed with, odd numbers of pixels:
        what is narrower than the first goes, a gap that is narrower than the second closes.
    """

    least_spread: float = 0.03
    gradient_power: float = 0.0
    speck_px: int = 5
    gap_px: int = 15

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        channels = image.shape[-1]
        excess = ops.relu(self.unshared(image, outputs)) * self.gate(image, outputs)
        if "expected" in outputs:
            spread = outputs["expected"][..., channels : channels + 1]
            excess = excess / (spread + constant(self.least_spread))
        if self.gradient_power and "divergence_gradient" in outputs:
            gradient = outputs["divergence_gradient"]
            # Above zero, or a power below 1 has no slope there.
            excess = excess * (gradient + constant(1e-6)) ** self.gradient_power
        return smoothed(closed(opened(excess, self.speck_px), self.gap_px), self.smoothing_px)


def opened(values: KerasTensor, side: int) -> KerasTensor:
    """Take off what no square of this side fits under; (N, H, W, 1), 0 or above."""
    return _highest(_lowest(values, side), side)


def closed(values: KerasTensor, side: int) -> KerasTensor:
    """Fill what no square of this side fits into; (N, H, W, 1), 0 or above."""
    return _lowest(_highest(values, side), side)


def _highest(values: KerasTensor, side: int) -> KerasTensor:
    """Take the maximum over squares, one direction after the other."""
    for window in ((side, 1), (1, side)):
        values = ops.max_pool(values, window, strides=1, padding="same")
    return values


def _lowest(values: KerasTensor, side: int) -> KerasTensor:
    return -_highest(-values, side)
