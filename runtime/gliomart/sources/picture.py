"""What pictures say of themselves before they are decoded, held against what may be spent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gliomart.errors import InputRefusedError
from gliomart.image.greyscale import LARGEST_SIDE
from gliomart.sources.budget import beyond

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedIOBase

    from gliomart.sources.budget import Budget

_VALUE_BYTES = 4  # of a pixel of a slice, which is float32

Opacity = Literal["straight", "premultiplied"]


@dataclass(frozen=True)
class Page:
    """What a picture says of one of its pages.

    Attributes
    ----------
    width, height
        In pixels, as stored: before the orientation is obeyed.
    samples, bits
        Values of a pixel, opacity included, and bits of each, as the decoder gives them.
    orientation
        How it is turned, 1 to 8 (TIFF 6.0, Orientation; Exif 2.32, 4.6.4).
    inverted
        0 is white.
    opacity
        What the last sample is, where it is opacity: ``straight``, or ``premultiplied`` where the
        others have been multiplied by it already.
    see_through
        The one grey value that stands for air (PNG's tRNS), None where there is none.
    copied
        The decoder gives colour of which all planes are copies of one grey plane.
    side_by_side
        The samples of a pixel are decoded as so many pixels in a row.
    left_out
        Why it is not a slice, where it is none.
    """

    width: int
    height: int
    samples: int
    bits: int
    orientation: int = 1
    inverted: bool = False
    opacity: Opacity | None = None
    see_through: int | None = None
    copied: bool = False
    side_by_side: bool = False
    left_out: str | None = None

    @property
    def bytes(self) -> int:
        """Size of the decoded page."""
        return self.width * self.height * self.samples * max(1, -(-self.bits // 8))

    @property
    def held_bytes(self) -> int:
        """Size of the page while it is decoded, or of its slice afterwards: what is more."""
        return max(self.bytes, self.width * self.height * _VALUE_BYTES)


@dataclass(frozen=True)
class Picture:
    """All pages of a file; ``patches`` (offset, bytes) make it one that is decoded as stored."""

    pages: Sequence[Page]
    patches: Sequence[tuple[int, bytes]] = field(default=())

    def admit(self, budget: Budget) -> None:
        """Refuse what is too much: ``too-large``, ``too-many-pixels``, ``undecodable``."""
        for page in self.pages:
            if min(page.width, page.height) < 1:
                raise InputRefusedError("undecodable", "the picture says that it has no pixels")
            if max(page.width, page.height) > LARGEST_SIDE:
                raise InputRefusedError(
                    "too-large",
                    f"{page.width}x{page.height} pixels; at most {LARGEST_SIDE} a side are read",
                )
            if page.bytes > budget.frame_bytes:
                raise beyond("too-many-pixels", "a page takes", page.bytes, budget.frame_bytes)
        total = sum(page.held_bytes for page in self.pages)
        if total > budget.pixel_bytes:
            raise beyond("too-many-pixels", "the pixels take", total, budget.pixel_bytes)


def most_parts(budget: Budget) -> int:
    """How many parts a file may have, such as chunks; the largest picture has a tenth of them."""
    return min(budget.elements, 100_000)


class Window:
    """Any part of a file, without reading the rest.

    ``size`` is that of the whole file, in bytes.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)

    def expect(self, end: int) -> None:
        """Refuse, as ``truncated``, a file that ends before a place."""
        if end > self.size:
            raise InputRefusedError("truncated", "the file ends in the middle of the image")

    def take(self, start: int, length: int) -> bytes:
        """Read a part; refuse it as ``truncated`` where the file ends before its end."""
        self.expect(start + length)
        self._stream.seek(start)
        return self._stream.read(length)
