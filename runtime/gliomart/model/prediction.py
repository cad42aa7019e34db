"""What a model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart.equality import ByContent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction(ByContent):
    """What a model makes of one slice, on its own grid; float32 (size, size) each.

    Attributes
    ----------
    reconstruction
        First channel, in [0, 1].
    anomaly_map
        0 upwards.
    brain
        Probability, in [0, 1], that a pixel lies in the brain.
    pons
        Likewise in the pons; None where the model does not know.
    """

    reconstruction: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    brain: NDArray[np.float32]
    pons: NDArray[np.float32] | None = None
