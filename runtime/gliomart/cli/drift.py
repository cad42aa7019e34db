"""Drift on the terminal: what a run noticed, and what a record holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from gliomart.outputs.drift_words import NAMES, moved, not_counted, noticed, place_of
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gliomart.outputs.documents import Results
    from gliomart.site.drift_record import Record, Stream


def told(document: Results) -> Iterator[str]:
    """Tell of drift that was noticed in a run or before it, and of what it did not count."""
    studies = document.get("drift", [])
    yield from (f"DRIFT: {line}" for line in noticed(studies))
    yield from (f"drift: {line}" for line in not_counted(studies))


def table(path: Path, record: Record, limit: float, reference: int) -> Iterator[str]:
    """Show a record.

    Parameters
    ----------
    path, record
        The file, and what it holds.
    limit
        Evidence from which on a drift is noticed.
    reference
        So many first values of a statistic are judged by nothing.
    """
    count = len(record.streams)
    what = "one scanner and sequence" if count == 1 else f"{count} scanners and sequences"
    yield f"{printable(str(path))}: {what}"
    for stream in record.streams:
        yield ""
        yield from _stream(stream, limit, reference)


def _stream(stream: Stream, limit: float, reference: int) -> Iterator[str]:
    yield place_of(asdict(stream.scanner), stream.sequence)
    studies = "study" if stream.studies == 1 else "studies"
    yield (
        f"  {stream.studies} {studies}, {stream.first} to {stream.last}, by model"
        f" {stream.model_sha256[:12]} at a false-alarm rate of {stream.false_alarm_rate:g}"
    )
    for notice in stream.notices:
        yield f"  DRIFT: {moved(asdict(notice))}"
    if not stream.notices:
        yield "  no drift noticed"
    yield f"  {'':24}  {'studies':>7}  {'evidence':>9}  (noticed from {limit:g} on)"
    for name, label in NAMES.items():
        evidence = getattr(stream.statistics, name)
        shown = f"{evidence.value:.3g}" if evidence.studies > reference else "-"
        yield f"  {label:24}  {evidence.studies:7}  {shown:>9}"
    if stream.refusals:
        counts = (f"{count} {printable(code)}" for code, count in stream.refusals.items())
        yield f"  refused: {', '.join(counts)}"
