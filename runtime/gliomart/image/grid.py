"""The model's grid: a box of source pixels, the way onto the grid and exactly back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """A rectangle in source pixels; it may reach beyond the image.

    ``x`` and ``y`` are the left and upper edge: pixel (0, 0) covers [0, 1) × [0, 1).
    """

    x: int
    y: int
    width: int
    height: int

    def to_model(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Map points (N, 2), as (x, y) with pixel centres at integers, onto the model's grid."""
        scale = size / np.array([self.width, self.height])
        return (points + 0.5 - (self.x, self.y)) * scale - 0.5

    def to_source(self, points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Map points (N, 2) of the model's grid back onto source pixels."""
        scale = np.array([self.width, self.height]) / size
        return (points + 0.5) * scale - 0.5 + (self.x, self.y)


def crop(pixels: NDArray[np.float32], box: Box, size: int, outside: float) -> NDArray[np.float32]:
    """Cut a box out of (H, W) pixels as (size, size); ``outside`` where it reaches beyond them."""
    height, width = pixels.shape
    x0, y0 = max(box.x, 0), max(box.y, 0)
    x1, y1 = min(box.x + box.width, width), min(box.y + box.height, height)
    cut = cv2.copyMakeBorder(
        pixels[y0:y1, x0:x1],
        y0 - box.y,
        box.y + box.height - y1,
        x0 - box.x,
        box.x + box.width - x1,
        cv2.BORDER_CONSTANT,
        value=outside,
    )
    interpolation = cv2.INTER_AREA if min(box.width, box.height) > size else cv2.INTER_LINEAR
    resized = cv2.resize(cut, (size, size), interpolation=interpolation)
    return cast("NDArray[np.float32]", resized)


def uncrop(image: NDArray[np.float32], box: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Put an image of the model's grid back onto (H, W) source pixels, zero outside the box."""
    height, width = shape
    patch = cv2.resize(image, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    x0, y0 = max(box.x, 0), max(box.y, 0)
    x1, y1 = min(box.x + box.width, width), min(box.y + box.height, height)
    source = np.zeros(shape, np.float32)
    source[y0:y1, x0:x1] = patch[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x]
    return source


def depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of every pixel of a mask (H, W) from what is outside; the image's edge is not."""
    distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return cast("NDArray[np.float32]", distance)
