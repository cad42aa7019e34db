"""How steady a slice's time is while something else works the machine."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from time import perf_counter
from typing import TYPE_CHECKING

from gliomart.bench.machine import percentiles
from gliomart.bench.stages import given, runs
from gliomart.host.clock import ms_since
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gliomart.bench.report import Steadiness
    from gliomart.bench.stages import Typical
    from gliomart.detector import Detector

# Idle and loaded blocks take turns, so that what else happens on the machine hits both.
_BLOCKS = 10
_MODEL_RUNS = 20
_SLICES = 10
_NEIGHBOUR = """
print(flush=True)
while True:
    pass
"""


def measure(
    detector: Detector, model: Path | None, typical: Typical, threads: int | None
) -> dict[str, Steadiness]:
    """Time the model alone, for a slice, and one slice as a whole, without and with a busy process.

    That process fills one core.

    Returns
    -------
    For ``model`` and ``slice`` the percentiles ``idle`` and ``loaded`` in milliseconds, and
    ``p99_loaded_by_p50_idle``.
    """
    provider = detector.settings.provider.requested
    opened = Model(model, provider=provider, allow_fallback=True, threads=threads)
    opened.run(typical.image)
    times: dict[str, dict[str, list[float]]] = {
        what: {"idle": [], "loaded": []} for what in ("model", "slice")
    }
    for block in range(2 * _BLOCKS):
        state = ("idle", "loaded")[block % 2]
        with _neighbour() if state == "loaded" else nullcontext():
            alone = runs(opened, typical.image, _MODEL_RUNS)
            times["model"][state] += [ms / given(opened) for ms in alone]
            times["slice"][state] += _slices(detector, typical, _SLICES)
    return {what: _steadiness(each["idle"], each["loaded"]) for what, each in times.items()}


def _steadiness(idle: list[float], loaded: list[float]) -> Steadiness:
    without, beside = percentiles(idle), percentiles(loaded)
    ratio = round(beside["p99"] / without["p50"], 2)
    return {"idle": without, "loaded": beside, "p99_loaded_by_p50_idle": ratio}


def _slices(detector: Detector, typical: Typical, count: int) -> Iterator[float]:
    for _ in range(count):
        started = perf_counter()
        detector.detect(typical.file or typical.slice)
        yield ms_since(started)


@contextmanager
def _neighbour() -> Iterator[None]:
    """Keep one core busy from another process."""
    command = [sys.executable, "-S", "-c", _NEIGHBOUR]
    with subprocess.Popen(  # noqa: S603  # our own, and Ctrl-C is not for it
        command, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        try:
            process.stdout.readline()  # by now it is at work
            yield
        finally:
            process.kill()
