"""Series of one image each, as some scanners export them, joined where that is certain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.geometry import usual_step
from gliomart.slices import Concern
from gliomart.sources.inventory import Group
from gliomart.sources.traits import OF_IMAGES, OF_SERIES, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gliomart.geometry import Plane
    from gliomart.sources.inventory import Image
    from gliomart.sources.traits import Value

# Fewer images have no step that could be even.
_FEWEST = 3
# How far, as a fraction of the step, an image may lie from where an even stack would have it.
_UNEVEN = 0.1
# At most this share of a stack may be missing.
_MOST_MISSING = 0.25
# The trait that may number the images of one stack.
_COUNTED = next(n for n, trait in enumerate(OF_SERIES) if trait.name == "series number")


def of_single_images(groups: Sequence[Group]) -> list[Group]:
    """Join groups of one image each that certainly are one stack; tell of those that may be."""
    alone: defaultdict[tuple[str, int], list[Image]] = defaultdict(list)
    kept = []
    for each in groups:
        (image, *others) = each.images
        if others or image.plane is None or image.header.frame_count > 1 or not each.owner[0]:
            kept.append(each)
        else:
            alone[each.owner].append(image)
    for owner, images in alone.items():
        for alike in _alike(images):
            if len(alike) < _FEWEST:
                kept += [Group((image,), image.file.series, owner) for image in alike]
            elif _even([image.plane for image in alike if image.plane is not None]):
                kept.append(_joined(alike, owner))
            else:
                kept += [_doubtful(image, len(alike), owner) for image in alike]
    return kept


def _joined(images: Sequence[Image], owner: tuple[str, int]) -> Group:
    first = min(images, key=lambda image: image.file.order)
    reason = (
        f"{len(images)} series of one image each are taken for one: they share study, kind,"
        " orientation and spacing, and lie at even steps"
    )
    return Group(tuple(images), first.file.series, owner, notes=(Concern("joined-series", reason),))


def _doubtful(image: Image, count: int, owner: tuple[str, int]) -> Group:
    reason = f"{count} series like it hold one image each, and lie too unevenly to be certainly one"
    doubt = Concern("scattered-series", reason)
    file = replace(image.file, concerns=(*image.file.concerns, doubt))
    return Group((image._replace(file=file),), file.series, owner)


def _alike(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Group images that nothing but their place tells apart; series numbers may count them."""
    values: list[Callable[[Image], Value]] = [
        *(lambda i, n=n: i.header.of_series[n] for n in range(len(OF_SERIES)) if n != _COUNTED),
        *(lambda i, n=n: i.header.of_images[n] for n in range(len(OF_IMAGES))),
        lambda image: str(image.header.shape),
    ]
    for left in parted(images, *values):
        while left:
            yield [image for image in left if _parallel(left[0].plane, image.plane)]
            left[:] = [image for image in left if not _parallel(left[0].plane, image.plane)]


def _parallel(one: Plane | None, other: Plane | None) -> bool:
    """Tell whether two images are turned alike and have pixels of one size."""
    if one is None or other is None:
        return one is other
    return one.parallel_to(other) and np.allclose(one.spacing, other.spacing, rtol=1e-3)


def _even(planes: Sequence[Plane]) -> bool:
    """Tell whether images lie right above each other at one step, of which a few may be missing."""
    planes = sorted(planes, key=lambda plane: plane.height)
    step = usual_step([plane.height for plane in planes])
    if not step:
        return False
    places = np.array([plane.position for plane in planes])
    across = (places - places[0]) @ planes[0].axes[0]
    beside = places - places[0] - across[:, np.newaxis] * planes[0].axes[0]
    steps = np.diff(across) / step
    counts = np.rint(steps)
    return bool(
        (counts >= 1).all()
        and (np.abs(steps - counts) <= _UNEVEN).all()
        and (np.linalg.norm(np.diff(beside, axis=0), axis=1) <= _UNEVEN * step).all()
        and (counts - 1).sum() <= _MOST_MISSING * len(planes)
    )
