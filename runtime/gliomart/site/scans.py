"""A site's scans: whose each series is, of which sequence, and which scanner made it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from gliomart.errors import DatasetError
from gliomart.findings.statements import sequence_of_series
from gliomart.findings.suitability import concerns_of_series
from gliomart.model.contents import CalibratedScanner
from gliomart.printable import printable
from gliomart.sources.traits import patients

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from gliomart.model.card import ModelCard
    from gliomart.sources import SeriesFiles
    from gliomart.sources.header import Header

# A subject's label in a path (BIDS 1.10, entities).
_SUBJECT = re.compile(r"(?:^|/)sub-([0-9A-Za-z]+)(?=[_/])")
_LONGEST_WORD = 64  # of a Long String (PS3.5 6.2)


def by_patient(every_series: Sequence[SeriesFiles]) -> list[list[SeriesFiles]]:
    """Put together what is of one patient.

    DICOM series are of one patient where Patient ID or Patient's Name agree and nothing else of
    them contradicts (:func:`gliomart.sources.traits.patients`); where headers name nobody, every
    study is a patient. Of other files those with one label ``sub-`` in their path (BIDS) are of
    one patient; where there is none, every series is a patient.

    Returns
    -------
    The series of each patient, in the order in which patients were met.
    """
    headers = [header for series in every_series if (header := _header(series)) is not None]
    persons = patients([header.patient for header in headers])

    def owner(series: SeriesFiles) -> Hashable:
        header = _header(series)
        if header is None:
            subject = _SUBJECT.search(series.files[0].source)
            return ("subject", subject[1]) if subject else ("series", series.id)
        if any(header.patient):
            return "person", persons[header.patient]
        return ("study", header.study) if header.study else ("series", series.id)

    found: defaultdict[Hashable, list[SeriesFiles]] = defaultdict(list)
    for series in every_series:
        found[owner(series)].append(series)
    return list(found.values())


def sequences_of(every_series: Iterable[SeriesFiles]) -> tuple[str, ...]:
    """Tell the sequences of series, as far as headers, names (BIDS) or sidecars say; each once.

    Raises
    ------
    DatasetError
        There are several, and each has scores of its own.
    """
    found = Counter(filter(None, map(sequence_of_series, every_series)))
    if len(found) > 1:
        told = ", ".join(f"{name} ({count} series)" for name, count in found.most_common())
        raise DatasetError(f"the scans are of mixed sequences, {told}; give those of one")
    return tuple(found)


def scanners_of(every_series: Iterable[SeriesFiles]) -> tuple[CalibratedScanner, ...]:
    """Count the series of each kind of scanner that headers name; none of what has no header."""
    headers = filter(None, map(_header, every_series))
    found = Counter((*h.scanner[:2], h.field_strength) for h in headers)
    return tuple(
        CalibratedScanner(
            printable(manufacturer)[:_LONGEST_WORD],
            printable(model)[:_LONGEST_WORD],
            None if strength is None else round(strength, 2),
            count,
        )
        for (manufacturer, model, strength), count in found.most_common()
    )


def suited(every_series: Iterable[SeriesFiles], card: ModelCard) -> list[SeriesFiles]:
    """Leave out the series of which nothing would be analysed, as is said of them."""
    return [series for series in every_series if not all(concerns_of_series(series, card).values())]


def _header(series: SeriesFiles) -> Header | None:
    return series.files[0].header
