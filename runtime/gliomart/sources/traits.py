"""What tells images apart that one Series Instance UID, or one file, throws together.

A series has one value of each of ``OF_SERIES``, and one kind of image, which ``OF_IMAGES`` tell.
``OF_REPEATS`` may also vary, or be counted up, within one stack: they count only where images are
in each other's way. What is missing in some images contradicts nothing, but for traits whose
``absence`` says something, where it divides the images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from gliomart.sources.acquisition import names_an_agent
from gliomart.sources.attributes import value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

    from gliomart.sources.attributes import Frame

Value = str | float | None
Values = tuple[Value, ...]
T = TypeVar("T")

# An agent was given where one is named, or in enhanced objects administered.
_CONTRAST = ("ContrastBolusAgentAdministered", "ContrastBolusAgentNumber", "ContrastBolusAgent")
_NAME = 1  # among OF_PATIENT
# Where images that lack a trait are at least this share of all, and so are those that have it, its
# absence is no slip.
_DIVIDED = 0.25
# Numbers of headers this near, as a fraction, are one: some are written with few digits.
_SAME = 0.02
_LEAST = 1e-3


@dataclass(frozen=True)
class Trait:
    """An attribute that tells images apart: its name for people, and where headers have it.

    A count is exact, of measures those within 2 % are one, and of what is present or not all that
    is present is one.
    """

    name: str
    keywords: tuple[str, ...]
    kind: Literal["words", "count", "measure", "presence"] = "words"
    absence: bool = False

    def value(self, place: Dataset | Frame) -> Value:
        """Read it; words without regard to case and punctuation."""
        for keyword in self.keywords:
            value = value_of(place, keyword)
            if value is None or value == "":
                continue
            if self.kind in {"words", "presence"}:
                words = _words(value)
                if words and self.kind == "presence":
                    return "given" if names_an_agent(words) else None
                if words:
                    return words
            elif (number := _first_number(value)) is not None:
                return f"{number:g}" if self.kind == "count" else number
        return None


# Who was examined (PS3.3 C.7.1.1).
OF_PATIENT = (
    Trait("patient ID", ("PatientID",)),
    Trait("patient's name", ("PatientName",)),
    Trait("birth date", ("PatientBirthDate",)),
    Trait("sex", ("PatientSex",)),
    Trait("issuer of patient ID", ("IssuerOfPatientID",)),
)
# PS3.3 C.7.2.1, C.7.3.1, C.7.4.1: one each in a study, a series, a frame of reference.
OF_SERIES = (
    Trait("frame of reference", ("FrameOfReferenceUID",)),
    Trait("modality", ("Modality",)),
    Trait("series number", ("SeriesNumber",), "count"),
    Trait("study date", ("StudyDate",)),
    Trait("accession number", ("AccessionNumber",)),
)
# PS3.3 C.7.6.3, C.7.6.4, C.8.3.1, C.8.13.3 to .5, C.7.6.16.2.2 and .12.
OF_IMAGES = (
    Trait("matrix", ("Rows",), "count"),
    Trait("matrix", ("Columns",), "count"),
    Trait("pixel spacing", ("PixelSpacing",), "measure"),
    Trait("stack", ("StackID",)),
    Trait("frame type", ("FrameType",)),
    Trait("complex component", ("ComplexImageComponent",), absence=True),
    Trait("acquisition contrast", ("AcquisitionContrast",)),
    Trait("echo time", ("EffectiveEchoTime", "EchoTime"), "measure"),
    Trait("echo number", ("EchoNumbers",), "count"),
    Trait("inversion time", ("InversionTimes", "InversionTime"), "measure", absence=True),
    Trait("b-value", ("DiffusionBValue",), "measure", absence=True),
    Trait("contrast agent", _CONTRAST, "presence", absence=True),
    Trait("contrast phase", ("ContrastBolusAgentPhase",)),
)
# PS3.3 C.7.3.1, C.7.5.1, C.7.6.1, C.7.6.16.2.2, C.8.3.1, C.7.6.16.2.7.
OF_REPEATS = (
    Trait("temporal position", ("TemporalPositionIndex", "TemporalPositionIdentifier"), "count"),
    Trait("acquisition number", ("AcquisitionNumber",), "count"),
    Trait("trigger time", ("NominalCardiacTriggerDelayTime", "TriggerTime"), "measure"),
    Trait("sequence name", ("PulseSequenceName", "SequenceName")),
    Trait("receive coil", ("ReceiveCoilName",)),
    Trait("image type", ("ImageType",)),
    Trait("flip angle", ("FlipAngle",), "measure"),
    Trait("series description", ("SeriesDescription",)),
    Trait("device", ("DeviceSerialNumber",)),
)


def _words(value: Any) -> str | None:  # noqa: ANN401
    """Put words together; of a name, those of its first way of writing (PS3.5 6.2.1.2)."""
    several = value if isinstance(value, MutableSequence) else [value]
    found = " ".join(str(getattr(word, "alphabetic", "") or word) for word in several)
    plain = re.sub(r"[^\w.+-]|_", " ", found.casefold())
    return " ".join(plain.split()) or " ".join(found.split()) or None


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


def divides(values: Sequence[Value]) -> bool:
    """Tell whether what lacks a value is so much of all, and so little, that it is no slip."""
    missing = sum(value is None for value in values)
    return _DIVIDED * len(values) <= missing <= (1 - _DIVIDED) * len(values)


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
    named: defaultdict[tuple[int, str], set[int]] = defaultdict(set)  # who has an ID, or a name
    numbers: dict[Values, int] = {}
    for values in fullest_first:
        keys = [(n, _plain(value)) for n, value in enumerate(values[:2]) if value is not None]
        candidates = [
            number
            for number in set().union(*(named[key] for key in keys))
            if not any(_contradict(values, header) for header in persons[number])
        ]
        if len(candidates) != 1:
            candidates = [len(persons)]
            persons.append([])
        (number,) = candidates
        persons[number].append(values)
        numbers[values] = number
        for key in keys:
            named[key].add(number)
    return numbers


def _contradict(one: Values, other: Values) -> bool:
    same_id = one[0] is not None and one[0] == other[0]
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        if a is None or b is None or _alike(a, b):
            continue
        # Names are cut off, and gain and lose initials.
        begin = str(a).startswith(str(b)) or str(b).startswith(str(a))
        if not (number == _NAME and same_id and begin):
            return True
    return False


def _alike(a: Value, b: Value) -> bool:
    return a == b or _plain(a) == _plain(b)


def _plain(value: Value) -> str:
    """Leave out what words differ in that are one: zeros before numbers, marks in dates."""
    return re.sub(r"\W|^0+", "", str(value))
