"""A watch for drift: whether a site's studies are still like those before, told without labels.

One study is one example: its slices depend on one another. Each of its statistics is ranked among
those of earlier studies of the same scanner and sequence, the site's own, whatever share of them is
healthy; :mod:`~gliomart.site.drift_evidence` says what follows from that.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import secrets
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

from gliomart.errors import DriftRecordError
from gliomart.image.geometry import ImagePlane
from gliomart.outputs.outcome import LOST
from gliomart.outputs.records import rounded
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart.site import drift_record
from gliomart.site.drift_evidence import Evidence
from gliomart.site.drift_record import (
    FARTHEST_BIN,
    LIMIT,
    MOST_CODES,
    MOST_NOTICES,
    MOST_RECENT,
    MOST_STREAMS,
    STATISTICS,
    Notice,
    Record,
    Scanner,
    Statistics,
    Stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gliomart.findings.results import Settings
    from gliomart.model.card import ModelCard
    from gliomart.outputs.documents import SliceEntry
    from gliomart.outputs.drift import DriftEntry, StatisticEntry
    from gliomart.outputs.records import SeriesRecord
    from gliomart.sources import SeriesFiles

# What lies in the middle of the bins of statistics that are ratios of one another, and how wide
# these are, of the logarithm; patients of one scanner differ by .2 and more. Shares have bins of
# their own width, from 0.
_CENTRES = {"shading": 0.1, "contrast": 0.2, "range": 1.0, "noise": 0.02, "step_mm": 4.0}
_RATIO_BIN, _SHARE_BIN = 0.06, 0.02
_OF_BRIGHTNESS: tuple[Literal["shading", "contrast", "range", "noise"], ...]
_OF_BRIGHTNESS = ("shading", "contrast", "range", "noise")
_LONGEST_NAME = 64  # of a manufacturer and a model: PS3.5 6.2, LO
_CHECK_BYTES = 4
_OTHERS = "others"


@dataclass(frozen=True)
class Study:
    """What is counted of one study on one scanner.

    Attributes
    ----------
    series
        Ids of its series that were analysed, or else of those that were refused.
    scanner
        Manufacturer, model, and serial number or station name, as headers say.
    sequence
        What the model was given, such as ``MR FLAIR 2D``.
    values
        Of each of :data:`~gliomart.site.drift_record.STATISTICS`; None for what is not known.
    refusals
        What was refused of it, by code; what was lost on the way is not counted.
    """

    series: tuple[str, ...]
    scanner: tuple[str, str, str]
    sequence: str
    values: Mapping[str, float | None]
    refusals: Mapping[str, int]


def check(path: Path) -> None:
    """See that a record can be gone on with, or begun, before anything is analysed.

    Raises
    ------
    DriftRecordError
        It cannot.
    OutputError
        It cannot be written.
    """
    if not path.parent.is_dir():
        raise DriftRecordError(
            f"{path}: its folder is not there; make it, or choose another --drift"
        )
    drift_record.read(path)
    check_target(path, ())


def studies_of(
    analysed: Iterable[tuple[SeriesFiles, SeriesRecord]], card: ModelCard
) -> list[Study]:
    """Gather the studies of a run, in its order.

    Parameters
    ----------
    analysed
        Series, and what results say of them, with ``photometry`` of their slices. Series of one
        Study Instance UID are one study; those that name none are one each.
    card
        Of the model that analysed them.
    """
    by_study: defaultdict[tuple[str, str], list[tuple[SeriesFiles, SeriesRecord]]]
    by_study = defaultdict(list)
    for series, record in analysed:
        study = next((file.header.study for file in series.files if file.header), "")
        by_study[("", study) if study else (series.source, series.id)].append((series, record))
    return [study for parts in by_study.values() for study in _studies(parts, card)]


def watch(
    path: Path, studies: Sequence[Study], settings: Settings, month: str | None = None
) -> list[DriftEntry]:
    """Count studies in a record, which is begun where there is none.

    Any number of processes may do so at a time; they wait for one another.

    Parameters
    ----------
    path
        The record.
    studies
        In the order in which they are counted.
    settings
        Of the detector that analysed them.
    month
        In which they are counted, such as ``2026-11``; None for the present one (UTC).

    Returns
    -------
    What results say of each study.

    Raises
    ------
    DriftRecordError
        It is damaged, or something else than a record; it stays as it is.
    OutputBusyError, OutputError
        Others have had it for too long, or it cannot be written; it stays as it was.
    """
    if not studies:
        return []
    month = month or datetime.now(UTC).strftime("%Y-%m")
    path = Path(os.path.realpath(path))  # what a link leads to is written, and the link stays
    with drift_record.held(path):
        record = drift_record.read(path) or Record(drift_record.SCHEMA, secrets.token_hex(16))
        entries = []
        for study in studies:
            record, entry = counted(record, study, settings, month)
            entries.append(entry)
        drift_record.write(path, record)
    return entries


def counted(
    record: Record, study: Study, settings: Settings, month: str
) -> tuple[Record, DriftEntry]:
    """Count one study; gives the record with it, and what results say of it."""
    manufacturer, model, device = study.scanner
    scanner = Scanner(
        _name(manufacturer), _name(model), _check_number(record.key, device) if device else ""
    )
    rate = settings.false_alarm_rate
    begun = Stream(scanner, study.sequence, settings.model_sha256, rate, first=month)
    streams = {stream.identity: stream for stream in record.streams}
    before = streams.get(begun.identity, begun)
    mark = _check_number(record.key, repr(sorted(study.values.items())))
    known = study.values["p_value"] is not None  # one that was all refused is like many others
    reason = None
    if known and mark in before.recent:
        reason = "seen-before"
    elif begun.identity not in streams and len(streams) == MOST_STREAMS:
        reason = "too-many-scanners"
    if reason is not None:
        return record, _entry(before, study, before.statistics, reason)
    recent = (*before.recent, mark)[-MOST_RECENT:] if known else before.recent
    after = replace(before, recent=recent, last=month, studies=before.studies + 1)
    after = replace(after, refusals=_added(before.refusals, study.refusals))
    shown = _ranked(after, study, record.key)
    after = _noticed(after, shown)
    streams[begun.identity] = after
    return replace(record, streams=tuple(streams.values())), _entry(after, study, shown)


def _ranked(stream: Stream, study: Study, key: str) -> Statistics:
    """Rank each value among those of earlier studies."""
    evidence: dict[str, Evidence] = {}
    for name in STATISTICS:
        evidence[name] = getattr(stream.statistics, name)
        value = study.values[name]
        if value is not None:
            # Drawn from what does not depend on the values, so that a run can be repeated.
            seed = f"{key} {stream.identity} {stream.studies} {name}"
            chance = random.Random(seed).random()  # noqa: S311  # no secret
            evidence[name] = evidence[name].with_value(bin_of(name, value), chance)
    return Statistics(**evidence)


def _noticed(stream: Stream, shown: Statistics) -> Stream:
    """Enter what has moved; it is ranked among what comes from now on."""
    evidence: dict[str, Evidence] = {name: getattr(shown, name) for name in STATISTICS}
    notices = list(stream.notices)
    for name, each in evidence.items():
        if each.value >= LIMIT:
            notices.append(Notice(name, each.risen, stream.studies, stream.last))
            evidence[name] = Evidence()
    half = MOST_NOTICES // 2
    if len(notices) > MOST_NOTICES:
        notices = notices[:half] + notices[-half:]
    return replace(stream, statistics=Statistics(**evidence), notices=tuple(notices))


def bin_of(statistic: str, value: float) -> int:
    """Give the number of the bin that a value of a statistic falls into."""
    centre = _CENTRES.get(statistic)
    if centre is None:
        number = round(value / _SHARE_BIN)
    else:
        number = round(math.log(max(value, 1e-9) / centre) / _RATIO_BIN)
    return max(-FARTHEST_BIN, min(number, FARTHEST_BIN))


def _studies(parts: Sequence[tuple[SeriesFiles, SeriesRecord]], card: ModelCard) -> list[Study]:
    """Divide the series of a study by scanner and sequence; what was refused goes to the first."""
    groups: defaultdict[tuple[tuple[str, str, str], str], list[tuple[SeriesFiles, SeriesRecord]]]
    groups = defaultdict(list)
    nothing: list[tuple[SeriesFiles, SeriesRecord]] = []
    for part in parts:
        if part[1].slices:
            groups[_origin(part[0], card)].append(part)
        else:
            nothing.append(part)
    if nothing and not groups:
        groups[_origin(nothing[0][0], card)] = []
    studies = []
    for (scanner, sequence), own in groups.items():
        slices = [entry for _, record in own for entry in record.slices]
        refusals = Counter(
            entry["code"]
            for _, record in (*own, *nothing)
            for entry in record.not_analysed
            if entry["code"] not in LOST
        )
        series = tuple(series.id for series, _ in (own or nothing))
        values = values_of(slices, refusals.total())
        studies.append(Study(series, scanner, sequence, values, refusals))
        nothing = []
    return studies


def _origin(series: SeriesFiles, card: ModelCard) -> tuple[tuple[str, str, str], str]:
    """Tell scanner and sequence of a series."""
    header = next((file.header for file in series.files if file.header), None)
    image = card.image
    words = [image.modality, image.sequence, header.acquisition_type if header else ""]
    sequence = " ".join(_name(word) for word in words if word)
    return (header.scanner if header else ("", "", "")), sequence


def values_of(slices: Sequence[SliceEntry], refused: int) -> dict[str, float | None]:
    """Measure a study by its slices."""
    values: dict[str, float | None] = dict.fromkeys(STATISTICS)
    if slices:
        values["p_value"] = fmean(entry["p_value"] for entry in slices)
        values["flagged"] = fmean(entry["flagged"] for entry in slices)
    for name in _OF_BRIGHTNESS:
        measured = (entry.get("photometry") for entry in slices)
        each = (slice_[name] for slice_ in measured if slice_ is not None)
        known = [value for value in each if value is not None]
        values[name] = median(known) if known else None
    values["step_mm"] = _step(slices)
    if slices or refused:
        values["refused"] = refused / (len(slices) + refused)
    return values


def _step(slices: Sequence[SliceEntry]) -> float | None:
    """Median distance of neighbouring slices in mm; None where it is not known where they lie."""
    heights: defaultdict[str, list[float]] = defaultdict(list)
    for entry in slices:
        place = entry["geometry"]
        position, orientation, spacing = (
            place["position_lps_mm"],
            place["orientation"],
            place["spacing_mm"],
        )
        if position and orientation and spacing:
            plane = ImagePlane(tuple(position), tuple(orientation), (spacing[0], spacing[1]))
            heights[entry["series"]].append(plane.height)
    steps = [b - a for each in heights.values() for a, b in pairwise(sorted(each)) if b > a]
    return median(steps) if steps else None


def _entry(
    stream: Stream, study: Study, shown: Statistics, not_counted: str | None = None
) -> DriftEntry:
    statistics: dict[str, StatisticEntry] = {}
    for name in STATISTICS:
        evidence, value = getattr(shown, name), study.values[name]
        statistics[name] = {
            "value": None if value is None else rounded(value),
            "studies": evidence.studies,
            "evidence": rounded(evidence.value),
        }
    scanner = stream.scanner
    return {
        "series": list(study.series),
        "scanner": {
            "manufacturer": scanner.manufacturer,
            "model": scanner.model,
            "device": scanner.device,
        },
        "sequence": stream.sequence,
        "study": stream.studies if not_counted is None else None,
        "not_counted": not_counted,
        "statistics": statistics,
        "limit": LIMIT,
        "noticed": [
            {
                "statistic": notice.statistic,
                "risen": notice.risen,
                "study": notice.study,
                "month": notice.month,
            }
            for notice in stream.notices
        ],
    }


def _added(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Add counts by code; codes beyond those that are kept count together."""
    total = Counter(before)
    for code, count in more.items():
        total[code if code in total or len(total) < MOST_CODES - 1 else _OTHERS] += count
    return dict(sorted(total.items()))


def _name(text: str) -> str:
    return printable(" ".join(text.split()))[:_LONGEST_NAME]


def _check_number(key: str, text: str) -> str:
    """Make a check number of a text, which tells whether a guess of the text may be right."""
    digest = hashlib.blake2s(text.encode(errors="replace"), key=bytes.fromhex(key))
    return digest.hexdigest()[: 2 * _CHECK_BYTES]
