"""The record of a site's studies that drift is told from: counts, in a small file.

It holds no patient data, no times of day and no names of persons, protocols or institutions. Of a
study there are the bins that its values fell into, and for the latest ones a check number that
cannot be told from a name, by which one that is analysed again is not counted twice. A device is a
check number as well: serial numbers and station names may name a hospital.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping  # noqa: TC003  # types are read at run time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from gliomart.errors import DriftRecordError, ModelCardError, OutputBusyError
from gliomart.model.decoding import build
from gliomart.outputs import lock
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.printable import reason_of
from gliomart.site.drift_evidence import BETS, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA: Literal[1] = 1
# What bounds the file: streams, studies that are known again, notices, and codes of refusals.
MOST_STREAMS, MOST_RECENT, MOST_NOTICES, MOST_CODES = 64, 256, 16, 64
# Bins that a statistic has to either side of 0.
FARTHEST_BIN = 64
_LARGEST_FILE = 1 << 23  # 64 streams of 7 statistics with 129 bins each take 2 MB
_LONGEST_KEY = 32  # bytes that BLAKE2s takes
_MOST_STUDIES = 1 << 53  # counts are computed with as float64
_MONTH, _SHA256 = re.compile(r"[0-9]{4}-[0-9]{2}"), re.compile(r"[0-9a-f]{64}")
_CHECK_NUMBER = re.compile(r"[0-9a-f]{8}")
_PATIENCE_S = 10.0  # an update takes some ms


@dataclass(frozen=True)
class Scanner:
    """A scanner.

    Attributes
    ----------
    manufacturer, model
        As headers say (PS3.3 C.7.5.1); empty where they do not.
    device
        Tells devices of one model apart: a check number of the serial number or station name, with
        the record's own key; empty where neither is known.
    """

    manufacturer: str
    model: str
    device: str


@dataclass(frozen=True)
class Statistics:
    """The evidence of every statistic of a study.

    Attributes
    ----------
    p_value
        Mean p-value of its slices.
    flagged
        Share of its slices that are flagged.
    shading, contrast, range, noise
        As :class:`gliomart.findings.photometry.Photometry` has them, medians over its slices.
    step_mm
        Median distance of neighbouring slices in mm.
    refused
        Share of what could have been analysed that was refused.
    """

    p_value: Evidence = field(default_factory=Evidence)
    flagged: Evidence = field(default_factory=Evidence)
    shading: Evidence = field(default_factory=Evidence)
    contrast: Evidence = field(default_factory=Evidence)
    range: Evidence = field(default_factory=Evidence)
    noise: Evidence = field(default_factory=Evidence)
    step_mm: Evidence = field(default_factory=Evidence)
    refused: Evidence = field(default_factory=Evidence)


STATISTICS = tuple(each.name for each in fields(Statistics))
# Evidence from which on a statistic counts as moved. Among n studies without a change each gives at
# most n / LIMIT notices in expectation, and all of them together at most n / 1,000, however they
# depend on one another.
LIMIT = 1000.0 * len(STATISTICS)


@dataclass(frozen=True)
class Notice:
    """A drift that was noticed.

    Attributes
    ----------
    statistic
        Which one of :class:`Statistics` has moved; it is ranked anew from then on.
    risen
        Whether it has risen, or fallen.
    study
        With which study of the stream, from 1.
    month
        When that was, such as ``2026-11`` (UTC).
    """

    statistic: str
    risen: bool
    study: int
    month: str


@dataclass(frozen=True)
class Stream:
    """Studies of one scanner and sequence, judged by one model at one rate.

    Attributes
    ----------
    scanner
        The scanner.
    sequence
        What the model was given, such as ``MR FLAIR 2D``.
    model_sha256
        Of the model file.
    false_alarm_rate
        At which slices were flagged.
    studies
        Number of studies.
    first, last
        Months of the first and the last one, such as ``2026-11`` (UTC).
    refusals
        Slices and files that were refused, by code.
    statistics
        The evidence of each statistic.
    notices
        Drift that was noticed, the first and the latest of it.
    recent
        Check numbers of the latest studies.
    """

    scanner: Scanner
    sequence: str
    model_sha256: str
    false_alarm_rate: float
    studies: int = 0
    first: str = ""
    last: str = ""
    refusals: Mapping[str, int] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)
    notices: tuple[Notice, ...] = ()
    recent: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[Scanner, str, str, float]:
        """What makes studies be of this stream."""
        return self.scanner, self.sequence, self.model_sha256, self.false_alarm_rate


@dataclass(frozen=True)
class Record:
    """What the file holds.

    Attributes
    ----------
    gliomart_drift
        Number of this schema; it rises when a key changes its meaning.
    key
        Random, in hexadecimal: what check numbers and chance are drawn with.
    streams
        In the order in which they began.
    """

    gliomart_drift: Literal[1]
    key: str
    streams: tuple[Stream, ...] = ()


def read(path: Path) -> Record | None:
    """Read a record; None where there is no file.

    Raises
    ------
    DriftRecordError
        It is damaged, or something else than a record, or of a newer version.
    """
    try:
        if path.is_fifo() or path.is_socket():  # nobody may ever write into it
            raise DriftRecordError(f"{path}: is no file, and no record of drift can be in it")
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DriftRecordError(f"{path}: cannot be read ({reason_of(error)})") from error
    try:
        record = _parsed(content)
    except (ValueError, RecursionError, ModelCardError) as error:
        raise DriftRecordError(
            f"{path}: is damaged, or no record of drift of this version; it stays as it is,"
            " choose another --drift"
        ) from error
    return record


def write(path: Path, record: Record) -> None:
    """Write a record, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written; what was there before stays.
    """
    text = json.dumps(asdict(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_atomically(path, text.encode() + b"\n", synchronised=True)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep others from a record while it is read and written anew; wait for them meanwhile.

    Raises
    ------
    OutputBusyError
        Others have had it for ten seconds.
    OutputError
        Nothing can be written beside it.
    """
    with ExitStack() as stack, output_errors(path):
        name = f".gliomart-lock-{path.name}.partial"
        held_ = lock.exclusive(path.parent, name=name, patience_s=_PATIENCE_S)
        try:
            stack.enter_context(held_)
        except OutputBusyError as error:
            message = f"{path}: other runs have kept it for {_PATIENCE_S:g} s"
            raise OutputBusyError(message) from error
        yield


def _parsed(content: bytes) -> Record:
    """Parse a record, and see that it is such as is written.

    Raises
    ------
    ValueError, RecursionError, ModelCardError
        It is not.
    """
    if len(content) > _LARGEST_FILE:
        raise ValueError(len(content))
    record = build(Record, json.loads(content), "record")
    if not 0 < len(bytes.fromhex(record.key)) <= _LONGEST_KEY or len(record.streams) > MOST_STREAMS:
        raise ValueError(record.key)
    for stream in record.streams:
        if not (_is_sound(stream) and all(map(_CHECK_NUMBER.fullmatch, stream.recent))):
            raise ValueError(stream.identity)
    if len({stream.identity for stream in record.streams}) < len(record.streams):
        raise ValueError(record.streams)
    return record


def _is_sound(stream: Stream) -> bool:
    """Tell whether a stream's numbers and words are such as a watch writes."""
    months = [stream.first, stream.last, *(notice.month for notice in stream.notices)]
    evidence: list[Evidence] = [getattr(stream.statistics, name) for name in STATISTICS]
    return (
        0 < stream.studies <= _MOST_STUDIES
        and 0 < stream.false_alarm_rate < 1
        and _SHA256.fullmatch(stream.model_sha256) is not None
        and all(map(_MONTH.fullmatch, months))
        and all(0 <= count <= _MOST_STUDIES for count in stream.refusals.values())
        and all(notice.statistic in STATISTICS for notice in stream.notices)
        and all(0 < notice.study <= stream.studies for notice in stream.notices)
        and len(stream.recent) <= MOST_RECENT
        and len(stream.notices) <= MOST_NOTICES
        and len(stream.refusals) <= MOST_CODES
        and all(each.studies <= stream.studies and _is_evidence(each) for each in evidence)
    )


def _is_evidence(evidence: Evidence) -> bool:
    """Tell whether evidence is such as was gathered and has not been noticed."""
    bins = [bin_ for bin_, _ in evidence.counts]
    return (
        len(evidence.worth) == len(BETS)
        and all(0 <= worth < LIMIT * len(BETS) for worth in evidence.worth)
        and evidence.value < LIMIT
        and all(abs(bin_) <= FARTHEST_BIN for bin_ in bins)
        and len(set(bins)) == len(bins)
        and all(count > 0 for _, count in evidence.counts)
    )
