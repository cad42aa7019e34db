"""Results as DICOM images: Segmentation, Parametric Map, Secondary Capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from gliomart._version import __version__
from gliomart.outputs.dicom.codes import ANOMALY, PONS
from gliomart.outputs.dicom.stack import MANUFACTURER, Stack
from gliomart.outputs.pictures import overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

# Segments, each with a colour of its own in CIELab (DICOM PS3.3 C.10.7.1.1): cyan and green, as
# outlines are drawn in overlays.
_LESION_COLOUR, _PONS_COLOUR = (91.1, -48.1, -14.1), (79.0, -52.0, 41.0)
# Of series beside the source's, in the order of a hanging protocol.
_SEGMENTATION, _MAP, _CAPTURE = 1, 2, 3
# A description of 64 characters at most (DICOM PS3.5 6.2, LO).
_MAP_NAME = "gliomart anomaly map (research)"


def segmentation(stack: Stack) -> Dataset | None:
    """Make a Segmentation: a segment for each lesion, then one for the pons.

    Returns
    -------
    None where there is neither: viewers do not take one without frames.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    if not stack.lesions and stack.pons_masks is None:
        return None
    masks = [lesion.mask for lesion in stack.lesions]
    describe = {
        "algorithm_type": hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        "algorithm_identification": _algorithm(stack),
    }
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"anomaly {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            anatomic_regions=[codes.SCT.Brain],
            tracking_id=f"anomaly {number}",
            tracking_uid=generate_uid(),
            display_color=hd.color.CIELabColor(*_LESION_COLOUR),
            **describe,
        )
        for number in range(1, len(masks) + 1)
    ]
    if stack.pons_masks is not None:
        masks.append(stack.pons_masks)
        segments.append(
            hd.seg.SegmentDescription(
                segment_number=len(masks),
                segment_label="pons",
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=PONS.code,
                tracking_id="pons",
                tracking_uid=generate_uid(),
                display_color=hd.color.CIELabColor(*_PONS_COLOUR),
                **describe,
            )
        )
    made: Dataset = hd.seg.Segmentation(
        pixel_array=np.stack(masks, axis=-1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        content_label="ANOMALIES",
        content_description="anomalous regions and pons, research use only",
        series_description="gliomart anomalous regions (research)",
        **_common(stack, _SEGMENTATION),
    )
    return _of_the_head(made)


def parametric_map(stack: Stack) -> Dataset:
    """Make a Parametric Map of float32: the anomaly map, zero outside the brain."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    values = np.stack([result.anomaly_map for result in stack.results])
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="anomaly",
        lut_explanation="departure from what the model expects",
        unit=codes.UCUM.NoUnits,
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=ANOMALY.code,
    )
    made: Dataset = hd.pm.ParametricMap(
        pixel_array=values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=stack.display_limit / 2,
                window_width=stack.display_limit,
                # The other functions allow no window that is narrower than 1 (PS3.3 C.11.2.1.2).
                voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        content_label="ANOMALY_MAP",
        content_description="anomaly map, research use only",
        series_description=_MAP_NAME,
        **_common(stack, _MAP),
    )
    return _of_the_head(made)


def secondary_captures(stack: Stack) -> Iterator[Dataset]:
    """Make a Secondary Capture of every overlay, for viewers that show nothing else."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    series = generate_uid()
    by_uid = {source.SOPInstanceUID: source for source in stack.sources}
    for number, result in enumerate(stack.results, start=1):
        source = by_uid.get(result.slice.sop_instance_uid, stack.first)
        picture = cv2.cvtColor(overlay(result, stack.display_limit), cv2.COLOR_BGR2RGB)
        made: Dataset = hd.sc.SCImage.from_ref_dataset(
            ref_dataset=source,
            pixel_array=picture,
            photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=hd.CoordinateSystemNames.PATIENT,
            patient_orientation=("L", "P"),
            pixel_spacing=cast("Any", result.slice.spacing),  # annotated as whole numbers
            series_instance_uid=series,
            series_number=stack.series_number(_CAPTURE),
            sop_instance_uid=generate_uid(),
            instance_number=number,
            manufacturer=MANUFACTURER,
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        made.SeriesDescription = "gliomart overlays (research)"
        made.ManufacturerModelName = stack.model
        made.SoftwareVersions = __version__
        made.BurnedInAnnotation = "YES"  # outlines and colours, and no text
        made.DerivationDescription = (
            f"overlay of the anomaly map of {stack.model}; research use only, not for diagnosis"
        )
        _refer_to(made, source, result.slice.frame)
        yield _of_the_head(made)


def _common(stack: Stack, kind: int) -> dict[str, Any]:
    import highdicom as hd
    from pydicom.uid import generate_uid

    planes = stack.planes
    assert planes is not None  # noqa: S101  # asked for where places are known
    steps = stack.slice_step
    thickness = stack.first.get("SliceThickness") or steps or planes[0].spacing[0]
    return {
        "source_images": [_with_shared_groups(source) for source in stack.sources],
        "series_instance_uid": generate_uid(),
        "series_number": stack.series_number(kind),
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=planes[0].spacing,
            slice_thickness=float(thickness),
            spacing_between_slices=steps,
        ),
        "plane_orientation": hd.PlaneOrientationSequence(
            hd.CoordinateSystemNames.PATIENT, planes[0].orientation
        ),
        "plane_positions": [
            hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, plane.position)
            for plane in planes
        ],
        **stack.equipment(),
    }


def _with_shared_groups(source: Dataset) -> Dataset:
    """Give an enhanced image what all its frames say alike among its shared functional groups.

    Some scanners repeat measures and orientation frame by frame, which is allowed, and highdicom
    looks among the shared ones only.
    """
    shared = source.get("SharedFunctionalGroupsSequence")
    own = source.get("PerFrameFunctionalGroupsSequence")
    if shared and own:
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword not in shared[0] and keyword in own[0]:
                setattr(shared[0], keyword, own[0][keyword].value)
    return source


def _algorithm(stack: Stack) -> Any:  # noqa: ANN401
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.AlgorithmIdentificationSequence(
        name="gliomart",
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        source=MANUFACTURER,
        parameters={"model": stack.model, "sha256": stack.settings.model_sha256},
    )


def _refer_to(made: Dataset, source: Dataset, frame: int | None) -> None:
    """Say what an image was made from (DICOM PS3.3 C.7.6.1.1.4)."""
    from pydicom.dataset import Dataset as Item
    from pydicom.sr.codedict import codes

    reference, purpose = Item(), Item()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frame is not None and source.get("NumberOfFrames"):
        reference.ReferencedFrameNumber = frame + 1
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator = code.value, code.scheme_designator
    purpose.CodeMeaning = code.meaning
    reference.PurposeOfReferenceCodeSequence = [purpose]
    made.SourceImageSequence = [reference]


def _of_the_head(made: Dataset) -> Dataset:
    """Say that no side is meant.

    Laterality is asked for unless the body part is known to be unpaired (DICOM PS3.3 C.7.3.1).
    """
    made.BodyPartExamined = "BRAIN"
    return made
