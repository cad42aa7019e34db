"""The simulated study as one enhanced MR object."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from samples import golden_slice


def enhanced(order: list[int]) -> FileDataset:
    """Make one enhanced MR object of the golden study, its frames in this order."""
    first = golden_slice(1)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    whole = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    whole.SOPClassUID = EnhancedMRImageStorage
    whole.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for keyword in (
        "SeriesInstanceUID", "StudyInstanceUID", "Modality", "Rows", "Columns", "BitsAllocated",
        "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
        "PhotometricInterpretation", "FrameOfReferenceUID",
    ):  # fmt: skip
        setattr(whole, keyword, getattr(first, keyword))
    whole.NumberOfFrames = len(order)
    shared, timing, modifier, echo = Dataset(), Dataset(), Dataset(), Dataset()
    timing.RepetitionTime = 9000.0
    modifier.InversionTimes = [2500.0]
    echo.EffectiveEchoTime = 120.0
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    shared.MRModifierSequence = Sequence([modifier])
    shared.MREchoSequence = Sequence([echo])
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    groups, pixels = [], []
    for number in order:
        source = golden_slice(number)
        group, place, turn, measures, values = (Dataset() for _ in range(5))
        place.ImagePositionPatient = source.ImagePositionPatient
        turn.ImageOrientationPatient = source.ImageOrientationPatient
        measures.PixelSpacing = source.PixelSpacing
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = number, -number, "US"
        group.PlanePositionSequence = Sequence([place])
        group.PlaneOrientationSequence = Sequence([turn])
        group.PixelMeasuresSequence = Sequence([measures])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
        pixels.append(source.pixel_array)
    whole.PerFrameFunctionalGroupsSequence = Sequence(groups)
    whole.PixelData = np.stack(pixels).tobytes()
    whole["PixelData"].VR = "OW"
    return whole
