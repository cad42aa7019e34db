"""Results as DICOM objects that an archive files beside the images they come from.

For one series: a segmentation of the anomalous regions and one of each structure that is judged by
itself, the anomaly map as a Parametric Map, a Measurement Report, and the overlays as Secondary
Captures. highdicom makes all of them; what is decided here is what they say.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gliomart.errors import InputRefusedError
from gliomart.findings.judges import STRUCTURES
from gliomart.host import extras

with extras.needed("writing DICOM", "dicom", "highdicom"):
    import highdicom  # noqa: F401  # its absence is said here, in one place

from gliomart.outputs.dicom.beside import seen_beside
from gliomart.outputs.dicom.capture import secondary_capture
from gliomart.outputs.dicom.parametric_map import parametric_map
from gliomart.outputs.dicom.segmentation import of_lesions, of_structure
from gliomart.outputs.dicom.stack import Stack, not_allowed
from gliomart.outputs.dicom.structured_report import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydicom import Dataset

__all__ = ["ObjectFile", "Stack", "encoded", "objects", "seen_beside"]


# Why an object is not there though nothing went wrong: it would hold nothing.
NOTHING = "nothing-to-show"


@dataclass(frozen=True)
class ObjectFile:
    """One object: the name of its file, the object and that file's content.

    Where it was not made, ``dataset`` is None, and ``code`` and ``reason`` say why.
    """

    name: str
    dataset: Dataset | None
    content: bytes = b""
    code: str = ""
    reason: str = ""


def objects(stack: Stack) -> Iterator[ObjectFile]:
    """Make the objects of one series, one by one.

    Where a series does not say where its slices lie, there are a report and the overlays only. And
    there is no segmentation of nothing: not every viewer opens one without frames. Where it does
    not say whose images it is made of, there is none.
    """
    yield _made("anomaly-map.dcm", parametric_map, stack)
    anomalous = _made("anomalous-regions.dcm", of_lesions, stack)
    yield anomalous
    outlines = {}
    for number, structure in enumerate(STRUCTURES, start=2):
        outline = _made(f"{structure.name}.dcm", of_structure, stack, structure, number)
        yield outline
        outlines[structure.name] = outline.dataset
    yield _made("report.dcm", report, stack, anomalous.dataset, outlines)
    for index in range(len(stack.results)):
        yield _made(f"overlay-{index + 1:04d}.dcm", secondary_capture, stack, index)


def encoded(dataset: Dataset) -> bytes:
    """Write an object as a DICOM file (PS3.10)."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _made(
    name: str,
    make: Callable[..., Dataset | None],
    stack: Stack,
    *arguments: Any,  # noqa: ANN401
) -> ObjectFile:
    try:
        with warnings.catch_warnings():
            # Odd values of a source's header are passed on as they are.
            warnings.filterwarnings("ignore", module=r"pydicom(\..*)?|highdicom(\..*)?")
            made = make(stack, *arguments)
            if made is None:
                return ObjectFile(name, None, code=NOTHING, reason="there is nothing to show")
            return ObjectFile(name, made, encoded(made))
    except InputRefusedError as error:
        return ObjectFile(name, None, code=error.code, reason=error.reason)
    except Exception as error:  # noqa: BLE001  # a header may hold anything: what highdicom raises
        return ObjectFile(name, None, code="bad-header", reason=not_allowed(error))
