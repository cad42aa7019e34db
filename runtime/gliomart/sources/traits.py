"""What tells images apart that one Series Instance UID, or one file, throws together.

A series has one value of each of ``OF_SERIES``, and one kind of image, which ``OF_IMAGES`` tell.
``OF_REPEATS`` number the images of one place; scanners also count them up within a stack, so they
count only where images lie in one place. What is missing in some images contradicts nothing.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from gliomart.sources.attributes import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydicom import Dataset

    from gliomart.sources.attributes import Frame

Value = str | float | None
Values = tuple[Value, ...]
T = TypeVar("T")

# Numbers of headers this near, as a fraction, are one: some are written with few digits.
_SAME = 0.02
_LEAST = 1e-3


@dataclass(frozen=True)
class Trait:
    """An attribute that tells images apart: its name for people, and where headers have it.

    A count is exact, of measures those within 2 % are one.
    """

    name: str
    keywords: tuple[str, ...]
    kind: Literal["words", "count", "measure"] = "words"

    def value(self, place: Dataset | Frame) -> Value:
        """Read it; words without regard to case, carets and spacing."""
        for keyword in self.keywords:
            value = value_of(place, keyword)
            if value is None or value == "":
                continue
            found = _words(value) if self.kind == "words" else _first_number(value)
            if found is not None:
                return f"{found:g}" if self.kind == "count" else found
        return None


# PS3.3 C.7.2.1, C.7.3.1, C.7.4.1, C.7.5.1: one each in a study, a series, a frame of reference.
OF_SERIES = (
    Trait("frame of reference", ("FrameOfReferenceUID",)),
    Trait("modality", ("Modality",)),
    Trait("series number", ("SeriesNumber",), "count"),
    Trait("series description", ("SeriesDescription",)),
    Trait("study date", ("StudyDate",)),
    Trait("accession number", ("AccessionNumber",)),
    Trait("device", ("DeviceSerialNumber",)),
)
# PS3.3 C.7.6.1, C.8.3.1, C.8.13.3, C.8.13.5, C.7.6.16.2.2 and .12.
OF_IMAGES = (
    Trait("stack", ("StackID",)),
    Trait("image type", ("FrameType", "ImageType")),
    Trait("complex component", ("ComplexImageComponent",)),
    Trait("echo time", ("EffectiveEchoTime", "EchoTime"), "measure"),
    Trait("echo number", ("EchoNumbers",), "count"),
    Trait("inversion time", ("InversionTimes", "InversionTime"), "measure"),
    Trait("flip angle", ("FlipAngle",), "measure"),
    Trait("b-value", ("DiffusionBValue",), "measure"),
    Trait("contrast agent", ("ContrastBolusAgent",)),
    Trait("contrast phase", ("ContrastBolusAgentPhase",)),
)
# PS3.3 C.7.6.1, C.7.6.16.2.2, C.8.3.1, C.7.6.16.2.7.
OF_REPEATS = (
    Trait("temporal position", ("TemporalPositionIndex", "TemporalPositionIdentifier"), "count"),
    Trait("acquisition number", ("AcquisitionNumber",), "count"),
    Trait("trigger time", ("NominalCardiacTriggerDelayTime", "TriggerTime"), "measure"),
    Trait("sequence name", ("PulseSequenceName", "SequenceName")),
    Trait("receive coil", ("ReceiveCoilName",)),
)


def _words(value: Any) -> str | None:  # noqa: ANN401
    """Put words together; of a name, those of its first way of writing (PS3.5 6.2.1.2)."""
    several = value if isinstance(value, MutableSequence) else [value]
    found = " ".join(str(getattr(word, "alphabetic", "") or word) for word in several)
    return " ".join(found.replace("^", " ").casefold().split()) or None


def _first_number(value: Any) -> float | None:  # noqa: ANN401
    """Take a number, or the first of several."""
    try:
        first = float(value[0] if isinstance(value, MutableSequence) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return first if np.isfinite(first) else None


def told_apart(values: Sequence[Value], *, missing_counts: bool = False) -> list[list[int]]:
    """Group the indices of equal values, in the order of their first ones.

    Where there is one value only, those that lack it belong to it, unless missing counts as a
    value; where there are several, they are a group.
    """
    known = [value for value in values if value is not None]
    names = _merged([value for value in known if isinstance(value, float)])
    labels = [names.get(value, value) if isinstance(value, float) else value for value in values]
    distinct = {label for label in labels if label is not None or missing_counts}
    if len(distinct) <= 1:
        return [list(range(len(values)))] if values else []
    groups: dict[Any, list[int]] = {}
    for index, label in enumerate(labels):
        groups.setdefault(label, []).append(index)
    return list(groups.values())


def parted(items: Sequence[T], *values: Callable[[T], Value]) -> list[list[T]]:
    """Group what no value tells apart, one after the other; see :func:`told_apart`."""
    groups = [list(items)]
    for value in values:
        groups = [
            [group[index] for index in part]
            for group in groups
            for part in told_apart([value(item) for item in group])
        ]
    return groups


def _merged(values: Sequence[float]) -> dict[float, float]:
    """Name each number after the smallest one that it cannot be told from."""
    names: dict[float, float] = {}
    name = last = np.nan
    for value in sorted(set(values)):
        if not value - last <= max(_LEAST, _SAME * abs(last)):
            name = value
        names[value], last = name, value
    return names


def patients(known: Sequence[Values]) -> dict[Values, int]:
    """Give the persons that headers speak of numbers.

    Two headers speak of one person where Patient ID or Patient's Name agree and nothing
    contradicts, of ID, its issuer, name, Birth Date and Sex (PS3.3 C.7.1.1). One that says less
    than others is theirs where it can be one person's only; one that says nothing is like none but
    its equals.
    """
    fullest_first = sorted(
        dict.fromkeys(known), key=lambda values: sum(value is None for value in values)
    )
    persons: list[list[Values]] = []
    numbers: dict[Values, int] = {}
    for values in fullest_first:
        candidates = [
            number
            for number, headers in enumerate(persons)
            if any(_agree(values, header) for header in headers)
            and not any(_contradict(values, header) for header in headers)
        ]
        if len(candidates) != 1:
            candidates = [len(persons)]
            persons.append([])
        (number,) = candidates
        persons[number].append(values)
        numbers[values] = number
    return numbers


def _agree(one: Values, other: Values) -> bool:
    return any(a is not None and a == b for a, b in zip(one[:2], other[:2], strict=True))


def _contradict(one: Values, other: Values) -> bool:
    pairs = zip(one, other, strict=True)
    return any(a is not None and b is not None and a != b for a, b in pairs)
