"""One run over an inventory of inputs, from the first slice to results.json.

Every finished series is added to a journal, so that an interrupted run goes on where it stopped
and ends with what an undisturbed one would have written.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gliomart import log
from gliomart.cli.terminal import is_terminal
from gliomart.errors import NothingAnalysedError, UnwritableError
from gliomart.findings import suitability
from gliomart.image.slices import Refusal
from gliomart.outputs import folder as output
from gliomart.outputs import journal, lock, names, page, records
from gliomart.outputs.gallery import Gallery
from gliomart.outputs.journal import Journal
from gliomart.outputs.records import SeriesRecord
from gliomart.outputs.series import SeriesOutput, cause_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gliomart.detector import Detector
    from gliomart.findings.results import SliceResult
    from gliomart.outputs.options import Overlays
    from gliomart.outputs.page import ReportSlice
    from gliomart.sources import Inventory


@dataclass(frozen=True)
class Run:
    """A run of a detector over an inventory into an output folder.

    Attributes
    ----------
    detector, inventory, folder
        What looks at what, and where results go; no other run may have the folder.
    overlays
        Of which slices overlays are written: those that are flagged, all or none. The overview and
        the report show all of them in any case.
    maps
        Write anomaly maps (float32 .npy) and masks (PNG) on the source's grid as well.
    dicom
        Write DICOM objects of every DICOM series as well.
    identify
        Let the report show paths and UIDs.
    progress
        Show on standard error how far it is, where that is a terminal.
    """

    detector: Detector
    inventory: Inventory
    folder: Path
    overlays: Overlays = "flagged"
    maps: bool = False
    dicom: bool = False
    identify: bool = False
    progress: bool = False

    def write(self) -> dict[str, Any]:
        """Analyse everything and write it.

        A series that fails costs no other: results say which inputs were not analysed or which
        outputs not written, and why. What concerns the whole run ends it.

        Returns
        -------
        The content of results.json.

        Raises
        ------
        NothingAnalysedError
            No slice could be analysed; results.json says why for each input.
        OutputBusyError
            Another run has the folder.
        OutputError
            Results could not be written. What is finished stays, and can be resumed.
        UsageError
            The folder holds the beginning of a different run.
        """
        with ExitStack() as stack:
            with output.output_errors(self.folder):
                self.folder.mkdir(exist_ok=True)
                stack.enter_context(lock.exclusive(self.folder))
            return self._write(output.Room.of(self.folder))

    def _write(self, room: output.Room) -> dict[str, Any]:
        head = records.header(
            self.inventory,
            self.detector.settings,
            overlays=self.overlays,
            maps=self.maps,
            dicom=self.dicom,
            identify=self.identify,
        )
        run = records.what_makes_a_run(head)
        complete = journal.complete(self.folder / output.RESULTS, run)
        kept = Journal(self.folder / output.JOURNAL, run)
        if complete is not None:
            self._tidy(kept)  # a run that was killed at its very end leaves something
            return _something(complete, self.folder)
        refused = [records.refusal_entry(refusal) for refusal in self.inventory.refused]
        finished = kept.finished()
        rest = self._rest(len(finished), kept, room)
        document = records.document(head, [SeriesRecord(not_analysed=refused), *finished, *rest])
        self._write_report(document, room)
        room.write(output.TABLE, records.to_csv(document))
        room.write(output.RESULTS, records.to_json(document))
        self._tidy(kept)
        return _something(document, self.folder)

    def _write_report(self, document: dict[str, Any], room: output.Room) -> None:
        """Write the page for people; results come without it where it alone cannot be had."""
        try:
            shown, card = self._shown(), self.detector.card
            parts = page.parts(document, shown, card, identify=self.identify)
            room.write(output.REPORT, parts)
        except Exception as error:  # noqa: BLE001  # it is recorded, or raised once more
            trouble = records.missing_output(None, None, "report", *cause_of(error))
            document.setdefault("not_written", []).append(trouble)

    def _rest(self, first: int, kept: Journal, room: output.Room) -> Iterator[SeriesRecord]:
        """Analyse and write all series but so many that are finished already."""
        names_of = names.of_sources(self.inventory)
        sheets = names.of_overviews(self.inventory)
        every_series = self.inventory.series
        # Slices of each series, as far as headers tell; what turns out is counted instead.
        expected = [sum(len(file.planes) for file in series.files) for series in every_series]
        with _Progress(
            total=sum(expected),
            initial=sum(expected[:first]),
            unit="slice",
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            disable=not (self.progress and is_terminal(sys.stderr)),
        ) as progress:
            streams = self.detector.stream_each(every_series[first:])
            for number, items in enumerate(streams, start=first):
                outputs = SeriesOutput(
                    every_series[number],
                    self.detector,
                    room,
                    sheets[number],
                    names_of,
                    overlays=self.overlays,
                    maps=self.maps,
                    dicom=self.dicom,
                )
                try:
                    record, gallery = outputs.write(_counted(items, progress))
                except Exception as error:  # noqa: BLE001  # it is recorded, or raised once more
                    record, gallery = _failed(outputs, error), Gallery()
                self._keep_pictures(number, record, gallery, room)
                kept.add(record)
                yield record
                progress.update(sum(expected[: number + 1]) - progress.n)

    def _tidy(self, kept: Journal) -> None:
        """Remove what only an interrupted run is continued from."""
        kept.remove()
        output.remove_pictures(self.folder)

    def _keep_pictures(
        self, number: int, record: SeriesRecord, gallery: Gallery, room: output.Room
    ) -> None:
        """Keep a series' pictures for the report, or none where they are too large to be kept."""
        try:
            room.write(_pictures(number), gallery.to_json())
        except UnwritableError as error:
            source = self.inventory.series[number].source
            trouble = records.missing_output(source, None, "report", error.code, error.reason)
            record.not_written.append(trouble)
            room.write(_pictures(number), gallery.without_pictures().to_json())

    def _shown(self) -> Iterator[ReportSlice | None]:
        """Read the pictures for the report, one series at a time."""
        for number in range(len(self.inventory.series)):
            path = self.folder / _pictures(number)
            with journal.damage(path):
                shown = page.from_json(path.read_bytes())
            yield from shown


def _pictures(number: int) -> str:
    return f"{output.PICTURES}/{number}.json"


def _failed(outputs: SeriesOutput, error: Exception) -> SeriesRecord:
    """Record that a series failed, of whatever is of itself, and remove what was written of it."""
    code, reason = cause_of(error)
    log.failed(code)
    outputs.remove()
    sources = dict.fromkeys(file.source for file in outputs.series.files)
    refused = [records.refusal_entry(Refusal(each, None, code, reason)) for each in sources]
    return SeriesRecord(not_analysed=refused)


class _Progress(tqdm):
    """A bar without the thread that tqdm would watch it from."""

    monitor_interval = 0


def _counted(
    items: Iterator[SliceResult | Refusal], progress: tqdm
) -> Iterator[SliceResult | Refusal]:
    for item in items:
        yield item
        progress.update()


def _something(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Give the document back, unless nothing in it was analysed."""
    if not document["slices"]:
        raise NothingAnalysedError(_why_nothing(document, folder))
    return document


def _why_nothing(document: dict[str, Any], folder: Path) -> str:
    counts = Counter(entry["code"] for entry in document["not_analysed"])
    ignored = records.ignored(document)
    if counts.keys() <= {"no-images"}:
        kinds = "give DICOM, NIfTI, PNG, JPEG or TIFF"
        return f"no images among the inputs ({ignored or 'they hold no files'}); {kinds}"
    listed = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    why = f"{folder / output.RESULTS} says why for each"
    if ignored:
        why = f"{ignored}; {why}"
    if counts.keys() & suitability.CODES.keys():
        why += "; --force analyses what the model was not made for as well"
    return f"nothing could be analysed ({listed}); {why}"
