"""From the images of a series to slices of one anatomical plane, in its order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.geometry import PLANES, Turn, even_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.image.geometry import ImagePlane
    from gliomart.image.slices import Slice


def stacked(slices: Sequence[Slice], source: str, plane: str = "axial") -> Iterator[Slice]:
    """Sort slices by place, and bring them into a plane where they form a volume.

    Slices whose place is unknown, or that are parallel to nothing else, come as they are.

    Parameters
    ----------
    slices
        Of one series.
    source
        What results call slices that were put together from several files.
    plane
        The anatomical plane of the slices that are wanted.
    """
    turn = turn_of([s.plane for s in slices], plane)
    if turn is None:
        yield from slices
        return
    stack = sorted(slices, key=_height)
    if turn.nothing:
        yield from stack
    elif turn.within_images:
        yield from (turned(image, turn) for image in stack)
    else:
        yield from _reassembled(stack, turn, source)


def turn_of(planes: Sequence[ImagePlane | None], wanted: str = "axial") -> Turn | None:
    """Tell how slices that lie so come into a plane; None where they are not all parallel.

    Into a plane of another name than :data:`gliomart.image.geometry.PLANES` nothing is turned.
    """
    first = planes[0] if planes else None
    if first is None or not all(p is not None and first.parallel_to(p) for p in planes):
        return None
    name = next((name for name in PLANES if name == wanted), None)
    return None if name is None else Turn.into(name, first)


def _height(image: Slice) -> float:
    assert image.plane is not None  # noqa: S101  # looked at before
    return image.plane.height


def turned(image: Slice, turn: Turn) -> Slice:
    """Turn rows and columns of an image the usual way."""
    assert image.plane is not None  # noqa: S101  # looked at before
    (plane,) = turn.planes(image.plane, (1, *image.pixels.shape), step=1.0)
    pixels = turn.voxels(image.pixels[np.newaxis])[0]
    air = None if image.air is None else turn.voxels(image.air[np.newaxis])[0]
    return _placed(image, pixels, air, plane)


def _reassembled(stack: Sequence[Slice], turn: Turn, source: str) -> Iterator[Slice]:
    """Cut slices out of a volume; what is no volume stays as it is."""
    planes = [image.plane for image in stack if image.plane is not None]
    step = even_step(planes)
    if step is None or len({image.pixels.shape for image in stack}) > 1:
        yield from stack
        return
    volume, air = np.stack([image.pixels for image in stack]), _air_of(stack)
    places = turn.planes(planes[0], volume.shape, step)
    if len({image.source for image in stack}) == 1:  # a file of several
        source = stack[0].source
    whole = replace(stack[0], source=source, sop_instance_uid=None)
    turned = None if air is None else turn.voxels(air)
    for number, (pixels, plane) in enumerate(zip(turn.voxels(volume), places, strict=True)):
        empty = None if turned is None else turned[number]
        yield _placed(replace(whole, frame=number), pixels, empty, plane)


def _air_of(stack: Sequence[Slice]) -> np.ndarray | None:
    if all(image.air is None for image in stack):
        return None
    nowhere = np.zeros(stack[0].pixels.shape, bool)
    return np.stack([nowhere if image.air is None else image.air for image in stack])


def _placed(image: Slice, pixels: np.ndarray, air: np.ndarray | None, plane: ImagePlane) -> Slice:
    return replace(
        image,
        pixels=np.ascontiguousarray(pixels),
        air=None if air is None else np.ascontiguousarray(air),
        spacing=plane.spacing,
        position=plane.position,
        orientation=plane.orientation,
    )
