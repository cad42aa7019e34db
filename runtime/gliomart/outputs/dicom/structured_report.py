"""The verdicts and measurements of a series as a Measurement Report (PS3.16 TID 1500)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom import UID, sr
from pydicom.sr.codedict import codes

from gliomart.outputs.dicom import terms
from gliomart.outputs.dicom.segmentation import frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from highdicom.seg import Segmentation

    from gliomart.findings.structures import StructureVerdict
    from gliomart.outputs.dicom.grid import Grid
    from gliomart.outputs.dicom.lesions import Lesion
    from gliomart.outputs.dicom.stack import Stack

_Group = (
    sr.MeasurementsAndQualitativeEvaluations
    | sr.PlanarROIMeasurementsAndQualitativeEvaluations
    | sr.VolumetricROIMeasurementsAndQualitativeEvaluations
)


def report(
    stack: Stack, anomalous: Segmentation | None, outlines: Mapping[str, Segmentation | None]
) -> sr.Comprehensive3DSR:
    """Make the report.

    Parameters
    ----------
    anomalous, outlines
        The segmentations it refers to: of the anomalous regions, and of structures by their names.
    """
    made = [each for each in (anomalous, *outlines.values()) if each is not None]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=terms.device(stack.settings),
            )
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=list(_groups(stack, anomalous, outlines)),
    )
    return sr.Comprehensive3DSR(
        evidence=[*stack.all_evidence, *made],
        content=content,
        is_complete=True,
        coding_schemes=[terms.scheme()],
        **stack.filed("report"),
    )


def _groups(
    stack: Stack, anomalous: Segmentation | None, outlines: Mapping[str, Segmentation | None]
) -> Iterator[_Group]:
    yield _of_series(stack)
    for name, verdict in stack.structures.items():
        yield _of_structure(stack, verdict, outlines.get(name))
    if anomalous is not None:
        for lesion in stack.lesions:
            yield _of_lesion(stack, lesion, anomalous)
            yield _centre_of_lesion(stack, lesion, anomalous)


def _of_series(stack: Stack) -> sr.MeasurementsAndQualitativeEvaluations:
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking("series"),
        algorithm_id=terms.algorithm_of_report(stack.settings),
        finding_sites=[sr.FindingSite(terms.BRAIN)],
        measurements=[
            _number(terms.SCORE, stack.verdict.score),
            _number(terms.P_VALUE, stack.verdict.p_value),
            _number(terms.FALSE_ALARM_RATE, stack.settings.false_alarm_rate),
        ],
        qualitative_evaluations=[_flagged(flagged=stack.verdict.flagged)],
        source_images=[
            sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)
            for image in stack.all_evidence
        ],
    )
    comments = [terms.RESEARCH_ONLY]
    if concerns := dict.fromkeys(c.code for r in stack.results for c in r.concerns):
        comments.append(f"{terms.OUTSIDE_INTENDED_USE}: {', '.join(concerns)}.")
    for comment in comments:
        group[0].ContentSequence.append(
            sr.TextContentItem(
                name=codes.DCM.Comment,
                value=comment,
                relationship_type=sr.RelationshipTypeValues.CONTAINS,
            )
        )
    return group


def _of_structure(stack: Stack, verdict: StructureVerdict, outline: Segmentation | None) -> _Group:
    structure, concept = verdict.structure, terms.concept_of(verdict.structure)
    measurements = [
        _number(name, value)
        for name, value in (
            (terms.SCORE, verdict.score),
            (terms.P_VALUE, verdict.p_value),
            (terms.fraction_anomalous(structure), verdict.fraction_anomalous),
        )
        if value is not None
    ]
    content: dict[str, Any] = {
        "finding_category": terms.ANATOMY,
        "finding_type": concept,
        "finding_sites": [sr.FindingSite(concept)],
        "algorithm_id": terms.algorithm_of_report(stack.settings),
        "qualitative_evaluations": [
            terms.coverage(verdict),
            _flagged(flagged=verdict.flagged),
        ],
    }
    if outline is None:
        return sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracking(structure.name),
            measurements=measurements or None,
            **content,
        )
    seen = stack.outlines(structure)
    assert seen is not None  # noqa: S101  # it is what was segmented
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(outline, 1),
        referenced_segment=_segment(stack, outline, 1),
        measurements=[*measurements, _volume(stack.grid, int(seen.sum()))],
        **content,
    )


def _of_lesion(
    stack: Stack, lesion: Lesion, anomalous: Segmentation
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(anomalous, lesion.number),
        referenced_segment=_segment(stack, anomalous, lesion.number),
        finding_category=terms.ABNORMALITY,
        finding_type=terms.LESION,
        finding_sites=[sr.FindingSite(terms.BRAIN)],
        algorithm_id=terms.algorithm_of_report(stack.settings),
        measurements=[
            _volume(stack.grid, sum(lesion.pixels)),
            sr.Measurement(
                name=codes.SCT.Area,
                value=max(lesion.pixels) * stack.grid.pixel_mm2,
                unit=codes.UCUM.SquareMillimeter,
                derivation=codes.SCT.Maximum,
            ),
            sr.Measurement(
                name=terms.SCORE,
                value=lesion.peak,
                unit=terms.NO_UNITS,
                derivation=codes.SCT.Maximum,
            ),
        ],
    )


def _centre_of_lesion(
    stack: Stack, lesion: Lesion, anomalous: Segmentation
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    places = [
        stack.grid.place(index, *centre)
        for index, centre in zip(lesion.slices, lesion.centres, strict=True)
    ]
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(anomalous, lesion.number),
        referenced_region=sr.ImageRegion3D(
            graphic_type=sr.GraphicTypeValues3D.POINT,
            graphic_data=np.average(places, axis=0, weights=lesion.pixels)[np.newaxis],
            frame_of_reference_uid=stack.header.FrameOfReferenceUID,
        ),
        geometric_purpose=codes.DCM.CenterOfMass,
        finding_category=terms.ABNORMALITY,
        finding_type=terms.LESION,
        algorithm_id=terms.algorithm_of_report(stack.settings),
    )


def _number(name: sr.CodedConcept, value: float) -> sr.Measurement:
    return sr.Measurement(name=name, value=value, unit=terms.NO_UNITS)


def _volume(grid: Grid, pixels: int) -> sr.Measurement:
    # A cubic centimetre is a millilitre, and the one of the two that the standard lists.
    return sr.Measurement(
        name=codes.SCT.Volume,
        value=pixels * grid.pixel_mm2 * grid.distance / 1000,
        unit=codes.UCUM.CubicCentimeter,
        method=codes.IBSI.VolumeFromVoxelSummation,
    )


def _flagged(*, flagged: bool | None) -> sr.QualitativeEvaluation:
    # None: not covered, or calibrated on too few to tell. That is never a "no".
    answer = {True: codes.SCT.Yes, False: codes.SCT.No, None: codes.SCT.NotEvaluated}[flagged]
    return sr.QualitativeEvaluation(terms.FLAGGED, answer)


def _tracking(name: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=UID(), identifier=name)


def _tracked(segmentation: Segmentation, segment: int) -> sr.TrackingIdentifier:
    description = segmentation.get_segment_description(segment)
    return sr.TrackingIdentifier(uid=description.tracking_uid, identifier=description.tracking_id)


def _segment(stack: Stack, segmentation: Segmentation, segment: int) -> sr.ReferencedSegment:
    sources = _sources(stack, segmentation, segment)
    series = sr.SourceSeriesForSegmentation(stack.header.SeriesInstanceUID)
    return sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=segment,  # and no frames: one or the other (PS3.3 10.3)
        source_images=sources or None,
        source_series=None if sources else series,
    )


def _sources(
    stack: Stack, segmentation: Segmentation, segment: int
) -> list[sr.SourceImageForSegmentation]:
    """Find the source images, and frames of them, that a segment comes from."""
    used: dict[str, list[int]] = {}
    for frame in frames_of(segmentation, segment):
        for derivation in frame.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                numbers = used.setdefault(item.ReferencedSOPInstanceUID, [])
                if "ReferencedFrameNumber" in item:
                    numbers.append(int(item.ReferencedFrameNumber))
    classes = {image.SOPInstanceUID: image.SOPClassUID for image in stack.all_evidence}
    return [
        sr.SourceImageForSegmentation(classes[uid], uid, numbers or None)
        for uid, numbers in used.items()
    ]
