"""What a process costs that has just been started: imports, the first result, memory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from gliomart.bench.machine import percentiles
from gliomart.errors import UsageError
from gliomart.host import frozen
from gliomart.host.clock import ms_since

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart.bench.report import Percentiles, Starts

# After one that brings everything into the caches of the file system.
_STARTS = 5
# What a scanner-side process does first: start, load the model, look at one slice. Linux counts the
# memory of the process that started it towards the maximum that getrusage tells, not towards VmHWM.
_FIRST_SLICE = """
import sys
from pathlib import Path
from gliomart import Detector
model, provider, threads, path = sys.argv[1:]
detector = Detector(
    model or None, provider=provider, allow_fallback=True, threads=int(threads) or None
)
detector.detect(path)
status = Path("/proc/self/status")
if status.exists():
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    print(int(fields["VmHWM"].split()[0]) / 1024, flush=True)
else:
    import resource
    unit = 1024**2 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, flush=True)
"""
_IMPORT = """
from time import perf_counter
started = perf_counter()
from gliomart import Detector
print((perf_counter() - started) * 1e3, flush=True)
"""


def imports() -> Percentiles:
    """Milliseconds that ``from gliomart import Detector`` takes, the interpreter running."""
    return percentiles([milliseconds for _, milliseconds in _processes(_IMPORT)])


def starts(model: Path | None, provider: str, threads: int | None, path: Path) -> Starts:
    """Start processes that analyse one file: milliseconds until the result, and peak megabytes."""
    arguments = [str(model or ""), provider, str(threads or 0), str(path)]
    runs = list(_processes(_FIRST_SLICE, *arguments))
    return {
        "cold_start_ms": percentiles([milliseconds for milliseconds, _ in runs]),
        "peak_memory_mb": round(max(megabytes for _, megabytes in runs), 1),
    }


def python() -> tuple[str, dict[str, str]]:
    """Give a Python to start, and an environment in which it finds gliomart.

    Raises
    ------
    UsageError
        There is none: this program is frozen, or has Python inside.
    """
    found = frozen.interpreter()
    if found is None:
        raise UsageError("bench starts processes of its own, and there is no Python here to start")
    place = Path(__file__).parents[2]  # where gliomart lies
    if place.is_dir():
        return found, dict(os.environ)
    searched = filter(None, (str(place), os.environ.get("PYTHONPATH")))  # an archive
    return found, os.environ | {"PYTHONPATH": os.pathsep.join(searched)}


def _processes(code: str, *arguments: str) -> Iterator[tuple[float, float]]:
    """Yield the milliseconds until each process printed its number, and the number."""
    executable, environment = python()
    command = [executable, "-c", code, *arguments]
    for number in range(_STARTS + 1):
        started = perf_counter()
        with subprocess.Popen(  # noqa: S603  # our own interpreter and our own code
            command, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True
        ) as process:
            assert process.stdout is not None  # noqa: S101  # it was asked for
            try:
                line = process.stdout.readline()
            except BaseException:
                process.kill()  # Ctrl-C is not for a session of its own, and ends with this one
                raise
            milliseconds = ms_since(started)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        if number > 0:
            yield milliseconds, float(json.loads(line))
