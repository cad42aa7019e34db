"""What comes out of a detector."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import warn

from gliomart.equality import ByContent
from gliomart.model.contents import PONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from gliomart.findings.scoring import Region
    from gliomart.findings.structures import StructureFinding, StructureVerdict
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.resampling import Rigid
    from gliomart.image.slices import Concern, Refusal, Slice
    from gliomart.model.card import ModelCard
    from gliomart.providers import ProviderChoice


@dataclass(frozen=True)
class SiteThresholds:
    """Thresholds that a site set by its own scans, see :class:`gliomart.SiteCalibration`.

    Attributes
    ----------
    date
        When, such as ``2026-11-28``.
    patients
        How many patients' scans they were.
    kept
        Levels whose thresholds are still the model's own.
    """

    date: str
    patients: int
    kept: tuple[str, ...]

    @classmethod
    def of(cls, card: ModelCard) -> SiteThresholds | None:
        """Take from a card what results tell; None where no site calibrated it."""
        if card.site is None:
            return None
        return cls(card.site.date, card.site.patients, card.site.kept)


@dataclass(frozen=True)
class Settings:
    """What produced a result: the model, the provider and the effective settings.

    ``forced`` says that what the model was not made for was to be analysed as well, ``plane`` which
    colour plane of pictures was, from 1; None where all had to be alike. ``sequence`` is what
    images were given as, as far as they did not say it; None where nobody said. ``site`` is whose
    scans set the model's thresholds; None where they are the model's own. ``registered`` says that
    what stands beside a series and does not lie on it was to be moved onto it.
    """

    model_name: str
    model_version: str
    model_sha256: str
    provider: ProviderChoice
    false_alarm_rate: float
    forced: bool = False
    plane: int | None = None
    site: SiteThresholds | None = None
    sequence: str | None = None
    registered: bool = False


@dataclass(frozen=True)
class Milliseconds:
    """Time one slice took in each stage; a series' shared work is divided among its slices."""

    read: float
    preprocess: float
    infer: float
    score: float


@dataclass(frozen=True)
class CompanionResult:
    """What became of a further series of the examination that was to be seen beside another one.

    Attributes
    ----------
    sequence
        Of MR, such as ``T1C``; None where nothing tells.
    id, source
        As of :class:`gliomart.SeriesFiles`; of slices in memory the sequence.
    slices
        How many of its slices were read.
    left_out
        Why it was not seen; None where it was.
    movement
        From places in the series that leads to the same tissue's in this one, where registration
        moved it; None where its places, or pixels, bring it there.
    refused
        Slices of it that are missing or could not be read: the series that leads counts by itself
        there.
    """

    sequence: str | None
    id: str
    source: str
    slices: int = 0
    left_out: Concern | None = None
    movement: Rigid | None = None
    refused: tuple[Refusal, ...] = ()

    @property
    def seen(self) -> bool:
        """Whether the model saw it."""
        return self.left_out is None

    @property
    def lost_slices(self) -> dict[str, int]:
        """How many of :attr:`refused` there are of each code; a gap counts once."""
        return dict(Counter(refusal.code for refusal in self.refused))


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
        float32 (size, size) in [0, 1], on the model's grid: the slice as the model would expect it;
        None where the model gives none.
    brain
        float32 (size, size) in [0, 1], on the model's grid: the probability of being brain, where
        alone the anomaly map counts; None where the model gives none, and the whole map counts.
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
    structures
        What it shows of each structure that the model judges by itself, by its name.
    concerns
        Why it lies outside the model's intended use, where it was analysed all the same.
    notes
        What has to be told of how its series was put together and read.
    settings
        What produced this result.
    ms
        Time per stage.
    companions
        Further series that were to be seen beside its own, and what became of each.
    """

    slice: Slice
    normalisation: Normalisation
    reconstruction: NDArray[np.float32] | None
    brain: NDArray[np.float32] | None
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    regions: tuple[Region, ...]
    score: float
    p_value: float
    flagged: bool
    structures: Mapping[str, StructureFinding]
    concerns: tuple[Concern, ...]
    notes: tuple[Concern, ...]
    settings: Settings
    ms: Milliseconds
    companions: tuple[CompanionResult, ...] = ()

    @property
    def pons(self) -> StructureFinding | None:
        """What it shows of the pons; None where the model does not know it."""
        return self.structures.get(PONS)

    @property
    def frame(self) -> Normalisation:
        """What :attr:`normalisation` was called before."""
        warn("SliceResult.frame is called normalisation now", DeprecationWarning, stacklevel=2)
        return self.normalisation


@dataclass(frozen=True)
class Verdict:
    """What a series as a whole shows.

    Attributes
    ----------
    score
        Mean of the highest slice scores.
    p_value
        Against whole tumour-free series: a flag per slice at 5 % would mark most normal ones.
    flagged
        ``p_value <= false_alarm_rate``; None where the model was calibrated on too few patients
        to tell at this rate.
    """

    score: float
    p_value: float
    flagged: bool | None


@dataclass(frozen=True, eq=False)
class StudyResult(ByContent):
    """One examination: its series in order, and what was refused and belongs to none of them."""

    series: tuple[SeriesResult, ...]
    not_analysed: tuple[Refusal, ...]
    settings: Settings


@dataclass(frozen=True, eq=False)
class SeriesResult(ByContent):
    """One series: its slices in order, what was refused, and the verdict on the whole.

    ``verdict`` is None where no slice could be analysed; ``structures`` are the verdicts on the
    structures that the model judges by themselves, by their names; ``notes`` what has to be told of
    how the series was put together and read, and of how much of it was lost; ``companions`` the
    further series of the examination that were to be seen beside it, and what became of each: none
    where the model takes none, or no slice could be analysed.
    """

    id: str
    source: str
    slices: tuple[SliceResult, ...]
    not_analysed: tuple[Refusal, ...]
    verdict: Verdict | None
    structures: Mapping[str, StructureVerdict]
    settings: Settings
    notes: tuple[Concern, ...] = ()
    companions: tuple[CompanionResult, ...] = ()

    @property
    def pons(self) -> StructureVerdict | None:
        """The verdict on the pons; None where the model does not know it."""
        return self.structures.get(PONS)
