"""Time that was spent."""

from __future__ import annotations

from time import perf_counter


def ms_since(started: float) -> float:
    """Milliseconds since a moment of :func:`time.perf_counter`."""
    return (perf_counter() - started) * 1e3
