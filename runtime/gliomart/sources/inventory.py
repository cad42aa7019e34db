"""What inputs hold: files, grouped into series."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

from gliomart.image.geometry import doubles, gaps
from gliomart.image.slices import Concern, Refusal
from gliomart.sources.budget import DEFAULT, Budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pydicom import Dataset

    from gliomart.image.geometry import ImagePlane
    from gliomart.sources.bids import BidsName
    from gliomart.sources.changes import Stamp
    from gliomart.sources.header import Header
    from gliomart.sources.sidecar import Sidecar

Kind = Literal["dicom", "png", "jpeg", "tiff", "nifti"]


@dataclass(frozen=True, slots=True)  # there may be very many
class SourceFile:
    """A file that holds at least one slice.

    Attributes
    ----------
    path, kind
        Where it is, and what.
    source
        What results call it: a POSIX path that starts with the input root's own name.
    series
        Series Instance UID of a DICOM file; the folder of an image; a volume's own source.
    header
        What a DICOM file says of itself; None for other kinds.
    bids, sidecar
        What a volume's name and the JSON file beside it say of it; None where they are none.
    planes
        Where each of its slices lies in the patient, None for one of which that is not known.
    concerns
        What its reader found to speak against analysing it.
    notes
        What its reader found that has to be told.
    budget
        What may be spent on reading it.
    plane
        Which colour plane of a picture is analysed, from 1; None where all have to be alike.
    sequence
        The MR sequence that whoever gives it says it is of; None where nobody says.
    stamp
        What the file was when it was found; None where that is not known.
    dataset
        What a program handed over instead of a file; None where there is a file.
    """

    path: Path
    source: str
    kind: Kind
    series: str
    header: Header | None = None
    planes: tuple[ImagePlane | None, ...] = (None,)
    concerns: tuple[Concern, ...] = ()
    notes: tuple[Concern, ...] = ()
    budget: Budget = DEFAULT
    plane: int | None = None
    sequence: str | None = None
    bids: BidsName | None = None
    sidecar: Sidecar | None = None
    stamp: Stamp | None = None
    dataset: Dataset | None = field(default=None, compare=False, repr=False)

    def only(self, which: Sequence[int]) -> SourceFile:
        """Leave out all of its images but these, by their place among ``planes``."""
        if len(which) == len(self.planes) or self.header is None:
            return self
        header = self.header.only(which)
        return replace(self, header=header, planes=header.planes)

    @property
    def order(self) -> float:
        """Place along the series' normal in mm; Instance Number where geometry is missing."""
        if self.planes[0] is not None:
            return self.planes[0].height
        return (self.header.number or 0.0) if self.header else 0.0


class Image(NamedTuple):
    """One image of a DICOM file: the file, and at which of its ``planes`` it is."""

    file: SourceFile
    at: int

    @property
    def header(self) -> Header:
        """What its file says of it."""
        assert self.file.header is not None  # noqa: S101  # only DICOM files are taken apart
        return self.file.header

    @property
    def plane(self) -> ImagePlane | None:
        """Where it lies."""
        return self.file.planes[self.at]

    @property
    def frame(self) -> int | None:
        """Which frame of its file it is; None in a file of one."""
        return self.header.frames[self.at] if self.header.frame_count > 1 else None


@dataclass(frozen=True)
class Group:
    """Images that belong together.

    Attributes
    ----------
    images
        In the order in which they were met.
    series
        Series Instance UID, or folder where there is none; with a number where that is not unique.
    owner
        Study Instance UID, and the number of the person within the study.
    apart
        Names of what tells it from other groups of its series.
    notes
        What has to be told of how it came about.
    """

    images: tuple[Image, ...]
    series: str
    owner: tuple[str, int]
    apart: tuple[str, ...] = ()
    notes: tuple[Concern, ...] = ()


class Study(NamedTuple):
    """The examination that a series belongs to; those of one inventory can be compared.

    Attributes
    ----------
    id
        Study Instance UID; of a volume with a name of BIDS, where its subject's session lies.
    person
        Number of the person within the study: de-identification gives one UID to several.
    frame_of_reference
        Frame of Reference UID, or the entity ``space`` of BIDS; None where nothing tells.
    """

    id: str
    person: int = 0
    frame_of_reference: str | None = None


@dataclass(frozen=True)
class SeriesFiles:
    """The files of one series, in anatomical order where it is known, else by name.

    Attributes
    ----------
    id
        Series Instance UID, the folder of pictures, or a volume's own source.
    source
        What results call it: its folder, or the file that a volume is.
    files
        Of it.
    notes
        What has to be told of how they were put together.
    companions
        Other series that a model sees together with it, such as another sequence of its study.
    study
        Which examination it belongs to; None where nothing tells.
    """

    id: str
    source: str
    files: tuple[SourceFile, ...]
    notes: tuple[Concern, ...] = ()
    companions: tuple[SeriesFiles, ...] = ()
    study: Study | None = None

    def together_with(self, *others: SeriesFiles) -> SeriesFiles:
        """Add companions, and note that they are seen with it rather than by themselves."""
        told = (
            Concern("seen-together", f"the model sees it together with {_files(other)}")
            for other in others
        )
        notes = (*self.notes, *told)
        return replace(self, notes=notes, companions=(*self.companions, *others))

    @property
    def sources(self) -> tuple[str, ...]:
        """What results call its files and those of its companions, each once."""
        files = chain(self.files, *(other.files for other in self.companions))
        return tuple(dict.fromkeys(file.source for file in files))

    def missing(self) -> Iterator[Refusal]:
        """Tell where the series lacks slices: nobody looked at what they would have shown."""
        if any(plane is None for file in self.files for plane in file.planes):
            return
        placed = sorted(
            (plane.height, file.source)
            for file in self.files
            for plane in file.planes
            if plane is not None
        )
        copies = {number + 1 for number in doubles([height for height, _ in placed])}
        placed = [place for number, place in enumerate(placed) if number not in copies]
        for number, count in gaps([height for height, _ in placed]):
            (low, before), (high, after) = placed[number : number + 2]
            reason = (
                f"about {count} missing between {before} and {after},"
                f" {high - low:.1f} mm apart along the series"
            )
            yield Refusal(self.source, None, "missing-slices", reason)


def _files(series: SeriesFiles) -> str:
    """Name a series by its first file: several may lie in one folder."""
    first, *others = (file.source for file in series.files)
    return f"{first} and {len(others)} more" if others else first


@dataclass(frozen=True)
class Inventory:
    """What the inputs hold: series to analyse, what is refused, what is no image at all.

    ``ignored_kinds`` counts the files that are no images by their kind, such as ``.txt``, and masks
    beside images.
    """

    roots: tuple[str, ...]
    series: tuple[SeriesFiles, ...]
    refused: tuple[Refusal, ...]
    files: int
    ignored_kinds: Mapping[str, int]

    @property
    def ignored(self) -> int:
        """How many files are no images."""
        return sum(self.ignored_kinds.values())

    def digest(self, *, ordered: bool = True) -> str:
        """Tell this inventory from any other: SHA-256 of every file's place, size and time.

        Size and time are those of when the file was found, whatever became of it since.

        Parameters
        ----------
        ordered
            Tell inventories apart whose inputs were given in another order as well. If not, those
            are alike in which every source has the same name.
        """
        found = list(self._lines())
        if ordered:
            lines = [line for _, line in found]
        else:
            lines = sorted(source.encode() + b"\0" + line for source, line in found)
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        """Tell of every file and refusal, under the name of its source."""
        for series in self.series:
            for file in series.files:
                yield file.source, _line(file.path, file.stamp)
                if file.sidecar is not None:
                    yield file.source, _line(file.sidecar.path, file.sidecar.stamp)
        for refusal in self.refused:
            yield refusal.source, f"{refusal.source}\0{refusal.code}\n".encode()


def _line(path: Path, stamp: Stamp | None) -> bytes:
    """Tell of one file: where it lies, its size and time."""
    size, modified = stamp or ("", "")
    return os.fsencode(os.path.realpath(path)) + f"\0{size}\0{modified}\n".encode()
