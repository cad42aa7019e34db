"""One run over an inventory of inputs, from the first slice to results.json.

Every finished series is added to a journal, so that an interrupted run goes on where it stopped
and ends with what an undisturbed one would have written.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from gliomart.errors import GliomartError, NothingAnalysedError
from gliomart.outputs import folder as output
from gliomart.outputs import journal, lock, names, outcome, page, records
from gliomart.outputs.failure import cause_of
from gliomart.outputs.folder import OutputFolder
from gliomart.outputs.gallery import Galleries
from gliomart.outputs.journal import Journal
from gliomart.outputs.options import OutputOptions
from gliomart.outputs.plan import SeriesPlan
from gliomart.outputs.records import SeriesRecord
from gliomart.outputs.series import write_series
from gliomart.outputs.table import to_csv
from gliomart.printable import without_folders
from gliomart.site import drift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from gliomart.detector import Detector
    from gliomart.outputs.documents import Results
    from gliomart.sources import Inventory, SeriesFiles

    _Item = TypeVar("_Item")
    # Told how many slices are done, and of how many as far as headers tell.
    Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """A run of a detector over an inventory into an output folder.

    Attributes
    ----------
    detector, inventory, folder
        The detector, what it analyses, and where results go; no other run may have the folder.
    options
        What is written.
    progress
        Called after every slice with how many are done, and of how many.
    drift
        The record of a watch for drift, in which studies are counted; None where there is none.
    """

    detector: Detector
    inventory: Inventory
    folder: Path
    options: OutputOptions = field(default_factory=OutputOptions)
    progress: Progress | None = None
    drift: Path | None = None

    def write(self) -> Results:
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
        DriftRecordError
            The record of drift cannot be gone on with; nothing was analysed.
        OutputBusyError
            Another run has the folder.
        OutputError
            Results could not be written. What is finished stays, and can be resumed.
        UsageError
            The folder holds the beginning of a different run.
        """
        if self.drift is not None:
            drift.check(self.drift)
        with ExitStack() as stack:
            with output.output_errors(self.folder):
                self.folder.mkdir(exist_ok=True)
                stack.enter_context(lock.exclusive(self.folder))
            document = self._write(OutputFolder.at(self.folder))
        if not document["slices"]:
            raise NothingAnalysedError(outcome.why_nothing(document, self.folder))
        return document

    def _write(self, folder: OutputFolder) -> Results:
        head = records.header(self.inventory, self.detector.settings, self.options)
        galleries = Galleries(folder)
        unordered = records.in_any_order(head, self.inventory)
        kept = Journal(folder, records.run_identity(unordered))
        complete = journal.complete(folder.path / output.RESULTS, records.run_identity(head), kept)
        if complete is None:
            finished = self._finish(kept, folder, galleries)
            refused = [records.refusal_entry(refusal) for refusal in self.inventory.refused]
            complete = records.document(
                head, [SeriesRecord(not_analysed=refused), *finished.values()]
            )
            self._watch(complete, finished)
            self._write_report(complete, galleries, finished, folder)
            folder.write(output.TABLE, to_csv(complete))
            folder.write(output.RESULTS, records.to_json(complete))
        # Also where it was complete: a run that was killed at its very end leaves these.
        kept.remove()
        galleries.remove()
        return complete

    def _finish(
        self, kept: Journal, folder: OutputFolder, galleries: Galleries
    ) -> dict[str, SeriesRecord]:
        """Analyse and write the series that are not finished; gives all of them, in order."""
        every_series = self.detector.arrange(self.inventory.series)
        series = dict(zip(journal.keys_of(every_series), every_series, strict=True))
        order, finished = kept.begin(list(series))
        called = dict(zip(order, names.of_series([series[key] for key in order]), strict=True))
        rest = {key: each for key, each in series.items() if key not in finished}
        plan = SeriesPlan(
            self.detector.card,
            lambda: self.detector.settings,
            self.options,
            self.detector.workers,
            watched=self.drift is not None,
        )
        count = _Count(series, finished, self.progress)
        # Closed here and now, whatever happens: what is under way ends before the folder is left.
        with closing(self.detector.stream_each(list(rest.values()))) as streams:
            for (key, each), items in zip(rest.items(), streams, strict=True):
                with closing(items):
                    counted = count.each(items)
                    record, gallery = write_series(each, counted, folder, plan, called[key])
                if trouble := galleries.keep(key, gallery):
                    cause = trouble.code, trouble.reason
                    missed = records.missing_output(each.source, None, "report", cause)
                    record.not_written.append(missed)
                kept.add(key, record)
                finished[key] = record
                count.finish(key)
        return {key: finished[key] for key in series}

    def _watch(self, document: Results, finished: Mapping[str, SeriesRecord]) -> None:
        """Count the studies in the record of drift; results say so where that fails."""
        if self.drift is None:
            return
        every_series = self.detector.arrange(self.inventory.series)
        analysed = zip(every_series, finished.values(), strict=True)
        studies = drift.studies_of(analysed, self.detector.card)
        try:
            document["drift"] = drift.watch(self.drift, studies, self.detector.settings)
        except GliomartError as error:
            cause = error.code, without_folders(str(error))
            missed = records.missing_output(None, None, "drift", cause)
            document.setdefault("not_written", []).append(missed)

    def _write_report(
        self, document: Results, galleries: Galleries, keys: Iterable[str], folder: OutputFolder
    ) -> None:
        """Write the page for people; results come without it where it alone cannot be had."""
        try:
            parts = page.parts(
                document,
                galleries.read(keys),
                self.detector.card,
                identify=self.options.identify,
            )
            folder.write(output.REPORT, parts)
        except Exception as error:  # noqa: BLE001  # it is recorded, or raised once more
            missed = records.missing_output(None, None, "report", cause_of(error))
            document.setdefault("not_written", []).append(missed)


class _Count:
    """Slices that are done, those of finished series as many as headers tell."""

    def __init__(
        self,
        series: Mapping[str, SeriesFiles],
        finished: Iterable[str],
        progress: Progress | None,
    ) -> None:
        self._expected = {
            key: sum(len(file.planes) for file in each.files) for key, each in series.items()
        }
        self._total, self._tell = sum(self._expected.values()), progress
        self._finished = self._done = sum(self._expected[key] for key in finished)
        self._set(self._done)

    def each(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Count items on their way."""
        for item in items:
            yield item
            self._set(self._done + 1)

    def finish(self, key: str) -> None:
        """Count a series as headers tell, whatever turned out."""
        self._finished += self._expected[key]
        self._set(self._finished)

    def _set(self, done: int) -> None:
        self._done = done
        if self._tell is not None:
            self._tell(done, self._total)
