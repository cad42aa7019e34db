"""One series: its files, and what results say of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart import log
from gliomart.findings.statements import sequence_of_series
from gliomart.findings.verdict import SeriesTally
from gliomart.image.slices import Refusal
from gliomart.outputs import names, pictures, records
from gliomart.outputs.dicom_files import write_objects
from gliomart.outputs.failure import cause_of
from gliomart.outputs.folder import SeriesFolder
from gliomart.outputs.gallery import Gallery
from gliomart.outputs.pictures import Overview
from gliomart.outputs.provenance import provider_entry
from gliomart.outputs.records import SeriesFindings, SeriesRecord
from gliomart.outputs.slice_files import SliceWriter, WrittenSlice
from gliomart.pipeline import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gliomart.findings.results import SliceResult
    from gliomart.outputs.folder import OutputFolder
    from gliomart.outputs.names import SeriesNames
    from gliomart.outputs.plan import SeriesPlan
    from gliomart.sources import SeriesFiles


def write_series(
    series: SeriesFiles,
    items: Iterable[SliceResult | Refusal],
    folder: OutputFolder,
    plan: SeriesPlan,
    called: SeriesNames | None = None,
) -> tuple[SeriesRecord, Gallery]:
    """Write one series while it is analysed.

    Parameters
    ----------
    series
        Its files: what it is called, and where DICOM objects take patient and study from.
    items
        What comes of its slices, in order.
    folder
        Where its files go; nobody else may be writing into it.
    plan
        What is written, and how.
    called
        What its outputs are called; None where no other series goes into the folder, or none whose
        sources have the same names.

    Returns
    -------
    record, gallery
        What results say of it, and its pictures for the report. Where the series failed, or
        ``items`` did, every source is among ``not_analysed`` and no file of it is left.

    Raises
    ------
    GliomartError
        It concerns more than this series, such as a full disk or a model that does not run. Files
        that are whole stay, as they do where the process is killed; to write the series once more
        replaces them.

    Examples
    --------
    >>> (series,) = gliomart.scan([study]).series  # doctest: +SKIP
    >>> (items,) = detector.stream_each([series])  # doctest: +SKIP
    >>> plan = SeriesPlan(detector.card, lambda: detector.settings)  # doctest: +SKIP
    >>> record, _ = write_series(series, items, OutputFolder.at(out), plan)  # doctest: +SKIP
    """
    own = SeriesFolder(folder)
    writer = _SeriesWriter(series, own, plan, called or names.of_series([series])[0])
    try:
        return writer.write(items)
    except Exception as error:  # noqa: BLE001  # it is recorded, or raised once more
        code, reason = cause_of(error)
        log.failed(code)
        own.remove()
        refused = [
            records.refusal_entry(Refusal(each, None, code, reason)) for each in series.sources
        ]
        return SeriesRecord(not_analysed=refused), Gallery()


@dataclass(frozen=True)
class _SeriesWriter:
    """One series on its way into the folder."""

    series: SeriesFiles
    folder: SeriesFolder
    plan: SeriesPlan
    called: SeriesNames

    def write(self, items: Iterable[SliceResult | Refusal]) -> tuple[SeriesRecord, Gallery]:
        """Write slice by slice, then what is of all of them."""
        gallery, overview = Gallery(), Overview()
        slices = SliceWriter(self.folder, self.plan)

        def write(item: SliceResult | Refusal) -> WrittenSlice | Refusal:
            if isinstance(item, Refusal):
                return item
            name = self.called.of_slice(item.slice.source, item.slice.frame)
            return slices.write(item, name, wanted=gallery.wants(item))

        record, tally = SeriesRecord(), SeriesTally()
        results: list[SliceResult] = []
        # Closed where it fails as well: no file is written any more when those of it are removed.
        with closing(in_order(write, items, workers=self.plan.workers)) as written:
            for item in written:
                tally.add(item.result if isinstance(item, WrittenSlice) else item)
                if isinstance(item, Refusal):
                    record.not_analysed.append(records.refusal_entry(item))
                    continue
                record.slices.append(item.entry)
                record.not_written += item.not_written
                gallery.add(item.entry, item.picture)
                overview.add(item.tile)
                if self.plan.options.dicom:
                    results.append(item.result)
        settings = self.plan.settings()
        record.provider = provider_entry(settings.provider)
        findings = self._findings(tally, settings.false_alarm_rate)
        if findings is not None:  # else no slice was analysed, and there is nothing to tell of
            self._conclude(record, findings, overview, results)
        return record, gallery

    def _findings(self, tally: SeriesTally, rate: float) -> SeriesFindings | None:
        """Judge the series; None where no slice was analysed."""
        verdict = tally.verdict(self.plan.card, rate)
        if verdict is None:
            return None
        return SeriesFindings(
            id=self.series.id,
            source=self.series.source,
            sequence=sequence_of_series(self.series),
            slices=len(tally.scores),
            verdict=verdict,
            structures=tally.structures(self.plan.card, rate),
            concerns=tuple(tally.concerns),
            notes=tally.told,
            companions=tally.companions,
        )

    def _conclude(
        self,
        record: SeriesRecord,
        findings: SeriesFindings,
        overview: Overview,
        results: list[SliceResult],
    ) -> None:
        """Write what is of the whole series, and enter it."""
        place: str | None = self.called.overview
        if trouble := self.folder.write(self.called.overview, pictures.png(overview.picture())):
            place, cause = None, (trouble.code, trouble.reason)
            missed = records.missing_output(self.series.source, None, "overview", cause)
            record.not_written.append(missed)
        entry = records.series_entry(findings, place)
        if self.plan.options.dicom:
            entry["dicom"], notes = write_objects(
                self.series,
                results,
                findings,
                self.folder,
                name=self.called.series,
                display_limit=self.plan.display_limit,
            )
            entry["notes"] += map(records.note_entry, notes)
        record.series.append(entry)
