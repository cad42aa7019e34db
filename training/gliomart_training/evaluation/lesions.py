"""Which simulated gliomas an evaluation puts into the pons."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from gliomart_training.pontine import Implanted, draw_lesion, implant

if TYPE_CHECKING:
    from gliomart.image.slices import Slice
    from gliomart_training.dataset import Patient

Arm = Literal["swollen and bright", "bright", "swollen"]


@dataclass(frozen=True)
class Row:
    """One kind of lesion; ``expansion`` None draws it for each patient."""

    arm: Arm
    fraction: float
    signal: float
    expansion: float | None

    @property
    def name(self) -> str:
        """As in tables."""
        if self.arm == "swollen":
            return f"{self.arm} ×{self.expansion:g}"
        return f"{self.arm}, {self.fraction:.0%} at +{self.signal:.0%}"

    def generator(self, patient: str) -> np.random.Generator:
        """Draw alike for every slice of a patient, whatever else is run."""
        digest = hashlib.sha256(f"{patient}/{self.name}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))


FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
SIGNALS = (0.15, 0.3, 0.6)
SWELLINGS = (1.1, 1.2, 1.35, 1.5, 1.6)
ROWS = (
    *(Row("swollen and bright", f, s, None) for s in SIGNALS for f in FRACTIONS),
    *(Row("bright", f, 0.3, 1.0) for f in FRACTIONS),
    *(Row("swollen", 0.0, 0.0, e) for e in SWELLINGS),
)


def with_lesions(patient: Patient, row: Row) -> tuple[list[Slice], dict[int, Implanted]]:
    """Put one kind of lesion into the marked slices of a patient.

    Returns
    -------
    All slices, those with the lesion in place; and what was put where, by number.
    """
    marks = {n: e.pons for n, e in enumerate(patient.examples) if e.pons is not None}
    random = row.generator(patient.id)
    expansion = row.expansion or random.uniform(1.1, 1.1 + 0.5 * row.fraction)
    lesion = draw_lesion(random, fraction=row.fraction, signal=row.signal, expansion=expansion)
    state = random.bit_generator.state
    implanted = {}
    for number, ellipse in marks.items():
        random.bit_generator.state = state
        pixels = patient.examples[number].slice.pixels
        implanted[number] = implant(pixels, ellipse, lesion, random)
    slices = [
        replace(s, pixels=implanted[n].pixels) if n in implanted else s
        for n, s in enumerate(patient.slices)
    ]
    return slices, implanted
