"""What results.json says of the series that were to be seen beside another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from gliomart.findings.results import CompanionResult

# Notes that tell the same in words.
OF_COMPANIONS = frozenset({"seen-together", "left-out"})


class RegistrationEntry(TypedDict):
    """How registration moved a companion onto a series.

    Attributes
    ----------
    shift_mm
        How far its middle was moved.
    angle_deg
        How far it was turned, in degrees.
    """

    shift_mm: float
    angle_deg: float


class CompanionEntry(TypedDict):
    """A further series of the examination that was to be seen beside a series.

    Attributes
    ----------
    id, source
        As those of a series.
    sequence
        MR sequence that it is of; null where nothing tells.
    seen
        The model saw it with the series.
    code, reason
        Why it did not: stable, for programs; a sentence for people. Null where it did.
    registration
        Null where its own places bring it onto the series.
    slices
        Number of its slices that were read.
    lost_slices
        Number of those that are missing or could not be read, by the code of why; a gap counts
        once.
    """

    id: str
    source: str
    sequence: str | None
    seen: bool
    code: str | None
    reason: str | None
    registration: RegistrationEntry | None
    slices: int
    lost_slices: dict[str, int]


def companion_entry(result: CompanionResult) -> CompanionEntry:
    """Write out what became of one."""
    moved, left_out = result.movement, result.left_out
    return {
        "id": result.id,
        "source": result.source,
        "sequence": result.sequence,
        "seen": result.seen,
        "code": None if left_out is None else left_out.code,
        "reason": None if left_out is None else left_out.reason,
        "registration": None
        if moved is None
        else {"shift_mm": round(moved.shift, 2), "angle_deg": round(moved.angle, 2)},
        "slices": result.slices,
        "lost_slices": result.lost_slices,
    }
