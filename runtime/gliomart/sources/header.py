"""What a DICOM file says of itself, read without its pixels.

An attribute that is missing, empty or no value of its kind counts as missing: headers of real
archives hold all three, and what follows from a missing one is decided where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.geometry import Plane, is_plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom import Dataset

# Pixels of no scanner are smaller or larger than this.
_FINEST_MM, _COARSEST_MM = 0.05, 20.0


@dataclass(frozen=True)
class Header:
    """Attributes of one DICOM image (PS3.3); what is missing is empty or None.

    Attributes
    ----------
    sop_class, sop_instance_uid, series
        UIDs.
    modality
        Such as ``MR``; where it is missing, what the SOP class implies.
    image_type
        Values of Image Type; those of the first frame in a file of several kinds.
    description
        Series Description, Protocol Name and the sequence's name, in lower case.
    examination
        Study and procedure descriptions, in lower case.
    body_part
        Body Part Examined or Anatomic Region, in lower case.
    repetition_time, echo_time, inversion_time
        In ms; an effective echo time where there is one.
    scanning_sequence
        Such as ``SE``, ``IR``, ``GR``, ``EP``.
    acquisition_contrast
        Acquisition Contrast of enhanced MR.
    lossy
        It has been lossily compressed, once.
    burned_in
        Burned In Annotation says ``YES``.
    shape
        (Rows, Columns) of its images.
    spacing
        Distance between (rows, columns) in mm, of the first frame.
    planes
        Where each frame lies.
    number
        Instance Number.
    rescale
        Rescale Slope and Intercept of its frames, each pair once; None for a frame without.
    """

    sop_class: str = ""
    sop_instance_uid: str = ""
    series: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    examination: str = ""
    body_part: str = ""
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    scanning_sequence: frozenset[str] = frozenset()
    acquisition_contrast: str = ""
    lossy: bool = False
    burned_in: bool = False
    shape: tuple[float, ...] | None = None
    spacing: tuple[float, float] | None = None
    planes: tuple[Plane | None, ...] = (None,)
    number: float = 0.0
    rescale: tuple[tuple[float, float] | None, ...] = (None,)

    @classmethod
    def of(cls, dataset: Dataset) -> Header:
        """Read a data set.

        Raises
        ------
        InputRefusedError
            ``bad-geometry``: a pixel spacing is there, and is not two lengths.
        """
        first, *_ = groups = frames_of(dataset)
        sop_class = text(dataset, "SOPClassUID")
        image_type = words(first, "FrameType") or words(dataset, "ImageType")
        planes = tuple(map(_plane, groups))
        return cls(
            sop_class=sop_class,
            sop_instance_uid=text(dataset, "SOPInstanceUID"),
            series=text(dataset, "SeriesInstanceUID"),
            modality=text(dataset, "Modality") or _implied_modality(sop_class),
            image_type=tuple(word.upper() for word in image_type),
            description=_joined(
                dataset, "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"
            ),
            examination=_joined(
                dataset,
                "StudyDescription",
                "PerformedProcedureStepDescription",
                "RequestedProcedureDescription",
            ),
            body_part=(text(dataset, "BodyPartExamined") or _anatomic_region(first)).lower(),
            repetition_time=_positive(first, "RepetitionTime"),
            echo_time=_positive(first, "EffectiveEchoTime") or _positive(first, "EchoTime"),
            inversion_time=_positive(first, "InversionTime") or _positive(first, "InversionTimes"),
            scanning_sequence=frozenset(words(dataset, "ScanningSequence")),
            acquisition_contrast=(
                text(first, "AcquisitionContrast") or text(dataset, "AcquisitionContrast")
            ),
            lossy=text(dataset, "LossyImageCompression") == "01",
            burned_in=text(dataset, "BurnedInAnnotation") == "YES",
            shape=shape_of(dataset),
            spacing=_spacing(first),
            planes=planes,
            number=(numbers(dataset, "InstanceNumber", 1) or (0.0,))[0],
            rescale=tuple(dict.fromkeys(map(_rescale, groups))),
        )


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
        found = (value_of(place, keyword) for place in self._places)
        return next((value for value in found if value not in (None, "")), None)

    def given(self, keyword: str) -> bool:
        """Tell whether an attribute has a value, be it one that cannot be parsed."""
        found = (place.get_item(keyword) for place in self._places)
        return any(
            element is not None and element.value not in (None, b"", "") for element in found
        )


def frames_of(dataset: Dataset) -> list[Frame]:
    """Where to look for the attributes of each frame."""
    shared = list(value_of(dataset, "SharedFunctionalGroupsSequence") or [])[:1]
    own = list(value_of(dataset, "PerFrameFunctionalGroupsSequence") or [])
    count = max(int((numbers(dataset, "NumberOfFrames", 1) or (1,))[0]), 1)
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
    try:
        found = tuple(float(number) for number in np.atleast_1d(value))
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(np.isfinite(found)) else None


def value_of(place: Dataset | Frame, keyword: str) -> Any:  # noqa: ANN401
    """Look at one attribute; None where it is missing, empty or cannot be parsed."""
    try:
        return place.get(keyword)
    except Exception:  # noqa: BLE001  # pydicom parses a value when it is looked at
        return None


def _positive(place: Frame, keyword: str) -> float | None:
    (value,) = numbers(place, keyword, 1) or (0.0,)
    return value if value > 0 else None


def _joined(dataset: Dataset, *keywords: str) -> str:
    return " | ".join(filter(None, (text(dataset, keyword) for keyword in keywords))).lower()


def _implied_modality(sop_class: str) -> str:
    from pydicom.uid import UID

    name = UID(sop_class).name if sop_class else ""
    return next((modality for modality in ("MR", "CT") if f"{modality} Image" in name), "")


def _anatomic_region(frame: Frame) -> str:
    regions = frame.get("AnatomicRegionSequence")
    return text(regions[0], "CodeMeaning") if regions else ""


def shape_of(dataset: Dataset) -> tuple[float, ...] | None:
    """Rows and Columns; None where they are not given."""
    rows, columns = (numbers(dataset, keyword, 1) for keyword in ("Rows", "Columns"))
    return None if rows is None or columns is None else rows + columns


def _plane(frame: Frame) -> Plane | None:
    position = numbers(frame, "ImagePositionPatient", 3)
    orientation = numbers(frame, "ImageOrientationPatient", 6)
    spacing = _spacing(frame)
    if position is None or orientation is None or spacing is None or not is_plane(orientation):
        return None
    return Plane(position, orientation, spacing)


def _rescale(frame: Frame) -> tuple[float, float] | None:
    slope = numbers(frame, "RescaleSlope", 1)
    intercept = numbers(frame, "RescaleIntercept", 1) or (0.0,)
    if slope is None:  # one that is no number refuses its own file, and says nothing of the others
        return (1.0, 0.0) if frame.given("RescaleSlope") else None
    return slope[0], intercept[0]


def _spacing(frame: Frame) -> tuple[float, float] | None:
    """Pixel Spacing in mm (PS3.3 10.7.1.3): rows, columns; None where it is not given."""
    if not frame.given("PixelSpacing"):
        return None
    spacing = numbers(frame, "PixelSpacing", 2)
    if spacing is None or not (_FINEST_MM <= min(spacing) <= max(spacing) <= _COARSEST_MM):
        raise InputRefusedError("bad-geometry", "the pixel spacing is not two lengths in mm")
    return spacing[0], spacing[1]
