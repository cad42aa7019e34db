"""One small picture as a DICOM file in every transfer syntax that is decoded."""

from __future__ import annotations

import tempfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000, UID, MRImageStorage

from gliomart.sources import wall

SIDE = 64
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
# GDCM's names of the syntaxes it encodes here.
_GDCM = {
    BASELINE: "JPEGBaselineProcess1",
    EXTENDED: "JPEGExtendedProcess2_4",
    "1.2.840.10008.1.2.4.57": "JPEGLosslessProcess14",
    "1.2.840.10008.1.2.4.70": "JPEGLosslessProcess14_1",
}
# What no Python library encodes: picture() by OpenJPH's ojph_compress, 12 bit. Its progression is
# RPCL, so that the first one is right for both lossless syntaxes; the last has -qstep 0.002.
_HTJ2K = {
    "1.2.840.10008.1.2.4.201": "htj2k_lossless.j2c",
    "1.2.840.10008.1.2.4.202": "htj2k_lossless.j2c",
    "1.2.840.10008.1.2.4.203": "htj2k_lossy.j2c",
}
# The largest error of syntaxes that are not lossless.
LOSS = {BASELINE: 6, EXTENDED: 4, "1.2.840.10008.1.2.4.81": 2, str(JPEG2000): 40,
        "1.2.840.10008.1.2.4.203": 10}  # fmt: skip


def picture() -> NDArray[np.uint16]:
    """Draw a disk with a gradient and a bright square in it, 12 bit."""
    y, x = np.mgrid[:SIDE, :SIDE]
    disk = np.hypot(x - 31.5, y - 31.5) < 26
    drawn = np.where(disk, 900 + 14 * x + 9 * y, 20).astype(np.uint16)
    drawn[20:30, 34:44] = 3900
    return drawn


def pixels_in(uid: str) -> NDArray[np.unsignedinteger]:
    """Give the picture as a syntax can hold it: JPEG Baseline has 8 bits, the others 12."""
    return (picture() >> 4).astype(np.uint8) if uid == BASELINE else picture()


def dataset_of(
    pixels: NDArray[np.integer], uid: str = wall.EXPLICIT, *, bits: int | None = None
) -> Dataset:
    """Describe pixels (H, W) or (frames, H, W) in an MR image of which they are not yet a part."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(uid)
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.Modality, dataset.PatientID = "MR", "P"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ScanningSequence, dataset.SequenceVariant = "SE", "SK"
    dataset.SeriesDescription, dataset.InstanceNumber = "Axial FLAIR", 7
    dataset.EchoTime, dataset.RepetitionTime, dataset.InversionTime = 120, 9000, 2500
    dataset.ImagePositionPatient = [-120, -130.5, 40]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.9375, 0.9375], 5
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = MRImageStorage
    referenced.ReferencedSOPInstanceUID = "1.2.3.5"
    dataset.ReferencedImageSequence = [referenced, referenced]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    allocated = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored = allocated, bits or min(allocated, 12)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    return dataset


def written(dataset: Dataset) -> bytes:
    """Write a data set as a file."""
    stream = BytesIO()
    deflated_frames = dataset.file_meta.TransferSyntaxUID == DEFLATED_FRAMES
    if deflated_frames:  # which pydicom does not know: written under a name of the same length
        dataset.file_meta.TransferSyntaxUID = JPEG2000
    dcmwrite(stream, dataset, enforce_file_format=True)
    if not deflated_frames:
        return stream.getvalue()
    return stream.getvalue().replace(JPEG2000.encode(), f"{DEFLATED_FRAMES}\0".encode(), 1)


def file_in(uid: str, pixels: NDArray[np.integer] | None = None) -> bytes:
    """Make a DICOM file in a transfer syntax; of :func:`picture` unless told otherwise."""
    dataset = with_pixels(uid, pixels_in(uid) if pixels is None else pixels)
    return written(dataset)


def with_pixels(uid: str, pixels: NDArray[np.integer], bits: int | None = None) -> Dataset:
    """Encode pixels (H, W) in a transfer syntax."""
    dataset = dataset_of(pixels, uid, bits=bits)
    if uid in wall.NATIVE:
        order = ">" if uid == wall.BIG_ENDIAN else "<"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset["PixelData"].VR = "OW"
        return dataset
    frame = encoded(uid, pixels)
    if frame is not None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        return dataset
    options: dict[str, Any] = {"1.2.840.10008.1.2.4.81": {"jls_error": 2},
                               str(JPEG2000): {"j2k_cr": [4]}}.get(uid, {})  # fmt: skip
    dataset.compress(uid, pixels, generate_instance_uid=False, **options)
    return dataset


def encoded(uid: str, pixels: NDArray[np.integer]) -> bytes | None:
    """Encode a frame that pydicom cannot; None for one that it can."""
    if uid == DEFLATED_FRAMES:
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflate.compress(pixels.tobytes()) + deflate.flush()
    if uid in _HTJ2K:
        return (Path(__file__).parent / "fuzz" / _HTJ2K[uid]).read_bytes()
    if uid == BASELINE:
        return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 97])[1])
    if uid not in _GDCM:
        return None
    return _encoded_by_gdcm(_GDCM[uid], pixels)


def _encoded_by_gdcm(syntax: str, pixels: NDArray[np.integer]) -> bytes:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        native, encoded = (f"{folder}/{name}.dcm" for name in ("native", "encoded"))
        Path(native).write_bytes(file_in(wall.EXPLICIT, pixels))
        reader, change, writer = (
            gdcm.ImageReader(),
            gdcm.ImageChangeTransferSyntax(),
            gdcm.ImageWriter(),
        )
        reader.SetFileName(native)
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFileName(encoded)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError(f"GDCM does not encode {syntax}")
        (frame,) = generate_frames(dcmread(encoded).PixelData, number_of_frames=1)
    return frame


def frames_in(uid: str) -> bytes:
    """Make a file of three frames, native or RLE."""
    pixels = np.stack([picture(), picture()[::-1], picture().T])
    dataset = dataset_of(pixels)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if uid not in wall.NATIVE:
        dataset.compress(uid, generate_instance_uid=False)
    return written(dataset)
