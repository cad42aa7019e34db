"""Keep standard output for results, whatever the libraries of a GPU print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def off_standard_output() -> Iterator[None]:
    """Send what is printed meanwhile, by Python or past it, to standard error.

    It holds for the whole process: what another thread prints meanwhile ends there as well.
    """
    try:
        os.fstat(2)
        kept = os.dup(1)
    except OSError:  # one is closed, as services have it: there is nothing to keep clean
        yield
        return
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # what waits in its buffer was meant for standard output
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
