"""Keep standard output for results, whatever the libraries of a GPU print."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from gliomart.host import streams

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def off_standard_output() -> Iterator[None]:
    """Send what is printed meanwhile, by Python or past it, to standard error.

    Where there is no standard error, it is lost, and nothing that is opened meanwhile takes the
    place of a stream that was closed. This holds for the whole process: what another thread prints
    meanwhile ends there as well.
    """
    if (stream := streams.usable(sys.stdout)) is not None and hasattr(stream, "flush"):
        stream.flush()  # what waits in its buffer was meant for standard output
    filled = streams.fill_closed_descriptors()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(StringIO() if sys.stderr is None else sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        for number in filled:
            os.close(number)
