"""Keras and its backend, imported without their start-up messages.

TensorFlow's libraries write to the process's standard error before any setting of theirs can be
read; what matters comes as an exception all the same.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gliomart.errors import StarvedError
from gliomart.host import processors, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

# Threads that TensorFlow 2.21 starts, as measured, for every processor that it may be scheduled on
# whatever it is told; it aborts where it is refused one.
_THREADS_EACH, _THREADS_BESIDE = 9, 16


def load_quietly() -> None:
    """Import Keras.

    Raises
    ------
    ModuleNotFoundError
        Keras or its backend is not installed.
    StarvedError
        The system refuses the threads that the backend starts.
    """
    wanted = _THREADS_EACH * processors.scheduled() + _THREADS_BESIDE
    if processors.startable(wanted) < wanted:
        raise StarvedError(f"one of the {wanted} threads of the training's backend")
    with _standard_error_closed():
        import keras  # noqa: F401
    # It warns of a graph made anew for every network, as it has to be.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    if (stream := streams.usable(sys.stderr)) is not None:
        with suppress(OSError):  # which whoever writes to it is told
            stream.flush()
    filled = streams.fill_closed_descriptors()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        for number in filled:
            os.close(number)
