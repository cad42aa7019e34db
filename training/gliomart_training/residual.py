"""From an image and what a network gives of it to the anomaly map, inside the exported graph.

Only ``keras.ops``, so that any ONNX host gets the same map as the training code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras import KerasTensor
    from numpy.typing import NDArray


class AnomalyMap(Protocol):
    """How outputs of a network become its anomaly map: a frozen dataclass of numbers.

    The card keeps its options. ``smoothing_px`` is the standard deviation of its final Gaussian, in
    pixels, with which baselines are smoothed as well.
    """

    @property
    def smoothing_px(self) -> float: ...  # noqa: D102

    def with_options(self, options: object) -> Self:
        """Take the options that the JSON of a record or a card names; the others stay."""

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1), 0 or above, of images (N, H, W, C) and outputs of them.

        ``outputs`` holds ``brain``, and what else the network gives.
        """


@dataclass(frozen=True)
class Residual:
    """How a residual becomes an anomaly map; in units of the normalised image (brain at 0.4).

    The positive residual (FLAIR lesions are bright) counts in the brain, where the image is
    brighter than normal brain: a soft step, ``sigmoid((value - at) / width)``. What the whole
    brain of a slice shares is no lesion but its scan's brightness, and is taken off first: the mean
    residual in the brain, every pixel counting by no more than a limit, so that a large lesion
    does not take itself off.

    Attributes
    ----------
    bright_at, bright_width
        Step of the image's own brightness.
    common_limit
        What a pixel counts by, at most, in the residual that the brain shares.
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    bright_at: float = 0.48
    bright_width: float = 0.02
    common_limit: float = 0.02
    smoothing_px: float = 1.5

    def with_options(self, options: object) -> Self:
        """Take the options that the JSON of a record or a card names; the others stay."""
        return replace(self, **cast("dict[str, Any]", options))

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        positive = ops.relu(self.unshared(image, outputs))
        return smoothed(positive * self.gate(image, outputs), self.smoothing_px)

    def unshared(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Take off the residual (N, H, W, 1) of the first channel what the whole brain shares."""
        brain, residual = outputs["brain"], image[..., :1] - outputs["reconstruction"][..., :1]
        limit = constant(self.common_limit)
        counted = ops.minimum(ops.maximum(residual, -limit), limit) * brain
        return residual - _sum(counted) / (_sum(brain) + constant(1.0))

    def gate(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Tell where the map counts, (N, H, W, 1) in [0, 1]: in the brain, where it is bright."""
        return where_bright(image, self.bright_at, self.bright_width) * outputs["brain"]


@dataclass(frozen=True)
class Departure:
    """How a network's ``departure`` from healthy images becomes its anomaly map.

    It counts in the brain, where the image is brighter than normal brain, as a residual does.

    Attributes
    ----------
    bright_at, bright_width
        Step of the image's own brightness.
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    bright_at: float = 0.48
    bright_width: float = 0.02
    smoothing_px: float = 1.5

    def with_options(self, options: object) -> Self:
        """Take the options that the JSON of a record or a card names; the others stay."""
        return replace(self, **cast("dict[str, Any]", options))

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        bright = where_bright(image, self.bright_at, self.bright_width)
        return smoothed(outputs["departure"] * bright * outputs["brain"], self.smoothing_px)


def where_bright(image: KerasTensor, at: float, width: float) -> KerasTensor:
    """Tell where the first channel of (N, H, W, C) is bright, (N, H, W, 1): a soft step."""
    return ops.sigmoid((image[..., :1] - constant(at)) / constant(width))


@dataclass(frozen=True)
class ScaledResidual(Residual):
    """A residual in units of what healthy images leave, in the place of which it is found.

    The usual residual of healthy images is taken off, and what is left is divided by how far
    theirs scatters (output ``healthy``, see :mod:`.healthy`).

    Attributes
    ----------
    usual_spread
        Spread at which the map is in units of the normalised image.
    least_spread
        A smaller spread counts as this.
    """

    usual_spread: float = 0.04
    least_spread: float = 0.02

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        mean, spread = outputs["healthy"][..., :1], outputs["healthy"][..., 1:]
        excess = ops.relu(self.unshared(image, outputs) - mean)
        scale = constant(self.usual_spread) / ops.maximum(spread, constant(self.least_spread))
        return smoothed(excess * scale * self.gate(image, outputs), self.smoothing_px)


@dataclass(frozen=True)
class Marked:
    """How a network that was taught tumour masks gives its anomaly map: its ``lesion``, smoothed.

    The probability that a pixel would be marked, in the brain.

    Attributes
    ----------
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    smoothing_px: float = 1.5

    def with_options(self, options: object) -> Self:
        """Take the options that the JSON of a record or a card names; the others stay."""
        return replace(self, **cast("dict[str, Any]", options))

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1), 0 to 1, of a network's outputs."""
        del image
        return smoothed(outputs["lesion"] * outputs["brain"], self.smoothing_px)


def _sum(image: KerasTensor) -> KerasTensor:
    """Sum of each image, (N, 1, 1, 1); over one long axis, which is what is summed fastest."""
    flat = ops.reshape(image, (-1, image.shape[1] * image.shape[2]))
    return ops.reshape(ops.sum(flat, axis=1), (-1, 1, 1, 1))


def constant(value: float) -> NDArray[np.float32]:
    """Make a constant (1, 1, 1, 1).

    With fewer axes than an image's, ONNX Runtime takes twenty times as long over it.
    """
    return np.full((1, 1, 1, 1), value, np.float32)


def smoothed(image: KerasTensor, sigma: float) -> KerasTensor:
    """Smooth (N, H, W, 1) by a Gaussian, one direction after the other.

    Lines that lie side by side are taken for channels, which a depthwise convolution works on many
    at a time; on the image's single channel ONNX Runtime would leave most of the processor idle.
    """
    radius = round(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):
        lines = image.shape[2]
        kernel = np.tile(weights.reshape(-1, 1, 1, 1), (1, 1, lines, 1))
        # (N, H, W, 1) to (N, H, 1, W) and, once smoothed along H, on to (N, W, H, 1)
        along = ops.depthwise_conv(ops.transpose(image, (0, 1, 3, 2)), kernel, padding="same")
        image = ops.transpose(along, (0, 3, 1, 2))
    return image
