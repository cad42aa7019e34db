"""The same network on several engines, turn by turn.

Every kind of engine lives in a process of its own, so that neither threads nor allocators of one
meet those of another, and only one of them works at a time. In each round every engine has its
turn, in a new order; times are compared within a round only, so that whatever slows the machine
down for a while slows all of them.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.bench import floor
from gliomart.bench.engines import GROUP
from gliomart.bench.fresh import python
from gliomart.bench.machine import percentiles, precision
from gliomart.bench.worker import IMAGE
from gliomart.errors import (
    BrokenExtraError,
    GliomartError,
    MissingExtraError,
    ModelError,
    UsageError,
)
from gliomart.host import processors
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

# Engines of other packages, and the extras that bring them.
_EXTERNAL = {"keras": "training,export", "litert": "bench,training,export"}
_THREADS = (1, 2)
# One run warms the caches up again, the median of the others is the turn's time.
_RUNS = 4
# Libraries of linear algebra read these when they are loaded.
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def measure(
    model: Path,
    image: NDArray[np.float32],
    *,
    float_model: Path | None,
    threads: int | None,
    rounds: int,
) -> dict[str, Any]:
    """Compare engines on one image, (size, size, channels), at one number of threads or several.

    Returns
    -------
    ``operations`` of a slice in 10⁹, by precision; ``by_threads``, of each number of threads the
    ``engines`` (the first is gliomart's own; ``ratio`` is an engine's time by that one's) and the
    ``floor``; and ``not_compared``, with reasons.

    Raises
    ------
    UsageError
        ``float_model`` is another network, or not in single precision.
    """
    if float_model is not None:
        _check_same_network(model, float_model)
    operations: dict[str, dict[str, float]] = {}
    not_compared: dict[str, str] = {}
    try:
        for path in filter(None, (float_model, model)):
            numbers = precision(Model(path, provider="cpu").card)
            operations[numbers] = floor.operations(path)
    except (MissingExtraError, BrokenExtraError) as error:
        not_compared["operations"] = str(error)
    report: dict[str, Any] = {
        "what": "One slice, image to maps, CPU. Keras and LiteRT run the same architecture with"
        " weights as initialised, which do not change how long it takes.",
        "rounds": rounds,
        "operations": operations,
        "by_threads": {},
        "not_compared": not_compared,
    }
    most = processors.usable()
    for count in [threads] if threads else [each for each in _THREADS if each <= most]:
        measured, missing = _at(model, float_model, image, count, rounds)
        report["by_threads"][str(count)] = _summary(measured, operations)
        report["not_compared"] |= missing
    return report


class _Worker:
    """A process with engines of one kind, and what it answers."""

    def __init__(self, kind: str, model: Path, threads: int, folder: Path) -> None:
        self.kind = kind
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed on leaving
        executable, environment = python()
        environment |= dict.fromkeys(_BLAS_THREADS, str(threads))
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own code
            [executable, "-m", "gliomart.bench.worker", kind, str(model), str(threads), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ready(self) -> tuple[list[dict[str, Any]], str | None]:
        """Wait for its engines; none, and why, where it has none."""
        answer = self._answer()
        if answer is None:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
            return [], f"failed: {last}"
        return answer.get("engines", []), answer.get("missing")

    def turn(self, place: int) -> list[float]:
        """Let one of its engines run.

        Raises
        ------
        GliomartError
            The process has died.
        """
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        answer: list[float] | None = None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(f"{place} {_RUNS}\n")
            self._process.stdin.flush()
            answer = self._answer()
        if answer is None:
            raise GliomartError(f"the process of {self.kind} died in the middle of a comparison")
        return answer[1:]

    def _answer(self) -> Any:  # noqa: ANN401
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


def _at(
    model: Path,
    float_model: Path | None,
    image: NDArray[np.float32],
    threads: int,
    rounds: int,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Give all engines their turns; gliomart's own comes first in what is returned."""
    kinds = [("onnxruntime", model), ("openvino", model), ("floor", model)]
    if float_model is not None:
        kinds[1:1] = [("onnxruntime", float_model), ("openvino", float_model)]
    missing = {}
    for name, extra in _EXTERNAL.items():
        if entry_points(group=GROUP, name=name):
            kinds.append((name, float_model or model))
        else:
            missing[name] = str(MissingExtraError(name, extra))
    engines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        np.save(Path(folder) / IMAGE, image)
        workers = [
            stack.enter_context(_Worker(kind, path, threads, Path(folder))) for kind, path in kinds
        ]
        for worker in workers:
            found, reason = worker.ready()
            if reason is not None:
                missing[worker.kind] = reason
            engines += [
                {**each, "worker": worker, "place": place, "turns": []}
                for place, each in enumerate(found)
            ]
        if not engines or engines[0]["worker"] is not workers[0]:
            raise ModelError(f"{model}: {missing['onnxruntime']}")
        _add_differences(engines)
        rng = np.random.default_rng(0)
        for _ in range(rounds):
            for number in rng.permutation(len(engines)):
                engine = engines[number]
                engine["turns"].append(engine["worker"].turn(engine["place"]))
    return engines, missing


def _add_differences(engines: Sequence[dict[str, Any]]) -> None:
    """Say how far each anomaly map is from gliomart's own; what differs a lot is no comparison."""
    maps = [None if each["map"] is None else np.load(each["map"]) for each in engines]
    for each, found in zip(engines, maps, strict=True):
        difference = None if found is None else float(np.abs(found - maps[0]).max())
        each["difference"] = None if difference is None else float(f"{difference:.2g}")


def _summary(
    engines: list[dict[str, Any]], operations: dict[str, dict[str, float]]
) -> dict[str, Any]:
    own, entries, products = _turns(engines[0]), [], []
    networks = {}
    for each in engines:
        turns = _turns(each)
        if each["work"] is not None:
            products.append({"name": each["name"], "work": each["work"], "turns": turns})
            continue
        p5, p50, p95 = (round(float(ratio), 3) for ratio in np.percentile(turns / own, (5, 50, 95)))
        entries.append(
            {
                "name": each["name"],
                "precision": each["precision"],
                "ms": percentiles(np.ravel(each["turns"]).tolist()),
                "ratio": {"p5": p5, "p50": p50, "p95": p95},
                "difference": each["difference"],
            }
        )
        if each["name"] == engines[0]["name"] and each["precision"] in operations:
            networks[each["precision"]] = (operations[each["precision"]], turns)
    return {"engines": entries, "floor": floor.summary(products, networks)}


def _turns(engine: dict[str, Any]) -> NDArray[np.float64]:
    """Milliseconds of each round: the median of a turn's runs."""
    return np.median(engine["turns"], axis=1)


def _check_same_network(model: Path, float_model: Path) -> None:
    cards = [Model(path, provider="cpu").card for path in (model, float_model)]
    names = [(card.network["name"], card.preprocessing, not card.judges) for card in cards]
    if names[0] != names[1]:
        raise UsageError(f"{float_model}: another network than the one it is to be compared with")
    if precision(cards[1]) != "fp32":
        raise UsageError(f"{float_model}: not in single precision")
