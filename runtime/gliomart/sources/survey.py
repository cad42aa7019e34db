"""A survey of DICOM data elements that believes no length before it has checked it.

A loop, not a recursion, that reads the stream as pydicom will (DICOM PS3.5 section 7), so that
pydicom meets nothing that was not counted and measured.
"""

from __future__ import annotations

import zlib
from struct import Struct
from time import monotonic
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

from gliomart.errors import InputRefusedError
from gliomart.printable import said
from gliomart.sources.budget import beyond

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomart.sources.budget import Budget

UNDEFINED = 0xFFFFFFFF

_BLOCK = 1 << 16
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS, _META = 0xFFFE, 0x0002
# Float Pixel Data, Double Float Pixel Data, Pixel Data (DICOM PS3.3 C.7.6.24, C.7.6.25, C.7.6.3).
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
# DICOM PS3.5 7.1.2: these representations have a length of 32 bits, the others one of 16.
LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                   b"UT", b"UV"})  # fmt: skip
SHORT = frozenset({b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO",
                    b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL",
                    b"US"})  # fmt: skip
# Values that stay one object, however long they are.
_OPAQUE = ("OB", "OD", "OF", "OL", "OV", "OW", "UN", "UR", "UT")
_LITTLE, _BIG = Struct("<HHL").unpack_from, Struct(">HHL").unpack_from


class Encoding(NamedTuple):
    """How data elements are encoded (DICOM PS3.5 section 7)."""

    explicit: bool
    little_endian: bool


class PixelElement(NamedTuple):
    """The header of the element that holds the pixels, and where its value starts."""

    tag: int
    representation: str | None
    start: int
    length: int


class Window:
    """The bytes of a stream so far, read on as far as they are asked for.

    ``size`` is how many there can be, and ``overrun`` makes the refusal for asking for more.
    """

    def __init__(
        self,
        read: Callable[[int], bytes | None],
        size: int,
        overrun: Callable[[int], InputRefusedError],
    ) -> None:
        self.data = bytearray()
        self._read = read
        self._size = size
        self._overrun = overrun

    def reach(self, end: int) -> bool:
        """Read on to ``end``; False where the stream is over before."""
        while len(self.data) < end:
            block = self._read(max(min(end, self._size) - len(self.data), _BLOCK))
            if not block:
                return False
            self.data += block
        return True

    def need(self, end: int) -> None:
        """Read on to ``end``, where there have to be as many bytes."""
        self.expect(end)
        if not self.reach(end):
            raise truncated()

    def expect(self, end: int) -> None:
        """Refuse an end that the stream cannot have, without reading it."""
        if end > self._size:
            raise self._overrun(end)

    def take(self, start: int, end: int) -> bytearray:
        """Take a long value without holding it twice; the window is empty afterwards."""
        self.expect(end)
        value = self.data[start:end]
        self.data = bytearray()
        while len(value) < end - start:
            block = self._read(min(end - start - len(value), 16 * _BLOCK))
            if not block:
                raise truncated()
            value += block
        return value


class Inflater:
    """A deflated data set (DICOM PS3.5 A.5), inflated no further than it is read."""

    def __init__(self, read: Callable[[int], bytes | None], deflated: bytes) -> None:
        self._read = read
        self._deflated = deflated
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, size: int) -> bytes:
        """Inflate up to so many bytes; none where the data set is over."""
        while not self._stream.eof:
            self._deflated = self._deflated or self._read(_BLOCK) or b""
            if not self._deflated:
                raise truncated()
            try:
                inflated = self._stream.decompress(self._deflated, size)
            except zlib.error as error:
                raise InputRefusedError(
                    "unreadable", f"not deflated data: {said(error)}"
                ) from error
            self._deflated = self._stream.unconsumed_tail
            if inflated:
                return inflated
        return b""


class _Level(NamedTuple):
    """A data set, or else a sequence of items, that the survey is inside of."""

    is_dataset: bool
    explicit: bool
    end: int | None  # None where a delimiter ends it


class Survey:
    """A walk over data elements, up to the pixels.

    Attributes
    ----------
    encoding
        What the first element looks like, which may not be what the transfer syntax says.
    pixels
        Where the pixels are; None where the walk came to the end of the file first.
    """

    def __init__(self, window: Window, budget: Budget, deadline: float) -> None:
        self.encoding = Encoding(explicit=True, little_endian=True)
        self.pixels: PixelElement | None = None
        self._window = window
        self._budget = budget
        self._deadline = deadline
        self._elements = 0
        self._position = 0
        self._level = _Level(is_dataset=True, explicit=True, end=None)
        self._outer: list[_Level] = []

    def walk(self, start: int, encoding: Encoding, *, only_meta: bool = False) -> int:
        """Walk data elements and return where the walk ended.

        That is at the pixels, at the end of the file or, with ``only_meta``, after the file meta
        information (DICOM PS3.10 7.1).

        Raises
        ------
        InputRefusedError
            ``truncated``, ``unreadable`` or one of the budget's codes.
        """
        self._position = start
        explicit = self._looks_explicit(otherwise=encoding.explicit)
        self.encoding = encoding._replace(explicit=explicit)
        self._level = _Level(is_dataset=True, explicit=explicit, end=None)
        while not self._at_end():
            self._count()
            tag, length = self._read_tag(self._position)
            if not self._level.is_dataset:
                self._enter_item(tag, length)
            elif tag >> 16 == _DELIMITERS:
                self._leave_item(tag)
            elif only_meta and tag >> 16 != _META:
                break
            elif tag in _PIXELS and not self._outer:
                self.pixels = PixelElement(tag, *self._read_header(length))
                break
            else:
                self._pass_element(tag, length)
        return self._position

    def walk_fragments(self, start: int) -> int:
        """Walk the fragments of an encapsulated value (DICOM PS3.5 A.4); return their end."""
        position = start
        while True:
            self._window.need(position + 8)
            self._count()
            tag, length = self._read_tag(position)
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM or length == UNDEFINED:
                unreadable("an encapsulated value holds something that is no fragment")
            position += 8 + length

    def _at_end(self) -> bool:
        """Leave what ends here by its length; tell whether it is the file that ends."""
        position = self._position
        while self._level.end is not None and position >= self._level.end:
            if position > self._level.end:
                unreadable("an element runs past the end of its sequence")
            self._level = self._outer.pop()
        data = self._window.data
        if len(data) >= position + 8 or self._window.reach(position + 8):
            return False
        if len(data) > position or self._outer:
            raise truncated()
        return True

    def _read_tag(self, position: int) -> tuple[int, int]:
        """Read a tag, and the length as it is where there is no representation before it."""
        header = _LITTLE if self.encoding.little_endian else _BIG
        group, element, length = header(self._window.data, position)
        return group << 16 | element, length

    def _enter_item(self, tag: int, length: int) -> None:
        """Enter the next data set of a sequence, or leave the sequence."""
        self._position += 8
        if tag == _SEQUENCE_END and self._level.end is None:
            self._level = self._outer.pop()
        elif tag == _ITEM:
            explicit = self._level.explicit and self._looks_explicit(otherwise=True)
            self._enter(length, is_dataset=True, explicit=explicit)
        else:
            unreadable("a sequence holds something that is no item")

    def _leave_item(self, tag: int) -> None:
        if tag != _ITEM_END or self._level.end is not None or not self._outer:
            unreadable("a delimiter stands where none belongs")
        self._position += 8
        self._level = self._outer.pop()

    def _pass_element(self, tag: int, length: int) -> None:
        """Pass over the value of an element, or enter it where it is a sequence."""
        representation, self._position, length = self._read_header(length)
        if representation == "UN" and length == UNDEFINED:
            representation = "SQ"  # DICOM PS3.5 6.2.2, note on UN
        elif representation in {None, "UN"}:
            representation = _known(tag)
        if representation is None and length == UNDEFINED:
            self._window.need(self._position + 8)
            items = self._read_tag(self._position)[0] == _ITEM
            representation = "SQ" if items else None
        if representation == "SQ":
            self._enter(length, is_dataset=False, explicit=self._level.explicit)
        elif length == UNDEFINED:
            self._position = self.walk_fragments(self._position) + 8
        else:
            self._position += length
            if len(self._window.data) < self._position:
                self._window.need(self._position)
            longest = self._budget.value_bytes
            # Where the dictionary leaves a choice, OW is the last one.
            if length > longest and not (representation or "OW").endswith(_OPAQUE):
                raise beyond("value-too-long", "a value holds", length, longest)

    def _enter(self, length: int, *, is_dataset: bool, explicit: bool) -> None:
        self._outer.append(self._level)
        if len(self._outer) > 2 * self._budget.depth:
            reason = f"sequences are nested more than {self._budget.depth} deep"
            raise InputRefusedError("nested-too-deep", reason)
        end = None if length == UNDEFINED else self._position + length
        self._level = _Level(is_dataset, explicit, end)

    def _read_header(self, length: int) -> tuple[str | None, int, int]:
        """Return an element's representation, where its value starts and how long it is."""
        position, data = self._position, self._window.data
        letters = bytes(data[position + 4 : position + 6])
        if not self._level.explicit or not b"AA" <= letters <= b"ZZ":  # implicit all the same
            return None, position + 8, length
        representation = letters.decode("latin-1")
        little_endian = self.encoding.little_endian
        if letters not in LONG:
            return representation, position + 8, length >> 16 if little_endian else length & 0xFFFF
        self._window.need(position + 12)
        order: Literal["little", "big"] = "little" if little_endian else "big"
        length = int.from_bytes(data[position + 8 : position + 12], order)
        return representation, position + 12, length

    def _count(self) -> None:
        self._elements += 1
        if self._elements > self._budget.elements:
            reason = f"there are more than {self._budget.elements} data elements"
            raise InputRefusedError("too-many-elements", reason)
        if not self._elements & 1023 and monotonic() > self._deadline:
            reason = f"the survey takes longer than {self._budget.seconds:g} s"
            raise InputRefusedError("too-slow", reason)

    def _looks_explicit(self, *, otherwise: bool) -> bool:
        """Look for the two capitals that the next element has in explicit VR."""
        if not self._window.reach(self._position + 6):
            return otherwise
        first, second = self._window.data[self._position + 4 : self._position + 6]
        return 0x40 < first < 0x5B and 0x40 < second < 0x5B  # noqa: PLR2004


def guess_encoding(window: Window, start: int) -> Encoding:
    """Guess the encoding of a data set whose transfer syntax is not given."""
    window.reach(start + 6)
    explicit = bytes(window.data[start + 4 : start + 6]) in LONG | SHORT
    # The groups that a data set starts with are below 0x0400, unless their bytes are swapped.
    group = int.from_bytes(window.data[start : start + 2], "little")
    return Encoding(explicit, little_endian=not explicit or group < 0x0400)  # noqa: PLR2004


def unreadable(reason: str) -> NoReturn:
    """Refuse what is no DICOM."""
    raise InputRefusedError("unreadable", f"not valid DICOM: {reason}")


def truncated() -> InputRefusedError:
    """Make the refusal of a file that breaks off."""
    return InputRefusedError("truncated", "the file ends in the middle of an element")


def _known(tag: int) -> str | None:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_VR(tag) if dictionary_has_tag(tag) else None
