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

    from gliomart.detector import Detector
    from gliomart.errors import GliomartError, InputRefusedError
    from gliomart.findings.pons import Pons, PonsVerdict, Section
    from gliomart.findings.results import Milliseconds, SeriesResult, Settings, SliceResult
    from gliomart.findings.scoring import Region
    from gliomart.findings.verdict import Verdict
    from gliomart.image.geometry import ImagePlane
    from gliomart.image.grid import Box
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.slices import Concern, Refusal, Slice
    from gliomart.image.steps import Preprocessing
    from gliomart.model.card import Calibration, ModelCard, PonsCalibration, Scoring, Signs
    from gliomart.providers import ProviderChoice
    from gliomart.sources import Inventory, SeriesFiles, SourceFile, scan
    from gliomart.sources.budget import Budget

__all__ = [
    "Box",
    "Budget",
    "Calibration",
    "Concern",
    "Detector",
    "GliomartError",
    "ImagePlane",
    "InputRefusedError",
    "Inventory",
    "Milliseconds",
    "ModelCard",
    "Normalisation",
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
    "model.card": ("Calibration", "ModelCard", "PonsCalibration", "Scoring", "Signs"),
    "detector": ("Detector",),
    "errors": ("GliomartError", "InputRefusedError"),
    "image.geometry": ("ImagePlane",),
    "findings.pons": ("Pons", "PonsVerdict", "Section"),
    "image.grid": ("Box",),
    "image.normalisation": ("Normalisation",),
    "image.steps": ("Preprocessing",),
    "providers": ("ProviderChoice",),
    "findings.results": ("Milliseconds", "SeriesResult", "Settings", "SliceResult"),
    "findings.scoring": ("Region",),
    "findings.verdict": ("Verdict",),
    "image.slices": ("Concern", "Refusal", "Slice"),
    "sources": ("Budget", "Inventory", "SeriesFiles", "SourceFile", "scan"),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'gliomart' has no attribute {name!r}")
    return getattr(import_module(f"gliomart.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
