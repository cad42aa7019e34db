"""What a DICOM file says of itself, read without its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.image.geometry import COARSEST_MM, FINEST_MM, ImagePlane, is_place, is_plane
from gliomart.sources.acquisition import Acquisition, names_an_agent, tesla
from gliomart.sources.attributes import Frame, frames_of, numbers, text, value_of, words
from gliomart.sources.loss import was_lossy
from gliomart.sources.traits import (
    OF_IMAGES,
    OF_PATIENT,
    OF_REPEATS,
    OF_SERIES,
    divides,
    told_apart,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

    from gliomart.sources.traits import Value, Values

# What says that a contrast agent was given, or which; the first decides.
_AGENT = ("ContrastBolusAgentAdministered", "ContrastBolusAgent", "ContrastBolusIngredient")
_FRAME_OF_REFERENCE = next(
    number for number, trait in enumerate(OF_SERIES) if trait.name == "frame of reference"
)
# What says what was examined, and why.
_EXAMINATION = (
    "StudyDescription",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
)


@dataclass(frozen=True, slots=True)  # there may be very many
class Header(Acquisition):
    """Attributes of one DICOM image (PS3.3); what is missing is empty or None.

    Beside how it was acquired (:class:`gliomart.sources.acquisition.Acquisition`):

    Attributes
    ----------
    sop_class, sop_instance_uid, series
        UIDs.
    scanner
        Manufacturer, Manufacturer's Model Name, and Device Serial Number or else Station Name
        (PS3.3 C.7.5.1).
    acquisition_type
        MR Acquisition Type: ``2D`` or ``3D``.
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
    frames, frame_count
        Which frames of its file these are, from 0, and how many that holds.
    patient, study
        Patient ID, Patient's Name, Birth Date, Sex and Issuer of Patient ID, as far as they are
        given; Study Instance UID.
    of_series, of_images
        Values of the traits of that name (:mod:`gliomart.sources.traits`).
    of_repeats
        Likewise, of each frame.
    rescale
        Rescale Slope and Intercept of its frames, each pair once; None for a frame without.
    """

    sop_class: str = ""
    sop_instance_uid: str = ""
    series: str = ""
    scanner: tuple[str, str, str] = ("", "", "")
    acquisition_type: str = ""
    lossy: bool = False
    burned_in: bool = False
    shape: tuple[float, ...] | None = None
    spacing: tuple[float, float] | None = None
    planes: tuple[ImagePlane | None, ...] = (None,)
    number: float | None = None
    frames: tuple[int, ...] = (0,)
    frame_count: int = 1
    patient: Values = (None,) * len(OF_PATIENT)
    study: str = ""
    of_series: Values = (None,) * len(OF_SERIES)
    of_images: Values = (None,) * len(OF_IMAGES)
    of_repeats: tuple[Values, ...] = ((None,) * len(OF_REPEATS),)
    rescale: tuple[tuple[float, float] | None, ...] = (None,)

    @classmethod
    def of(cls, dataset: Dataset) -> Header:
        """Read a data set, as what its first frame is.

        Raises
        ------
        InputRefusedError
            ``bad-geometry``: a pixel spacing is there, and is not two lengths.
        """
        groups = frames_of(dataset)
        return cls._of(dataset, groups, range(len(groups)))

    @classmethod
    def each(cls, dataset: Dataset) -> list[Header]:
        """Read a data set, once for every kind of image among its frames.

        Raises
        ------
        InputRefusedError
            As :meth:`of`.
        """
        groups = frames_of(dataset)
        kinds = [list(range(len(groups)))]
        if len(groups) > 1 and groups[0] is not groups[1]:  # each has attributes of its own
            for trait in OF_IMAGES:
                values = [trait.value(group) for group in groups]
                kinds = [part for kind in kinds for part in _kinds(kind, values)]
        return [cls._of(dataset, groups, kind) for kind in kinds]

    @classmethod
    def _of(cls, dataset: Dataset, groups: Sequence[Frame], frames: Sequence[int]) -> Header:
        """Read so many of a data set's frames, all of one kind."""
        own = [groups[number] for number in frames]
        first = own[0]
        sop_class = text(dataset, "SOPClassUID")
        image_type = words(first, "FrameType") or words(dataset, "ImageType")
        planes = tuple(map(_plane, own))
        inversions = _all_positive(first, "InversionTime") or _all_positive(first, "InversionTimes")
        return cls._sharing(
            sop_class=sop_class,
            sop_instance_uid=text(dataset, "SOPInstanceUID"),
            series=text(dataset, "SeriesInstanceUID"),
            modality=text(dataset, "Modality") or _implied_modality(sop_class),
            image_type=tuple(word.upper() for word in image_type),
            description=text(dataset, "SeriesDescription"),
            protocol=text(dataset, "ProtocolName"),
            sequence_name=_joined(dataset, "SequenceName", "PulseSequenceName"),
            examination=_joined(dataset, *_EXAMINATION),
            body_part=text(dataset, "BodyPartExamined"),
            region=_anatomic_region(first),
            repetition_time=_positive(first, "RepetitionTime"),
            echo_time=_positive(first, "EffectiveEchoTime") or _positive(first, "EchoTime"),
            inversion_time=max(inversions, default=None),
            inversion_times=inversions,
            field_strength=tesla(_positive(first, "MagneticFieldStrength")),
            scanner=_scanner(dataset),
            acquisition_type=text(dataset, "MRAcquisitionType"),
            b_value=_positive(first, "DiffusionBValue"),
            scanning_sequence=frozenset(words(dataset, "ScanningSequence")),
            acquisition_contrast=(
                text(first, "AcquisitionContrast") or text(dataset, "AcquisitionContrast")
            ),
            lossy=was_lossy(dataset),
            burned_in=text(dataset, "BurnedInAnnotation") == "YES",
            shape=shape_of(dataset),
            spacing=_spacing(first),
            planes=planes,
            number=(numbers(dataset, "InstanceNumber", 1) or (None,))[0],
            frames=tuple(frames),
            frame_count=len(groups),
            patient=tuple(trait.value(dataset) for trait in OF_PATIENT),
            study=text(dataset, "StudyInstanceUID"),
            complex_component=text(first, "ComplexImageComponent").upper(),
            calculation=text(first, "VolumeBasedCalculationTechnique").upper(),
            agent=_agent(first),
            of_series=tuple(trait.value(dataset) for trait in OF_SERIES),
            of_images=tuple(trait.value(first) for trait in OF_IMAGES),
            of_repeats=tuple(tuple(trait.value(frame) for trait in OF_REPEATS) for frame in own),
            rescale=tuple(dict.fromkeys(map(_rescale, own))),
        )

    @classmethod
    def _sharing(cls, **values: Any) -> Header:  # noqa: ANN401
        """Make a header; values that were met before are held once, of however many files."""
        return cls(**{name: _once(name, value) for name, value in values.items()})

    @property
    def frame_of_reference(self) -> str | None:
        """Frame of Reference UID, as it is compared; None where it is missing."""
        value = self.of_series[_FRAME_OF_REFERENCE]
        return None if value is None else str(value)

    def only(self, which: Sequence[int]) -> Header:
        """Leave out all frames but these, by their place among the header's own."""
        return replace(
            self,
            frames=tuple(self.frames[index] for index in which),
            planes=tuple(self.planes[index] for index in which),
            of_repeats=tuple(self.of_repeats[index] for index in which),
        )


@lru_cache(maxsize=1 << 12)
def _once(name: str, value: Any) -> Any:  # noqa: ANN401
    """Give the first of equal values of an attribute."""
    del name
    return value


def _kinds(frames: list[int], values: list[Value]) -> list[list[int]]:
    """Take frames of one file apart by a trait; to lack what others have counts there."""
    own = [values[frame] for frame in frames]
    parts = told_apart(own, missing_counts=divides(own))
    return [[frames[index] for index in part] for part in parts]


def _positive(place: Frame, keyword: str) -> float | None:
    (value,) = numbers(place, keyword, 1) or (0.0,)
    return value if value > 0 else None


def _all_positive(place: Frame, keyword: str) -> tuple[float, ...]:
    try:
        found = [float(number) for number in np.atleast_1d(value_of(place, keyword))]
    except (TypeError, ValueError):
        return ()
    return tuple(number for number in found if np.isfinite(number) and number > 0)


def _agent(frame: Frame) -> bool | None:
    """Tell whether a contrast agent was given (PS3.3 C.7.6.4, C.7.6.16.2.12); None if not said."""
    if text(frame, "ContrastBolusAgentPhase").upper() == "PRE_CONTRAST":
        return False
    said = (names_an_agent(text(frame, keyword)) for keyword in _AGENT)
    first = next((given for given in said if given is not None), None)
    if first is None and frame.get("ContrastBolusAgentSequence"):
        return True
    return first


def _scanner(dataset: Dataset) -> tuple[str, str, str]:
    device = text(dataset, "DeviceSerialNumber") or text(dataset, "StationName")
    return text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName"), device


def _joined(dataset: Dataset, *keywords: str) -> str:
    return " | ".join(filter(None, (text(dataset, keyword) for keyword in keywords)))


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


def _plane(frame: Frame) -> ImagePlane | None:
    position = numbers(frame, "ImagePositionPatient", 3)
    orientation = numbers(frame, "ImageOrientationPatient", 6)
    spacing = _spacing(frame)
    if position is None or orientation is None or spacing is None:
        return None
    if not (is_place(position) and is_plane(orientation)):
        return None
    return ImagePlane(position, _once("orientation", orientation), _once("spacing", spacing))


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
    if spacing is None or not (FINEST_MM <= min(spacing) <= max(spacing) <= COARSEST_MM):
        raise InputRefusedError("bad-geometry", "the pixel spacing is not two lengths in mm")
    return spacing[0], spacing[1]
