"""A watch for drift in words: what a run noticed, and what a record holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gliomart.outputs.documents import Results
    from gliomart.site.drift_record import Record, Stream

# What statistics are called for people.
_NAMES = {
    "p_value": "mean p-value of slices",
    "flagged": "share of slices flagged",
    "shading": "shading",
    "contrast": "contrast, grey and white",
    "range": "range of brightness",
    "noise": "noise",
    "step_mm": "distance of slices",
    "refused": "share refused",
}
_NOT_COUNTED = {
    "seen-before": "not counted: it was analysed before",
    "too-many-scanners": "not counted: the record has no room for another scanner",
}


def noticed(document: Results) -> Iterator[str]:
    """Tell of drift that was noticed in a run or before it, and of what it did not count."""
    lines: dict[str, None] = {}  # each once, of however many studies
    for entry in document.get("drift", ()):
        place = _place(cast("Mapping[str, str]", entry["scanner"]), entry["sequence"])
        for notice in entry["noticed"]:
            lines[f"DRIFT: {place}: {_moved(cast('Mapping[str, object]', notice))}"] = None
        if entry["not_counted"] is not None:
            lines[f"drift: {place}: a study was {_NOT_COUNTED[entry['not_counted']]}"] = None
    return iter(lines)


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
    yield _place(asdict(stream.scanner), stream.sequence)
    yield (
        f"  {stream.studies} studies, {stream.first} to {stream.last}, by model"
        f" {stream.model_sha256[:12]} at a false-alarm rate of {stream.false_alarm_rate:g}"
    )
    for notice in stream.notices:
        yield f"  DRIFT: {_moved(asdict(notice))}"
    if not stream.notices:
        yield "  no drift noticed"
    yield f"  {'':24}  {'studies':>7}  {'evidence':>9}  (noticed from {limit:g} on)"
    for name, label in _NAMES.items():
        evidence = getattr(stream.statistics, name)
        shown = f"{evidence.value:.3g}" if evidence.studies > reference else "-"
        yield f"  {label:24}  {evidence.studies:7}  {shown:>9}"
    if stream.refusals:
        counts = (f"{count} {printable(code)}" for code, count in stream.refusals.items())
        yield f"  refused: {', '.join(counts)}"


def _place(scanner: Mapping[str, str], sequence: str) -> str:
    words = [scanner["manufacturer"], scanner["model"]]
    name = " ".join(printable(word) for word in words if word) or "unknown scanner"
    device = f" ({printable(scanner['device'])})" if scanner["device"] else ""
    return f"{name}{device}, {printable(sequence)}"


def _moved(notice: Mapping[str, object]) -> str:
    name = _NAMES.get(str(notice["statistic"]), printable(str(notice["statistic"])))
    verb = "has risen" if notice["risen"] else "has fallen"
    return f"{name} {verb}, noticed with study {notice['study']} ({notice['month']})"
