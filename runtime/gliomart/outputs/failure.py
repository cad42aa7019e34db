"""Why something failed by itself, while the rest of a run goes on."""

from __future__ import annotations

import os

from gliomart.errors import GliomartError, InputRefusedError, UnwritableError
from gliomart.printable import said


def cause_of(error: Exception) -> tuple[str, str]:
    """Tell why one series failed, by a code and a reason; raise what concerns the whole run.

    That is its model, its provider and its folder, and where ``GLIOMART_DEBUG`` is set everything,
    for a defect to show where it is.
    """
    own = isinstance(error, (InputRefusedError, UnwritableError))
    if os.environ.get("GLIOMART_DEBUG") or (isinstance(error, GliomartError) and not own):
        raise error
    if isinstance(error, (InputRefusedError, UnwritableError)):
        return error.code, error.reason
    if isinstance(error, MemoryError) or "insufficient memory" in str(error).lower():  # OpenCV's
        return "out-of-memory", "there was too little memory for its series"
    return "internal-error", f"its series met a defect: {said(error)}"
