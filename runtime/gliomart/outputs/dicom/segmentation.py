"""Segmentations: the anomalous regions, a segment for each lesion, and outlines of structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from highdicom import UID
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)

from gliomart.outputs.dicom import terms
from gliomart.outputs.dicom.stack import with_all_sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.findings.structures import Structure
    from gliomart.outputs.dicom.stack import Stack

# The colours of the outlines in the overlays.
_CYAN = CIELabColor.from_rgb(0, 255, 255)
_GREEN = CIELabColor.from_rgb(120, 220, 120)


def of_lesions(stack: Stack) -> Segmentation | None:
    """Make the segmentation of the anomalous regions; None where there are none."""
    if not stack.lesions:
        return None
    segments = [
        _segment(
            stack,
            lesion.number,
            f"anomalous region {lesion.number}",
            segmented_property_category=terms.ABNORMALITY,
            segmented_property_type=terms.LESION,
            anatomic_regions=[terms.BRAIN],
            display_color=_CYAN,
        )
        for lesion in stack.lesions
    ]
    return _segmentation(
        stack,
        stack.labels,
        segments,
        content_label="ANOMALIES",
        content_description=f"Anomalous regions. {terms.RESEARCH_ONLY}",
        **stack.filed("segmentation", 1),
    )


def of_structure(stack: Stack, structure: Structure, instance: int) -> Segmentation | None:
    """Make the segmentation of a structure; None where no slice shows it."""
    outlines = stack.outlines(structure)
    if outlines is None:
        return None
    segment = _segment(
        stack,
        1,
        structure.name,
        segmented_property_category=terms.ANATOMY,
        segmented_property_type=terms.concept_of(structure),
        display_color=_GREEN,
    )
    return _segmentation(
        stack,
        outlines,
        [segment],
        content_label=structure.name.upper(),
        content_description=f"Outline of the {structure.name}. {terms.RESEARCH_ONLY}",
        **stack.filed("segmentation", instance),
    )


def frames_of(segmentation: Segmentation, segment: int) -> list[Dataset]:
    """Find the functional groups of the frames that show a segment."""
    return [
        frame
        for frame in segmentation.PerFrameFunctionalGroupsSequence
        if "SegmentIdentificationSequence" not in frame  # shared: there is but one segment
        or frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment
    ]


def _segment(stack: Stack, number: int, name: str, **described: Any) -> SegmentDescription:  # noqa: ANN401
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=terms.algorithm(stack.settings),
        tracking_uid=UID(),
        tracking_id=name,
        **described,
    )


def _segmentation(
    stack: Stack,
    pixels: NDArray[Any],
    segments: Sequence[SegmentDescription],
    **described: Any,  # noqa: ANN401
) -> Segmentation:
    made = Segmentation(
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        **stack.derived(),
        **described,
    )
    return with_all_sources(made, stack)
