"""A process that times one kind of engine, when it is its turn.

``python -m gliomart.bench.worker ENGINES MODEL THREADS FOLDER`` writes one JSON line: its engines,
or what they lack. Each line that it reads, an engine's place and a number of runs, is answered
with their milliseconds. Between turns it waits for the next line and takes no time from others.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from gliomart.bench import engines, floor
from gliomart.errors import BrokenExtraError, MissingExtraError, UsageError
from gliomart.host.clock import ms_since

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from gliomart.bench.engines import Engine

_OWN: dict[str, Callable[..., list[Engine]]] = {
    "onnxruntime": engines.onnxruntime,
    "openvino": engines.openvino,
    "floor": floor.engines,
}
IMAGE = "image.npy"


class Described(TypedDict):
    """An engine as it is told of; ``maps`` is the file that its anomaly maps lie in."""

    name: str
    precision: str
    work: float | None
    maps: str | None


class Ready(TypedDict):
    """The first answer: the engines, or why there are none."""

    engines: list[Described]
    missing: str | None


def main() -> None:
    """Serve one comparison until its standard input ends."""
    name, model, threads, folder = sys.argv[1:]
    answers = _own_output()
    image = np.load(Path(folder) / IMAGE)
    try:
        found = _engines(name)(Path(model), image, int(threads))
    except (MissingExtraError, BrokenExtraError, UsageError) as error:
        _answer(answers, Ready(engines=[], missing=str(error)))
        return
    described = [_described(each, Path(folder)) for each in found]
    _answer(answers, Ready(engines=described, missing=None))
    for line in sys.stdin:
        place, runs = map(int, line.split())
        _answer(answers, [_timed(found[place]) for _ in range(runs)])


def _engines(name: str) -> Callable[..., list[Engine]]:
    if name in _OWN:
        return _OWN[name]
    (found,) = entry_points(group=engines.GROUP, name=name)
    loaded: Callable[..., list[Engine]] = found.load()
    return loaded


def _described(engine: Engine, folder: Path) -> Described:
    """Run an engine for the first time, and keep what it makes of the image."""
    anomaly_maps = engine.run()
    path = None
    if anomaly_maps is not None:
        path = folder / f"{os.getpid()}-{engine.precision}.npy"
        np.save(path, np.stack(anomaly_maps))
    return {
        "name": engine.name,
        "precision": engine.precision,
        "work": engine.work,
        "maps": None if path is None else str(path),
    }


def _timed(engine: Engine) -> float:
    started = perf_counter()
    engine.run()
    return ms_since(started)


def _own_output() -> TextIO:
    """Keep standard output for answers: libraries that print there write to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, values: object) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
