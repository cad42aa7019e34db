"""What a run is asked to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Overlays = Literal["flagged", "all", "none"]


@dataclass(frozen=True)
class OutputOptions:
    """What is written beside results.json, results.csv, the report and an overview of each series.

    Attributes
    ----------
    overlays
        Of which slices overlays are written: those that are flagged, all or none. The overview and
        the report show all of them in any case.
    maps
        Write anomaly maps (float32 .npy) and masks (PNG) on the source's grid as well.
    dicom
        Write DICOM objects of every DICOM series as well.
    identify
        Let the report show paths and UIDs.
    """

    overlays: Overlays = "flagged"
    maps: bool = False
    dicom: bool = False
    identify: bool = False
