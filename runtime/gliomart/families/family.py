"""What every family of models does, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from gliomart.findings.judges import judges_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.families.reading import One, Opened
    from gliomart.findings.results import Settings, SliceResult
    from gliomart.findings.structures import Judge
    from gliomart.image.slices import Refusal
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import Calibration
    from gliomart.model.model import Model
    from gliomart.sources import SeriesFiles


@dataclass(frozen=True)
class Setup:
    """What a family works with.

    Attributes
    ----------
    model
        Ready to run.
    calibration
        The model's; a detector is made of no model without one.
    settings
        What results depend on beside their inputs.
    judges
        Of the structures that the card names.
    workers
        Slices that may be analysed at a time.
    """

    model: Model
    calibration: Calibration
    settings: Settings
    judges: tuple[Judge, ...]
    workers: int

    @classmethod
    def of(cls, model: Model, calibration: Calibration, settings: Settings, workers: int) -> Setup:
        """Set up what a card asks for."""
        return cls(model, calibration, settings, judges_of(model.card), workers)

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def settings_now(self) -> Settings:
        """The settings with the provider that runs now: a GPU may have been lost meanwhile."""
        return replace(self.settings, provider=self.model.provider)


class Family(Protocol):
    """Takes series, gives results: one per slice of the source, on the source's own grid.

    Threads may share one.
    """

    def __init__(self, setup: Setup) -> None:
        """Make it for one detector."""

    def arrange(self, series: Sequence[SeriesFiles]) -> Sequence[SeriesFiles]:
        """Choose which of the series that were found are looked at, and which of them together.

        What is left out here is a companion of another one
        (:meth:`gliomart.SeriesFiles.together_with`): nothing is looked at by nobody.
        """

    def open(self, series: SeriesFiles) -> Opened:
        """Begin to read a series: what it is refused for is known, and how it is normalised."""

    def analyse(self, series: Opened) -> Iterator[SliceResult | Refusal]:
        """Analyse what is read of a series, in its order."""

    def analyse_one(self, image: One) -> SliceResult:
        """Analyse one image that was given by itself.

        Raises
        ------
        InputRefusedError
            It cannot be analysed, or not by itself.
        """
