"""Images in their place: in order, with those placed that lost theirs, and second ones left out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.geometry import Plane, doubles, usual_step
from gliomart.slices import Concern, Refusal
from gliomart.sources.inventory import SeriesFiles
from gliomart.sources.walk import folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.sources.inventory import Group, Image

# How far, as a fraction of the step, the images beside a lost one may lie from where their
# instance numbers have them, and how far it has to lie from all others.
_UNEVEN, _CLEAR = 0.1, 0.5
# Where at most this share of the places is taken twice, the second images are left out by name;
# where more is, nobody can tell which images belong together.
_MOST_DOUBLES = 0.1


def series(group: Group, refused: list[Refusal]) -> SeriesFiles:
    """Put a group in anatomical order where that is known; see :class:`SeriesFiles`."""
    images, notes = _placed(group.images, refused)
    images = _without_doubles(images, refused)
    ways: defaultdict[str, list[Image]] = defaultdict(list)
    for image in images:
        ways[image.file.source].append(image)
    files = [
        replace(several[0].file.only([image.at for image in several]), series=group.series)
        for several in ways.values()
    ]
    files.sort(key=lambda file: file.order)  # stable: ties stay in name order
    uids = [file.header.sop_instance_uid for file in files if file.header]
    if len(set(filter(None, uids))) < len([uid for uid in uids if uid]):
        reason = "different images of it have one SOP Instance UID"
        notes = (*notes, Concern("shared-instance-uid", reason))
    folder = folder_of(group.images[0].file.source)
    return SeriesFiles(group.series, folder, tuple(files), (*group.notes, *notes))


def _placed(
    images: Sequence[Image], refused: list[Refusal]
) -> tuple[list[Image], tuple[Concern, ...]]:
    """Place images that do not say where they lie between their neighbours, or refuse them."""
    known = [image for image in images if image.plane is not None]
    lost = [image for image in images if image.plane is None]
    if not lost or not known:
        return list(images), ()
    if len(known) < len(lost):
        reason = f"only {len(known)} of {len(images)} images say where they lie; none is believed"
        return [_moved(image, None) for image in images], (Concern("unplaced", reason),)
    notes = []
    for image in lost:
        plane = _between(image, known)
        if plane is None:
            reason = "its place is missing, and the images beside it do not tell it for certain"
            refused.append(Refusal(image.file.source, image.frame, "unplaced", reason))
        else:
            known.append(_moved(image, plane))
            reason = f"{image.file.source} lost its place, and was placed between its neighbours"
            notes.append(Concern("placed-by-neighbours", reason))
    kept = {(image.file.source, image.frame): image for image in known}
    order = [(image.file.source, image.frame) for image in images]
    return [kept[name] for name in order if name in kept], tuple(notes)


def _between(image: Image, known: Sequence[Image]) -> Plane | None:
    """Find an image's place from those of the instance numbers next to its own."""
    number = image.header.number
    if number is None or image.frame is not None:
        return None
    numbered = [(i.header.number, i.plane) for i in known if i.frame is None]
    below = [(n, plane) for n, plane in numbered if n is not None and plane and n < number]
    above = [(n, plane) for n, plane in numbered if n is not None and plane and n > number]
    if not below or not above or any(n == number for n, _ in numbered):
        return None
    low, before = max(below, key=lambda each: each[0])
    high, after = min(above, key=lambda each: each[0])
    heights = sorted(plane.height for _, plane in numbered if plane)
    step = usual_step(heights)
    distance = abs(after.height - before.height) / (high - low)
    if not before.parallel_to(after) or abs(distance - step) > _UNEVEN * step:
        return None
    share = (number - low) / (high - low)
    position = np.add(before.position, share * np.subtract(after.position, before.position))
    plane = Plane(tuple(position.tolist()), before.orientation, before.spacing)
    if image.header.spacing not in {None, before.spacing}:
        return None
    clear = min(abs(plane.height - height) for height in heights) > _CLEAR * step
    return plane if clear else None


def _moved(image: Image, plane: Plane | None) -> Image:
    """Give one image of a file another place."""
    planes = list(image.file.planes)
    planes[image.at] = plane
    header = replace(image.header, planes=tuple(planes))
    return image._replace(file=replace(image.file, planes=tuple(planes), header=header))


def _without_doubles(images: Sequence[Image], refused: list[Refusal]) -> list[Image]:
    """Leave out, by name, the few images that lie where another one lies."""
    planes = [image.plane for image in images if image.plane is not None]
    if len(planes) < len(images) or not all(planes[0].parallel_to(plane) for plane in planes):
        return list(images)
    ordered = sorted(images, key=_height)
    second = doubles([_height(image) for image in ordered])
    if not 0 < len(second) <= _MOST_DOUBLES * (len(images) - len(second)):
        return list(images)
    left_out = set()
    for number in second:
        first, other = sorted(ordered[number : number + 2], key=lambda i: i.header.number or 0.0)
        left_out.add((other.file.source, other.frame))
        reason = f"it lies where {first.file.source} lies, of which there can be one only"
        refused.append(Refusal(other.file.source, other.frame, "overlapping-slices", reason))
    return [image for image in images if (image.file.source, image.frame) not in left_out]


def _height(image: Image) -> float:
    assert image.plane is not None  # noqa: S101  # looked at before
    return image.plane.height
