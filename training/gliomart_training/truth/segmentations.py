"""Masks that are DICOM Segmentations (PS3.3 A.51, A.90 and C.8.20), brought to their series.

Frames may be of several segments, of bits, fractions or labels, in any order, and are left out
where they would mark nothing. A frame lies where it says, in the image's frame of reference; one
that does not say lies on the image that it was drawn on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.image.geometry import COARSEST_MM, FINEST_MM, ImagePlane, is_place, is_plane
from gliomart.sources import DEFAULT, codecs, wall
from gliomart.sources.attributes import frames_of, numbers, text, value_of
from gliomart.sources.kinds import kind_of_content
from gliomart_training.truth.marks import FULL, Marks, errors
from gliomart_training.truth.pictures import check_size
from gliomart_training.truth.placing import Drawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydicom import Dataset

    from gliomart.sources.attributes import Frame
    from gliomart_training.truth.marks import Choice
    from gliomart_training.truth.placing import Target

# Segmentation Storage, and Label Map Segmentation Storage (PS3.4 B.5).
SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
# Bytes that tell the kind of a file.
_HEAD = 132
# Where a frame may lie beside the slice that it says it was drawn on, in mm.
_SAME_SLICE_MM = 0.25


class _On(NamedTuple):
    """An image that a frame was drawn on: its SOP Instance UID, and its frame from 1."""

    instance: str
    frame: int


@dataclass(frozen=True)
class _Shown:
    """A frame, what it tells apart, and the only image that it was drawn on, None for several."""

    drawn: Drawn
    labels: frozenset[str]
    on: _On | None


class References(NamedTuple):
    """The series and the instances that a segmentation refers to, by their UIDs."""

    series: frozenset[str]
    instances: frozenset[str]

    @classmethod
    def of(cls, dataset: Dataset) -> References:
        """Find all of them, those of its frames included."""
        listed = _items(dataset, "ReferencedSeriesSequence")
        series = {text(each, "SeriesInstanceUID") for each in listed}
        images = [one for each in listed for one in _items(each, "ReferencedInstanceSequence")]
        places: list[Dataset | Frame] = [dataset, *frames_of(dataset)]
        images += [one for place in places for one in _items(place, "SourceImageSequence")]
        instances = {text(one, "ReferencedSOPInstanceUID") for one in images}
        return cls(frozenset(series - {""}), frozenset(instances - {""}))


def is_segmentation(path: Path) -> bool:
    """Tell whether a file is a segmentation; what cannot be read is none."""
    try:
        with path.open("rb") as stream:
            dicom = kind_of_content(stream.read(_HEAD)) == "dicom"
        return dicom and text(wall.parse(path, pixels=False), "SOPClassUID") in SOP_CLASSES
    except (InputRefusedError, OSError):  # which is told where it is read
        return False


def read(path: Path, target: Target, choice: Choice) -> Marks:
    """Read the segmentation of a series, or of a volume that was made from one.

    Raises
    ------
    DatasetError
        It cannot be read, marks everything, or is not drawn on this image: its frame of reference,
        the images that it refers to, or its frames' places are others.
    """
    with errors(path):
        dataset = wall.parse(path, pixels=True)
        _check_belongs(path, dataset, target)
        shown = list(_frames(dataset, choice))
    if shown and all(each.drawn.marks.all() for each in shown):
        raise DatasetError(f"{path}: {FULL}")
    placed = [each.drawn for each in shown if each.drawn.plane is not None]
    marks = target.bring(path, placed, whole=False) if placed else target.blank()
    slice_of = {
        _On(each.sop_instance_uid, (each.frame or 0) + 1): number
        for number, each in enumerate(target.slices)
        if each.sop_instance_uid is not None
    }
    for each in shown:
        if each.on and target.instances and each.on.instance not in target.instances:
            raise DatasetError(f"{path}: {each.drawn.name} was drawn on an image of another series")
        number = slice_of.get(each.on) if each.on else None
        if each.drawn.plane is not None:
            _check_place(path, each, target, number)
        elif number is None:
            raise DatasetError(
                f"{path}: {each.drawn.name} says neither where it lies nor on which of its image's"
                " slices"
            )
        else:
            check_size(path, each.drawn.marks.shape, target.slices[number])
            marks[number] |= each.drawn.marks
    return Marks(target.of_items(marks), frozenset[str]().union(*(each.labels for each in shown)))


def _check_belongs(path: Path, dataset: Dataset, target: Target) -> None:
    """Refuse a segmentation of other images, as far as both say which they are."""
    space = text(dataset, "FrameOfReferenceUID")
    if space and target.frames_of_reference and space not in target.frames_of_reference:
        raise DatasetError(f"{path}: lies in another frame of reference than its image")
    instances = References.of(dataset).instances
    if instances and target.instances and not instances & target.instances:
        raise DatasetError(f"{path}: refers to other images than those of its series")


def _check_place(path: Path, shown: _Shown, target: Target, number: int | None) -> None:
    """Refuse a frame that lies at another slice than the one that it was drawn on."""
    plane = shown.drawn.plane
    on = None if number is None else target.slices[number].plane
    if plane is None or on is None or not np.isclose(abs(on.axes[0] @ plane.axes[0]), 1, atol=1e-3):
        return
    if abs(on.axes[0] @ np.subtract(plane.position, on.position)) > _SAME_SLICE_MM:
        raise DatasetError(
            f"{path}: {shown.drawn.name} lies elsewhere than the image that it refers to"
        )


def _frames(dataset: Dataset, choice: Choice) -> Iterator[_Shown]:
    """Read the frames that mark something, of the segments that were chosen.

    Raises
    ------
    InputRefusedError
        ``unsupported``, ``undecodable`` or as of :func:`gliomart.sources.codecs.words`.
    """
    kind = text(dataset, "SegmentationType").upper()
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise InputRefusedError("unsupported", f"a segmentation of type {kind[:16] or 'unknown'}")
    named = _named(dataset)
    chosen = {number: names[0] for number, names in named.items() if choice.takes(number, *names)}
    least = _least(dataset) if kind == "FRACTIONAL" else 1
    groups = frames_of(dataset)
    stored = codecs.frames(dataset, DEFAULT)
    for number, (group, values) in enumerate(zip(groups, stored, strict=True), start=1):
        if kind == "LABELMAP":
            marks = np.isin(values, list(chosen))
            segments = set(np.unique(values[marks]).tolist())
        else:
            segment = _segment(group, named)
            segments = {segment} & chosen.keys()
            marks = np.asarray(values >= least) & bool(segments)
        if marks.any():
            labels = frozenset(chosen[segment] for segment in segments)
            drawn = Drawn(marks, _plane(group), f"its frame {number}")
            yield _Shown(drawn, labels, _drawn_on(group))


def _named(dataset: Dataset) -> dict[int, tuple[str, ...]]:
    """Find the names of all segments by number: label, and the meaning of the type's code."""
    found: dict[int, tuple[str, ...]] = {}
    for each in _items(dataset, "SegmentSequence"):
        (number,) = numbers(each, "SegmentNumber", 1) or (0.0,)
        types = _items(each, "SegmentedPropertyTypeCodeSequence")
        meaning = text(types[0], "CodeMeaning") if types else ""
        if number >= 1:  # 0 is what no segment is, in label maps
            found[int(number)] = (text(each, "SegmentLabel") or f"{number:g}", meaning)
    if not found:
        raise InputRefusedError("undecodable", "a segmentation without segments")
    return found


def _segment(group: Frame, named: Mapping[int, tuple[str, ...]]) -> int:
    """Tell which segment a frame is of; where it does not say, the only one there is."""
    (number,) = numbers(group, "ReferencedSegmentNumber", 1) or (0.0,)
    if number in named:
        return int(number)
    if number or len(named) > 1:
        raise InputRefusedError("undecodable", "a frame is of no segment that is described")
    (only,) = named
    return only


def _least(dataset: Dataset) -> float:
    """Tell from where on a fraction counts: half of the most, be it probability or occupancy."""
    (most,) = numbers(dataset, "MaximumFractionalValue", 1) or (0.0,)
    if most <= 0:
        raise InputRefusedError("undecodable", "fractions without a Maximum Fractional Value")
    return most / 2


def _plane(group: Frame) -> ImagePlane | None:
    """Tell where a frame lies; None where that is not said.

    Raises
    ------
    InputRefusedError
        ``bad-geometry``: it says what no place is.
    """
    position = numbers(group, "ImagePositionPatient", 3)
    orientation = numbers(group, "ImageOrientationPatient", 6)
    spacing = numbers(group, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        return None
    known = FINEST_MM <= min(spacing) <= max(spacing) <= COARSEST_MM
    if not (known and is_place(position) and is_plane(orientation)):
        raise InputRefusedError("bad-geometry", "a frame lies at no place in the patient")
    return ImagePlane(position, orientation, (spacing[0], spacing[1]))


def _drawn_on(group: Frame) -> _On | None:
    images = _items(group, "SourceImageSequence")
    if len(images) != 1:
        return None
    frame = numbers(images[0], "ReferencedFrameNumber", 1)
    if frame is None and value_of(images[0], "ReferencedFrameNumber") is not None:
        return None  # several
    return _On(text(images[0], "ReferencedSOPInstanceUID"), int(frame[0]) if frame else 1)


def _items(place: Dataset | Frame, keyword: str) -> list[Dataset]:
    return list(value_of(place, keyword) or [])
