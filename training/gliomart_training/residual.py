"""From an image and what a network gives of it to the anomaly map, inside the exported graph.

Only ``keras.ops``, so that any ONNX host gets the same map as the training code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
from keras import ops

from gliomart_training.morphology import filled, highest, opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keras import KerasTensor
    from numpy.typing import NDArray


_WIDEST = 127  # of a side or a smoothing in pixels; more is no detail of a head


class AnomalyMap(Protocol):
    """How outputs of a network become its anomaly map: a frozen dataclass of numbers.

    The card keeps its options.
    """

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

    A network's correction ends softly, a lesion may not: a residual counts a little beyond itself
    as well, as far as the image is as bright there. Specks then go, and what is dark within a
    lesion (cysts, necrosis) counts as it does: lesion lies on all four sides of it.

    Attributes
    ----------
    bright_at, bright_width
        Step of the image's own brightness.
    common_limit
        What a pixel counts by, at most, in the residual that the brain shares.
    usual
        Brightness of normal brain.
    reach_px, speck_px, gap_px
        Sides of squares, odd numbers of pixels: how far around a pixel its residual counts, what is
        taken for a speck, and how far apart lesion may lie on opposite sides of a gap in it.
    smoothing_px
        Standard deviation of a final Gaussian, in pixels.
    """

    bright_at: float = 0.48
    bright_width: float = 0.02
    common_limit: float = 0.02
    usual: float = 0.4
    reach_px: int = 7
    speck_px: int = 5
    gap_px: int = 61
    smoothing_px: float = 0.75

    def __post_init__(self) -> None:
        """See that the options make a map.

        Raises
        ------
        ValueError
            They do not.
        """
        sides = (self.reach_px, self.speck_px, self.gap_px)
        if not all(isinstance(side, int) and 1 <= side <= _WIDEST for side in sides):
            raise ValueError(f"reach, speck and gap are whole pixels, 1 to {_WIDEST}")
        if not (self.bright_width > 0 and 0 <= self.smoothing_px <= _WIDEST):
            raise ValueError("the step has to be wider than 0, and smoothing is not negative")

    def with_options(self, options: object) -> Self:
        """Take the options that the JSON of a record or a card names; the others stay."""
        return replace(self, **cast("dict[str, Any]", options))

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        excess = ops.relu(self.unshared(image, outputs))
        brightness = ops.relu(image[..., :1] - constant(self.usual))
        sharp = ops.minimum(highest(excess, self.reach_px), brightness)
        return self.finished(sharp * self.weight(image, outputs))

    def finished(self, values: KerasTensor) -> KerasTensor:
        """Take specks off (N, H, W, 1), fill gaps, and smooth."""
        return smoothed(filled(opened(values, self.speck_px), self.gap_px), self.smoothing_px)

    def unshared(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Take off the residual (N, H, W, 1) of the first channel what the whole brain shares."""
        brain, residual = outputs["brain"], image[..., :1] - outputs["reconstruction"][..., :1]
        limit = constant(self.common_limit)
        counted = ops.minimum(ops.maximum(residual, -limit), limit) * brain
        return residual - _sum(counted) / (_sum(brain) + constant(1.0))

    def weight(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Tell how much a residual counts, (N, H, W, 1): in the brain alone, where it is bright."""
        at, width = constant(self.bright_at), constant(self.bright_width)
        return ops.sigmoid((image[..., :1] - at) / width) * outputs["brain"]


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

    def unshared(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Take off the residual what the whole brain shares, and what healthy images leave."""
        return super().unshared(image, outputs) - outputs["healthy"][..., :1]

    def weight(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Count a residual in units of the spread."""
        spread = ops.maximum(outputs["healthy"][..., 1:], constant(self.least_spread))
        return super().weight(image, outputs) * (constant(self.usual_spread) / spread)


@dataclass(frozen=True)
class AcrossSlices(Residual):
    """A residual whose map is that of a slab of neighbouring slices.

    A lesion goes on in the slices beside it. What neither of them shows near it counts less, as
    specks do; then the map is averaged with those of both, as far as these are not higher.
    Neighbours never add anything: an outline is that of what the slice itself shows.

    Attributes
    ----------
    alone
        What counts of what shows in one slice alone, in [0, 1]: in thick slices a small lesion may.
    beside_px
        Side of the square, an odd number of pixels, in which a neighbour has to show it.
    across
        What each neighbour's map counts by in the average, in [0, 0.5]; its own, by the rest.
    """

    alone: float = 0.5
    beside_px: int = 7
    across: float = 0.1

    def __post_init__(self) -> None:
        """See that the options make a map.

        Raises
        ------
        ValueError
            They do not.
        """
        super().__post_init__()
        if not (isinstance(self.beside_px, int) and 1 <= self.beside_px <= _WIDEST):
            raise ValueError(f"beside_px is whole pixels, 1 to {_WIDEST}")
        if not (0 <= self.alone <= 1 and 0 <= self.across <= 0.5):  # noqa: PLR2004
            raise ValueError("alone is in [0, 1], and across in [0, 0.5]")

    @property
    def context(self) -> int:
        """Slices on either side that a map needs: one to be shown by, and one of these."""
        return 2

    def across_slices(self, maps: KerasTensor, pons: KerasTensor | None = None) -> KerasTensor:
        """Compute the maps (N, D - 4, H, W, 1) of the middle of slabs of maps (N, D, H, W, 1).

        Few slices show the pons: where it is, (N, D, H, W, 1) in [0, 1], each counts by itself.
        """
        _, depth, *size = maps.shape
        near = ops.reshape(maps, (-1, *size))
        near = ops.reshape(highest(near, self.beside_px), (-1, depth, *size))
        shown = ops.maximum(near[:, :-2], near[:, 2:])
        own = maps[:, 1:-1]
        alone, across = (np.full((1,) * 5, n, np.float32) for n in (self.alone, self.across))
        kept = own * alone + ops.minimum(own, shown) * (1 - alone)
        middle = kept[:, 1:-1]
        below, above = (ops.minimum(each, middle) for each in (kept[:, :-2], kept[:, 2:]))
        found = middle * (1 - 2 * across) + (below + above) * across
        return found if pons is None else found + pons[:, 2:-2] * (own[:, 1:-1] - found)


@dataclass(frozen=True)
class Departure(Residual):
    """A network's own ``departure`` from healthy images, in the place of a residual."""

    def anomaly_map(self, image: KerasTensor, outputs: Mapping[str, KerasTensor]) -> KerasTensor:
        """Compute the map (N, H, W, 1) of images (N, H, W, C) and a network's outputs of them."""
        return self.finished(outputs["departure"] * self.weight(image, outputs))


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
    if not (radius := round(3 * sigma)):
        return image
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):
        lines = image.shape[2]
        kernel = np.tile(weights.reshape(-1, 1, 1, 1), (1, 1, lines, 1))
        # (N, H, W, 1) to (N, H, 1, W) and, once smoothed along H, on to (N, W, H, 1)
        along = ops.depthwise_conv(ops.transpose(image, (0, 1, 3, 2)), kernel, padding="same")
        image = ops.transpose(along, (0, 3, 1, 2))
    return image
