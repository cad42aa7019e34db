"""Elapsed time."""

from __future__ import annotations

from time import perf_counter


def ms_since(started: float) -> float:
    """Tell how many milliseconds have passed since :func:`time.perf_counter` said so much."""
    return (perf_counter() - started) * 1e3
