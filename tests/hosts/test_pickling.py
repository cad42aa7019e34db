"""What gliomart gives out can be copied, compared and sent from one process to another."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import io
import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import gliomart
import processes
from gliomart import Detector, GliomartError, InputRefusedError, Slice, errors
from gliomart.errors import MissingExtraError, OutputError, UsageError
from gliomart.model.model import Model
from samples import GOLDEN

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ERRORS = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, GliomartError)
]
# What is public and no value: the entry, a function, the version.
NO_VALUES = {"Detector", "scan", "__version__"}
VALUES = [
    name
    for name in gliomart.__all__
    if name not in NO_VALUES and not issubclass(getattr(gliomart, name), Exception)
]


def _again(value: Any, protocol: int) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301  # our own


def _example(kind: type[GliomartError]) -> GliomartError:
    if "__init__" not in vars(kind):
        return kind("what it says")
    _, *named = inspect.signature(kind.__init__).parameters
    return kind(*(f"{name} it has" for name in named))


def _described(error: GliomartError) -> dict[str, Any]:
    names = ("code", "exit_status", "reason", "filename", "errno", "name", "msg", "__notes__")
    described = {name: getattr(error, name, None) for name in names}
    return described | {"type": type(error), "args": error.args, "says": str(error)}


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_comes_back_as_it_was(kind: type[GliomartError]) -> None:
    error = _example(kind)
    error.add_note("and more")
    for one in (error, *(_again(error, n) for n in PROTOCOLS)):
        for other in (one, copy.copy(one), copy.deepcopy(one)):
            assert _described(other) == _described(error)


def test_errors_of_the_system_keep_what_they_are_about() -> None:
    of_the_system = OutputError(28, "No space left on device", "/results")
    named = MissingExtraError("writing DICOM", "dicom")
    named.name = "highdicom"
    set_later = OutputError("cannot be written")
    set_later.filename = "/results"
    for error in (of_the_system, named, set_later):
        for protocol in PROTOCOLS:
            assert _described(_again(error, protocol)) == _described(error)


def _site(card: gliomart.ModelCard) -> gliomart.SiteCalibration:
    """Give an example of what a site's calibration adds to a model's card."""
    assert card.calibration is not None
    return gliomart.SiteCalibration(
        date="2026-11-28",
        software=gliomart.__version__,
        patients=20,
        series=20,
        slices=480,
        scanners=(gliomart.CalibratedScanner("vendor", "scanner", 3.0, 20),),
        sequences=("FLAIR",),
        contaminated=0.0,
        kept=("series",),
        model_sha256="0" * 64,
        model_calibration=card.calibration,
        model_judges=card.judges,
    )


@cache
def _everything() -> dict[str, Any]:
    """Find an example of every public type in what a study gives out."""
    detector = Detector(threads=1)
    inventory = gliomart.scan([GOLDEN])
    result = detector.detect_series(inventory.series[0])
    refusal = gliomart.Refusal("slice", None, "no-head", "no head")
    concern = gliomart.Concern("series-gap", "a slice is missing")
    scalp = gliomart.Scalp(thickness_px=5.0, dome_px=60.0)
    scales = gliomart.Scales(signs=2.0, anomaly=0.05)
    turned = gliomart.Unfamiliar("turned", "a head on its side", (1.0, 2.0), 0.5, 0.0, None)
    brain = gliomart.ExpectedBrain((0.1, 0.2), 0.3, bound=0.1)
    moved = gliomart.Rigid.of(turn=(0.1, 0, 0), translation=(1, 2, 3))
    pending: list[Any] = [
        detector.card,
        inventory,
        gliomart.StudyResult((result,), (refusal,), detector.settings),
        refusal,
        concern,
        gliomart.CompanionResult("T1", "1.2", "t1", 24, movement=moved, refused=(refusal,)),
        detector.budget,
        scalp,
        scales,
        gliomart.Familiar((turned,), brain, method="by hand"),
        _site(detector.card),
        gliomart.SiteThresholds("2026-11-28", patients=20, kept=("series",)),
    ]
    found: dict[str, Any] = {}
    while pending:
        value = pending.pop()
        if dataclasses.is_dataclass(value) and type(value).__name__ not in found:
            found[type(value).__name__] = value
        if dataclasses.is_dataclass(value):
            pending += [getattr(value, field.name) for field in dataclasses.fields(value)]
            pending += [getattr(value, "plane", None)]
        elif isinstance(value, tuple):
            pending += value
        elif isinstance(value, Mapping):
            pending += value.values()
    return found


@pytest.mark.parametrize("name", VALUES)
def test_every_public_value_comes_back_equal(name: str) -> None:
    value = _everything()[name]  # no example of a new type: give one above
    copies = [copy.copy(value), copy.deepcopy(value), *(_again(value, n) for n in PROTOCOLS)]
    for other in copies:
        assert other == value
        assert type(other) is type(value)


@pytest.mark.parametrize("name", VALUES)
def test_public_values_are_compared_without_an_error(name: str) -> None:
    value = _everything()[name]
    assert value != object()
    try:
        assert hash(value) == hash(copy.deepcopy(value))
    except TypeError as error:  # those that hold what cannot be hashed
        assert "unhashable type" in str(error)  # noqa: PT017


def test_values_with_arrays_are_equal_by_content() -> None:
    pixels = np.array([[0.0, np.nan], [1.0, 2.0]], np.float32)
    one = Slice(pixels, source="a")
    assert one == Slice(pixels.copy(), source="a")
    assert one != Slice(pixels, source="b")
    assert one != Slice(pixels + 1, source="a")
    assert one != Slice(pixels.astype(np.float64), source="a")  # type: ignore[arg-type]
    assert one != Slice(pixels[:1], source="a")
    assert one != replace(one, air=np.isnan(pixels))
    assert replace(one, spacing=(np.nan, 1.0)) == replace(one, spacing=(float("nan"), 1.0))
    with pytest.raises(TypeError, match="unhashable type: 'Slice'"):
        hash(one)
    result = _everything()["SliceResult"]
    assert result == replace(result, score=result.score, anomaly_map=result.anomaly_map.copy())
    assert result != replace(result, anomaly_map=result.anomaly_map + 1)


@pytest.mark.parametrize("process", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_detector_is_neither_sent_nor_copied_and_says_what_to_do(process: Any) -> None:
    detector = Detector(threads=1)
    with pytest.raises(UsageError, match=r"make one there, and send files and results"):
        process(detector)
    with pytest.raises(UsageError, match="make one there, of its file"):
        process(Model(threads=1))


def _analyse(path: str) -> Any:
    return Detector(threads=1).detect(path)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_refusal_in_a_pool_is_raised_where_it_is_waited_for(method: str) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        waiting = executor.submit(processes.refuse, 0)
        with pytest.raises(InputRefusedError, match="there is no head") as refused:
            waiting.result(timeout=60)
    assert refused.value.code == "no-head"
    with context.Pool(1) as pool, pytest.raises(InputRefusedError, match="there is no head"):
        pool.map_async(processes.refuse, [0]).get(timeout=60)


def test_a_result_crosses_processes_and_is_equal() -> None:
    path = str(GOLDEN / "slice_006.dcm")
    stream = io.BytesIO()
    pickle.dump(_analyse(path), stream)
    stream.seek(0)
    result = pickle.load(stream)  # noqa: S301  # our own
    assert replace(_analyse(path), ms=result.ms) == result
