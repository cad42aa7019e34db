"""The analysed slices of one series: where they lie, what they come from, how results are filed.

highdicom reads patient, geometry and references from source images. What it is given here are
headers that hold just this, so that every series looks alike to it: one image a slice, one image
of many frames, or slices that were cut anew from a voxel grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import highdicom
import numpy as np
from highdicom.content import ReferencedImageSequence
from pydicom import Dataset

from gliomart.errors import InputRefusedError
from gliomart.outputs.dicom import series, terms
from gliomart.outputs.dicom.beside import add_to_frames
from gliomart.outputs.dicom.grid import Grid, grid_of, shared_groups
from gliomart.outputs.dicom.identity import Identity
from gliomart.outputs.dicom.lesions import connect
from gliomart.printable import said
from gliomart.sources.attributes import text, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import Settings, SliceResult, Verdict
    from gliomart.findings.structures import Structure, StructureVerdict
    from gliomart.image.slices import Concern
    from gliomart.outputs.dicom.beside import SeenBeside
    from gliomart.outputs.dicom.lesions import Lesion

_Made = TypeVar("_Made", bound=Dataset)

# What a source image is told anew, of its own slice.
_GEOMETRY = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "NumberOfFrames",
)  # fmt: skip
# No slice lies here: a source image that was not analysed is never taken for one that was.
_OUT_OF_REACH_MM = 1e6
_LARGEST_NUMBER = 2**31 - 1  # PS3.5 6.2: IS


@dataclass(frozen=True)
class Stack:
    """One analysed series.

    Attributes
    ----------
    results
        Its slices, in anatomical order.
    sources
        Headers of the images it was read from: one for each slice, one of many frames, or all
        images of a voxel grid that was cut anew. Pixels are not needed.
    verdict, structures
        On the series, and on every structure that the model judges by itself, by its name.
    display_limit
        Anomaly-map value at which the colour scale ends.
    beside
        Series that the model saw beside it.
    """

    results: Sequence[SliceResult]
    sources: Sequence[Dataset]
    verdict: Verdict
    structures: Mapping[str, StructureVerdict]
    display_limit: float
    beside: Sequence[SeenBeside] = ()

    @property
    def settings(self) -> Settings:
        """What produced the results."""
        return self.results[0].settings

    @property
    def identity(self) -> Identity:
        """Whose images the slices are.

        Raises
        ------
        InputRefusedError
            ``no-identity``: an object could not say which study it belongs to, or which images it
            comes from; ``ambiguous-identity``, ``mixed-patients`` or ``mixed-studies``.
        """
        if isinstance(self._identity, InputRefusedError):
            raise self._identity
        return self._identity

    @cached_property
    def _identity(self) -> Identity | InputRefusedError:
        """Read it once, since every object asks for it; keep a refusal likewise."""
        try:
            identity = Identity(self.used)
            for anatomy in shared_groups(self.used[0], "FrameAnatomySequence"):
                regions = value_of(anatomy, "AnatomicRegionSequence")
                if regions and "AnatomicRegionSequence" not in identity.header:
                    read = identity.of_sequence(regions, self.used[0])
                    identity.header.AnatomicRegionSequence = read
        except InputRefusedError as error:
            return error
        except Exception as error:  # noqa: BLE001  # a header may hold anything
            return InputRefusedError("bad-header", not_allowed(error))
        return identity

    @property
    def notes(self) -> tuple[Concern, ...]:
        """What of the source's patient and study is not passed on as it is."""
        refused = isinstance(self._identity, InputRefusedError)
        return () if refused else tuple(self.identity.notes)

    @property
    def header(self) -> Dataset:
        """What the source says of patient, study and series; see :attr:`identity`."""
        return self.identity.header

    @cached_property
    def used(self) -> list[Dataset]:
        """The headers of the images that slices are; of all where none is, cut anew."""
        shown = {result.slice.sop_instance_uid for result in self.results}
        if shown == {None}:
            return list(self.sources)
        return [s for s in self.sources if (text(s, "SOPInstanceUID") or None) in shown]

    @cached_property
    def grid(self) -> Grid:
        """Where the slices lie.

        Raises
        ------
        InputRefusedError
            ``no-frame-of-reference``, ``no-geometry`` or ``mixed-geometry``.
        """
        if not self.header.get("FrameOfReferenceUID"):
            raise InputRefusedError("no-frame-of-reference", "the source has no frame of reference")
        if len(self.identity.frames_of_reference) > 1:
            reason = "the slices lie in several frames of reference"
            raise InputRefusedError("mixed-geometry", reason)
        return grid_of(self.results, self.used)

    @cached_property
    def images(self) -> list[Dataset]:
        """The source images as highdicom reads them: in their places, and of one series."""
        places: dict[str, dict[int, NDArray[np.float64]]] = {}
        for result, position in zip(self.results, self.grid.positions, strict=True):
            uid = result.slice.sop_instance_uid
            if uid is not None:
                places.setdefault(uid, {})[result.slice.frame or 0] = position
        images = []
        for identity, dataset in zip(self.evidence, self.used, strict=True):
            image = Dataset()
            image.update(identity)
            _put_in_place(image, dataset, places.get(image.SOPInstanceUID, {}), self.grid)
            images.append(image)
        return series.as_one(images)

    @cached_property
    def evidence(self) -> list[Dataset]:
        """The source images without their geometry: what a report refers to."""
        images = []
        for identity, dataset in zip(self.identity.each, self.used, strict=True):
            image = Dataset()
            image.update({e.tag: e for e in self.header if e.keyword not in _GEOMETRY})
            image.update(identity)
            for name in ("Rows", "Columns"):
                if name in dataset:
                    image[name] = dataset[name]
            images.append(image)
        return images

    @cached_property
    def all_evidence(self) -> list[Dataset]:
        """The same, and the images that were seen beside them."""
        return [*self.evidence, *(image for each in self.beside for image in each.evidence)]

    @cached_property
    def references_beside(self) -> list[list[Dataset]]:
        """Refer to the images that were seen beside each slice."""
        shown = [result.slice for result in self.results]
        return [[item for each in self.beside for item in each.references(s)] for s in shown]

    def references(self, index: int) -> list[Dataset]:
        """Refer to the image that a slice is, or its frame, and what was seen beside it.

        A slice that was cut anew comes from all images of its series.
        """
        return [*self._own_references(index), *self.references_beside[index]]

    def _own_references(self, index: int) -> ReferencedImageSequence:
        shown = self.results[index].slice
        if shown.sop_instance_uid is None:
            return self._all_references
        image = self._by_uid[shown.sop_instance_uid]
        return _references([image], None if shown.frame is None else shown.frame + 1)

    @cached_property
    def _by_uid(self) -> dict[str, Dataset]:
        return {text(image, "SOPInstanceUID"): image for image in self.used}

    @cached_property
    def _all_references(self) -> ReferencedImageSequence:
        return _references(self.used, None)

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """What is anomalous, connected over slices; see :attr:`labels`."""
        return self._connected[1]

    @cached_property
    def labels(self) -> NDArray[np.uint16]:
        """The lesions' numbers, uint16 (slices, H, W); 0 where nothing is anomalous."""
        return self._connected[0]

    @cached_property
    def _connected(self) -> tuple[NDArray[np.uint16], tuple[Lesion, ...]]:
        masks = [result.mask for result in self.results]
        maps = [result.anomaly_map for result in self.results]
        return connect(masks, maps, self.grid.adjacent)

    def outlines(self, structure: Structure) -> NDArray[np.bool_] | None:
        """Where a structure lies, bool (slices, H, W); None where it is nowhere seen."""
        found = [result.structures.get(structure.name) for result in self.results]
        masks = [
            np.zeros_like(result.mask) if each is None else each.mask
            for result, each in zip(self.results, found, strict=True)
        ]
        return np.stack(masks) if any(mask.any() for mask in masks) else None

    @cached_property
    def _uids(self) -> dict[str, str]:
        return {kind: str(highdicom.UID()) for kind in terms.SERIES}

    def filed(self, kind: str, instance: int = 1) -> dict[str, Any]:
        """Tell in which series an object is filed, and as what, in a study that has others."""
        offset, description = terms.SERIES[kind]
        number = int(self.header.get("SeriesNumber") or 0) * 1000 + offset
        return {
            "series_instance_uid": self._uids[kind],
            "series_number": number if 0 < number <= _LARGEST_NUMBER else offset,
            "series_description": description,
            "sop_instance_uid": str(highdicom.UID()),
            "instance_number": instance,
            **terms.equipment(self.settings),
        }

    def derived(self) -> dict[str, Any]:
        """Tell what an image object of all slices comes from, and where its frames lie."""
        many = is_multiframe(self.images[0])  # of which highdicom takes one, and then others
        return {
            "source_images": self.images[:1] if many else self.images,
            "further_source_images": self.images[1:] if many else None,
            "plane_orientation": self.grid.plane_orientation(),
            "plane_positions": [_plane_position(position) for position in self.grid.positions],
            "pixel_measures": self.grid.measures(),
        }


def with_all_sources(made: _Made, stack: Stack) -> _Made:
    """Let an image object name every source image: of its frames, and in its own series."""
    frames = made.PerFrameFunctionalGroupsSequence
    add_to_frames(frames, stack.grid.positions, stack.references_beside)
    return series.as_they_are(made, stack.all_evidence)


def not_allowed(error: Exception) -> str:
    """Say in one line what pydicom or highdicom said of a source's header."""
    return f"the source's header does not allow it: {said(error)}"


def is_multiframe(dataset: Dataset) -> bool:
    """Tell whether a source image is one of many frames (PS3.3 C.7.6.16)."""
    return "SharedFunctionalGroupsSequence" in dataset


def name_body_part(image: Dataset, header: Dataset) -> None:
    """Say of an image what body part its source says it shows.

    Laterality is required of a paired part, and is left out for one such as head or brain. Where
    the source names no part, whether it is paired is not known, and neither is its side: such an
    attribute is there and empty (PS3.3 C.7.3.1, type 2C).
    """
    named = "BodyPartExamined" if header.get("BodyPartExamined") else "AnatomicRegionSequence"
    for name in (named, "Laterality"):
        if header.get(name):
            image[name] = header[name]
    if named not in image and "Laterality" not in image:
        image.Laterality = None


def _references(images: list[Dataset], frame: int | None) -> ReferencedImageSequence:
    """Refer to images, or to one frame, from 1, of one (PS3.3 C.7.6.1)."""
    references = ReferencedImageSequence(images, frame)
    for reference in references:
        reference.PurposeOfReferenceCodeSequence = [terms.SOURCE_IMAGE]
    return references


def _put_in_place(
    image: Dataset, dataset: Dataset, places: dict[int, NDArray[np.float64]], grid: Grid
) -> None:
    """Give a source image the geometry of the slices that its frames, from 0, are."""
    nowhere = np.full(3, _OUT_OF_REACH_MM)
    if not is_multiframe(dataset):
        image.update(grid.measures()[0])
        image.ImageOrientationPatient = list(grid.orientation)
        image.ImagePositionPatient = places.get(0, nowhere).tolist()
        return
    shared = Dataset()
    shared.PixelMeasuresSequence = grid.measures()
    shared.PlaneOrientationSequence = grid.plane_orientation()
    image.SharedFunctionalGroupsSequence = [shared]
    image.NumberOfFrames = int(dataset.get("NumberOfFrames") or 1)
    frames = []
    for index in range(image.NumberOfFrames):
        frame = Dataset()
        frame.PlanePositionSequence = _plane_position(places.get(index, nowhere))
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = frames


def _plane_position(position: Iterable[float]) -> highdicom.PlanePositionSequence:
    patient = highdicom.CoordinateSystemNames.PATIENT
    return highdicom.PlanePositionSequence(patient, [float(value) for value in position])
