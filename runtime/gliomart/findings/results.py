"""What comes out of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliomart.equality import ByContent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gliomart.findings.pons import Pons, PonsVerdict
    from gliomart.findings.scoring import Region
    from gliomart.findings.verdict import Verdict
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.slices import Concern, Refusal, Slice
    from gliomart.providers import ProviderChoice


@dataclass(frozen=True)
class Settings:
    """What produced a result: the model, the provider and the effective settings.

    ``forced`` says that what the model was not made for was to be analysed as well, ``plane`` which
    colour plane of pictures was, from 1; None where all had to be alike.
    """

    model_name: str
    model_version: str
    model_sha256: str
    provider: ProviderChoice
    false_alarm_rate: float
    forced: bool = False
    plane: int | None = None


@dataclass(frozen=True)
class Milliseconds:
    """Time one slice took in each stage; a series' shared work is divided among its slices."""

    read: float
    preprocess: float
    infer: float
    score: float


@dataclass(frozen=True, eq=False)
class SliceResult(ByContent):
    """One analysed slice.

    Attributes
    ----------
    slice
        What was analysed.
    normalisation
        How it was brought into the model: box and intensity scale of its series.
    reconstruction
        float32 (size, size) in [0, 1]: what the model makes of it, on the model's grid.
    brain
        float32 (size, size) in [0, 1], on the model's grid: the probability of being brain, where
        alone the anomaly map counts.
    anomaly_map
        float32 (H, W) on the source's grid.
    mask
        bool (H, W): what the pixel threshold and the smallest area keep.
    regions
        The mask's connected parts, highest peak first.
    score, p_value
        Higher scores are more anomalous; the p-value is conformal, against tumour-free slices.
    flagged
        ``p_value <= settings.false_alarm_rate``.
    pons
        What it shows of the pons; None where the model does not know the pons.
    concerns
        Why it lies outside the model's intended use, where it was analysed all the same.
    notes
        What has to be told of how its series was put together and read.
    settings
        What produced this result.
    ms
        Time per stage.
    """

    slice: Slice
    normalisation: Normalisation
    reconstruction: NDArray[np.float32]
    brain: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    regions: tuple[Region, ...]
    score: float
    p_value: float
    flagged: bool
    pons: Pons | None
    concerns: tuple[Concern, ...]
    notes: tuple[Concern, ...]
    settings: Settings
    ms: Milliseconds


@dataclass(frozen=True, eq=False)
class SeriesResult(ByContent):
    """One series: its slices in order, what was refused, and the verdict on the whole.

    ``verdict`` is None where no slice could be analysed; ``pons`` is the verdict on the pons, None
    where the model does not know it.
    """

    id: str
    source: str
    slices: tuple[SliceResult, ...]
    not_analysed: tuple[Refusal, ...]
    verdict: Verdict | None
    pons: PonsVerdict | None
    settings: Settings

    @property
    def notes(self) -> tuple[Concern, ...]:
        """What has to be told of how the series was put together and read."""
        return tuple(dict.fromkeys(note for result in self.slices for note in result.notes))
