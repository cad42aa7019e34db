"""How closely the outline of a mask follows the true one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE_PX = 2
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Outlines:
    """Two masks' outlines, compared.

    Attributes
    ----------
    f1
        In [0, 1]: harmonic mean of the fractions of either outline that lie within
        ``TOLERANCE_PX`` of the other (Csurka et al., BMVC 2013).
    hausdorff_95_px
        95 % of either outline lie within this distance of the other: the larger of the two
        directions' 95th percentiles (as in Nikolov et al., JMIR 2021). In pixels.
    """

    f1: float
    hausdorff_95_px: float


def compare_outlines(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Outlines | None:
    """Compare the outlines of two masks, bool (H, W); None where either marks nothing."""
    if not one.any() or not other.any():
        return None
    outline, other_outline = _outline(one), _outline(other)
    distances = _distance_to(other_outline)[outline]
    other_distances = _distance_to(outline)[other_outline]
    near = float((distances <= TOLERANCE_PX).mean())
    other_near = float((other_distances <= TOLERANCE_PX).mean())
    return Outlines(
        # Where nothing of one is near the other, nothing of the other is near the one.
        f1=2 * near * other_near / (near + other_near) if near else 0.0,
        hausdorff_95_px=max(
            float(np.percentile(distances, 95)), float(np.percentile(other_distances, 95))
        ),
    )


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take the pixels of a mask that have a neighbour outside it, or lie at the image's edge."""
    inside = cv2.erode(
        mask.astype(np.uint8), _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    return mask & (inside == 0)


def _distance_to(outline: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure how far every pixel is from an outline; float32 (H, W), exact."""
    elsewhere = (~outline).astype(np.uint8)
    distances = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distances.astype(np.float32, copy=False)
