"""The wall in front of DICOM: nothing reaches pydicom that was not surveyed within a budget.

pydicom recurses on nested sequences, inflates without limit and makes objects of values of any
length. What follows the pixels is not read at all, and without ``pixels`` neither are they.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING

from gliomart.errors import InputRefusedError
from gliomart.printable import said
from gliomart.sources.budget import DEFAULT, Budget, beyond, promised
from gliomart.sources.survey import (
    UNDEFINED,
    Encoding,
    Inflater,
    PixelElement,
    Survey,
    Window,
    guess_encoding,
    truncated,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from pydicom import Dataset

# pydicom imports GDCM, which imports a module "dl" that Python 3 has not got, and breaks where the
# working directory holds a folder of that name.
sys.modules.setdefault("dl", None)  # type: ignore[arg-type]  # None is "there is none"

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
# Syntaxes whose pixels are plain numbers, so that there have to be as many as promised.
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})

_PIXEL_DATA, _FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008
# DICOM PS3.10 7.1: 128 bytes of preamble, then the prefix "DICM".
PREAMBLE, PREFIX = 128, b"DICM"
# What an operating system or an interpreter would run (CVE-2019-11687), in lower case.
_PROGRAMS = (
    b"mz", b"\x7felf", b"#!", b"<?php", b"<script", b"<html", b"@echo",
    b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)  # fmt: skip


def parse(path: Path, *, pixels: bool, budget: Budget = DEFAULT) -> Dataset:
    """Parse a DICOM file that keeps within a budget.

    Parameters
    ----------
    path
        A regular file, with or without the preamble of DICOM PS3.10 7.1.
    pixels
        Whether to read the pixels as well.
    budget
        What the file may ask for.

    Returns
    -------
    Dataset
        What comes before the pixels, with its ``file_meta``; with ``pixels`` also their element,
        whose value is a bytearray.

    Raises
    ------
    InputRefusedError
        ``not-a-file``, ``executable-preamble``, ``truncated``, ``unreadable``, ``undecodable`` or
        one of the codes of :class:`Budget`.
    OSError
        The file cannot be opened or read.
    """
    # Without blocking, since a pipe would wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputRefusedError("not-a-file", "not a regular file")
        return parse_stream(stream, status.st_size, pixels=pixels, budget=budget)


def parse_stream(stream: BinaryIO, size: int, *, pixels: bool, budget: Budget = DEFAULT) -> Dataset:
    """Parse a stream of ``size`` bytes, from its start; see :func:`parse`."""
    from pydicom.dataset import FileMetaDataset

    if size > budget.file_bytes:
        raise beyond("too-many-bytes", "the file holds", size, budget.file_bytes)
    deadline = monotonic() + budget.seconds
    window = Window(stream.read, size, lambda _: truncated())
    survey = Survey(window, budget, deadline)
    start = _skip_preamble(window)
    position = survey.walk(start, Encoding(explicit=True, little_endian=True), only_meta=True)
    with _refusing():
        meta = FileMetaDataset(_believe(window, start, position, survey.encoding))
        syntax = str(meta.get("TransferSyntaxUID") or "")
    if syntax == DEFLATED:
        inflater = Inflater(stream.read, bytes(window.data[position:]))
        window = Window(
            inflater.read,
            budget.inflated_bytes,
            lambda end: beyond("inflates-too-much", "it inflates to", end, budget.inflated_bytes),
        )
        survey = Survey(window, budget, deadline)
        position = 0
    end = survey.walk(position, _encoding(window, position, syntax))
    with _refusing():
        dataset = _believe(window, position, end, survey.encoding)
        dataset.file_meta = meta
    if survey.pixels:
        _check_promise(dataset, survey.pixels, syntax, budget)
        if survey.pixels.length != UNDEFINED:
            window.expect(survey.pixels.start + survey.pixels.length)
        if pixels:
            _add_pixels(dataset, survey.pixels, survey, window)
    return dataset


def _skip_preamble(window: Window) -> int:
    """Return where the data elements start."""
    start = PREAMBLE + len(PREFIX)
    if not window.reach(start) or window.data[PREAMBLE:start] != PREFIX:
        return 0
    if window.data[:PREAMBLE].lower().startswith(_PROGRAMS):
        raise InputRefusedError("executable-preamble", "the preamble is the start of a program")
    return start


def _encoding(window: Window, start: int, syntax: str) -> Encoding:
    if not syntax:
        return guess_encoding(window, start)
    return Encoding(explicit=syntax != IMPLICIT, little_endian=syntax != BIG_ENDIAN)


def _believe(window: Window, start: int, end: int, encoding: Encoding) -> Dataset:
    from pydicom.filereader import read_dataset

    surveyed = BytesIO(window.data[start:end])
    return read_dataset(surveyed, not encoding.explicit, encoding.little_endian)


@contextmanager
def _refusing() -> Iterator[None]:
    """Make a refusal of whatever pydicom raises on hostile bytes."""
    try:
        yield
    except Exception as error:
        raise InputRefusedError("unreadable", f"not valid DICOM: {said(error)}") from error


def _check_promise(dataset: Dataset, pixels: PixelElement, syntax: str, budget: Budget) -> None:
    """Hold what a data set promises of its pixels against the budget and the element's length."""
    if "Rows" not in dataset or "Columns" not in dataset:
        return
    image = promised(dataset)
    budget.admit(image)
    if syntax and syntax not in NATIVE:
        return
    if pixels.length == UNDEFINED:
        unreadable("the pixels are encapsulated, which their transfer syntax does not allow")
    # Colour may be subsampled (DICOM PS3.3 C.7.6.3.1.2); it is refused later on.
    if image.samples == 1 and pixels.length < image.total_bytes:
        reason = f"the pixels take {image.total_bytes} bytes, and there are {pixels.length}"
        raise InputRefusedError("truncated", reason)


def _add_pixels(dataset: Dataset, pixels: PixelElement, survey: Survey, window: Window) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import BaseTag

    tag, _, start, length = pixels
    end = survey.walk_fragments(start) if length == UNDEFINED else start + length
    dataset[tag] = RawDataElement(
        BaseTag(tag),
        _representation(pixels),
        length,
        window.take(start, end),  # type: ignore[arg-type]  # bytes that need no copy
        start,
        is_implicit_VR=not survey.encoding.explicit,
        is_little_endian=survey.encoding.little_endian,
    )


def _representation(pixels: PixelElement) -> str:
    """Let nothing be made of pixels but bytes, whatever their header says."""
    if pixels.tag != _PIXEL_DATA:
        return "OF" if pixels.tag == _FLOAT_PIXEL_DATA else "OD"
    return "OB" if pixels.representation == "OB" else "OW"
