"""What a run found, told in a few lines.

A pipe gets one line for everything that was found, in a form that stays. A terminal gets what fits
on it: the verdicts, the most anomalous slices, and where the report lies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, TypeVar

from gliomart.cli import drift
from gliomart.cli.terminal import cells, shortened
from gliomart.findings.suitability import CODES
from gliomart.outputs import folder as output
from gliomart.outputs import outcome
from gliomart.outputs.records import least_likely_first, structures_of_series
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from gliomart.cli.terminal import Ink
    from gliomart.outputs.documents import (
        RefusalEntry,
        Results,
        SeriesEntry,
        SliceEntry,
    )

    _Ranked = TypeVar("_Ranked", SliceEntry, SeriesEntry)

_VERDICTS = {True: "FLAGGED", False: "not flagged", None: "not judged (too few patients)"}
_NOT_JUDGED = (
    "it is not known which way up the picture is, or slices were refused, and no {} was found"
)
_DISCLAIMER = "Research software, not a medical device; not for diagnosis."
# Rows of a table on a terminal; the report and results.csv have them all.
_MOST_ROWS = 10


def plain(document: Results, out: Path) -> Iterator[str]:
    """Tell everything that was found, line by line.

    Parameters
    ----------
    document
        The content of results.json.
    out
        The folder that it lies in.
    """
    for series in document["series"]:
        yield (
            f"series {series['source']}: {_VERDICTS[series['flagged']]}"
            f" (p = {series['p_value']:.3f}, {series['slices']} slices)"
        )
        if series["outside_intended_use"]:
            yield f"  {_outside(series)}"
        for note in _notes(series):
            yield f"  {note}"
        for line, _ in _structures(series):
            yield f"  {line}"
    flagged = _flagged(document["slices"])
    yield _count(flagged, document)
    for entry in flagged:
        yield f"  {_place(entry)}  p = {entry['p_value']:.3f}  score {entry['score']:.3f}"
    for refusal in document["not_analysed"]:
        reason = f"{printable(refusal['reason'])} [{refusal['code']}]"
        yield f"not analysed: {_place(refusal)}: {reason}"
    if document["inputs"]["ignored"]:
        yield outcome.ignored(document)
    yield from _thresholds(document)
    yield from drift.told(document)
    yield _model(document)
    yield f"results: {printable(str(out))}"
    yield from _outputs_not_written(document)
    yield from _report(document, out)
    for series in document["series"]:
        if series["overview"]:
            yield f"overview: {printable(str(out / series['overview']))}"
        yield from _not_written(series)
    yield _DISCLAIMER


def brief(document: Results, out: Path, width: int, ink: Ink) -> Iterator[str]:
    """Tell what matters most, in lines of at most ``width`` cells.

    Longer are what has to be read whole: the report's path, and why something was left out.

    Parameters
    ----------
    document, out
        As in :func:`plain`.
    width
        Of the terminal.
    ink
        Its colours.
    """
    for series in _by_p_value(document["series"])[:_MOST_ROWS]:
        yield shortened(series["source"], width)
        verdict = f"{_VERDICTS[series['flagged']]}, p = {series['p_value']:.3f}"
        slices = f"{series['slices']} slices"
        yield f"  {_inked(verdict, ink, flagged=series['flagged'])}, {slices}"
        for line, flagged in _structures(series):
            yield f"  {_inked(line, ink, flagged=flagged)}"
        if series["outside_intended_use"]:
            yield ink.warning(f"  {_outside(series)}")
        for note in _notes(series):
            yield ink.warning(f"  {note}")
        yield from map(ink.warning, _not_written(series))
    if len(document["series"]) > _MOST_ROWS:
        yield ink.faint(f"and {len(document['series']) - _MOST_ROWS} more series")
    yield from _table(document, width, ink)
    for line in _reasons(document["not_analysed"]):
        yield ink.warning(line)
    if document["inputs"]["ignored"]:
        yield ink.faint(_ignored(document, width))
    yield from map(ink.faint, _thresholds(document))
    yield from map(ink.warning, drift.told(document))
    yield from map(ink.warning, _outputs_not_written(document))
    yield ink.faint(_model(document))
    yield from _report(document, out)
    yield ink.faint(_DISCLAIMER)


def _model(document: Results) -> str:
    model = document["model"]
    return f"model: {printable(model['name'])} {printable(model['version'])}"


def _table(document: Results, width: int, ink: Ink) -> Iterator[str]:
    flagged = _flagged(document["slices"])
    yield _count(flagged, document)
    if not flagged:
        return
    yield ink.faint(f"  {'p-value':>7}  {'score':>7}  slice")
    for entry in flagged[:_MOST_ROWS]:
        numbers = f"  {entry['p_value']:7.3f}  {entry['score']:7.3f}  "
        yield numbers + shortened(_place(entry), width - len(numbers))
    if len(flagged) > _MOST_ROWS:
        yield ink.faint(f"  and {len(flagged) - _MOST_ROWS} more, see the report")


def _count(flagged: Sequence[SliceEntry], document: Results) -> str:
    every = len(document["slices"])
    if not flagged:
        return f"none of {every} slices flagged"
    return f"{len(flagged)} flagged of {every} slices, most anomalous first:"


def _flagged(slices: Sequence[SliceEntry]) -> list[SliceEntry]:
    return _by_p_value([entry for entry in slices if entry["flagged"]])


def _by_p_value(entries: Iterable[_Ranked]) -> list[_Ranked]:
    return sorted(entries, key=least_likely_first)


def _reasons(refusals: Sequence[RefusalEntry]) -> Iterator[str]:
    """Count refusals by code, most frequent first, each with a reason."""
    for code, count in Counter(entry["code"] for entry in refusals).most_common():
        reasons = [entry["reason"] for entry in refusals if entry["code"] == code]
        such_as = "" if len(set(reasons)) == 1 else "such as: "
        yield f"not analysed: {count} {code} ({such_as}{printable(reasons[0])})"


def _inked(text: str, ink: Ink, *, flagged: bool | None) -> str:
    return ink.flagged(text) if flagged else text


def _outside(series: SeriesEntry) -> str:
    codes = [f"{code} ({CODES[code]})" for code in series["outside_intended_use"]]
    return f"OUTSIDE THE INTENDED USE: {', '.join(codes)}"


def _notes(series: SeriesEntry) -> Iterator[str]:
    for note in series["notes"]:
        yield f"note: {printable(note['reason'])} [{note['code']}]"


def _structures(series: SeriesEntry) -> Iterator[tuple[str, bool | None]]:
    """Tell of each structure that the model judges by itself, and whether it is flagged."""
    for structure, found in structures_of_series(series):
        if found is None:
            continue
        if found["p_value"] is None:
            unknown = found["coverage"] == structure.not_judged
            why = _NOT_JUDGED.format(structure.name) if unknown else "nothing is said about it"
            if found["coverage"] == structure.covered:
                why = "the model finds it and does not judge it; nothing is said about it"
            yield f"{found['coverage']}: {why}", found["flagged"]
        else:
            verdict = f"{_VERDICTS[found['flagged']]} (p = {found['p_value']:.3f}"
            yield f"{structure.name}: {verdict}, {found['slices']} slices)", found["flagged"]


def _not_written(series: SeriesEntry) -> Iterator[str]:
    """Tell which DICOM objects are not there, once for each reason."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for missing in series["dicom"]["not_written"] if series["dicom"] else ():
        by_reason[missing["reason"]].append(missing["object"])
    for reason, names in by_reason.items():
        what = names[0] if len(names) == 1 else f"{len(names)} objects"
        yield f"not written: {what}: {printable(reason)}"


def _outputs_not_written(document: Results) -> Iterator[str]:
    """Count the other outputs that are not there, by what they are and for each reason."""
    missing = document.get("not_written", [])
    for (kind, reason), count in Counter((e["object"], e["reason"]) for e in missing).items():
        yield f"not written: {count} {kind}{'s' if count > 1 else ''}: {printable(reason)}"


def _thresholds(document: Results) -> Iterator[str]:
    """Tell whose thresholds were used, where they are not the model's own."""
    if site := document["model"]["site"]:
        kept = f" (the model's own: {', '.join(site['kept'])})" if site["kept"] else ""
        yield printable(f"thresholds: this site's own, of {site['date']}{kept}")


def _report(document: Results, out: Path) -> Iterator[str]:
    """Tell where the report lies, if it could be written."""
    missing = document.get("not_written", [])
    if not any(e["object"] == "report" and e["source"] is None for e in missing):
        yield f"report: {printable(str(out / output.REPORT))}"


def _ignored(document: Results, width: int) -> str:
    """Name as many kinds of ignored files as fit."""
    kinds = len(document["inputs"]["ignored_kinds"])
    texts = (outcome.ignored(document, most) for most in range(kinds, -1, -1))
    return next((text for text in texts if cells(text) <= width), outcome.ignored(document, 0))


def _place(entry: SliceEntry | RefusalEntry) -> str:
    frame = "" if entry["frame"] is None else f" frame {entry['frame']}"
    return f"{entry['source']}{frame}"
