"""One image of a data set with what its mask marks in it, and a patient as such images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from gliomart import sources
from gliomart.errors import DatasetError
from gliomart.image.slices import Refusal, Slice, checked
from gliomart.sources.attributes import text
from gliomart.sources.reading import unchecked, unchecked_series
from gliomart_training.patients import NEIGHBOURHOOD, Example, MaskFile, Patient
from gliomart_training.truth import pictures, segmentations, volumes
from gliomart_training.truth.placing import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.sources import SourceFile
    from gliomart.sources.inventory import Kind
    from gliomart_training.truth.marks import Choice


@dataclass(frozen=True)
class Image:
    """One image as read: a picture, a slice, or the slices of a volume or series.

    Attributes
    ----------
    items
        Its slices and refusals, in order.
    mask
        None where there is none, or where an unlisted one marks nothing.
    marks
        What it marks in each of the items.
    files
        The masks that were read.
    place
        Where a DICOM image lies along its normal, in mm.
    companions
        Other sequences of the examination by their names, one for each of the items, on its pixels.
    """

    items: Sequence[Slice | Refusal]
    mask: Path | None = None
    marks: Sequence[NDArray[np.bool_] | None] = ()
    files: tuple[MaskFile, ...] = ()
    place: float | None = None
    companions: Mapping[str, Sequence[Slice | None]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        files: Sequence[SourceFile],
        source: str,
        mask: Path | None,
        choice: Choice,
        *,
        listed: bool,
    ) -> Image:
        """Read an image and its mask; a volume or a series as axial slices, as analyses do.

        Parameters
        ----------
        files
            A picture, a volume, or the files of a DICOM series.
        source
            What results call slices that are put together from several files.
        mask
            Its mask; None where there is none.
        choice
            Which labels of the mask count.
        listed
            Somebody said that this is its mask, rather than a name.

        Raises
        ------
        DatasetError
            The mask cannot be read, or is not that of the image.
        """
        kind = None if mask is None else _kind_of(mask, files[0].kind)
        if len(files) > 1 or files[0].kind == "nifti" or kind in {"volume", "segmentation"}:
            found = list(unchecked_series(files, source))
        else:
            found = list(unchecked(files[0]))
        items = [checked(item) for item in found]
        if mask is None:
            return cls(items)
        if not any(isinstance(item, Slice) for item in items):
            return cls(items, mask, [None] * len(items))
        if kind == "volume":
            marks = volumes.read(mask, _target(files, found), choice)
        elif kind == "segmentation":
            marks = segmentations.read(mask, _target(files, found), choice)
        else:
            marks = pictures.read(mask, found, choice)
        marks = marks.without_refused(items)
        file = MaskFile(mask, marks.fraction, listed=listed, labels=marks.labels)
        return cls(items, mask if listed or file.fraction else None, marks.planes, (file,))

    def slices(self) -> Iterable[tuple[Slice | Refusal, NDArray[np.bool_] | None, bool]]:
        """Go through its slices: what is marked, and whether it counts as marked.

        Of a volume the slices that its mask marks do; where a mask that an index lists marks
        nothing at all, every slice does, since nobody knows where the mark should be.
        """
        nowhere = not any(file.fraction for file in self.files)
        for number, item in enumerate(self.items):
            marks = self.marks[number] if self.mask else None
            some = marks is not None and bool(marks.any())
            yield item, marks if some else None, self.mask is not None and (some or nowhere)

    def beside(self, number: int) -> dict[str, Slice]:
        """Give the other sequences at one of its items."""
        found = {name: slices[number] for name, slices in self.companions.items()}
        return {name: each for name, each in found.items() if each is not None}


def patient_of(name: str, images: Sequence[Image]) -> Patient:
    """Put one patient's images together, and tell which slices are far from every mark."""
    slices = [found for image in images for found in image.slices()]
    masked = [image.mask for image in images for _ in image.items]
    beside = [image.beside(number) for image in images for number in range(len(image.items))]
    marked = [number for number, (_, _, counts) in enumerate(slices) if counts]
    examples: list[Example] = []
    refused: list[Refusal] = []
    rows = zip(slices, masked, beside, strict=True)
    for number, ((item, marks, counts), mask, companions) in enumerate(rows):
        near = any(abs(number - other) <= NEIGHBOURHOOD for other in marked)
        if isinstance(item, Refusal):
            refused.append(item)
        else:
            example = Example(replace(item, series=name), mask if counts else None, not near)
            examples.append(replace(example, marks=marks, companions=companions))
    found = tuple(mask for image in images for mask in image.files)
    return Patient(name, tuple(examples), tuple(refused), found)


def _kind_of(mask: Path, image: Kind) -> Literal["picture", "volume", "segmentation"]:
    """Tell of which kind a mask is, and refuse what cannot be the mask of such an image."""
    placed = image in {"nifti", "dicom"}
    if volumes.is_nifti(mask):
        if not placed:
            raise DatasetError(f"{mask}: a NIfTI mask goes with a NIfTI image or a DICOM series")
        return "volume"
    if segmentations.is_segmentation(mask):
        if not placed:
            raise DatasetError(f"{mask}: a DICOM segmentation goes with a DICOM series")
        return "segmentation"
    if image == "nifti":
        raise DatasetError(
            f"{mask}: a NIfTI image has a NIfTI volume or a DICOM segmentation for a mask"
        )
    return "picture"


def _target(files: Sequence[SourceFile], items: Sequence[Slice | Refusal]) -> Target:
    slices = [item for item in items if isinstance(item, Slice)]
    headers = sources.headers(files, slices)
    spaces = {text(header, "FrameOfReferenceUID") for header in headers}
    instances = {text(header, "SOPInstanceUID") for header in headers}
    return Target(items, frozenset(spaces - {""}), frozenset(instances - {""}))
