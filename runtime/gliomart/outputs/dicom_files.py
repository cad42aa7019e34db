"""The DICOM objects of one series, and what results.json says of them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.outputs.failure import cause_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gliomart.findings.results import SliceResult
    from gliomart.image.slices import Concern
    from gliomart.outputs.dicom import ObjectFile
    from gliomart.outputs.folder import SeriesFolder
    from gliomart.outputs.records import SeriesFindings
    from gliomart.outputs.written import DicomEntry, MissingObject
    from gliomart.sources import SeriesFiles


def write_objects(
    series: SeriesFiles,
    results: Sequence[SliceResult],
    findings: SeriesFindings,
    folder: SeriesFolder,
    *,
    name: PurePosixPath,
    display_limit: float,
) -> tuple[DicomEntry, tuple[Concern, ...]]:
    """Write the DICOM objects of a series.

    Parameters
    ----------
    series
        Its files, whose headers are read once more.
    results, findings
        What was found in its slices, and in all of it.
    folder, name
        Where objects go, and the name of the series there.
    display_limit
        Anomaly-map value at which the colour scale ends.

    Returns
    -------
    entry, notes
        Which were written, and why not the others; what of the source could not be passed on.
    """
    from gliomart.outputs import dicom

    try:
        headers = sources.headers(series.files, [each.slice for each in results])
    except InputRefusedError as error:  # a file changed or went away meanwhile
        reason = f"the source's headers cannot be read once more: {error.reason}"
        return _none(error.code, reason), ()
    if not headers:
        return _none("not-dicom", "the series is not DICOM"), ()
    beside, unnamed = dicom.seen_beside(series, findings.companions)
    stack = dicom.Stack(
        results, headers, findings.verdict, findings.structures, display_limit, beside
    )
    entry: DicomEntry = {"written": [], "not_written": []}
    try:
        _write(dicom.objects(stack), folder, PurePosixPath("dicom") / name, entry)
        notes = (*stack.notes, *unnamed)
    except Exception as error:  # noqa: BLE001  # it costs objects, and no finding
        entry["not_written"].append(_missing("all", *cause_of(error)))
        notes = ()
    return entry, notes


def _write(
    objects: Iterable[ObjectFile], folder: SeriesFolder, parent: PurePosixPath, entry: DicomEntry
) -> None:
    """Write objects one by one, and enter what became of each."""
    for each in objects:
        if each.dataset is None:
            entry["not_written"].append(_missing(each.name, each.code, each.reason))
            continue
        place = str(parent / each.name)
        if trouble := folder.write(place, each.content):
            entry["not_written"].append(_missing(each.name, trouble.code, trouble.reason))
        else:
            entry["written"].append(place)


def _none(code: str, reason: str) -> DicomEntry:
    return {"written": [], "not_written": [_missing("all", code, reason)]}


def _missing(name: str, code: str, reason: str) -> MissingObject:
    return {"object": name, "code": code, "reason": reason}
