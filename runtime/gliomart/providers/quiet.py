"""Keep standard output for results, whatever the libraries of a GPU print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUTPUT, _ERRORS = 1, 2


@contextmanager
def off_standard_output() -> Iterator[None]:
    """Send what is printed meanwhile, by Python or past it, to standard error.

    Where there is no standard error, it is lost, and where there is no standard output, nothing
    that is opened meanwhile becomes it. This holds for the whole process: what another thread
    prints meanwhile ends there as well.
    """
    kept = _copied(_OUTPUT)
    if kept is not None and sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()  # what waits in its buffer was meant for standard output
    elsewhere = _copied(_ERRORS)
    if elsewhere is None:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
    if elsewhere != _OUTPUT:  # which is the first number that is free, where it was closed
        os.dup2(elsewhere, _OUTPUT)
        os.close(elsewhere)
    try:
        if sys.stderr is None:
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                yield
        else:
            with redirect_stdout(sys.stderr):
                yield
    finally:
        if kept is None:
            os.close(_OUTPUT)
        else:
            os.dup2(kept, _OUTPUT)
            os.close(kept)


def _copied(descriptor: int) -> int | None:
    """Copy a descriptor; None for one that is closed."""
    try:
        return os.dup(descriptor)
    except OSError:
        return None
