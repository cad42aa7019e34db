"""From whatever pixels a file or an array holds to one finite greyscale image.

What has no value (NaN, minus infinity, what a masked array masks) is air where it lies around the
head, and a reason to refuse the slice where it lies in the head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_SIDE = 32
LARGEST_SIDE = 8192

# Values that differ by less lose digits in single precision (IEEE 754: they are subnormal).
_SMALLEST_RANGE = float(np.finfo(np.float32).tiny)
# The difference of any two values has to be finite, with room for a filter's sums.
_LARGEST_RANGE = float(np.finfo(np.float32).max) / 8
# A head without its gaps: brighter than this fraction of what there is between dark and bright.
_HEAD_BRIGHTNESS = 0.12
# Pixels without value surround a picture where they take more of its border than this.
_SURROUNDED = 0.5
# Pixels without value that are no wider than this may cut a head in two, and do not look like air.
_NARROW_PX = 5
# Where a bridge over them makes the largest bright part larger than this, they did cut it.
_CUT = 1.2


def luma(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bring an image to float32 (H, W).

    Parameters
    ----------
    pixels
        (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), any real dtype; colour is in RGB order and
        becomes luma (ITU-R BT.601), a fourth channel is opacity and is left out.

    Returns
    -------
    float32 (H, W); NaN and infinities are left to :func:`settle`, and what a masked array masks
    is NaN.

    Raises
    ------
    InputRefusedError
        ``bad-shape``, ``too-large`` or ``bad-scale``.
    """
    check_largest(pixels)
    # Without a subclass, which may slice in its own way (numpy.matrix).
    values = np.asarray(np.ma.getdata(pixels))
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
        grey = _grey(values)
    masked = mask_of(pixels)
    seen = np.s_[:] if masked is None else ~masked  # what lies beneath a mask says nothing
    if _vanished(values[seen], grey[seen]):
        reason = "its values differ by less than single precision tells apart"
        raise InputRefusedError("bad-scale", reason)
    if masked is not None:
        grey[masked] = np.nan
    return grey


def check_largest(pixels: NDArray[np.generic]) -> None:
    """Refuse an image that is too large, as ``too-large``, before memory is taken for it.

    An array may be larger than memory: one that is mapped from a file, or repeats one value.
    """
    if pixels.ndim > 1 and max(pixels.shape[:2]) > LARGEST_SIDE:
        height, width = pixels.shape[:2]
        raise InputRefusedError(
            "too-large", f"{width}x{height} pixels; at most {LARGEST_SIDE} a side are read"
        )


def _grey(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):  # noqa: PLR2004
        grey: NDArray[np.float32] = pixels[..., :3].astype(np.float32, copy=False) @ np.array(
            [0.299, 0.587, 0.114], np.float32
        )
        return grey
    if pixels.ndim == 3 and pixels.shape[2] == 1:  # noqa: PLR2004
        return pixels[..., 0].astype(np.float32)
    if pixels.ndim == 2 and pixels.dtype.kind in "buif":  # noqa: PLR2004
        return pixels.astype(np.float32)
    raise InputRefusedError(
        "bad-shape", f"shape {pixels.shape} of {pixels.dtype} is not a greyscale or RGB image"
    )


def _vanished(values: NDArray[np.generic], grey: NDArray[np.float32]) -> bool:
    """Tell whether values of a wider type have become one in single precision."""
    if values.dtype.kind != "f" or values.dtype.itemsize <= grey.dtype.itemsize or not grey.size:
        return False
    lowest, highest = np.fmin.reduce(grey, axis=None), np.fmax.reduce(grey, axis=None)
    if not (lowest == highest and np.isfinite(lowest)):
        return False
    wide: NDArray[Any] = values
    return bool(np.fmin.reduce(wide, axis=None) != np.fmax.reduce(wide, axis=None))


def mask_of(pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Tell what a masked array masks, (H, W); None for nothing, and for any other array."""
    if not isinstance(pixels, np.ma.MaskedArray) or pixels.mask is np.ma.nomask:
        return None
    mask = np.ma.getmaskarray(pixels)
    if mask.ndim == 3:  # noqa: PLR2004
        mask = np.asarray(mask[..., :3].any(axis=2))
    return mask if mask.any() else None


def settle(
    pixels: NDArray[np.float32], air: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Check that there is something to see in an image, and decide about pixels without a value.

    Parameters
    ----------
    pixels
        float32 (H, W), from :func:`luma`; any other image is brought to that.
    air
        bool (H, W): what is known to be air, whatever its value. None for nothing.

    Returns
    -------
    pixels, air
        The same, where every pixel has a value. Otherwise those that have none have the darkest
        value there is, and are air.

    Raises
    ------
    InputRefusedError
        ``bad-shape``, ``too-small``, ``too-large``, ``not-finite``, ``bad-scale`` or
        ``blank-slice``.
    """
    if type(pixels) is not np.ndarray or pixels.dtype != np.float32 or pixels.ndim != 2:  # noqa: PLR2004
        masked, pixels = mask_of(pixels), luma(np.asanyarray(pixels))
        air = masked if air is None else air if masked is None else air | masked
    check_largest(pixels)
    height, width = pixels.shape
    if min(pixels.shape) < SMALLEST_SIDE:
        raise InputRefusedError(
            "too-small", f"{width}x{height} pixels; at least {SMALLEST_SIDE} a side are needed"
        )
    if air is not None and air.shape != pixels.shape:
        raise InputRefusedError("bad-shape", f"{air.shape} of air in an image of {pixels.shape}")
    lowest, highest = pixels.min(), pixels.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        pixels, air = _without_gaps(pixels, air)
        lowest, highest = pixels.min(), pixels.max()
    if lowest == highest:
        raise InputRefusedError("blank-slice", "every pixel has the same value")
    if not _SMALLEST_RANGE <= float(highest) - float(lowest) <= _LARGEST_RANGE:
        raise InputRefusedError(
            "bad-scale",
            f"values from {lowest:g} to {highest:g} are beyond what single precision tells apart",
        )
    return pixels, air


def _without_gaps(
    pixels: NDArray[np.float32], air: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    gaps = ~np.isfinite(pixels)
    known = gaps.copy() if air is None else air | gaps
    if air is not None:
        gaps &= ~air
    if (pixels[gaps] == np.inf).any():
        raise InputRefusedError("not-finite", "some pixels are infinite, or beyond float32")
    if known.all():
        raise InputRefusedError("not-finite", "no pixel is a finite number")
    filled = pixels.copy()
    filled[known] = pixels[~known].min()
    if gaps.any() and _in_the_head(filled, gaps, known):
        raise InputRefusedError(
            "not-finite", "pixels in the head are NaN; around it they count as air"
        )
    return filled, known


def _in_the_head(
    filled: NDArray[np.float32], gaps: NDArray[np.bool_], known: NDArray[np.bool_]
) -> bool:
    """Tell whether pixels without a value, filled as dark, belong to the head."""
    import cv2

    from gliomart.image.head import head_mask

    dark, bright = np.percentile(filled[~known], (1, 99))
    if dark == bright:
        return False
    level = float(dark + _HEAD_BRIGHTNESS * (bright - dark))
    # In units of what there is between dark and bright: filters must not meet extreme numbers.
    bright_parts = (filled > level) & ~known
    head = head_mask(bright_parts.astype(np.float32), 0.5)
    holes = enclosed(gaps) & head
    if _surround(gaps):  # then what is dark in a head has no value either, such as skull and sinus
        tissue = float(np.median(filled[bright_parts])) if bright_parts.any() else bright
        left, top, width, height = cv2.boundingRect(head.view(np.uint8))
        lost = _lines_through(gaps[top : top + height, left : left + width])
        return lost or _lies_in_tissue(holes, filled, known, (dark + tissue) / 2)
    if holes.any():
        return True
    # Air is wide; a dead row or column is narrow, and cuts through what it lies in.
    kernel = np.ones((_NARROW_PX, _NARROW_PX), np.uint8)
    wide = cv2.morphologyEx(gaps.view(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    narrow = gaps & ~wide
    if not narrow.any():
        return False
    bridged = cv2.morphologyEx(bright_parts.view(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    return _largest(bright_parts | (bridged & narrow)) > _CUT * _largest(bright_parts)


def _surround(gaps: NDArray[np.bool_]) -> bool:
    """Tell whether the picture as a whole lies in pixels without a value."""
    from gliomart.image.head import outermost

    return float(outermost(gaps).mean()) > _SURROUNDED


def _lines_through(gaps: NDArray[np.bool_]) -> bool:
    """Tell whether whole rows or columns are missing."""
    return bool(gaps.all(axis=0).any() or gaps.all(axis=1).any())


def _lies_in_tissue(
    holes: NDArray[np.bool_], pixels: NDArray[np.float32], known: NDArray[np.bool_], level: float
) -> bool:
    """Tell whether all that borders on one of these holes is brighter than a level."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes.view(np.uint8), connectivity=8)
    kernel = np.ones((3, 3), np.uint8)
    for label in range(1, count):
        left, top, width, height = stats[label, :4]
        window = np.s_[max(top - 1, 0) : top + height + 1, max(left - 1, 0) : left + width + 1]
        hole = (labels[window] == label).astype(np.uint8)
        beside = (cv2.dilate(hole, kernel) > 0) & ~known[window]
        if beside.any() and float(pixels[window][beside].min()) > level:
            return True
    return False


def enclosed(gaps: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave of gaps the parts that do not reach the image's border."""
    import cv2

    from gliomart.image.head import outermost

    _, labels = cv2.connectedComponents(gaps.view(np.uint8), connectivity=8)
    return np.asarray(gaps & ~np.isin(labels, np.unique(outermost(labels))))


def _largest(mask: NDArray[np.bool_]) -> int:
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
