"""One run over an inventory of inputs, from the first slice to results.json.

Every finished series is added to a journal, so that an interrupted run goes on where it stopped
and ends with what an undisturbed one would have written.
"""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from gliomart import pons, sources, suitability
from gliomart.errors import GliomartError, InputRefusedError, NothingAnalysedError, UsageError
from gliomart.outputs import folder as output
from gliomart.outputs import names, pictures, records, report
from gliomart.outputs.records import SeriesRecord
from gliomart.outputs.report import ReportSlice
from gliomart.pipeline import in_order
from gliomart.series import judge
from gliomart.slices import Refusal
from gliomart.terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gliomart.arguments import Overlays
    from gliomart.detector import Detector
    from gliomart.pons import Part, PonsVerdict
    from gliomart.results import SliceResult
    from gliomart.series import Verdict
    from gliomart.slices import Concern
    from gliomart.sources import Inventory, SeriesFiles


@dataclass(frozen=True)
class Run:
    """A run of a detector over an inventory into an output folder.

    Attributes
    ----------
    detector, inventory, folder
        What looks at what, and where results go; the folder has been opened already.
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

        Returns
        -------
        The content of results.json.

        Raises
        ------
        NothingAnalysedError
            No slice could be analysed; results.json says why for each input.
        OutputError
            Results could not be written. What is finished stays, and can be resumed.
        UsageError
            The folder holds the beginning of a different run.
        """
        head = records.header(
            self.inventory,
            self.detector.settings,
            overlays=self.overlays,
            maps=self.maps,
            dicom=self.dicom,
            identify=self.identify,
        )
        run = records.what_makes_a_run(head)
        complete = _complete(self.folder / output.RESULTS, run)
        journal = _Journal(self.folder / output.JOURNAL, run)
        if complete is not None:
            self._tidy(journal)  # a run that was killed at its very end leaves something
            return _something(complete, self.folder)
        finished = journal.finished()
        refused = [records.refusal_entry(refusal) for refusal in self.inventory.refused]
        done = [SeriesRecord(not_analysed=refused), *finished]
        names_of = names.of_sources(self.inventory)
        sheets = names.of_overviews(self.inventory)
        every_series = self.inventory.series
        # Slices of each series, as far as headers tell; what turns out is counted instead.
        expected = [sum(len(file.planes) for file in series.files) for series in every_series]
        first = len(finished)
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
                series = every_series[number]
                counted = _counted(items, progress)
                record, shown = self._series(series, counted, names_of, sheets[number])
                output.write_atomically(self._pictures(number), report.to_json(shown))
                journal.add(record)
                done.append(record)
                progress.update(sum(expected[: number + 1]) - progress.n)
        document = records.document(head, done)
        page = report.report(document, self._shown(), self.detector.card, identify=self.identify)
        output.write_atomically(self.folder / output.REPORT, page)
        output.write_atomically(self.folder / output.TABLE, records.to_csv(document))
        output.write_atomically(self.folder / output.RESULTS, records.to_json(document))
        self._tidy(journal)
        return _something(document, self.folder)

    def _tidy(self, journal: _Journal) -> None:
        """Remove what only an interrupted run is continued from."""
        journal.remove()
        output.remove_pictures(self.folder)

    def _pictures(self, number: int) -> Path:
        return self.folder / output.PICTURES / f"{number}.json"

    def _shown(self) -> Iterator[ReportSlice]:
        """Read the pictures for the report, one series at a time."""
        for number in range(len(self.inventory.series)):
            path = self._pictures(number)
            with _damage(path):
                shown = report.from_json(path.read_bytes())
            yield from shown

    def _series(
        self,
        series: SeriesFiles,
        items: Iterator[SliceResult | Refusal],
        names_of: dict[str, PurePosixPath],
        sheet: str,
    ) -> tuple[SeriesRecord, list[ReportSlice]]:
        record = SeriesRecord()
        # Slices that were put together from several images are named after the series, and so are
        # those of a file that holds several.
        whole = PurePosixPath(sheet.removesuffix(".png")).relative_to(names.OVERVIEWS)

        def write(item: SliceResult | Refusal) -> _Written | Refusal:
            if isinstance(item, Refusal):
                return item
            return self._write_slice(item, names_of.get(item.slice.source, whole))

        written: list[_Written] = []
        for item in in_order(write, items, workers=self.detector.workers):
            if isinstance(item, Refusal):
                record.not_analysed.append(records.refusal_entry(item))
            else:
                record.slices.append(item.entry)
                written.append(item)
        scores, sections = [w.score for w in written], [w.pons for w in written]
        kept = [w.result for w in written if w.result is not None]
        concerns = [concern for w in written for concern in w.concerns]
        notes = [note for w in written for note in w.notes]
        settings = self.detector.settings
        verdict = judge(scores, self.detector.card, settings.false_alarm_rate)
        if verdict is not None:
            tiles = [w.tile for w in written]
            output.write_atomically(self.folder / sheet, pictures.png(pictures.overview(tiles)))
            pons_verdict = pons.judge(
                sections,
                self.detector.card.pons,
                settings.false_alarm_rate,
                placed=all(w.placed for w in written),
                missed=[refusal["code"] for refusal in record.not_analysed],
            )
            entry = records.series_entry(
                series.id,
                series.source,
                len(scores),
                verdict,
                pons=pons_verdict,
                concerns=concerns,
                notes=notes,
                overview=sheet,
            )
            if self.dicom:
                entry["dicom"], told = self._write_dicom(series, kept, verdict, pons_verdict, whole)
                entry["notes"] += [asdict(note) for note in told]
            record.series.append(entry)
        record.provider = asdict(self.detector.settings.provider)
        return record, [w.shown for w in written]

    def _write_dicom(
        self,
        series: SeriesFiles,
        results: list[SliceResult],
        verdict: Verdict,
        pons_verdict: PonsVerdict | None,
        name: PurePosixPath,
    ) -> tuple[dict[str, Any], Sequence[Concern]]:
        """Write the DICOM objects of a series; tells which, why not the others, and what is odd."""
        from gliomart.outputs import dicom

        try:
            headers = sources.headers(series.files, results)
        except (InputRefusedError, OSError) as error:  # a file changed or went away meanwhile
            reason = "the source's headers cannot be read once more"
            code = error.code if isinstance(error, InputRefusedError) else "unreadable"
            return records.dicom_entry([], [_missing("all", code, reason)]), ()
        if not headers:
            missing = [_missing("all", "not-dicom", "the series is not DICOM")]
            return records.dicom_entry([], missing), ()
        limit = self.detector.calibration.display_limit
        stack = dicom.Stack(results, headers, verdict, pons_verdict, limit)
        written, missing = [], []
        for each in dicom.objects(stack):
            if each.dataset is None:
                missing.append(_missing(each.name, each.code, each.reason))
                continue
            path = PurePosixPath("dicom") / name / each.name
            output.write_atomically(self.folder / path, each.content)
            written.append(str(path))
        return records.dicom_entry(written, missing), stack.notes

    def _write_slice(self, result: SliceResult, name: PurePosixPath) -> _Written:
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
        for kind, (room, suffix, content) in contents.items():
            paths[kind] = str(PurePosixPath(room) / name.with_name(name.name + suffix))
            output.write_atomically(self.folder / str(paths[kind]), content)
        shown = ReportSlice.of(result, self.detector.card)
        tile = pictures.tile(result, picture)
        return _Written(
            entry=records.slice_entry(result, paths, (perf_counter() - started) * 1e3),
            shown=shown,
            tile=tile,
            score=result.score,
            pons=result.pons.part if result.pons else None,
            placed=result.slice.plane is not None,
            concerns=result.concerns,
            notes=result.notes,
            result=result if self.dicom else None,
        )


class _Progress(tqdm):
    """A bar without the thread that tqdm would watch it from."""

    monitor_interval = 0


class _Written(NamedTuple):
    """What is kept of a slice until its series is written; the whole result only where needed."""

    entry: dict[str, Any]
    shown: ReportSlice
    tile: NDArray[np.uint8]
    score: float
    pons: Part | None
    placed: bool
    concerns: tuple[Concern, ...]
    notes: tuple[Concern, ...]
    result: SliceResult | None


def _missing(name: str, code: str, reason: str) -> dict[str, str]:
    return {"object": name, "code": code, "reason": reason}


def _counted(
    items: Iterator[SliceResult | Refusal], progress: tqdm
) -> Iterator[SliceResult | Refusal]:
    for item in items:
        yield item
        progress.update()


class _Journal:
    """Finished series of an unfinished run, one JSON line each after a line that names the run."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        self._path, self._run = path, run

    def finished(self) -> list[SeriesRecord]:
        """Read what an interrupted run of the same kind finished; start the journal otherwise."""
        with _damage(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
            whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
            if not whole:
                self._write("wb", self._run)
                return []
            if whole[0] != self._run:
                raise _different_run(self._path.parent)
            if len(whole) < len(lines):  # the last line was cut off: its series is done again
                output.write_atomically(self._path, b"".join(lines[: len(whole)]))
            return [SeriesRecord(**values) for values in whole[1:]]

    def add(self, record: SeriesRecord) -> None:
        self._write("ab", vars(record))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, mode: str, values: dict[str, Any]) -> None:
        line = json.dumps(values, allow_nan=False) + "\n"
        with output.output_errors(self._path), self._path.open(mode) as stream:
            stream.write(line.encode())


def _complete(path: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """Read the results of a run that is complete already; None where there are none."""
    if not path.exists():
        return None
    with _damage(path):
        document: dict[str, Any] = json.loads(path.read_bytes())
        if records.what_makes_a_run({key: document[key] for key in run}) != run:
            raise _different_run(path.parent)
    return document


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what reading a damaged file raises into a usage error."""
    try:
        yield
    except GliomartError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: is damaged; give --overwrite") from error


def _different_run(folder: Path) -> UsageError:
    return UsageError(
        f"{folder}: holds a different run (other inputs, model, provider or settings);"
        " give --overwrite"
    )


def _npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


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
