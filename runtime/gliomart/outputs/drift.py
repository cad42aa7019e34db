"""What results tell of drift, as JSON values."""

from __future__ import annotations

from typing import TypedDict


class PhotometryEntry(TypedDict):
    """What is measured of a slice's brightness, whatever is found in it.

    Attributes
    ----------
    shading
        How unevenly it is lit: root mean square of the logarithm of the field that was found; null
        where the model undoes none.
    contrast
        Of grey against white matter: logarithm of brightness at the third quartile of the brain by
        that at the first.
    range
        Likewise of the 95th percentile by the 5th.
    noise
        Standard deviation from pixel to pixel, by the brain's median brightness.
    """

    shading: float | None
    contrast: float
    range: float
    noise: float


class StatisticEntry(TypedDict):
    """One statistic of a study, and what all studies so far show of it.

    Attributes
    ----------
    value
        Of this study; null where it is not known.
    studies
        Number of studies that it is ranked among, this one included.
    evidence
        That it has moved: a notice is given from ``limit`` on.
    """

    value: float | None
    studies: int
    evidence: float


class NoticeEntry(TypedDict):
    """A drift that was noticed.

    Attributes
    ----------
    statistic
        Which one moved.
    risen
        Whether it rose, or fell.
    study
        With which study of the scanner and sequence, from 1.
    month
        When that was, such as ``2026-11`` (UTC).
    """

    statistic: str
    risen: bool
    study: int
    month: str


class ScannerEntry(TypedDict):
    """A scanner.

    Attributes
    ----------
    manufacturer, model
        As headers say; empty where they do not.
    device
        Tells devices of one model apart: a check number of the serial number or station name, with
        the record's own key; empty where neither is known.
    """

    manufacturer: str
    model: str
    device: str


class DriftEntry(TypedDict):
    """What a watch for drift counted of one study on one scanner.

    Attributes
    ----------
    series
        Ids of its series.
    scanner, sequence
        What it is counted under.
    study
        Its number there, from 1; null where it was not counted.
    not_counted
        Why not: ``seen-before``, or ``too-many-scanners``; null where it was counted.
    statistics
        By name.
    limit
        Evidence from which on a drift is noticed.
    noticed
        All drift that was noticed on this scanner and sequence, this study included.
    """

    series: list[str]
    scanner: ScannerEntry
    sequence: str
    study: int | None
    not_counted: str | None
    statistics: dict[str, StatisticEntry]
    limit: float
    noticed: list[NoticeEntry]
