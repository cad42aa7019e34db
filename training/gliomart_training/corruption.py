"""What a denoising network learns to undo: noise shaped like lesions.

A corruption is a plain function of one image, where its brain is, and a random generator. To add
one, write it here, or in the file of the network that is trained with it, and name it in
``CORRUPTIONS``; it is part of training alone, never of the exported network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gliomart_training.sigmoid import sigmoid

# An image (size, size); or neighbouring slices (D, size, size), through which lesions go on.
Plane = NDArray[np.float32]
# From an image, its brain and a generator to the network's input and the target.
Corruption = Callable[[Plane, Plane, np.random.Generator], tuple[Plane, Plane]]

# Air stays air: noise is added where the clean image is above this.
_AIR = 0.06
# Noise is smooth: it is drawn on this many points a side and enlarged once, at the end.
_GRID = 64
# Blobs of about 20, 35 and 60 pixels at 256².
_BLOB_CELLS = (12, 7, 4)
_COARSE_CELLS = 16
# Range of a blob's brightness; normalised images have the brain at 0.4.
_BLOB_STRENGTH = (0.04, 0.4)
# This fraction of blobs brightens, as gliomas do on FLAIR; the others darken.
_BRIGHT = 0.75
# This fraction of lesions of any brightness touches the brain's edge, and takes this share of it.
_AT_THE_EDGE, _SHARE = 0.35, (0.004, 0.08)
# What adds less cannot be seen.
_VISIBLE = 0.02
# This fraction of images gets coarse noise instead of blobs, of this standard deviation.
_COARSE, _COARSE_STRENGTH = 0.25, 0.15
# This fraction of images is changed outside the brain, by as much as a blob, this often brighter.
_OUTSIDE, _OUTSIDE_BRIGHT = 0.7, 0.6
# Range of the step between neighbouring slices, as a fraction of an image's side: of 240 mm, 1.4 to
# 7 mm.
_SLICE_STEP = (0.006, 0.03)
# Rectangles that hide context: how many, sides as fractions of the image, values.
_MOST_MASKS, _MASK, _MASK_VALUE = 3, (0.05, 0.28), (0.1, 0.9)


def nothing(image: Plane, brain: Plane, random: np.random.Generator) -> tuple[Plane, Plane]:  # noqa: ARG001
    """Leave the image as it is: a plain autoencoder's training."""
    return image, image


def lesions_anywhere(
    image: Plane, brain: Plane, random: np.random.Generator
) -> tuple[Plane, Plane]:
    """Add soft-edged blobs of any size, or coarse noise, anywhere in the head.

    A *blob* is a level set of smooth noise, ``amount · sigmoid((g - t) / softness)``: a few lesions
    of one scale, with a plateau and a soft margin, mottled by a second smooth noise. *Coarse noise*
    is Gaussian noise on a coarse grid made smooth (Kascenas et al., MIDL 2022).

    Parameters
    ----------
    image
        float32 (size, size) in [0, 1], brain median at 0.4.
    brain
        float32 (size, size) in [0, 1]: where the brain is.

    Returns
    -------
    seen, clean
        The network's input, and the target of its reconstruction.
    """
    del brain
    return _lesions(image, _head(image), random), image


def lesions_in_brain(
    image: Plane, brain: Plane, random: np.random.Generator
) -> tuple[Plane, Plane]:
    """Add the same noise to the brain alone; around it, change both images alike.

    What is bright beside the brain (mucosa, fat, muscle, eyes, in every patient and at every site
    otherwise) is to be left as it is: the network learns that nothing there is a lesion.
    """
    soft = each_plane(lambda plane: cv2.GaussianBlur(plane, (0, 0), 1.5), brain)
    clean = image
    if random.random() < _OUTSIDE:
        around = (1 - soft) * _head(image)
        outside = _enlarge(_blobs(random, _OUTSIDE_BRIGHT, of=image), image)
        clean = np.clip(image + outside * around, 0, 1)
    return _lesions(clean, soft, random), clean


def context_masked(image: Plane, brain: Plane, random: np.random.Generator) -> tuple[Plane, Plane]:
    """Hide rectangles of the brain, each behind one value; what was there is told by its context.

    Context encoding (Zimmerer et al., 2018). A mask of any brightness teaches that what is as even
    as a lesion does not belong, where one of zeros would be told by its value.
    """
    soft = cv2.GaussianBlur(brain, (0, 0), 1.5).astype(np.float32, copy=False)
    seen, inside = image.copy(), np.argwhere(brain > 0.5)  # noqa: PLR2004
    for _ in range(random.integers(1, _MOST_MASKS + 1) if len(inside) else 0):
        middle = inside[random.integers(len(inside))]
        half = random.uniform(*_MASK, 2) * len(image) / 2
        (top, left), (bottom, right) = np.maximum([middle - half, middle + half], 0).astype(int)
        masked = np.s_[top:bottom, left:right]
        seen[masked] += (np.float32(random.uniform(*_MASK_VALUE)) - seen[masked]) * soft[masked]
    return seen, image


def bright_lesions(
    image: Plane, brain: Plane, random: np.random.Generator
) -> tuple[Plane, NDArray[np.bool_]]:
    """Add such blobs to the brain, all of them brighter, and tell where; for validation.

    Returns
    -------
    seen, lesions
        The image with them; bool, where they can be seen.
    """
    seen = np.clip(image + blobs(image, random, bright=1.0) * brain, 0, 1)
    return seen.astype(np.float32, copy=False), seen - image > _VISIBLE


def blobs(
    image: Plane,
    random: np.random.Generator,
    *,
    bright: float,
    strength: tuple[float, float] = _BLOB_STRENGTH,
) -> Plane:
    """Draw such blobs for an image of any shape, to be added to it.

    Parameters
    ----------
    image
        float32 (H, W); only its shape counts.
    random
        They are the same in images of one shape when it is in the same state.
    bright
        Fraction of draws that brighten; the others darken.
    strength
        Range of their brightness, in units of normalised images.
    """
    return _enlarge(_blobs(random, bright, strength, of=image), image)


def lesions_of_any_brightness(
    image: Plane, brain: Plane, strength: tuple[float, float], random: np.random.Generator
) -> Plane:
    """Add blobs of a strength in this range to the brain, and others to the head around it.

    Some are a single bright one that touches the skull, where a lesion and what lies outside are
    told apart by the brain's outline alone.
    """
    if random.random() < _AT_THE_EDGE:
        within = random.uniform(*strength) * _at_the_edge(brain, random) * brain
    else:
        within = _enlarge(_blobs(random, _BRIGHT, strength, of=image), image) * brain
    outside = _enlarge(_blobs(random, _OUTSIDE_BRIGHT, of=image), image)
    around = outside * (1 - brain) * _head(image)
    return np.clip(image + within + around, 0, 1, dtype=np.float32)


CORRUPTIONS: dict[str, Corruption] = {
    "none": nothing,
    "anywhere": lesions_anywhere,
    "brain": lesions_in_brain,
    "context": context_masked,
}


def _lesions(image: Plane, where: Plane, random: np.random.Generator) -> Plane:
    if random.random() < _COARSE:
        noise = _COARSE_STRENGTH * _smooth_noise(random, _COARSE_CELLS, image)
    else:
        noise = _blobs(random, _BRIGHT, of=image)
    return np.clip(image + _enlarge(noise, image) * where, 0, 1, dtype=np.float32)


def _blobs(
    random: np.random.Generator,
    bright: float,
    strength: tuple[float, float] = _BLOB_STRENGTH,
    *,
    of: Plane,
) -> Plane:
    place = _smooth_noise(random, int(random.choice(_BLOB_CELLS)), of)
    shape = sigmoid((place - random.uniform(0.0, 1.3)) / random.uniform(0.05, 0.35))
    amount = random.uniform(*strength) * (1 if random.random() < bright else -1)
    return amount * shape * (1 + 0.35 * _smooth_noise(random, _COARSE_CELLS, of))


def _at_the_edge(brain: Plane, random: np.random.Generator) -> Plane:
    """Shape one lesion about a point of the brain's edge: 1 within, a soft and uneven margin."""
    inside = (brain > 0.5).astype(np.uint8)  # noqa: PLR2004
    edge = np.argwhere(inside - cv2.erode(inside, np.ones((3, 3), np.uint8)))
    if not len(edge):
        return np.zeros_like(brain)
    y, x = np.indices(brain.shape, np.float32)
    row, column = edge[random.integers(len(edge))]
    turn = random.uniform(0, np.pi)
    along = (x - column) * np.cos(turn) + (y - row) * np.sin(turn)
    across = (y - row) * np.cos(turn) - (x - column) * np.sin(turn)
    uneven = np.exp(0.25 * _enlarge(_smooth_noise(random, _BLOB_CELLS[0], brain), brain))
    reach = np.hypot(along, across * random.uniform(1, 1.8)) * uneven
    radius = np.quantile(reach[inside > 0], random.uniform(*_SHARE))
    return sigmoid((radius - reach) / random.uniform(0.2, 0.8))


def _smooth_noise(random: np.random.Generator, cells: int, of: Plane) -> Plane:
    """Smooth noise of about unit variance, with ``cells`` independent values a side.

    For neighbouring slices it is smooth across them as well, (D, 64, 64): how far apart they lie is
    drawn, as lesions of any length are to be known in slices of any thickness.
    """
    if of.ndim == 2:  # noqa: PLR2004
        coarse = random.standard_normal((cells, cells), np.float32)
    else:
        coarse = _across_slices(random, cells, len(of))
    return each_plane(
        lambda plane: 1.3 * cv2.resize(plane, (_GRID, _GRID), interpolation=cv2.INTER_CUBIC), coarse
    )


def _across_slices(random: np.random.Generator, cells: int, depth: int) -> NDArray[np.float32]:
    """Draw noise (depth, cells, cells) that is smooth across slices, each of unit variance."""
    step = np.exp(random.uniform(*np.log(_SLICE_STEP))) * cells
    places = 1 + step * np.arange(depth)  # in cells
    layers = random.standard_normal((int(places[-1]) + 3, cells, cells), np.float32)
    first = places.astype(int)
    share = places - first
    # Cubic interpolation as OpenCV's, a = -0.75 (Keys, IEEE TASSP 1981).
    away = np.abs(share[:, None] - np.array([-1, 0, 1, 2]))
    inner = 1.25 * away**3 - 2.25 * away**2 + 1
    outer = -0.75 * (away**3 - 5 * away**2 + 8 * away - 4)
    weights = np.where(away <= 1, inner, outer)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    beside = layers[first[:, None] + np.array([-1, 0, 1, 2])]
    return np.einsum("dn,dnhw->dhw", weights, beside).astype(np.float32)


def each_plane(change: Callable[[Plane], Any], planes: Plane) -> Plane:
    """Change one image (H, W), or each of some (D, H, W)."""
    if planes.ndim == 2:  # noqa: PLR2004
        return np.asarray(change(planes), np.float32)
    return np.stack([np.asarray(change(plane), np.float32) for plane in planes])


def _enlarge(noise: Plane, image: Plane) -> Plane:
    size = image.shape[:-3:-1]
    return each_plane(lambda plane: cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), noise)


def _head(image: Plane) -> Plane:
    # Blurred, so that the noise of the air around the head does not open holes in it.
    return sigmoid((each_plane(lambda plane: cv2.blur(plane, (5, 5)), image) - _AIR) * 100)
