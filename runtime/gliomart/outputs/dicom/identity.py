"""Whose images a series is made of: what their headers say of patient, study and themselves.

An object is filed by these attributes. So they are read from all of the images that it is made of;
where these contradict one another, no object is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from highdicom import PatientSexValues
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM

from gliomart.errors import InputRefusedError
from gliomart.image.slices import Concern
from gliomart.outputs.dicom import characters
from gliomart.sources.attributes import words
from gliomart.sources.traits import OF_PATIENT, patients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydicom.tag import BaseTag

# Patient and study attributes that have to be there, if only empty (PS3.3 C.7.1.1, C.7.2.1).
_TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_FRAME = "FrameOfReferenceUID"
# What the images of one series have in common, so that one tells what another lacks.
_IN_COMMON = frozenset({*_TYPE_2, "StudyInstanceUID", "SeriesInstanceUID", _FRAME})
_PATIENT_GROUP, _LAST_GROUP = 0x0010, 0x0040
_LONGEST = 1 << 16  # what is longer, in bytes, is no header
_LONGEST_UID = 64  # PS3.5 6.2
_TEXT_OF_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})
_STRINGS = characters.TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
# Dates and times as older versions of the standard and people write them.
_DATE = re.compile(r"(\d{4})[.\-/](\d\d)[.\-/](\d\d)")
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d(?:\.\d{1,6})?))?")


class Identity:
    """What the images of one series say of themselves.

    Attributes
    ----------
    header
        What they say together of patient and study, and what the first one says of the series;
        text is Unicode, and what has to be there is there, if only empty.
    each
        The UIDs of each image.
    frames_of_reference
        The frames of reference that they name.
    """

    def __init__(self, images: Sequence[Dataset]) -> None:
        """Read the headers of the images that an object is made of.

        Raises
        ------
        InputRefusedError
            ``no-identity``, ``mixed-patients``, ``mixed-studies`` or ``ambiguous-identity``.
        """
        self._odd: dict[str, None] = {}
        self._undecodable: dict[str, None] = {}
        if not images:
            raise InputRefusedError("no-identity", "there is no header of an image")
        others = [self._read(image, wanted=_tells_whose) for image in images]
        self.header = self._read(images[0], wanted=lambda _: True)
        for header in others:
            for element in header:
                is_missing = not self.header.get(element.keyword) and not element.is_empty
                if is_missing and _is_common(element.tag):
                    self.header[element.tag] = element
        self.each = [_identity_of(header, self.header) for header in others]
        _check(others, self.each)
        self.frames_of_reference = {str(h[_FRAME].value) for h in others if h.get(_FRAME)}
        for name in _TYPE_2:
            if not self.header.get(name):
                setattr(self.header, name, None)
        if character_set := characters.needed(self.header):
            self.header.SpecificCharacterSet = character_set

    @property
    def notes(self) -> Iterator[Concern]:
        """Tell what of the source's patient and study could not be passed on as it is."""
        if self._undecodable:
            reason = f"not in the character set that the source names: {_listed(self._undecodable)}"
            yield Concern(
                "undecodable-text", f"{reason} (in DICOM objects its bytes are written as %FC)"
            )
        if self._odd:
            reason = f"no value of its kind in the source: {_listed(self._odd)}"
            yield Concern("odd-header", f"{reason} (left out of DICOM objects)")

    def of_sequence(self, items: Sequence[Dataset], image: Dataset) -> list[Dataset]:
        """Read the items of a sequence of an image."""
        encodings = characters.encodings_of(words(image, "SpecificCharacterSet"))
        return [self._read(item, wanted=lambda _: True, inherited=encodings) for item in items]

    def _read(
        self, image: Dataset, *, wanted: Callable[[BaseTag], bool], inherited: Sequence[str] = ()
    ) -> Dataset:
        """Copy a header without pixels, private elements, frames and what has no valid value."""
        names = words(image, "SpecificCharacterSet")
        encodings = inherited if inherited and not names else characters.encodings_of(names)
        header = Dataset()
        for tag in image.keys():  # noqa: SIM118  # iterating over the data set decodes every value
            if tag.is_private or tag.group > _LAST_GROUP or not wanted(tag):
                continue
            keyword = keyword_for_tag(tag)
            if not dictionary_has_tag(tag) or keyword == "SpecificCharacterSet":
                continue
            try:
                header[tag] = DataElement(
                    tag, *self._element(image, tag, encodings), validation_mode=IGNORE
                )
            except Exception:  # noqa: BLE001  # pydicom parses a value when it is looked at
                _note(self._odd, tag)
        return header

    def _element(self, image: Dataset, tag: BaseTag, encodings: Sequence[str]) -> tuple[str, Any]:
        """Read the representation and the value of an attribute as the standard has them.

        Raises
        ------
        Exception
            It has no such value.
        """
        representation = dictionary_VR(tag)
        raw = image.get_item(tag)
        too_long = isinstance(raw.value, bytes) and len(raw.value) > _LONGEST
        if too_long or " or " in representation:  # such as numbers that depend on the pixels
            raise ValueError(tag)
        if representation not in _STRINGS:
            value = image[tag].value
            if representation == "SQ":
                value = [
                    self._read(item, wanted=lambda _: True, inherited=encodings) for item in value
                ]
            return representation, value
        if isinstance(raw.value, bytes):
            if raw.VR not in {None, "UN", *_STRINGS}:
                raise ValueError(tag)
            text = self._text(raw.value, tag, representation, encodings)
        else:
            value = image[tag].value
            several = value if isinstance(value, (list, MultiValue)) else [value]
            text = "\\".join("" if each is None else str(each) for each in several)
        return representation, _values(text, tag, representation)

    def _text(
        self, value: bytes, tag: BaseTag, representation: str, encodings: Sequence[str]
    ) -> str:
        if representation not in characters.TEXT:
            return value.decode("ascii")
        text = characters.decoded(value, encodings)
        if text is None:
            _note(self._undecodable, tag)
            return characters.written_out(value)
        return text


def _tells_whose(tag: BaseTag) -> bool:
    return _is_common(tag) or keyword_for_tag(tag) in _IDENTITY


def _is_common(tag: BaseTag) -> bool:
    return tag.group == _PATIENT_GROUP or keyword_for_tag(tag) in _IN_COMMON


def _note(names: dict[str, None], tag: BaseTag) -> None:
    """Note the name of an attribute that is part of what objects say of patient and study."""
    if _is_common(tag) or keyword_for_tag(tag) == "StudyDescription":
        names[keyword_for_tag(tag)] = None


def _values(text: str, tag: BaseTag, representation: str) -> str | list[str]:
    """Take the values of an attribute apart; ValueError where one is not of its kind."""
    if representation in _TEXT_OF_ONE_VALUE:
        return text.rstrip(" \0")
    values = [_value(part.strip(" \0"), representation) for part in text.split("\\")]
    if len(values) == 1:
        if keyword_for_tag(tag) == "PatientSex" and values[0]:
            return PatientSexValues(values[0].upper()).value
        return values[0]
    if dictionary_VM(tag) == "1" and representation not in characters.TEXT - {"PN"}:
        raise ValueError(tag)
    return values


def _value(text: str, representation: str) -> str:
    if not text:
        return ""
    if representation == "DA":
        text = "".join(match.groups()) if (match := _DATE.fullmatch(text)) else text
        DA(text)
    elif representation == "TM":
        match = _TIME.fullmatch(text)
        text = "".join(part or "" for part in match.groups()) if match else text
        TM(text)
    elif representation == "UI" and (len(text) > _LONGEST_UID or not text.isascii()):
        raise ValueError(text)
    return text


def _identity_of(image: Dataset, header: Dataset) -> Dataset:
    """Choose the UIDs of one image; what images have in common may be another one's."""
    identity = Dataset()
    for name in _IDENTITY:
        source = header if not image.get(name) and name in _IN_COMMON else image
        if source.get(name):
            identity[name] = source[name]
    return identity


def _check(headers: Sequence[Dataset], identities: Sequence[Dataset]) -> None:
    """Refuse images that cannot be told apart, or belong to several patients or studies."""
    missing = [name for name in _IDENTITY if not all(each.get(name) for each in identities)]
    if missing:
        raise InputRefusedError("no-identity", f"the source has no valid {', '.join(missing)}")
    if not all(h.get("StudyInstanceUID") or h.get("PatientID") for h in headers):
        reason = "an image has neither Study Instance UID nor Patient ID"
        raise InputRefusedError("no-identity", reason)
    persons = patients([tuple(t.value(header) for t in OF_PATIENT) for header in headers])
    if len(set(persons.values())) > 1:
        differ = [
            trait.name
            for trait in OF_PATIENT
            if len({trait.value(header) for header in headers} - {None}) > 1
        ]
        reason = f"its images belong to several patients: they differ in {', '.join(differ)}"
        raise InputRefusedError("mixed-patients", reason)
    if len({str(h.StudyInstanceUID) for h in headers if h.get("StudyInstanceUID")}) > 1:
        reason = "its images belong to several studies: they differ in StudyInstanceUID"
        raise InputRefusedError("mixed-studies", reason)
    if len({str(each.SOPInstanceUID) for each in identities}) < len(identities):
        reason = "several images have one SOP Instance UID, so that none can be referred to"
        raise InputRefusedError("ambiguous-identity", reason)


def _listed(names: dict[str, None]) -> str:
    return ", ".join(names)
