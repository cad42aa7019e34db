"""The same network on several engines, turn by turn.

Every kind of engine lives in a process of its own, so that neither threads nor allocators of one
meet those of another, and only one of them works at a time. In each round every engine has its
turn, in a new order; times are compared within a round only, so that whatever slows the machine
down for a while slows all of them.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gliomart.bench import floor
from gliomart.bench.engines import GROUP
from gliomart.bench.floor import Product
from gliomart.bench.machine import percentiles, precision
from gliomart.bench.process import EngineProcess
from gliomart.bench.worker import IMAGE
from gliomart.errors import (
    BrokenExtraError,
    MissingExtraError,
    ModelError,
    UsageError,
)
from gliomart.host import processors
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.bench.report import AtThreads, Comparison, EngineTimes, Operations
    from gliomart.bench.worker import Described

# Engines of other packages, and the extras that bring them.
_EXTERNAL = {"keras": "training,export", "litert": "bench,training,export"}
_THREADS = (1, 2)


def measure(
    model: Path,
    image: NDArray[np.float32],
    *,
    float_model: Path | None,
    threads: int | None,
    rounds: int,
) -> Comparison:
    """Compare engines on one image, (size, size, channels), at one number of threads or several.

    A model that sees slabs, and whatever it is compared with, is given a slab of this image alone.

    Raises
    ------
    UsageError
        ``float_model`` is another network, or not in single precision.
    """
    if float_model is not None:
        _check_same_network(model, float_model)
    opened = Model(model, provider="cpu")
    slab = opened.slab
    what = (
        "One slice" if slab is None else f"A slab of {slab.seen} slices, for {slab.given} of them"
    )
    operations: dict[str, Operations] = {}
    not_compared: dict[str, str] = {}
    try:
        for path in filter(None, (float_model, model)):
            numbers = precision(Model(path, provider="cpu").card)
            operations[numbers] = floor.operations(path)
    except (MissingExtraError, BrokenExtraError) as error:
        not_compared["operations"] = str(error)
    report: Comparison = {
        "what": f"{what}, image to maps, CPU. Keras and LiteRT run the same architecture with"
        " weights as initialised, which do not change how long it takes.",
        "rounds": rounds,
        "operations": operations,
        "by_threads": {},
        "not_compared": not_compared,
    }
    kinds, missing = _kinds(model, float_model)
    not_compared |= missing
    most = processors.usable()
    for count in [threads] if threads else [each for each in _THREADS if each <= most]:
        engines, missing = _timed(kinds, opened.alone(image), count, rounds)
        report["by_threads"][str(count)] = _summary(engines, operations)
        not_compared |= missing
    return report


@dataclass(frozen=True)
class TimedEngine:
    """An engine, and how long it took.

    Attributes
    ----------
    name, precision, work
        As :class:`~gliomart.bench.engines.Engine` has them.
    anomaly_maps
        What it made of the image, float32 (N, size, size); None where it runs other weights, or
        none.
    turns
        Milliseconds of each run, (rounds, runs of a turn).
    """

    name: str
    precision: str
    work: float | None
    anomaly_maps: NDArray[np.float32] | None
    turns: NDArray[np.float64]

    @property
    def ms(self) -> NDArray[np.float64]:
        """Milliseconds of each round: the median of its turn's runs."""
        return np.median(self.turns, axis=1)


class _Competitor:
    """An engine in a process, and the turns that it took so far."""

    def __init__(self, process: EngineProcess, place: int, described: Described) -> None:
        self._process, self._place, self._described = process, place, described
        self._turns: list[list[float]] = []

    def take_turn(self) -> None:
        self._turns.append(self._process.turn(self._place))

    def timed(self) -> TimedEngine:
        described = self._described
        anomaly_maps = None if described["maps"] is None else np.load(described["maps"])
        return TimedEngine(
            described["name"],
            described["precision"],
            described["work"],
            anomaly_maps,
            np.array(self._turns),
        )


def _kinds(model: Path, float_model: Path | None) -> tuple[list[tuple[str, Path]], dict[str, str]]:
    """List kinds of engines and what each runs, gliomart's own first; and what is missing."""
    kinds = [("onnxruntime", model)]
    if float_model is not None:
        kinds += [("onnxruntime", float_model), ("openvino", float_model)]
    kinds += [("openvino", model), ("floor", model)]
    missing = {}
    for name, extra in _EXTERNAL.items():
        if entry_points(group=GROUP, name=name):
            kinds.append((name, float_model or model))
        else:
            missing[name] = str(MissingExtraError(name, extra))
    return kinds, missing


def _timed(
    kinds: list[tuple[str, Path]], image: NDArray[np.float32], threads: int, rounds: int
) -> tuple[list[TimedEngine], dict[str, str]]:
    """Give all engines their turns, in a new order in each round.

    Returns
    -------
    The engines, gliomart's own first, and why others could not be had, by kind.

    Raises
    ------
    ModelError
        gliomart's own does not run.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        np.save(folder / IMAGE, image)
        processes = [
            stack.enter_context(EngineProcess(kind, path, threads, folder)) for kind, path in kinds
        ]
        answers = [process.ready() for process in processes]
        if not answers[0]["engines"]:
            raise ModelError(f"{kinds[0][1]}: {answers[0]['missing']}")
        ready = list(zip(processes, answers, strict=True))
        engines = [
            _Competitor(process, place, described)
            for process, answer in ready
            for place, described in enumerate(answer["engines"])
        ]
        rng = np.random.default_rng(0)
        for _ in range(rounds):
            for number in rng.permutation(len(engines)):
                engines[number].take_turn()
        timed = [engine.timed() for engine in engines]
    missing = {process.kind: answer["missing"] for process, answer in ready}
    return timed, {kind: reason for kind, reason in missing.items() if reason is not None}


def _summary(engines: Sequence[TimedEngine], operations: Mapping[str, Operations]) -> AtThreads:
    """Compare engines with the first of them, which is gliomart's own."""
    own = engines[0]
    networks = [each for each in engines if each.work is None]
    products = [Product(each.name, each.work, each.ms) for each in engines if each.work is not None]
    counted = {
        each.precision: (operations[each.precision], each.ms)
        for each in networks
        if each.name == own.name and each.precision in operations
    }
    return {
        "engines": [_entry(each, own) for each in networks],
        "floor": floor.summary(products, counted),
    }


def _entry(engine: TimedEngine, own: TimedEngine) -> EngineTimes:
    p5, p50, p95 = (
        round(float(ratio), 3) for ratio in np.percentile(engine.ms / own.ms, (5, 50, 95))
    )
    return {
        "name": engine.name,
        "precision": engine.precision,
        "ms": percentiles(engine.turns.ravel().tolist()),
        "ratio": {"p5": p5, "p50": p50, "p95": p95},
        "difference": _difference(engine.anomaly_maps, own.anomaly_maps),
    }


def _difference(found: NDArray[np.float32] | None, own: NDArray[np.float32] | None) -> float | None:
    """Tell how far anomaly maps are from gliomart's own: what differs a lot is no comparison."""
    if found is None or own is None:
        return None
    return float(f"{np.abs(found - own).max():.2g}")


def _check_same_network(model: Path, float_model: Path) -> None:
    cards = [Model(path, provider="cpu").card for path in (model, float_model)]
    names = [(card.network["name"], card.preprocessing, not card.judges) for card in cards]
    if names[0] != names[1]:
        raise UsageError(f"{float_model}: another network than the one it is to be compared with")
    if precision(cards[1]) != "fp32":
        raise UsageError(f"{float_model}: not in single precision")
