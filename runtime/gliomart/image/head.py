"""The head in an image: what of it is head, and what surrounds it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart.image.grid import depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The head is brighter than black by this part of how much the brightest is (percentiles 1 and 99).
HEAD_BRIGHTNESS = 0.12


def head_mask(pixels: NDArray[np.float32], level: float) -> NDArray[np.bool_]:
    """Largest connected thing above ``level``, with its holes filled; bool (H, W)."""
    above = (cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) / 128) > level).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    head = np.zeros_like(above)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        cv2.drawContours(head, [largest], 0, 1, cv2.FILLED)
    return head.astype(bool)


def inside_skull(head: NDArray[np.bool_], thickness: float, dome: float) -> NDArray[np.bool_]:
    """Remove scalp and skull from a head mask (H, W).

    Below the widest slice they are ``thickness`` pixels thick. Towards the vertex the head is taken
    for a sphere of radius ``dome``: a slice whose largest inscribed circle has radius ρ < dome
    cuts that sphere at height h, h² = dome² - ρ², and the inner one, of radius dome - thickness, at
    √((dome - thickness)² - h²). A slice above the inner sphere has nothing inside.
    """
    deep = depth(head)
    radius = min(float(deep.max()), dome)
    inner_squared = radius**2 - (2 * dome - thickness) * thickness
    if inner_squared <= 0:
        return np.zeros_like(head)
    return deep > radius - math.sqrt(inner_squared)


def outermost(pixels: NDArray[Any]) -> NDArray[Any]:
    """Go once around an image (H, W), from its first pixel on: its outermost pixels."""
    return np.concatenate([pixels[0], pixels[1:, -1], pixels[-1, -2::-1], pixels[-2:0:-1, 0]])
