"""What a model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart.equality import ByContent
from gliomart.model.contents import ANOMALY_MAP, BRAIN, RECONSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction(ByContent):
    """What a model predicts for one slice, on its own grid.

    Attributes
    ----------
    by_role
        float32 (size, size) each, by the outputs' role, in the order of the card's outputs: several
        of one role are several networks in one file. Ranges are those of the card.
    """

    by_role: Mapping[str, tuple[NDArray[np.float32], ...]]

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """0 upwards."""
        return self.by_role[ANOMALY_MAP][0]

    @property
    def reconstruction(self) -> NDArray[np.float32] | None:
        """First channel, in [0, 1]; None where the model gives none."""
        return self.first(RECONSTRUCTION)

    @property
    def brain(self) -> NDArray[np.float32] | None:
        """Probability, in [0, 1], that a pixel lies in the brain; None where none is given."""
        return self.first(BRAIN)

    def first(self, role: str) -> NDArray[np.float32] | None:
        """Give the first output of a role; None where there is none."""
        return next(iter(self.by_role.get(role, ())), None)
