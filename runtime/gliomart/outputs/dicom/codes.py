"""Coded terms that no enumeration of pydicom's has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# A scheme of our own (DICOM PS3.16 8.2): 99 marks private ones.
SCHEME = "99GLIOMART"


@dataclass(frozen=True)
class Term:
    """A coded concept; ``code`` is it as pydicom's and highdicom's functions take it."""

    value: str
    meaning: str
    scheme: str = SCHEME

    @property
    def code(self) -> Any:  # noqa: ANN401
        """As a pydicom Code."""
        from pydicom.sr.coding import Code

        return Code(self.value, self.scheme, self.meaning)


PONS = Term("49557009", "Pons", "SCT")

ANOMALY = Term("ANOMALY", "Departure from what the model expects")
SCORE = Term("SCORE", "Anomaly score")
P_VALUE = Term("P_VALUE", "Conformal p-value against tumour-free images")
PEAK = Term("PEAK", "Highest anomaly map value")
CENTRE = (
    Term("CENTRE_L", "Centre, mm to the left (LPS)"),
    Term("CENTRE_P", "Centre, mm to the back (LPS)"),
    Term("CENTRE_H", "Centre, mm to the head (LPS)"),
)
FLAGGED = Term("FLAGGED", "Flagged at the nominal false-alarm rate")
NOT_JUDGED = Term("NOT_JUDGED", "Not judged: calibrated on too few patients")
COVERAGE = Term("COVERAGE", "Coverage of the pons")
COVERED = Term("COVERED", "Pons covered")
NOT_COVERED = Term("NOT_COVERED", "Pons not covered: nothing is said about it")
INTENDED_USE = Term("INTENDED_USE", "Intended use")
RESEARCH = Term("RESEARCH", "Research use only. Not for diagnosis.")
OUTSIDE = Term("OUTSIDE", "Outside the intended use of the model")

TERMS = (
    PONS, ANOMALY, SCORE, P_VALUE, PEAK, *CENTRE, FLAGGED, NOT_JUDGED, COVERAGE, COVERED,
    NOT_COVERED, INTENDED_USE, RESEARCH, OUTSIDE,
)  # fmt: skip
