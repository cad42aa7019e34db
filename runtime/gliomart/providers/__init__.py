"""Execution providers: which can run here, which was asked for, which runs, and what if it fails.

ONNX Runtime does not raise when CUDA cannot load: it prints a message and runs the session on the
CPU. So a provider is asked for only where its libraries load (:mod:`~gliomart.providers.probe`),
the session is asked which one it runs on, and its results are compared with the CPU's
(:mod:`~gliomart.providers.parity`). A device that fails in the middle of a run costs no slice
(:mod:`~gliomart.providers.runner`).

Names are imported when they are first used, so that a command line is read without NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gliomart.providers.choice import ProviderChoice, Requested
    from gliomart.providers.opening import open_session
    from gliomart.providers.probe import reasons
    from gliomart.providers.session import CPU

__all__ = ["CPU", "ProviderChoice", "Requested", "open_session", "reasons"]

_HOME = {
    "CPU": "session",
    "ProviderChoice": "choice",
    "Requested": "choice",
    "open_session": "opening",
    "reasons": "probe",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'gliomart.providers' has no attribute {name!r}")
    return getattr(import_module(f"gliomart.providers.{_HOME[name]}"), name)
