"""A DICOM data set without the preamble of PS3.10 7.1, told by its first bytes.

Nothing marks such a file. But it starts with elements of low groups in ascending order, each with a
length that leads to the next one (PS3.5 section 7), which other files do not do by chance.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from gliomart.sources.survey import LONG, SHORT, UNDEFINED

_Order = Literal["little", "big"]
_ORDERS: tuple[_Order, ...] = ("little", "big")
# File meta information, directory and identifying information: where a data set starts.
_FIRST_GROUPS = (0x0002, 0x0004, 0x0008)
_META = 0x0002
_ITEM = 0xFFFEE000
# Elements in a row that no other file is taken to begin with.
_ENOUGH = 3
_LONGEST = 1 << 16
_STARTS = tuple(group.to_bytes(2, order) for group in _FIRST_GROUPS for order in _ORDERS)


class _Element(NamedTuple):
    """The header of an element: its tag, where its value starts and how long that is."""

    tag: int
    start: int
    length: int


def is_data_set(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a DICOM data set without preamble.

    Parameters
    ----------
    head
        The first bytes of the file, a few hundred at least where it has them.

    Notes
    -----
    The encoding may be explicit or implicit, of either byte order, and change after the file meta
    information. At least three elements have to follow one another, of tags that the dictionary or
    a private creator has, or one sequence has to hold an item.
    """
    if not head.startswith(_STARTS):  # nearly all that is no DICOM ends here
        return False
    return any(
        _count(head, order, explicit=explicit) >= _ENOUGH
        for order in _ORDERS
        for explicit in (True, False)
    )


def _count(head: bytes, order: _Order, *, explicit: bool) -> int:
    """Count the elements that follow one another, up to as many as are enough."""
    count, last, position = 0, -1, 0
    while count < _ENOUGH:
        element = _element(head, position, order, explicit=explicit)
        if element is None and last >> 16 == _META:  # what follows may be encoded otherwise
            return _ENOUGH if is_data_set(head[position:]) else count
        if element is None or element.tag <= last or not _known(element.tag):
            return count
        count, last = count + 1, element.tag
        if element.length == UNDEFINED:
            first = _tag(head, element.start, order)
            return _ENOUGH if first == _ITEM else 0
        position = element.start + element.length
    return count


def _element(head: bytes, position: int, order: _Order, *, explicit: bool) -> _Element | None:
    """Read the header of an element; None where there is none that makes sense."""
    tag = _tag(head, position, order)
    if tag is None or (position == 0 and tag >> 16 not in _FIRST_GROUPS):
        return None
    start = position + 8
    if not explicit:
        length = int.from_bytes(head[position + 4 : start], order)
    elif (letters := head[position + 4 : position + 6]) in SHORT:
        length = int.from_bytes(head[position + 6 : start], order)
    elif letters in LONG:
        start += 4
        length = int.from_bytes(head[position + 8 : start], order)
    else:
        return None
    if len(head) < start or (length > _LONGEST and length != UNDEFINED):
        return None
    return _Element(tag, start, length)


def _tag(head: bytes, position: int, order: _Order) -> int | None:
    if len(head) < position + 8:
        return None
    group, element = (
        int.from_bytes(head[place : place + 2], order) for place in (position, position + 2)
    )
    return group << 16 | element


def _known(tag: int) -> bool:
    """Tell whether the standard has an element, or it is private or a group's length."""
    from pydicom.datadict import dictionary_has_tag

    return bool(tag >> 16 & 1) or tag & 0xFFFF == 0 or dictionary_has_tag(tag)
