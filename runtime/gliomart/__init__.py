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
    from gliomart.findings.results import (
        CompanionResult,
        Milliseconds,
        SeriesResult,
        Settings,
        SiteThresholds,
        SliceResult,
        StudyResult,
        Verdict,
    )
    from gliomart.findings.scoring import Region
    from gliomart.findings.structures import Section, Structure, StructureFinding, StructureVerdict
    from gliomart.image.geometry import ImagePlane
    from gliomart.image.grid import Box
    from gliomart.image.normalisation import Normalisation
    from gliomart.image.resampling import Rigid
    from gliomart.image.slices import Concern, Refusal, Slice
    from gliomart.image.steps import Preprocessing, Shading
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import (
        CalibratedScanner,
        Calibration,
        GraphOutput,
        InputImage,
        JudgeCard,
        Limits,
        PonsCalibration,
        Scales,
        Scalp,
        Scoring,
        Signs,
        SiteCalibration,
    )
    from gliomart.model.familiar import ExpectedBrain, Familiar, Unfamiliar
    from gliomart.providers import ProviderChoice
    from gliomart.sources import Inventory, SeriesFiles, SourceFile, scan
    from gliomart.sources.budget import Budget

__all__ = [
    "Box",
    "Budget",
    "CalibratedScanner",
    "Calibration",
    "CompanionResult",
    "Concern",
    "Detector",
    "ExpectedBrain",
    "Familiar",
    "GliomartError",
    "GraphOutput",
    "ImagePlane",
    "InputImage",
    "InputRefusedError",
    "Inventory",
    "JudgeCard",
    "Limits",
    "Milliseconds",
    "ModelCard",
    "Normalisation",
    "PonsCalibration",
    "Preprocessing",
    "ProviderChoice",
    "Refusal",
    "Region",
    "Rigid",
    "Scales",
    "Scalp",
    "Scoring",
    "Section",
    "SeriesFiles",
    "SeriesResult",
    "Settings",
    "Shading",
    "Signs",
    "SiteCalibration",
    "SiteThresholds",
    "Slice",
    "SliceResult",
    "SourceFile",
    "Structure",
    "StructureFinding",
    "StructureVerdict",
    "StudyResult",
    "Unfamiliar",
    "Verdict",
    "__version__",
    "scan",
]

_NAMES = {
    "model.card": ("ModelCard",),
    "model.contents": (
        "CalibratedScanner",
        "Calibration",
        "GraphOutput",
        "InputImage",
        "JudgeCard",
        "Limits",
        "PonsCalibration",
        "Scales",
        "Scalp",
        "Scoring",
        "Signs",
        "SiteCalibration",
    ),
    "model.familiar": ("ExpectedBrain", "Familiar", "Unfamiliar"),
    "detector": ("Detector",),
    "errors": ("GliomartError", "InputRefusedError"),
    "image.geometry": ("ImagePlane",),
    "findings.structures": ("Section", "Structure", "StructureFinding", "StructureVerdict"),
    "image.grid": ("Box",),
    "image.normalisation": ("Normalisation",),
    "image.resampling": ("Rigid",),
    "image.steps": ("Preprocessing", "Shading"),
    "providers": ("ProviderChoice",),
    "findings.results": (
        "CompanionResult",
        "Milliseconds",
        "SeriesResult",
        "Settings",
        "SiteThresholds",
        "SliceResult",
        "StudyResult",
        "Verdict",
    ),
    "findings.scoring": ("Region",),
    "image.slices": ("Concern", "Refusal", "Slice"),
    "sources": ("Budget", "Inventory", "SeriesFiles", "SourceFile", "scan"),
}
# Names of before, and what they are called now.
_RENAMED = {
    "Frame": "Normalisation",
    "Plane": "ImagePlane",
    "Pons": "StructureFinding",
    "PonsVerdict": "StructureVerdict",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name in _RENAMED:
        from warnings import warn

        new = _RENAMED[name]
        warn(f"gliomart.{name} is called {new} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module("gliomart"), new)
    if name not in _HOME:
        raise AttributeError(f"module 'gliomart' has no attribute {name!r}")
    return getattr(import_module(f"gliomart.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
