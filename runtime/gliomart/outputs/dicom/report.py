"""Results as a DICOM structured report: Comprehensive 3D SR by template TID 1500 (PS3.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart._version import __version__
from gliomart.outputs.dicom.codes import (
    CENTRE,
    COVERAGE,
    COVERED,
    FLAGGED,
    INTENDED_USE,
    NOT_COVERED,
    NOT_JUDGED,
    OUTSIDE,
    P_VALUE,
    PEAK,
    PONS,
    RESEARCH,
    SCORE,
)
from gliomart.outputs.dicom.stack import MANUFACTURER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom import Dataset

    from gliomart.outputs.dicom.lesions import Lesion

_REPORT = 4
_MM3_PER_CM3 = 1000.0


def report(stack: Stack, segmentation: Dataset | None) -> Dataset:
    """Make a measurement report: the series, its pons, and every lesion of a segmentation."""
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    groups = [_series(stack), *_pons(stack)]
    if segmentation is not None:
        groups += [
            _lesion(stack, lesion, segmentation, number)
            for number, lesion in enumerate(stack.lesions, start=1)
        ]
    observer = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER, __version__]),
        name="gliomart",
        manufacturer_name=MANUFACTURER,
        model_name=stack.model,
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    evidence = [*stack.sources, *([segmentation] if segmentation is not None else [])]
    made: Dataset = hd.sr.Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_instance_uid=generate_uid(),
        series_number=stack.series_number(_REPORT),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description="gliomart report (research)",
    )
    made.ManufacturerModelName = stack.model
    made.SoftwareVersions = __version__
    return made


def _series(stack: Stack) -> Any:  # noqa: ANN401
    from pydicom.sr.codedict import codes

    uses = [(INTENDED_USE.code, RESEARCH.code)]
    if stack.concerns:
        uses.append((INTENDED_USE.code, OUTSIDE.code))
    return _group(
        stack,
        "series",
        measurements=_judged(stack.verdict.score, stack.verdict.p_value),
        evaluations=[(FLAGGED.code, _answer(stack.verdict.flagged)), *uses],
        site=codes.SCT.Brain,
        sources=stack.sources,
    )


def _pons(stack: Stack) -> Iterator[Any]:
    pons = stack.pons
    if pons is None:  # the model does not know it
        return
    if pons.score is None or pons.p_value is None:
        missing = [(COVERAGE.code, NOT_COVERED.code)]
        yield _group(stack, "pons", measurements=[], evaluations=missing, site=PONS.code)
        return
    yield _group(
        stack,
        "pons",
        measurements=_judged(pons.score, pons.p_value),
        evaluations=[(COVERAGE.code, COVERED.code), (FLAGGED.code, _answer(pons.flagged))],
        site=PONS.code,
    )


def _lesion(stack: Stack, lesion: Lesion, segmentation: Dataset, number: int) -> Any:  # noqa: ANN401
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segment = segmentation.SegmentSequence[number - 1]
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=segment.TrackingUID, identifier=segment.TrackingID
        ),
        referenced_segment=hd.sr.ReferencedSegment.from_segmentation(segmentation, number),
        finding_type=codes.SCT.Lesion,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=[hd.sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=_algorithm(stack),
        measurements=[
            hd.sr.Measurement(name, value, unit) for name, value, unit in measured(stack, lesion)
        ],
    )


def measured(stack: Stack, lesion: Lesion) -> Iterator[tuple[Any, float, Any]]:
    """Measure a lesion: its name, value and unit, each.

    Volume in cm³ where slices are evenly spaced, largest area in a slice in mm², centre in LPS mm,
    highest value of the anomaly map.
    """
    from pydicom.sr.codedict import codes

    planes = stack.planes
    assert planes is not None  # noqa: S101  # there is a segmentation
    row, column = planes[0].spacing
    if stack.slice_step is not None:
        volume = float(lesion.mask.sum()) * row * column * stack.slice_step / _MM3_PER_CM3
        yield codes.SCT.Volume, volume, codes.UCUM.CubicCentimeter
    area = float(lesion.mask.sum(axis=(1, 2)).max()) * row * column
    yield codes.SCT.AreaOfDefinedRegion, area, codes.UCUM.SquareMillimeter
    for term, value in zip(CENTRE, _centre(stack, lesion), strict=True):
        yield term.code, float(value), codes.UCUM.Millimeter
    inside = range(lesion.first, lesion.last + 1)
    peak = max(float(stack.results[n].anomaly_map[lesion.mask[n]].max(initial=0)) for n in inside)
    yield PEAK.code, peak, codes.UCUM.NoUnits


def _centre(stack: Stack, lesion: Lesion) -> Any:  # noqa: ANN401
    assert stack.planes is not None  # noqa: S101  # there is a segmentation
    points = []
    for number in range(lesion.first, lesion.last + 1):
        rows, columns = np.nonzero(lesion.mask[number])
        points.append(stack.planes[number].to_patient(np.stack([columns, rows], axis=1)))
    return np.concatenate(points).mean(axis=0)


def _group(
    stack: Stack,
    name: str,
    *,
    measurements: list[tuple[Any, float, Any]],
    evaluations: list[tuple[Any, Any]],
    site: Any,  # noqa: ANN401
    sources: Sequence[Dataset] = (),
) -> Any:  # noqa: ANN401
    import highdicom as hd
    from pydicom.uid import generate_uid

    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier=name),
        finding_sites=[hd.sr.FindingSite(site)],
        algorithm_id=_algorithm(stack),
        measurements=[hd.sr.Measurement(*measurement) for measurement in measurements],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(*each) for each in evaluations],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup.from_source_image(source) for source in sources
        ],
    )


def _judged(score: float, p_value: float) -> list[tuple[Any, float, Any]]:
    from pydicom.sr.codedict import codes

    return [(SCORE.code, score, codes.UCUM.NoUnits), (P_VALUE.code, p_value, codes.UCUM.NoUnits)]


def _answer(flagged: bool | None) -> Any:  # noqa: ANN401
    from pydicom.sr.codedict import codes

    if flagged is None:
        return NOT_JUDGED.code
    return codes.SCT.Yes if flagged else codes.SCT.No


def _algorithm(stack: Stack) -> Any:  # noqa: ANN401
    import highdicom as hd

    parameters = [f"model {stack.model}", f"model SHA-256 {stack.settings.model_sha256}"]
    parameters += [f"outside the intended use: {code}" for code in stack.concerns]
    return hd.sr.AlgorithmIdentification(
        name="gliomart", version=__version__, parameters=parameters
    )
