"""A GPU's results, held to the CPU's on one slice whenever a model is loaded.

Drivers, libraries and precisions differ from one workstation to the next, so a comparison made on
another says little about this one. The slice is one of the simulated study: it shows pons, brain
and a lesion, so that every output has something to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.equality import ByContent
from gliomart.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.providers.session import Session


@dataclass(frozen=True, eq=False)
class Reference(ByContent):
    """A slice and the CPU's outputs for it.

    Attributes
    ----------
    image
        float32 (1, size, size, channels), the model's input of the same name.
    outputs
        By name, float32 (1, size, size, channels).
    """

    image: NDArray[np.float32]
    outputs: dict[str, NDArray[np.float32]]

    def hold(self, session: Session, tolerance: float) -> dict[str, float]:
        """Compare a session's outputs for the slice with them.

        Parameters
        ----------
        session
            On another provider.
        tolerance
            How far any value may be from the CPU's; outputs are in units of the image, in which
            the brain's median is that of the model's card, or probabilities.

        Returns
        -------
        Largest absolute difference of each output.

        Raises
        ------
        ProviderError
            One exceeds the tolerance.
        ModelError
            The session fails.
        """
        # Something else first: a CUDA graph is recorded there, and has to see the slice in replay.
        session.run(list(self.outputs), {"image": np.zeros_like(self.image)})
        found = session.run(list(self.outputs), {"image": self.image})
        differences = {
            name: float(np.abs(theirs - ours).max())
            for (name, ours), theirs in zip(self.outputs.items(), found, strict=True)
        }
        for name, difference in differences.items():
            if not difference <= tolerance:  # NaN is within none
                raise ProviderError(
                    f"its {name} differs from the CPU's by {difference:.2g},"
                    f" where {tolerance:g} is allowed"
                )
        return differences


def reference(cpu: Session, names: Sequence[str], image: NDArray[np.float32]) -> Reference:
    """Run a slice, float32 (size, size, channels), on the CPU.

    Raises
    ------
    ModelError
        The graph does not run there.
    """
    batch = image[np.newaxis]
    return Reference(batch, dict(zip(names, cpu.run(names, {"image": batch}), strict=True)))
