"""A watch for drift in words, for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gliomart.outputs.drift import DriftEntry

# What statistics are called for people.
NAMES = {
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


def noticed(studies: Sequence[DriftEntry]) -> Iterator[str]:
    """Tell of drift that was noticed in a run or before it, each once of however many studies."""
    lines = {
        f"{_place_of(entry)}: {moved(cast('Mapping[str, object]', notice))}": None
        for entry in studies
        for notice in entry["noticed"]
    }
    return iter(lines)


def not_counted(studies: Sequence[DriftEntry]) -> Iterator[str]:
    """Tell of studies that were not counted, and why, each reason once for a scanner."""
    lines = {
        f"{_place_of(entry)}: a study was {_NOT_COUNTED[entry['not_counted']]}": None
        for entry in studies
        if entry["not_counted"] is not None
    }
    return iter(lines)


def _place_of(entry: DriftEntry) -> str:
    return place_of(cast("Mapping[str, str]", entry["scanner"]), entry["sequence"])


def place_of(scanner: Mapping[str, str], sequence: str) -> str:
    """Name a scanner and sequence."""
    words = [scanner["manufacturer"], scanner["model"]]
    name = " ".join(printable(word) for word in words if word) or "unknown scanner"
    device = f" ({printable(scanner['device'])})" if scanner["device"] else ""
    return f"{name}{device}, {printable(sequence)}"


def moved(notice: Mapping[str, object]) -> str:
    """Say which statistic moved, whereto, and when that was noticed."""
    name = NAMES.get(str(notice["statistic"]), printable(str(notice["statistic"])))
    verb = "has risen" if notice["risen"] else "has fallen"
    return f"{name} {verb}, noticed with study {notice['study']} ({notice['month']})"
