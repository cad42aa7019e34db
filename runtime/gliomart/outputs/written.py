"""What was written and what could not be, as JSON values."""

from __future__ import annotations

from typing import Literal, TypedDict

# Outputs that are told of where they could not be written.
Kind = Literal["overlay", "map", "mask", "overview", "report", "drift"]


class MissingOutput(TypedDict):
    """An output that could not be written.

    Attributes
    ----------
    source
        Slice or series that it is of; null for what is of the whole run.
    frame
        Index from 0 in a file of several.
    object
        What it would have been.
    code, reason
        Why it is not there.
    """

    source: str | None
    frame: int | None
    object: Kind
    code: str
    reason: str


class MissingObject(TypedDict):
    """A DICOM object that is not there.

    Attributes
    ----------
    object
        Name of its file; ``all`` where there is none at all.
    code, reason
        Why it is not there.
    """

    object: str
    code: str
    reason: str


class DicomEntry(TypedDict):
    """The DICOM objects of a series.

    Attributes
    ----------
    written
        Their files, as paths in the output folder.
    not_written
        Those that are not there.
    """

    written: list[str]
    not_written: list[MissingObject]
