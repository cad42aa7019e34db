"""DICOM files, read by pydicom: headers while scanning, pixels when a series is analysed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.slices import Refusal, Slice, greyscale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom import Dataset

# DICOM PS3.10 7.1: 128 bytes of preamble, then the prefix "DICM".
MAGIC_START, MAGIC_END = 128, 132

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
# Pixels of no scanner are smaller or larger than this.
_FINEST_MM, _COARSEST_MM = 0.05, 20.0
# What pydicom decodes with NumPy alone (DICOM PS3.5 annexes A and G).
_NATIVE_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2",  # Implicit VR Little Endian
        "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
        "1.2.840.10008.1.2.5",  # RLE Lossless
    }
)


@dataclass(frozen=True)
class Header:
    """What grouping into series needs of a file."""

    series: str
    order: float


def readable_without_preamble(path: Path) -> bool:
    """Tell whether a file without the "DICM" prefix is a DICOM data set all the same."""
    try:
        return "SOPClassUID" in _parse(path, pixels=False)
    except InputRefusedError:
        return False


def read_header(path: Path) -> Header | None:
    """Read what places a file in its series; None for a DICOMDIR, which holds no image.

    Raises
    ------
    InputRefusedError
        ``unreadable``, ``no-pixels`` or ``unsupported-transfer-syntax``.
    """
    dataset = _parse(path, pixels=False)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == _MEDIA_STORAGE_DIRECTORY:
        return None
    if "Rows" not in dataset or "Columns" not in dataset:
        raise InputRefusedError("no-pixels", "the DICOM object holds no image")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax not in _NATIVE_SYNTAXES:
        raise InputRefusedError(
            "unsupported-transfer-syntax", f"pixels in {syntax.name} cannot be decoded"
        )
    return Header(series=str(_value(dataset, "SeriesInstanceUID") or ""), order=_order(dataset))


def read(path: Path, source: str, series: str) -> Iterator[Slice | Refusal]:
    """Yield the slice of a DICOM file, or one for each frame.

    Values are modality values (DICOM PS3.3 C.11.1); those of MONOCHROME1 change their sign, so
    that bright is always high.

    Raises
    ------
    InputRefusedError
        ``unreadable``, ``not-greyscale``, ``bad-geometry`` or ``undecodable``.
    """
    yield from slices_of(_parse(path, pixels=True), source, series)


def slices_of(dataset: Dataset, source: str, series: str) -> Iterator[Slice | Refusal]:
    """Yield the slices of a data set that is in memory already; see :func:`read`."""
    photometric = str(_value(dataset, "PhotometricInterpretation") or "")
    if (_value(dataset, "SamplesPerPixel") or 1) != 1 or "PALETTE" in photometric:
        raise InputRefusedError("not-greyscale", "the DICOM image is in colour")
    spacing = _spacing(dataset)
    values = _modality_values(dataset)
    frames = -values if photometric == "MONOCHROME1" else values
    modality, uid = (_value(dataset, name) for name in ("Modality", "SOPInstanceUID"))
    for index, pixels in enumerate(frames):
        frame = index if len(frames) > 1 else None
        try:
            yield Slice(
                pixels=greyscale(pixels),
                source=source,
                series=series,
                frame=frame,
                spacing=spacing,
                position=_numbers(dataset, "ImagePositionPatient", 3),
                orientation=_numbers(dataset, "ImageOrientationPatient", 6),
                modality=str(modality) if modality else None,
                sop_instance_uid=str(uid) if uid else None,
            )
        except InputRefusedError as error:
            yield Refusal(source, frame, error.code, error.reason)


def _modality_values(dataset: Dataset) -> np.ndarray:
    """Decode the pixels as (frames, H, W)."""
    from pydicom.pixels.processing import apply_modality_lut

    try:
        values = np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float32)
    except Exception as error:  # a decoder meets hostile bytes: whatever it raises is a refusal
        raise InputRefusedError(
            "undecodable", f"the pixels cannot be decoded: {_line(error)}"
        ) from error
    return values if values.ndim == 3 else values[np.newaxis]  # noqa: PLR2004


def _parse(path: Path, *, pixels: bool) -> Any:  # noqa: ANN401
    from pydicom import dcmread

    try:
        # Forced, so that files without the preamble are read; scanning looks at what came of it.
        return dcmread(path, stop_before_pixels=not pixels, force=True)
    except OSError:
        raise
    except Exception as error:  # a parser meets hostile bytes: whatever it raises is a refusal
        raise InputRefusedError("unreadable", f"not valid DICOM: {_line(error)}") from error


def _order(dataset: Dataset) -> float:
    """Place along the series' normal in mm; Instance Number where geometry is missing."""
    position = _numbers(dataset, "ImagePositionPatient", 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        (number,) = _numbers(dataset, "InstanceNumber", 1) or (0.0,)
        return number
    normal = np.cross(orientation[:3], orientation[3:])
    return float(np.dot(normal, position))


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Pixel Spacing in mm (DICOM PS3.3 10.7.1.3): rows, columns; None where it is not given."""
    given = dataset.get_item("PixelSpacing")
    if given is None or not given.value:
        return None
    spacing = _numbers(dataset, "PixelSpacing", 2)
    if spacing is None or not (_FINEST_MM <= min(spacing) <= max(spacing) <= _COARSEST_MM):
        raise InputRefusedError("bad-geometry", "the pixel spacing is not two lengths in mm")
    return spacing[0], spacing[1]


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read so many finite numbers; None where the attribute is not that."""
    try:
        numbers = tuple(float(value) for value in np.atleast_1d(dataset[keyword].value))
    except (KeyError, TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(np.isfinite(numbers)) else None


def _value(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401
    """Look at one attribute; None where it is missing, empty or cannot be parsed."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001  # pydicom parses a value when it is looked at
        return None


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
