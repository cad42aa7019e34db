"""Results as DICOM objects, made by highdicom (extra ``dicom``).

For every analysed DICOM series: a Segmentation, a Parametric Map, a structured report (TID 1500)
and Secondary Captures, of the same patient, study and frame of reference, in series of their own.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gliomart.errors import MissingExtraError
from gliomart.outputs.dicom import images
from gliomart.outputs.dicom.report import report
from gliomart.outputs.dicom.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

__all__ = ["Stack", "Written", "encoded", "objects", "require"]


@dataclass(frozen=True)
class Written:
    """One object: the name of its file, and the object; or None and why it was not made."""

    name: str
    dataset: Dataset | None
    reason: str = ""


def require() -> None:
    """Make sure that DICOM objects can be made here.

    Raises
    ------
    MissingExtraError
        highdicom is not installed.
    """
    if find_spec("highdicom") is None:
        raise MissingExtraError("writing DICOM", "dicom")


def objects(stack: Stack) -> Iterator[Written]:
    """Make the objects of one series."""
    with warnings.catch_warnings():
        # Of sources' odd values that are passed on as they are.
        warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\..*)?")
        segmentation = None
        why_not = _no_place(stack)
        if why_not:
            for name in ("segmentation.dcm", "parametric-map.dcm"):
                yield Written(name, None, why_not)
        else:
            segmentation = images.segmentation(stack)
            nothing = "" if segmentation is not None else "nothing is anomalous and no pons is seen"
            yield Written("segmentation.dcm", segmentation, nothing)
            yield Written("parametric-map.dcm", images.parametric_map(stack))
        yield Written("report.dcm", report(stack, segmentation))
        for number, capture in enumerate(images.secondary_captures(stack), start=1):
            yield Written(f"overlay-{number:04d}.dcm", capture)


def encoded(dataset: Dataset) -> bytes:
    """Write a data set as a DICOM file (PS3.10)."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _no_place(stack: Stack) -> str:
    if stack.planes is None:
        return "the images do not say where they lie, or lie differently"
    if not stack.first.get("FrameOfReferenceUID"):
        return "the images have no frame of reference"
    return ""
