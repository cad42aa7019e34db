"""Series of one image each, as some scanners export them, joined where that is certain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.geometry import ROUNDED_MM, doubles, usual_step, whole_steps
from gliomart.image.slices import Concern
from gliomart.sources.apart import apart
from gliomart.sources.inventory import Group
from gliomart.sources.placing import MOST_DOUBLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.image.geometry import ImagePlane
    from gliomart.sources.inventory import Image

# Fewer images have no step that could be even.
_FEWEST = 3
# How far an image may lie beside the one below it, as a fraction of the step.
_BESIDE = 0.1
# At most this share of a stack may be missing.
_MOST_MISSING = 0.25


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
    for (study, person), images in alone.items():
        owner = (study, person)
        for each in apart(Group(tuple(images), "", owner)):
            for alike in _parallel(each.images):
                if len(alike) < _FEWEST:
                    kept += [Group((image,), image.file.series, owner) for image in alike]
                elif _certain(alike):
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
    reason = f"{count} series like it hold one image each, and it is not certain that they are one"
    doubt = Concern("scattered-series", reason)
    file = replace(image.file, concerns=(*image.file.concerns, doubt))
    return Group((image._replace(file=file),), file.series, owner)


def _parallel(images: Sequence[Image]) -> list[list[Image]]:
    """Group images that are turned alike."""
    groups: list[tuple[ImagePlane, list[Image]]] = []
    for image in images:
        plane = image.plane
        assert plane is not None  # noqa: S101  # others were kept as they are
        same = next((group for first, group in groups if first.parallel_to(plane)), None)
        if same is None:
            groups.append((plane, [image]))
        else:
            same.append(image)
    return [group for _, group in groups]


def _certain(images: Sequence[Image]) -> bool:
    """Tell whether images lie right above each other at one step, of which a few may be missing."""
    if len({image.header.frame_of_reference for image in images}) > 1:
        return False
    planes = [image.plane for image in images if image.plane is not None]
    planes.sort(key=lambda plane: plane.height)
    heights = [plane.height for plane in planes]
    second = doubles(heights)  # which are left out later on, where they are few
    if len(second) > MOST_DOUBLES * len(planes):
        return False
    planes = [plane for number, plane in enumerate(planes) if number not in second]
    heights = [plane.height for plane in planes]
    counts = whole_steps(heights)
    if counts is None or (counts - 1).sum() > _MOST_MISSING * len(planes):
        return False
    places = np.array([plane.position for plane in planes])
    across = (places - places[0]) @ planes[0].axes[0]
    beside = places - places[0] - across[:, np.newaxis] * planes[0].axes[0]
    most = max(_BESIDE * usual_step(heights), ROUNDED_MM)
    return bool((np.linalg.norm(np.diff(beside, axis=0), axis=1) <= most).all())
