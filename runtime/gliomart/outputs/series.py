"""The files of one series, and what results.json says of it."""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gliomart import sources
from gliomart.errors import GliomartError, InputRefusedError, UnwritableError
from gliomart.findings.verdict import SeriesTally
from gliomart.image.slices import Refusal
from gliomart.outputs import folder as output
from gliomart.outputs import names, pictures, records
from gliomart.outputs.gallery import Gallery
from gliomart.outputs.page import ReportSlice
from gliomart.outputs.pictures import Overview
from gliomart.outputs.records import SeriesRecord
from gliomart.pipeline import in_order
from gliomart.printable import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.cli.arguments import Overlays
    from gliomart.detector import Detector
    from gliomart.findings.results import SliceResult, Verdict
    from gliomart.findings.structures import StructureVerdict
    from gliomart.image.slices import Concern
    from gliomart.outputs.dicom import Written
    from gliomart.sources import SeriesFiles


@dataclass(frozen=True)
class SeriesOutput:
    """What is written of one series.

    Attributes
    ----------
    series, detector
        What is analysed, and by what.
    room
        The output folder.
    sheet
        What its overview is called.
    names
        What the outputs of a source are called, but for those of files that hold several series.
    overlays, maps, dicom
        As of :class:`gliomart.run.Run`.
    places
        What was written so far.
    """

    series: SeriesFiles
    detector: Detector
    room: output.Room
    sheet: str
    names: Mapping[str, PurePosixPath]
    overlays: Overlays
    maps: bool
    dicom: bool
    places: list[str] = field(default_factory=list)

    @property
    def name(self) -> PurePosixPath:
        """What outputs of the whole series are called.

        Slices that were put together from several images are named so, and those of a file that
        holds several series.
        """
        return PurePosixPath(self.sheet.removesuffix(".png")).relative_to(names.OVERVIEWS)

    def write(self, items: Iterable[SliceResult | Refusal]) -> tuple[SeriesRecord, Gallery]:
        """Write the series while it is analysed.

        Parameters
        ----------
        items
            What comes of its slices.

        Returns
        -------
        What results say of it, and its pictures for the report.

        Raises
        ------
        OutputError
            Nothing more can be written. Where only one output cannot be, that is recorded.
        """
        gallery, overview = Gallery(), Overview()

        def write(item: SliceResult | Refusal) -> _Written | Refusal:
            if isinstance(item, Refusal):
                return item
            name = self.names.get(item.slice.source, self.name)
            return self._write_slice(item, name, wanted=gallery.wants(item))

        record, tally = SeriesRecord(), SeriesTally()
        results: list[SliceResult] = []
        for item in in_order(write, items, workers=self.detector.workers):
            tally.add(item.result if isinstance(item, _Written) else item)
            if isinstance(item, Refusal):
                record.not_analysed.append(records.refusal_entry(item))
                continue
            record.slices.append(item.entry)
            record.not_written += item.not_written
            gallery.add(item.entry, item.shown)
            overview.add(item.tile)
            if self.dicom:
                results.append(item.result)
        record.provider = asdict(self.detector.settings.provider)
        self._conclude(record, tally, results, overview)
        return record, gallery

    def remove(self) -> None:
        """Remove what was written of it: it failed, and results do not name it."""
        for place in self.places:
            path = self.room.path / place
            with output.output_errors(path):
                path.unlink(missing_ok=True)

    def _conclude(
        self,
        record: SeriesRecord,
        tally: SeriesTally,
        results: list[SliceResult],
        overview: Overview,
    ) -> None:
        """Judge the series, and write what is of all of it; nothing where no slice was analysed."""
        card, rate = self.detector.card, self.detector.settings.false_alarm_rate
        verdict = tally.verdict(card, rate)
        if verdict is None:
            return
        found = tally.structures(card, rate)
        trouble = self._write(self.sheet, pictures.png(overview.sheet()))
        if trouble is not None:
            record.not_written.append(_missed(self.series.source, None, "overview", trouble))
        entry = records.series_entry(
            self.series.id,
            self.series.source,
            len(tally.scores),
            verdict,
            structures=found,
            concerns=tally.concerns,
            notes=tally.notes,
            overview=None if trouble else self.sheet,
        )
        if self.dicom:
            entry["dicom"], told = self._write_dicom(results, verdict, found)
            entry["notes"] += [asdict(note) for note in told]
        record.series.append(entry)

    def _write(self, place: str, content: bytes) -> UnwritableError | None:
        """Write one file; gives the error where it is only this one that cannot be written."""
        try:
            self.room.write(place, content)
        except UnwritableError as error:
            return error
        self.places.append(place)
        return None

    def _write_dicom(
        self,
        results: list[SliceResult],
        verdict: Verdict,
        structures: Mapping[str, StructureVerdict],
    ) -> tuple[dict[str, Any], Sequence[Concern]]:
        """Write the DICOM objects of a series; tells which, why not the others, and what is odd."""
        from gliomart.outputs import dicom

        try:
            headers = sources.headers(self.series.files, [each.slice for each in results])
        except InputRefusedError as error:  # a file changed or went away meanwhile
            reason = f"the source's headers cannot be read once more: {error.reason}"
            return records.dicom_entry([], [_missing("all", error.code, reason)]), ()
        if not headers:
            none = _missing("all", "not-dicom", "the series is not DICOM")
            return records.dicom_entry([], [none]), ()
        limit = self.detector.calibration.display_limit
        stack = dicom.Stack(results, headers, verdict, structures.get("pons"), limit)
        written: list[str] = []
        missing: list[dict[str, str]] = []
        try:
            self._write_objects(dicom.objects(stack), written, missing)
            notes = stack.notes
        except Exception as error:  # noqa: BLE001  # it costs objects, and no finding
            missing.append(_missing("all", *cause_of(error)))
            notes = ()
        return records.dicom_entry(written, missing), notes

    def _write_objects(
        self, objects: Iterable[Written], written: list[str], missing: list[dict[str, str]]
    ) -> None:
        for each in objects:
            if each.dataset is None:
                missing.append(_missing(each.name, each.code, each.reason))
                continue
            place = str(PurePosixPath("dicom") / self.name / each.name)
            if trouble := self._write(place, each.content):
                missing.append(_missing(each.name, trouble.code, trouble.reason))
            else:
                written.append(place)

    def _write_slice(self, result: SliceResult, name: PurePosixPath, *, wanted: bool) -> _Written:
        """Write the files of one slice, and keep what its series' own outputs are made of."""
        started = perf_counter()
        picture = pictures.overlay(result, self.detector.calibration.display_limit)
        if result.slice.frame is not None:
            name = name.with_name(f"{name.name}@{result.slice.frame:04d}")
        contents = {}
        if self.overlays == "all" or (self.overlays == "flagged" and result.flagged):
            contents["overlay"] = ("overlays", ".png", pictures.png(picture))
        if self.maps:
            mask = result.mask.astype(np.uint8) * 255
            contents["map"] = ("maps", ".npy", _npy(result.anomaly_map))
            contents["mask"] = ("masks", ".png", pictures.png(mask))
        paths: dict[str, str | None] = dict.fromkeys(("overlay", "map", "mask"))
        not_written = []
        for kind, (room, suffix, content) in contents.items():
            place = str(PurePosixPath(room) / name.with_name(name.name + suffix))
            if trouble := self._write(place, content):
                of = result.slice
                not_written.append(_missed(of.source, of.frame, kind, trouble))
            else:
                paths[kind] = place
        shown = ReportSlice.of(result, self.detector.card) if wanted else None
        tile = pictures.tile(result, picture)
        return _Written(
            entry=records.slice_entry(result, paths, (perf_counter() - started) * 1e3),
            not_written=not_written,
            shown=shown,
            tile=tile,
            # DICOM objects show neither, and half of what a result takes is theirs.
            result=replace(result, reconstruction=None, brain=None),
        )


class _Written(NamedTuple):
    """What was made of a slice: its result is kept only where DICOM objects are written."""

    entry: dict[str, Any]
    not_written: list[dict[str, Any]]
    shown: ReportSlice | None
    tile: NDArray[np.uint8]
    result: SliceResult


def cause_of(error: Exception) -> tuple[str, str]:
    """Tell why one series failed, by a code and a reason; raise what concerns the whole run.

    That is its model, its provider and its folder, and where ``GLIOMART_DEBUG`` is set everything,
    for a defect to show where it is.
    """
    own = isinstance(error, (InputRefusedError, UnwritableError))
    if os.environ.get("GLIOMART_DEBUG") or (isinstance(error, GliomartError) and not own):
        raise error
    if isinstance(error, (InputRefusedError, UnwritableError)):
        return error.code, error.reason
    if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():  # OpenCV's
        return "out-of-memory", "there was too little memory for its series"
    return "internal-error", f"its series met a defect: {said(error)}"


def _missed(source: str, frame: int | None, kind: str, error: UnwritableError) -> dict[str, Any]:
    return records.missing_output(source, frame, kind, error.code, error.reason)


def _missing(name: str, code: str, reason: str) -> dict[str, str]:
    return {"object": name, "code": code, "reason": reason}


def _npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
