"""Colour pictures: grey ones that are stored in colour, and planes that hold something else each.

A grey picture in colour has the same values in red, green and blue. Where the planes differ, each
is a picture of its own, such as one sequence, and their mean is a picture of nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import InputRefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Planes are alike where at most this share of what is not background differs by more than this
# part of the picture's range. JPEG leaves a grey picture grey at any quality; weak noise of a
# camera in each plane stays far below, other sequences and neighbouring slices far above.
SHARE_THAT_DIFFERS = 0.01
DIFFERENCE = 0.05
_BACKGROUND = 0.05  # of the range
_COLOUR = 3
_COLOUR_OPACITY = 4


def merged(pixels: NDArray[np.generic], plane: int | None = None) -> NDArray[np.generic]:
    """Lay an array of colour and opacity over air, and choose a plane as :func:`one_plane` does.

    Parameters
    ----------
    pixels
        (H, W), (H, W, 1), (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4). Of any other shape they are
        given back as they are.
    """
    if pixels.ndim != _COLOUR or not 1 <= pixels.shape[2] <= _COLOUR_OPACITY:
        return pixels if plane is None or pixels.ndim != 2 else one_plane(pixels, plane)  # noqa: PLR2004
    if pixels.shape[2] == _COLOUR_OPACITY and pixels.dtype.kind in "buif":
        pixels = over_air(pixels[..., :_COLOUR], pixels[..., _COLOUR])
    return one_plane(pixels, plane)


def over_air(
    values: NDArray[np.generic], opacity: NDArray[np.generic], *, premultiplied: bool = False
) -> NDArray[np.float32]:
    """Lay a picture over air, which is the darkest that there is.

    Parameters
    ----------
    values
        (H, W, C); of whole numbers without a sign 0 is the darkest, of others the lowest.
    opacity
        (H, W): 0 is air, and 1 or the highest whole number is the picture alone.
    premultiplied
        The values have been multiplied by the opacity already.
    """
    most = 1.0 if opacity.dtype.kind in "fb" else float(np.iinfo(str(opacity.dtype)).max)
    share = np.nan_to_num(opacity.astype(np.float32), copy=False)  # in place: it may be large
    share /= np.float32(most)
    np.clip(share, 0, 1, out=share)
    if premultiplied:
        np.ceil(share, out=share)
    picture = values.astype(np.float32)
    air = np.float32(0) if values.dtype.kind in "bu" or not picture.size else picture.min()
    picture -= air
    picture *= share[..., np.newaxis]
    picture += air
    return picture


def one_plane(pixels: NDArray[np.generic], plane: int | None = None) -> NDArray[np.generic]:
    """Choose a plane of a colour picture, or see that all of them are alike.

    Parameters
    ----------
    pixels
        (H, W), or (H, W, C) of which every plane counts: opacity is not among them.
    plane
        Which one, from 1; None where all have to be alike.

    Returns
    -------
    (H, W); (H, W, 3) where three are alike, and not the same.

    Raises
    ------
    InputRefusedError
        ``colour-planes``: they differ; ``missing-plane``: there is none of that number.
    """
    planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels  # noqa: PLR2004
    count = planes.shape[-1]
    if plane is not None:
        if not 1 <= plane <= count:
            has = f"{count} planes" if count > 1 else "one plane"
            raise InputRefusedError("missing-plane", f"the picture has {has}, and no plane {plane}")
        return planes[..., plane - 1]
    if count == 1:
        return planes[..., 0]
    if not _alike(planes):
        raise InputRefusedError(
            "colour-planes",
            f"it is in colour (a tint, a drawing, a colour scale, or several sequences): its"
            f" {count} planes differ; --plane N analyses one of them",
        )
    same = count != _COLOUR or bool((planes[..., 1:] == planes[..., :1]).all())
    return planes[..., 0] if same else pixels


def _alike(planes: NDArray[np.generic]) -> bool:
    if planes.size == 0 or planes.dtype.kind not in "buif":  # which are refused later on
        return True
    if isinstance(planes, np.ma.MaskedArray):  # what lies beneath a mask says nothing
        planes = planes.filled(0)
    with np.errstate(invalid="ignore", over="ignore"):  # so are NaN and infinity
        high, low = planes.max(axis=-1).astype(np.float32), planes.min(axis=-1).astype(np.float32)
        darkest = low.min()
        extent = high.max() - darkest
        seen = high - darkest > _BACKGROUND * extent
        differs = high - low > DIFFERENCE * extent
    return bool(np.count_nonzero(differs) <= SHARE_THAT_DIFFERS * np.count_nonzero(seen))
