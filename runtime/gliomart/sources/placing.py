"""Images in their place: in order, with those placed that lost theirs, and second ones left out."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.geometry import SAME_PLACE_MM, ImagePlane, doubles, usual_step
from gliomart.image.slices import Concern, Refusal
from gliomart.sources.apart import muddled
from gliomart.sources.inventory import SeriesFiles, Study
from gliomart.sources.walk import folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.sources.inventory import Group, Image

# How far, as a fraction of the step, the images beside a lost one may lie from where their
# instance numbers have them, and how far it has to lie from all others.
_UNEVEN, _CLEAR = 0.1, 0.5
# Images this far beside the line that their stack lies on lost their place, if they are few.
_STRAY_MM, _MOST_STRAYS, _FEWEST = 20.0, 0.25, 5
_MUDDLED = Concern(
    "mixed-series",
    "most instance numbers are there several times: images of several series under one UID, which"
    " nothing tells apart",
)
# Where at most this share of the places is taken twice, the second images are left out by name;
# where more is, nobody can tell which images belong together.
MOST_DOUBLES = 0.1


def series(group: Group, refused: list[Refusal]) -> SeriesFiles:
    """Put a group in anatomical order where that is known; see :class:`SeriesFiles`."""
    images, notes = _placed(_without_strays(group.images), refused)
    images = _without_doubles(images, refused)
    ways: defaultdict[tuple[str, tuple[int, ...]], list[Image]] = defaultdict(list)
    for image in images:
        ways[image.file.source, image.header.frames].append(image)
    concerns = (_MUDDLED,) if muddled(images) else ()
    files = [
        replace(
            several[0].file.only([image.at for image in several]),
            series=group.series,
            concerns=(*several[0].file.concerns, *concerns),
        )
        for several in ways.values()
    ]
    files.sort(key=lambda file: file.order)  # stable: ties stay in name order
    names = {(file.source, file.header.sop_instance_uid) for file in files if file.header}
    uids = [uid for _, uid in names if uid]
    if len(set(uids)) < len(uids):
        reason = "different images of it have one SOP Instance UID"
        notes = (*notes, Concern("shared-instance-uid", reason))
    folder = folder_of(group.images[0].file.source)
    study, person = group.owner
    frame = group.images[0].header.frame_of_reference
    return SeriesFiles(
        group.series,
        folder,
        tuple(files),
        (*group.notes, *notes),
        study=Study(study, person, frame) if study else None,
    )


def _without_strays(images: Sequence[Image]) -> list[Image]:
    """Believe no place of the few images that lie far beside their stack, such as at the origin."""
    planes = [image.plane for image in images]
    first = planes[0]
    if first is None or len(planes) < _FEWEST:
        return list(images)
    if not all(plane is not None and first.parallel_to(plane) for plane in planes):
        return list(images)
    places = np.array([plane.position for plane in planes if plane is not None])
    across, beside = places @ first.axes[0], places @ first.axes[1:].T
    order = np.argsort(across)
    steps = np.diff(across[order])
    far = steps > SAME_PLACE_MM
    if not far.any():
        return list(images)
    # A tilted gantry shifts each image by as much.
    shift = np.median(np.diff(beside[order], axis=0)[far] / steps[far, np.newaxis], axis=0)
    away = beside - across[:, np.newaxis] * shift
    stray = np.linalg.norm(away - np.median(away, axis=0), axis=1) > _STRAY_MM
    if not 0 < stray.sum() <= _MOST_STRAYS * len(images):
        return list(images)
    return [
        _moved(image, None) if lost else image for image, lost in zip(images, stray, strict=True)
    ]


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
    neighbours = _Neighbours(known)
    kept, notes = [], []
    for image in images:
        plane = image.plane or neighbours.place_of(image)
        if plane is None:
            reason = "its place is missing, and the images beside it do not tell it for certain"
            refused.append(Refusal(image.file.source, image.frame, "unplaced", reason))
        elif image.plane is None:
            kept.append(_moved(image, plane))
            reason = f"{image.file.source} lost its place, and was placed between its neighbours"
            notes.append(Concern("placed-by-neighbours", reason))
        else:
            kept.append(image)
    return kept, tuple(notes)


class _Neighbours:
    """Images whose place is known, by their instance numbers."""

    def __init__(self, known: Sequence[Image]) -> None:
        numbered = [
            (image.header.number, image.plane)
            for image in known
            if image.frame is None and image.header.number is not None and image.plane is not None
        ]
        numbered.sort(key=lambda each: each[0])
        self._numbers = [number for number, _ in numbered]
        self._planes = [plane for _, plane in numbered]
        self._heights = sorted(image.plane.height for image in known if image.plane is not None)
        self._step = usual_step(self._heights)

    def place_of(self, image: Image) -> ImagePlane | None:
        """Find an image's place from those of the instance numbers next to its own."""
        number = image.header.number
        if number is None or image.frame is not None:
            return None
        at = bisect_left(self._numbers, number)
        if not 0 < at < len(self._numbers) or self._numbers[at] == number:
            return None
        low, high = self._numbers[at - 1], self._numbers[at]
        before, after = self._planes[at - 1], self._planes[at]
        distance = abs(after.height - before.height) / (high - low)
        if not before.parallel_to(after) or abs(distance - self._step) > _UNEVEN * self._step:
            return None
        if image.header.spacing not in {None, before.spacing}:
            return None
        share = (number - low) / (high - low)
        position = np.add(before.position, share * np.subtract(after.position, before.position))
        plane = ImagePlane(tuple(position.tolist()), before.orientation, before.spacing)
        beside = bisect_left(self._heights, plane.height)
        nearest = self._heights[max(beside - 1, 0) : beside + 1]
        clear = min(abs(plane.height - height) for height in nearest) > _CLEAR * self._step
        return plane if clear else None


def _moved(image: Image, plane: ImagePlane | None) -> Image:
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
    if not 0 < len(second) <= MOST_DOUBLES * (len(images) - len(second)):
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
