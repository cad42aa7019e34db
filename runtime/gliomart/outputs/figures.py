"""Figures of Matplotlib as PNG files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of this size in inches, its parts placed so that nothing overlaps.

    Raises
    ------
    ModuleNotFoundError
        Matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_png(figure: Figure, *, dpi: int) -> bytes:
    """Render a figure; the file says nothing of what wrote it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()
