"""The analysed slices of one series, as the DICOM objects made of them need them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart._version import __version__
from gliomart.geometry import even_step
from gliomart.outputs.dicom.lesions import Lesion, connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom import Dataset

    from gliomart.geometry import Plane
    from gliomart.pons import PonsVerdict
    from gliomart.results import Settings, SliceResult
    from gliomart.series import Verdict

MANUFACTURER = "gliomart"
# DICOM PS3.3 C.7.3.1: series numbers of the scanner are small; those of results lie beside them.
_SERIES_NUMBERS = 9000


@dataclass(frozen=True)
class Stack:
    """One analysed series.

    Attributes
    ----------
    results
        Its slices, from feet to head.
    sources
        Headers of the images it was read from: one for each slice, one for all (multi-frame), or
        those of a volume that was turned.
    verdict, pons
        On the series.
    display_limit
        Anomaly-map value at which the colour scale ends.
    """

    results: Sequence[SliceResult]
    sources: Sequence[Dataset]
    verdict: Verdict
    pons: PonsVerdict | None
    display_limit: float

    @property
    def settings(self) -> Settings:
        """What produced the results."""
        return self.results[0].settings

    @property
    def first(self) -> Dataset:
        """Stands for the series where patient, study and frame of reference are asked for."""
        return self.sources[0]

    @cached_property
    def planes(self) -> list[Plane] | None:
        """Where each slice lies; None where that is not known of all, or sizes differ."""
        planes = [result.slice.plane for result in self.results]
        same = len({result.slice.pixels.shape for result in self.results}) == 1
        known = [plane for plane in planes if plane is not None]
        if len(known) < len(planes) or not same or not known:
            return None
        return known if all(known[0].parallel_to(plane) for plane in known) else None

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """What is anomalous; bool (slices, rows, columns)."""
        return np.stack([result.mask for result in self.results])

    @cached_property
    def pons_masks(self) -> NDArray[np.bool_] | None:
        """The pons; bool (slices, rows, columns), None where it is nowhere seen."""
        masks = [result.pons.mask if result.pons else None for result in self.results]
        if not any(mask is not None and mask.any() for mask in masks):
            return None
        return np.stack([np.zeros_like(self.masks[0]) if m is None else m for m in masks])

    @cached_property
    def lesions(self) -> list[Lesion]:
        """What is anomalous, connected over slices, largest first."""
        return connected(self.masks)

    @property
    def slice_step(self) -> float | None:
        """Distance between neighbouring slices in mm; None where they are not evenly spaced."""
        return even_step(self.planes) if self.planes else None

    def series_number(self, kind: int) -> int:
        """Choose the number of a result series, beside the source's own."""
        number = self.first.get("SeriesNumber")
        return _SERIES_NUMBERS + 10 * (int(number or 0) % 100) + kind

    def equipment(self) -> dict[str, Any]:
        """Attributes of the equipment that made the results (DICOM PS3.3 C.7.5.2)."""
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.model,
            "software_versions": __version__,
            "device_serial_number": self.settings.model_sha256[:16],
        }

    @property
    def model(self) -> str:
        """Name and version of the model."""
        return f"{self.settings.model_name} {self.settings.model_version}"

    @property
    def concerns(self) -> list[str]:
        """Codes of what lies outside the intended use."""
        codes = (concern.code for result in self.results for concern in result.concerns)
        return list(dict.fromkeys(codes))
