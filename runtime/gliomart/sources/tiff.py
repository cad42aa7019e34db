"""Directories of TIFF and BigTIFF files (TIFF 6.0, section 2), which Exif is made of as well."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.sources.picture import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gliomart.sources.budget import Budget

ORIENTATION = 274
_BIG = 43
# Bytes of a value of each type, and how those that are numbers are read.
_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_NUMBERS = {
    1: "u1",
    3: "u2",
    4: "u4",
    6: "i1",
    8: "i2",
    9: "i4",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
# A page has about twenty fields.
_MOST_FIELDS = 4096
_TURNED = range(1, 9)


class Field(NamedTuple):
    """One field of a directory: where it is, its type, how many values it has, and where."""

    place: int
    kind: int
    length: int
    start: int

    @property
    def size(self) -> int:
        """Bytes of all values; 0 of a type that nobody knows."""
        return _SIZES.get(self.kind, 0) * self.length


@dataclass(frozen=True)
class Layout:
    """How a file writes its numbers: byte order, and formats of counts, fields and links."""

    order: str
    count: str
    field: str
    link: str
    first: int

    @property
    def inline(self) -> int:
        """So many bytes of values fit into a field itself."""
        return struct.calcsize(self.link)


@dataclass(frozen=True)
class Directory:
    """The fields of one page, by tag; of those that occur twice, the first counts."""

    window: Window
    layout: Layout
    start: int
    end: int
    fields: Mapping[int, Field]
    after: int

    def numbers(self, tag: int, most: int = 1) -> list[int]:
        """Read a field of whole numbers, at most so many; none where there is no such field."""
        field = self.fields.get(tag)
        if field is None or field.kind not in _NUMBERS:
            return []
        kind = np.dtype(self.layout.order + _NUMBERS[field.kind])
        content = self.window.take(field.start, min(field.length, most) * kind.itemsize)
        numbers: list[int] = np.frombuffer(content, kind).tolist()
        return numbers

    def number(self, tag: int, default: int) -> int:
        """Read the first number of a field."""
        return (self.numbers(tag) or [default])[0]

    def text(self, tag: int, most: int) -> str:
        """Read a field of text, at most so many bytes of it."""
        field = self.fields.get(tag)
        if field is None or field.size < 1:
            return ""
        content = self.window.take(field.start, min(field.size, most))
        return content.partition(b"\0")[0].decode("utf-8", "replace")

    def patch(self, tag: int, value: int) -> tuple[int, bytes]:
        """Say what to write where, so that the first number of a field is another."""
        field = self.fields[tag]
        kind = np.dtype(self.layout.order + _NUMBERS[field.kind])
        if value > np.iinfo(str(kind)).max:
            raise InputRefusedError("unsupported-format", "a field of the TIFF has too few bits")
        return field.start, np.array(value, kind).tobytes()

    def rename(self, tag: int, other: int) -> tuple[int, bytes]:
        """Say what to write where, so that a field has another tag."""
        return self.fields[tag].place, struct.pack(self.layout.order + "H", other)


def layout_of(window: Window) -> Layout:
    """Read how a file writes its numbers."""
    head = window.take(0, 8)
    order = "<" if head[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", head, 2)[0] == _BIG:
        return Layout(order, "Q", "HHQ", "Q", first=8)
    return Layout(order, "H", "HHI", "I", first=4)


def chain(window: Window, budget: Budget) -> Iterator[Directory]:
    """Follow a file's pages from the first to the last.

    Raises
    ------
    InputRefusedError
        ``truncated``, ``undecodable`` where a page follows itself, ``too-many-elements``.
    """
    layout = layout_of(window)
    known: set[int] = set()
    fields = 0
    at = _link(window, layout, layout.first)
    while at:
        if at in known:
            raise InputRefusedError(
                "undecodable", "the pages of the TIFF follow one another for ever"
            )
        known.add(at)
        directory = directory_at(window, layout, at)
        fields += 1 + len(directory.fields)
        if fields > budget.elements:
            raise InputRefusedError("too-many-elements", f"more than {budget.elements} fields")
        yield directory
        at = directory.after


def directory_at(window: Window, layout: Layout, start: int) -> Directory:
    """Read the directory at a place."""
    begin = start + struct.calcsize(layout.order + layout.count)
    count = struct.unpack(layout.order + layout.count, window.take(start, begin - start))[0]
    if count > _MOST_FIELDS:
        raise InputRefusedError("undecodable", f"{count} fields in a directory of the TIFF")
    entry = struct.Struct(layout.order + layout.field)
    size = entry.size + layout.inline
    content = window.take(begin, count * size)
    fields: dict[int, Field] = {}
    for number in range(count):
        tag, kind, values = entry.unpack_from(content, number * size)
        place = begin + number * size
        field = Field(place, kind, values, place + entry.size)
        if field.size > layout.inline:
            field = field._replace(start=_link(window, layout, field.start))
        fields.setdefault(tag, field)
    end = begin + count * size + layout.inline
    after = _link(window, layout, end - layout.inline)
    return Directory(window, layout, start, end, fields, after)


def orientation(block: bytes) -> int:
    """Tell how a picture is turned from Exif, a TIFF without pixels; 1 where it does not say.

    Exif 2.32, 4.5 and 4.6.4: Orientation is a field of the first directory.
    """
    window = Window(BytesIO(block + bytes(8)))  # some leave out where the next directory is
    if block[:4] not in {b"II*\0", b"MM\0*"}:
        return 1
    try:
        layout = layout_of(window)
        return orientation_of(directory_at(window, layout, _link(window, layout, layout.first)))
    except InputRefusedError:  # it is cut off: nothing else of the picture depends on it
        return 1


def orientation_of(directory: Directory) -> int:
    """Return the orientation, 1 to 8; what is none of them counts as 1, the usual one."""
    turned = directory.number(ORIENTATION, 1)
    return turned if turned in _TURNED else 1


def _link(window: Window, layout: Layout, at: int) -> int:
    link: int = struct.unpack(layout.order + layout.link, window.take(at, layout.inline))[0]
    return link
