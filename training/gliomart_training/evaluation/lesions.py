"""Which simulated gliomas an evaluation puts into the pons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gliomart_training.generator import generator_of
from gliomart_training.pontine import Implanted, draw_lesion, implant
from gliomart_training.pontine_soft import SoftLesion, grow

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.image.slices import Slice
    from gliomart_training.dataset import Ellipse, Patient

Arm = Literal["swollen and bright", "bright", "swollen", "soft"]


@dataclass(frozen=True)
class Row:
    """One kind of lesion; ``expansion`` None draws it for each patient.

    The arm ``soft`` is of the second simulator, :mod:`..pontine_soft`; the others are of the first.
    """

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
        return generator_of(f"{patient}/{self.name}")


FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
SIGNALS = (0.15, 0.3, 0.6)
SWELLINGS = (1.1, 1.2, 1.35, 1.5, 1.6)
SOFT_SIGNALS = (0.2, 0.35)
ROWS = (
    *(Row("swollen and bright", f, s, None) for s in SIGNALS for f in FRACTIONS),
    *(Row("bright", f, 0.3, 1.0) for f in FRACTIONS),
    *(Row("swollen", 0.0, 0.0, e) for e in SWELLINGS),
    *(Row("soft", f, s, 1.0) for s in SOFT_SIGNALS for f in FRACTIONS[1:]),
)


def with_lesions(patient: Patient, row: Row) -> tuple[list[Slice], dict[int, Implanted]]:
    """Put one kind of lesion into the marked slices of a patient.

    Returns
    -------
    All slices, those with the lesion in place; and what was put where, by number.
    """
    marks = {n: e.pons for n, e in enumerate(patient.examples) if e.pons is not None}
    random = row.generator(patient.id)
    put = _simulated(row, random)
    state = random.bit_generator.state
    implanted = {}
    for number, ellipse in marks.items():
        random.bit_generator.state = state
        implanted[number] = put(patient.examples[number].slice.pixels, ellipse)
    slices = [
        replace(s, pixels=implanted[n].pixels) if n in implanted else s
        for n, s in enumerate(patient.slices)
    ]
    return slices, implanted


def _simulated(
    row: Row, random: np.random.Generator
) -> Callable[[NDArray[np.float32], Ellipse], Implanted]:
    """Draw what is the same in all slices of a patient, and give what puts it into one."""
    if row.arm == "soft":
        soft = SoftLesion(row.fraction, row.signal)
        return lambda pixels, pons: grow(pixels, pons, soft, random)
    expansion = row.expansion or random.uniform(1.1, 1.1 + 0.5 * row.fraction)
    lesion = draw_lesion(random, fraction=row.fraction, signal=row.signal, expansion=expansion)
    return lambda pixels, pons: implant(pixels, pons, lesion, random)
