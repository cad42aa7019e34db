"""How much one file may ask for, and what a DICOM file promises of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import InputRefusedError, UsageError
from gliomart.sources.given import is_number

if TYPE_CHECKING:
    from pydicom import Dataset

_MIB = 1 << 20
# No clock waits for ever: threading.TIMEOUT_MAX is 49 days on Windows.
_MOST_SECONDS = 1e6


@dataclass(frozen=True)
class Budget:
    """How much one file may ask for; what asks for more is refused by name.

    Files of every kind are held to the bytes of the file, of all frames and of one; pictures also
    to the number of their parts. The rest is of DICOM.

    Attributes
    ----------
    file_bytes
        Size of the file (``too-many-bytes``).
    inflated_bytes
        What a deflated data set may inflate to (``inflates-too-much``).
    elements
        Data elements, items and fragments, up to the end of the pixels; chunks, segments and fields
        of a picture (``too-many-elements``).
    depth
        Sequences inside sequences (``nested-too-deep``).
    value_bytes
        Length of a value of text or numbers (``value-too-long``). The default is the most that
        explicit VR can encode (DICOM PS3.5 7.1.2).
    pixel_bytes
        All frames or pages, decoded (``too-many-pixels``).
    frame_bytes
        One frame or page, decoded (``too-many-pixels``).
    seconds
        Time for the survey of a file, and for decoding one frame (``too-slow``).
    """

    file_bytes: int = 2048 * _MIB
    inflated_bytes: int = 128 * _MIB
    elements: int = 500_000
    depth: int = 32
    value_bytes: int = 65_534
    pixel_bytes: int = 2048 * _MIB
    frame_bytes: int = 128 * _MIB
    seconds: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if not (is_number(value) and value > 0):
                raise UsageError(f"the budget {name} has to be a number above zero")
            if name != "seconds" and value != int(value):
                raise UsageError(f"the budget {name} has to be a whole number")
        if self.seconds > _MOST_SECONDS:
            raise UsageError(f"the budget seconds has to be at most {_MOST_SECONDS:g}")

    def but(self, limits: Mapping[str, float]) -> Budget:
        """Make a budget that differs in the limits given, by the names of the attributes.

        Raises
        ------
        UsageError
            A name that is none of the attributes, or a limit that is not above zero.
        """
        if not isinstance(limits, Mapping):
            raise UsageError("limits are given by name, as a mapping")
        known = [field.name for field in fields(self)]
        for name in limits:
            if name not in known:
                raise UsageError(f"there is no budget {name!r}, only {', '.join(known)}")
        counts = {
            name: int(limit) if is_number(limit) and limit == int(limit) else limit
            for name, limit in limits.items()
        }
        return replace(self, **counts)  # type: ignore[arg-type]  # it checks them

    def admit(self, image: Image) -> None:
        """Refuse an image that promises more than this, as ``too-many-pixels``."""
        if image.total_bytes > self.pixel_bytes:
            raise beyond("too-many-pixels", "the pixels take", image.total_bytes, self.pixel_bytes)
        if image.frame_bytes > self.frame_bytes:
            raise beyond("too-many-pixels", "a frame takes", image.frame_bytes, self.frame_bytes)


DEFAULT = Budget()


class Image(NamedTuple):
    """What a data set promises of its pixels (DICOM PS3.3 C.7.6.3.1).

    ``frames`` frames of ``rows`` × ``columns`` × ``samples`` values. Each takes
    ``bits_allocated`` bits; the ``bits_stored`` up to ``high_bit`` count, in two's complement
    where ``signed``.
    """

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def frame_bytes(self) -> int:
        """Size of one frame by itself."""
        return -(-self.rows * self.columns * self.samples * self.bits_allocated // 8)

    @property
    def total_bytes(self) -> int:
        """Size of all frames, which are packed where a value is one bit."""
        values = self.frames * self.rows * self.columns * self.samples
        return -(-values * self.bits_allocated // 8)


def beyond(code: str, what: str, amount: int, limit: int) -> InputRefusedError:
    """Make the refusal of a file that asks for more bytes than its budget."""
    return InputRefusedError(code, f"{what} {amount} bytes, and the budget is {limit}")


def promised(dataset: Dataset) -> Image:
    """Read what a data set promises of its pixels.

    Raises
    ------
    InputRefusedError
        ``undecodable``: an attribute is missing, is no number or contradicts another.
    """
    allocated = _count(dataset, "BitsAllocated")
    stored = _count(dataset, "BitsStored", allocated)
    image = Image(
        rows=_count(dataset, "Rows"),
        columns=_count(dataset, "Columns"),
        samples=_count(dataset, "SamplesPerPixel", 1),
        frames=_count(dataset, "NumberOfFrames", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_count(dataset, "HighBit", stored - 1),
        signed=_count(dataset, "PixelRepresentation", 0) == 1,
    )
    if (
        min(image.rows, image.columns, image.samples, image.frames, stored) < 1
        or allocated not in {1, 8, 16, 32, 64}
        or not stored - 1 <= image.high_bit < allocated
    ):
        raise InputRefusedError("undecodable", "the description of the pixels contradicts itself")
    return image


def _count(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            value = default
        return int(value)
    except Exception as error:  # pydicom parses a value when it is looked at
        raise InputRefusedError("undecodable", f"{keyword} is missing or not one number") from error
