"""Overlays as Secondary Captures, for viewers that show nothing else: one image per slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import highdicom
import numpy as np
from highdicom.sc import ConversionTypeValues, SCImage
from highdicom.spatial import get_closest_patient_orientation

from gliomart.outputs.dicom import terms
from gliomart.outputs.dicom.stack import Stack, name_body_part
from gliomart.outputs.pictures import overlay

if TYPE_CHECKING:
    from highdicom.enum import PatientOrientationValuesBiped

    from gliomart.image.slices import Slice


def secondary_capture(stack: Stack, index: int) -> SCImage:
    """Make the capture of the overlay of one slice."""
    result = stack.results[index]
    header = stack.header
    image = SCImage(
        pixel_array=cv2.cvtColor(overlay(result, stack.display_limit), cv2.COLOR_BGR2RGB),
        photometric_interpretation=highdicom.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
        patient_orientation=_patient_orientation(result.slice),
        pixel_spacing=result.slice.spacing,
        study_instance_uid=header.StudyInstanceUID,
        specific_character_set=header.get("SpecificCharacterSet"),
        **stack.filed("overlay", index + 1),
    )
    image.copy_patient_and_study_information(header)
    name_body_part(image, header)
    if result.slice.orientation is None:
        image["PatientOrientation"].clear()  # unknown, which is to be empty (PS3.3 C.7.6.1)
    image.ConversionType = ConversionTypeValues.WSD.value
    image.DerivationDescription = (
        f"Anomaly map as heat, anomalous regions outlined in cyan, the {terms.STRUCTURES} in green."
        f" {terms.RESEARCH_ONLY}"
    )
    # No text is added to the picture; what is burned into the source stays in it.
    image.BurnedInAnnotation = header.get("BurnedInAnnotation") or "NO"
    # A stack of such pictures may show a face.
    image.RecognizableVisualFeatures = "YES"
    image.LossyImageCompression = header.get("LossyImageCompression") or "00"
    image.SourceImageSequence = stack.references(index)
    return image


def _patient_orientation(
    shown: Slice,
) -> tuple[PatientOrientationValuesBiped, PatientOrientationValuesBiped]:
    """Tell where rows and columns run to; as of an axial slice where that is not known."""
    cosines = np.reshape(shown.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (2, 3))
    axes = np.stack([*cosines, np.cross(*cosines)], axis=1)
    across, down, _ = get_closest_patient_orientation(axes)
    return across, down
