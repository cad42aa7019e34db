"""How series are written: what a function needs to know of the detector that analysed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gliomart.outputs.options import OutputOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from gliomart.findings.results import Settings
    from gliomart.model.card import ModelCard


@dataclass(frozen=True)
class SeriesPlan:
    """How series are written.

    Attributes
    ----------
    card
        Of the model that analysed them, calibrated.
    settings
        Tells what produced the results. It is asked when a series is over, since a provider may
        have been lost meanwhile.
    options
        What is written of them.
    workers
        Slices that are written at a time.
    watched
        Results tell how slices look as well, for a watch for drift.
    """

    card: ModelCard
    settings: Callable[[], Settings]
    options: OutputOptions = field(default_factory=OutputOptions)
    workers: int = 1
    watched: bool = False

    @property
    def display_limit(self) -> float:
        """Anomaly-map value at which the colour scale ends."""
        assert self.card.calibration is not None  # noqa: S101  # no detector runs without one
        return self.card.calibration.display_limit
