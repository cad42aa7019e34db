"""Series that the model saw beside the slices: objects name their images as sources as well.

An object of all slices lists these images with those of the slices, each in its own series (PS3.3
C.12.2), and each frame those whose pixels it was made from (C.7.6.16.2.6), after its own: viewers
take the first for the one that a frame lies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from gliomart.errors import InputRefusedError
from gliomart.image.resampling import sampled_slices
from gliomart.image.slices import Concern
from gliomart.outputs.dicom import terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import CompanionResult
    from gliomart.image.geometry import ImagePlane
    from gliomart.image.resampling import Rigid
    from gliomart.image.slices import Slice
    from gliomart.sources.header import Header
    from gliomart.sources.inventory import SeriesFiles


@dataclass(frozen=True)
class SeenBeside:
    """One such series.

    Attributes
    ----------
    planes
        Where its slices that were read lie, in the order of their heights.
    images, frames
        What each is: an image by its UIDs, and the frame of it, from 1, or None.
    movement
        From places in the analysed series to those of the same tissue in this one, where it moved.
    """

    planes: tuple[ImagePlane, ...]
    images: tuple[Dataset, ...]
    frames: tuple[int | None, ...]
    movement: Rigid | None

    @classmethod
    def of(cls, files: SeriesFiles, result: CompanionResult, study: str) -> SeenBeside:
        """Take what was read of a series from what its headers said when it was found.

        Raises
        ------
        InputRefusedError
            ``no-identity``: an image has no valid UIDs, or is of another study.
            ``ambiguous-identity``: two have one SOP Instance UID.
        """
        refused = {(each.source, each.frame) for each in result.refused}
        found = []
        for file in files.files:
            if file.header is None or (file.source, None) in refused:
                continue
            image = _identity(file.header, study)
            several = file.header.frame_count > 1
            for number, plane in zip(file.header.frames, file.planes, strict=True):
                if plane is not None and (file.source, number if several else None) not in refused:
                    found.append((plane, image, number + 1 if several else None))
        if not found:
            raise InputRefusedError("not-dicom", "it holds no placed DICOM image")
        found.sort(key=lambda each: each[0].height)
        named = {(image.SOPInstanceUID, frame) for _, image, frame in found}
        if len(named) < len(found):
            reason = "several images have one SOP Instance UID"
            raise InputRefusedError("ambiguous-identity", reason)
        planes, images, frames = zip(*found, strict=True)
        return cls(planes, images, frames, result.movement)

    @cached_property
    def evidence(self) -> list[Dataset]:
        """Its images, each once."""
        return list({image.SOPInstanceUID: image for image in self.images}.values())

    def references(self, shown: Slice) -> list[Dataset]:
        """Refer to the images, or frames of one, that values at a slice's pixels are made from."""
        if shown.plane is None:
            return []
        height, width = shown.pixels.shape
        numbers = sampled_slices(self.planes, shown.plane, (height, width), self.movement)
        used: dict[str, tuple[Dataset, list[int]]] = {}
        for number in numbers:
            image, frame = self.images[number], self.frames[number]
            _, frames = used.setdefault(image.SOPInstanceUID, (image, []))
            frames += [] if frame is None else [frame]
        return [_reference(image, frames) for image, frames in used.values()]


def seen_beside(
    series: SeriesFiles, results: Iterable[CompanionResult]
) -> tuple[tuple[SeenBeside, ...], tuple[Concern, ...]]:
    """Find what was seen beside a series.

    Returns
    -------
    What objects can refer to, and a note on each that they cannot.
    """
    (study,) = {file.header.study for file in series.files[:1] if file.header} or {""}
    files = {other.id: other for other in series.companions}
    found, notes = [], []
    for result in results:
        if not result.seen or result.id not in files:
            continue
        try:
            found.append(SeenBeside.of(files[result.id], result, study))
        except InputRefusedError as error:
            reason = f"DICOM objects do not name {result.sequence} as a source: {error.reason}"
            notes.append(Concern("unnamed-source", reason))
    return tuple(found), tuple(notes)


def add_to_frames(
    frames: Iterable[Dataset], positions: NDArray[np.float64], references: Sequence[list[Dataset]]
) -> None:
    """Name further source images in the functional groups of an object's frames.

    Parameters
    ----------
    frames
        Items of Per-Frame Functional Groups Sequence. One that names no source image of its own is
        left as it is.
    positions
        float64 (slices, 3): Image Position (Patient) of each slice.
    references
        What is named of each slice.
    """
    for frame in frames:
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        index = int(np.linalg.norm(positions - place, axis=1).argmin())
        for derivation in frame.get("DerivationImageSequence", []):
            derivation.SourceImageSequence.extend(references[index])


def _identity(header: Header, study: str) -> Dataset:
    """Take the UIDs of an image."""
    image = Dataset()
    image.StudyInstanceUID, image.SeriesInstanceUID = header.study, header.series
    image.SOPClassUID, image.SOPInstanceUID = header.sop_class, header.sop_instance_uid
    wrong = [element.name for element in image if not UID(element.value).is_valid]
    if wrong:
        raise InputRefusedError("no-identity", f"it has no valid {', '.join(wrong)}")
    if header.study != study:
        raise InputRefusedError("no-identity", "its Study Instance UID is another one")
    return image


def _reference(image: Dataset, frames: list[int]) -> Dataset:
    """Refer to an image as a source; pixels lie on others than those of what is derived."""
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    if frames:
        item.ReferencedFrameNumber = frames
    item.PurposeOfReferenceCodeSequence = [terms.SOURCE_IMAGE]
    item.SpatialLocationsPreserved = "NO"
    return item
