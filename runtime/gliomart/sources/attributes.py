"""Attributes of DICOM data sets and their frames, looked at one by one.

One that is missing, empty or no value of its kind counts as missing: headers of real archives hold
all three, and what follows from a missing one is decided where it is needed.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom import Dataset
    from pydicom.tag import BaseTag

# No scan has more; each is looked at several times.
_MOST_FRAMES = 1 << 16


class Frame:
    """The attributes of one frame: its own, those that frames share, those of the whole object.

    In enhanced objects they lie in functional groups (PS3.3 C.7.6.16); an attribute is looked up in
    the frame's own ones first.
    """

    def __init__(self, dataset: Dataset, groups: Sequence[Dataset]) -> None:
        self._places = [
            item for group in groups for sequence in _sequences(group) for item in sequence[:1]
        ]
        self._places.append(dataset)

    def get(self, keyword: str) -> Any:  # noqa: ANN401
        """Look at one attribute; None where it is missing, empty or cannot be parsed."""
        for place in self._places:
            value = value_of(place, keyword)
            if value is not None and value != "":
                return value
        return None

    def given(self, keyword: str) -> bool:
        """Tell whether an attribute has a value, be it one that cannot be parsed."""
        found = (place.get_item(keyword) for place in self._places)
        return any(element is not None and not _is_empty(element.value) for element in found)


def _is_empty(value: Any) -> bool:  # noqa: ANN401
    """Tell whether nothing but padding stands in an element, parsed or not (PS3.5 6.2)."""
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    return value is None or (isinstance(value, str) and not value.strip(" \0"))


def frames_of(dataset: Dataset) -> list[Frame]:
    """Where to look for the attributes of each frame.

    Raises
    ------
    InputRefusedError
        ``too-many-elements``: it says that it holds more than 65,536 frames.
    """
    shared = list(value_of(dataset, "SharedFunctionalGroupsSequence") or [])[:1]
    own = list(value_of(dataset, "PerFrameFunctionalGroupsSequence") or [])
    count = max(int((numbers(dataset, "NumberOfFrames", 1) or (1,))[0]), 1)
    if count > _MOST_FRAMES:
        reason = f"it says that it holds {count} frames, and the most are {_MOST_FRAMES}"
        raise InputRefusedError("too-many-elements", reason)
    if not own and not shared:
        return [Frame(dataset, [])] * count
    return [Frame(dataset, [*own[number : number + 1], *shared]) for number in range(count)]


def _sequences(group: Dataset) -> Iterator[Any]:
    from pydicom.datadict import keyword_for_tag
    from pydicom.sequence import Sequence as Items

    for tag in group.keys():  # noqa: SIM118  # iterating over the group itself parses its values
        value = value_of(group, keyword_for_tag(tag))
        if isinstance(value, Items):
            yield value


def text(place: Dataset | Frame, keyword: str) -> str:
    """Read one value as text, the first where there are several."""
    value = value_of(place, keyword)
    if value is None or isinstance(value, (bytes, str)):
        return str(value or "").strip()
    try:
        return str(value[0] if len(value) else "").strip()
    except TypeError:
        return str(value).strip()


def words(place: Dataset | Frame, keyword: str) -> tuple[str, ...]:
    """Read several words."""
    value = value_of(place, keyword)
    if value is None or value == "":
        return ()
    return tuple(map(str, [value] if isinstance(value, str) else np.atleast_1d(value)))


def numbers(place: Dataset | Frame, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read so many finite numbers; None where the attribute is not that."""
    value = value_of(place, keyword)
    if value is None:
        return None
    try:
        found = tuple(float(number) for number in np.atleast_1d(value))
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def value_of(place: Dataset | Frame, keyword: str) -> Any:  # noqa: ANN401
    """Look at one attribute; None where it is missing, empty or cannot be parsed."""
    try:
        if isinstance(place, Frame):
            return place.get(keyword)
        tag = _tag(keyword)
        return place[tag].value if tag in place else None
    except Exception:  # noqa: BLE001  # pydicom parses a value when it is looked at
        return None


@cache
def _tag(keyword: str) -> BaseTag:
    from pydicom.tag import Tag

    return Tag(keyword)
