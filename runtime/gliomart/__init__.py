"""gliomart: shows where a brain MRI departs from tumour-free ones.

Research software, not a medical device. The entry for embedders is :class:`Detector`; names are
imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gliomart._version import __version__

if TYPE_CHECKING:
    from gliomart.detector import Detector
    from gliomart.errors import GliomartError
    from gliomart.results import SeriesResult, SliceResult
    from gliomart.slices import Refusal, Slice
    from gliomart.sources.budget import Budget

__all__ = [
    "Budget",
    "Detector",
    "GliomartError",
    "Refusal",
    "SeriesResult",
    "Slice",
    "SliceResult",
    "__version__",
]

_HOME = {
    "Budget": "sources.budget",
    "Detector": "detector",
    "GliomartError": "errors",
    "Refusal": "slices",
    "SeriesResult": "results",
    "Slice": "slices",
    "SliceResult": "results",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'gliomart' has no attribute {name!r}")
    return getattr(import_module(f"gliomart.{_HOME[name]}"), name)
