"""gliomart: shows where a brain MRI departs from tumour-free ones.

Research software, not a medical device. The entry for embedders is :class:`Detector`; public is
what is named here, and the errors in :mod:`gliomart.errors`. Names are imported when they are first
used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module

from gliomart._version import __version__

TYPE_CHECKING = False  # as typing has it, which would take most of the time that this takes
if TYPE_CHECKING:
    from typing import Any

    from gliomart.card import Calibration, ModelCard, PonsCalibration, Scoring, Signs
    from gliomart.detector import Detector
    from gliomart.errors import GliomartError, InputRefusedError
    from gliomart.geometry import Plane
    from gliomart.pons import Pons, PonsVerdict, Section
    from gliomart.preprocess import Box, Frame, Preprocessing
    from gliomart.providers import ProviderChoice
    from gliomart.results import Milliseconds, SeriesResult, Settings, SliceResult
    from gliomart.scoring import Region
    from gliomart.series import Verdict
    from gliomart.slices import Concern, Refusal, Slice
    from gliomart.sources import Inventory, SeriesFiles, SourceFile, scan
    from gliomart.sources.budget import Budget

__all__ = [
    "Box",
    "Budget",
    "Calibration",
    "Concern",
    "Detector",
    "Frame",
    "GliomartError",
    "InputRefusedError",
    "Inventory",
    "Milliseconds",
    "ModelCard",
    "Plane",
    "Pons",
    "PonsCalibration",
    "PonsVerdict",
    "Preprocessing",
    "ProviderChoice",
    "Refusal",
    "Region",
    "Scoring",
    "Section",
    "SeriesFiles",
    "SeriesResult",
    "Settings",
    "Signs",
    "Slice",
    "SliceResult",
    "SourceFile",
    "Verdict",
    "__version__",
    "scan",
]

_NAMES = {
    "card": ("Calibration", "ModelCard", "PonsCalibration", "Scoring", "Signs"),
    "detector": ("Detector",),
    "errors": ("GliomartError", "InputRefusedError"),
    "geometry": ("Plane",),
    "pons": ("Pons", "PonsVerdict", "Section"),
    "preprocess": ("Box", "Frame", "Preprocessing"),
    "providers": ("ProviderChoice",),
    "results": ("Milliseconds", "SeriesResult", "Settings", "SliceResult"),
    "scoring": ("Region",),
    "series": ("Verdict",),
    "slices": ("Concern", "Refusal", "Slice"),
    "sources": ("Budget", "Inventory", "SeriesFiles", "SourceFile", "scan"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'gliomart' has no attribute {name!r}")
    return getattr(import_module(f"gliomart.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
