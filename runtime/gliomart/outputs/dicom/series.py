"""References to the series of source images, where these are of several."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from pydicom import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

_Made = TypeVar("_Made", bound=Dataset)


def as_one(images: Sequence[Dataset]) -> list[Dataset]:
    """Give source images one Series Instance UID: highdicom derives images from one series only."""
    uid = images[0].SeriesInstanceUID
    for image in images:
        del image.SeriesInstanceUID  # the element is shared with the image's identity
        image.SeriesInstanceUID = uid
    return list(images)


def as_they_are(made: _Made, sources: Sequence[Dataset]) -> _Made:
    """Refer to every source image, each in its own series again (PS3.3 C.12.2, C.12.4)."""
    series: defaultdict[str, list[Dataset]] = defaultdict(list)
    for source in sources:
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.SOPClassUID
        reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
        series[source.SeriesInstanceUID].append(reference)
    made.SourceImageSequence = [each for several in series.values() for each in several]
    made.ReferencedSeriesSequence = [_reference(uid, several) for uid, several in series.items()]
    return made


def _reference(uid: str, instances: list[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedInstanceSequence = instances
    return item
