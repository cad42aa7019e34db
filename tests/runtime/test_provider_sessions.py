"""Sessions as they are run: bound buffers, the comparison with the CPU, failures on the way."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnxruntime
import pytest

import hostile_models
from gliomart.detector import Detector
from gliomart.errors import ModelError, ProviderError
from gliomart.model.built_in import default_model
from gliomart.model.contents import Slab
from gliomart.model.model import Model
from gliomart.providers import CPU, choice, opening, parity
from gliomart.providers.session import BoundSession, Session, what_went_wrong
from gliomart.sources.simulated import simulated_image
from gpus import DEVICE_LOST, OUT_OF_MEMORY, Machine
from samples import draw_head
from slabs import slab_model

CUDA = "CUDAExecutionProvider"
NAMES = ["reconstruction", "anomaly_map", "brain"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine = Machine()
    machine.install(monkeypatch)
    return machine


def _images(count: int) -> Any:
    return np.random.default_rng(0).random((count, 256, 256, 1), np.float32)


def test_bound_buffers_stay_in_place_and_give_what_a_plain_run_gives(model: Path) -> None:
    plain = opening.open_on_cpu(model.read_bytes(), None)
    bound = BoundSession(plain.onnx, onnxruntime, device="cpu")
    images = _images(3)
    results = [bound.run(NAMES, {"image": image[np.newaxis]}) for image in images]
    places = {name: buffer.data_ptr() for name, buffer in bound._bound[1][1].items()}
    together = bound.run(NAMES, {"image": images})
    again = bound.run(list(reversed(NAMES)), {"image": images[:1]})
    assert {name: b.data_ptr() for name, b in bound._bound[1][1].items()} == places
    for number, image in enumerate(images):
        expected = plain.run(NAMES, {"image": image[np.newaxis]})
        for one, ours, batch in zip(expected, results[number], together, strict=True):
            # What an earlier run gave is not written over by a later one.
            assert np.array_equal(one, ours)
            assert np.array_equal(one[0], batch[number])
    assert all(map(np.array_equal, again, reversed(results[0])))


def test_bound_buffers_of_slabs_have_all_their_axes(tmp_path: Path) -> None:
    slab = Slab(seen=6, given=4)
    plain = opening.open_on_cpu(slab_model(tmp_path / "slab.onnx", slab).read_bytes(), None)
    bound = BoundSession(plain.onnx, onnxruntime, device="cpu")
    slabs = np.random.default_rng(0).random((2, slab.seen, 256, 256, 1), np.float32)
    together = bound.run(NAMES, {"image": slabs})
    assert [each.shape for each in together] == [(2, slab.given, 256, 256, 1)] * 3
    for number, one in enumerate(slabs):
        expected = plain.run(NAMES, {"image": one[np.newaxis]})
        alone = bound.run(NAMES, {"image": one[np.newaxis]})
        for of_cpu, ours, batch in zip(expected, alone, together, strict=True):
            assert np.array_equal(of_cpu, ours)
            assert np.allclose(of_cpu[0], batch[number], atol=1e-6)


@pytest.mark.parametrize("running", [[], [DEVICE_LOST], [DEVICE_LOST] * 2])
def test_a_model_of_slabs_runs_on_a_gpu_and_goes_on_where_that_is_lost(
    machine: Machine, tmp_path: Path, running: list[Any]
) -> None:
    path = slab_model(tmp_path / "slab.onnx", Slab(seen=6, given=4))
    slab = np.random.default_rng(0).random((6, 256, 256, 1), np.float32)
    expected = Model(path, provider="cpu").run_slab(slab)
    loaded = Model(path, provider="tensorrt", allow_fallback=True)
    assert loaded.provider.parity == dict.fromkeys(NAMES, 0.0)
    assert machine.opened[0][1]["trt_profile_max_shapes"] == "image:10x6x256x256x1"
    machine.running = list(running)
    for one, other in zip(expected, loaded.run_slab(slab), strict=True):
        assert np.array_equal(one.anomaly_map, other.anomaly_map)
    assert loaded.provider.degraded == (len(running) == 2)


def test_the_slice_to_compare_puts_every_output_to_work() -> None:
    model = Model(default_model(), provider="cpu")
    cpu = opening.open_on_cpu(default_model().read_bytes(), None)
    names = [*NAMES, "pons"]
    reference = parity.reference(cpu, names, simulated_image(model.card.preprocessing))
    assert reference.image.shape == (1, 256, 256, 1)
    assert np.ptp(reference.outputs["reconstruction"]) > 0.5
    assert reference.outputs["anomaly_map"].max() > model.card.calibration.pixel_threshold
    for name in ("brain", "pons"):
        assert (reference.outputs[name] > 0.5).sum() > 500
    assert set(reference.hold(cpu, 0.0).values()) == {0.0}


@pytest.mark.parametrize(
    ("provider", "tolerance"),
    [("cuda", choice.FULL_TOLERANCE), ("tensorrt", choice.HALF_TOLERANCE)],
)
def test_what_differs_from_the_cpu_is_refused_or_passed_over(
    machine: Machine, model: Path, provider: Any, tolerance: float
) -> None:
    machine.offset = 0.9 * tolerance
    found = Model(model, provider=provider).provider.parity
    assert found is not None
    assert found == pytest.approx(dict.fromkeys(NAMES, 0.9 * tolerance), abs=1e-6)
    machine.offset = 1.1 * tolerance
    with pytest.raises(
        ProviderError, match=rf"{provider}: its reconstruction differs from the CPU"
    ):
        Model(model, provider=provider)
    passed = Model(model, provider=provider, allow_fallback=True).provider
    assert (passed.effective, passed.degraded, passed.parity) == (CPU, True, None)
    assert "its reconstruction differs" in str(passed.reason)


def test_auto_goes_on_to_the_next_with_the_reason(machine: Machine, model: Path) -> None:
    machine.offset = float("nan")
    found = Model(model).provider
    assert (found.effective, found.degraded) == (CPU, False)
    assert "tensorrt: its reconstruction differs from the CPU's by nan" in str(found.reason)
    assert "cuda: " in str(found.reason)


def test_a_model_that_does_not_run_on_the_cpu_is_never_given_to_a_gpu(
    machine: Machine, tmp_path: Path
) -> None:
    hostile = hostile_models.write("expand-to-640-gigabytes", tmp_path)
    with pytest.raises(ModelError, match="asks for more than 512 MiB"):
        Model(hostile, provider="cuda", allow_fallback=True)
    assert machine.opened == []


# What happens to the second of four slices, and to the session that is opened for it again: errors
# of runs and of openings, in order. Then: what every slice ran on, and how often a GPU was opened.
_WELL = None
EVENTS: dict[str, tuple[list[Any], list[Any], list[str], int]] = {
    "nothing": ([], [], [CUDA] * 4, 1),
    "memory is full once": ([_WELL, OUT_OF_MEMORY], [], [CUDA] * 4, 2),
    "memory is full once, twice": (
        [_WELL, OUT_OF_MEMORY, _WELL, OUT_OF_MEMORY], [], [CUDA] * 4, 3,
    ),
    "the new session fails too": ([_WELL, OUT_OF_MEMORY, DEVICE_LOST], [], [CUDA] + [CPU] * 3, 2),
    "the device stays lost": (
        [_WELL, DEVICE_LOST], [DEVICE_LOST, DEVICE_LOST], [CUDA] + [CPU] * 3, 3,
    ),
    "the first slice already": ([DEVICE_LOST], [DEVICE_LOST, DEVICE_LOST], [CPU] * 4, 3),
    "the last slice": ([_WELL] * 3 + [DEVICE_LOST] * 2, [], [CUDA] * 3 + [CPU], 2),
}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_no_slice_is_lost_or_doubled(machine: Machine, model: Path, event: str) -> None:
    running, opening_again, effective, opened = EVENTS[event]
    images = _images(4)
    expected = [Model(model, provider="cpu").run(image) for image in images]
    loaded = Model(model, provider="cuda", allow_fallback=True)
    before = loaded.provider
    machine.running, machine.opening = list(running), list(opening_again)
    seen = []
    for image, right in zip(images, expected, strict=True):
        found = loaded.run(image)
        assert np.array_equal(found.anomaly_map, right.anomaly_map)
        seen.append(loaded.provider.effective)
    assert seen == effective
    assert machine.left_over == 0  # what failed has given its memory back before that
    assert len(machine.opened) == opened
    degraded = CPU in effective
    assert loaded.provider.degraded == degraded
    if degraded:
        assert "cuda was lost (the graph does not run (" in str(loaded.provider.reason)
        assert loaded.provider.parity is None
    else:
        assert loaded.provider == before


@pytest.mark.parametrize("event", [name for name in EVENTS if CPU in EVENTS[name][2]])
def test_without_a_fallback_a_lost_gpu_ends_in_one_sentence(
    machine: Machine, model: Path, event: str
) -> None:
    running, opening_again, effective, _ = EVENTS[event]
    loaded = Model(model, provider="cuda")
    machine.running, machine.opening = list(running), list(opening_again)
    for _ in range(effective.index(CPU)):
        loaded.run(_images(1)[0])
    with pytest.raises(ProviderError, match="cuda was lost") as lost:
        loaded.run(_images(1)[0])
    assert len(str(lost.value).splitlines()) == 1
    assert loaded.provider.effective == CUDA
    loaded.run(_images(1)[0])  # it is there again
    assert not loaded.provider.degraded


@pytest.mark.parametrize("provider", ["tensorrt", "tensorrt-rtx", "cuda"])
def test_a_gpu_that_has_gone_is_not_missed(
    machine: Machine, model: Path, monkeypatch: pytest.MonkeyPatch, provider: Any
) -> None:
    machine.install_rtx(monkeypatch)
    loaded = Model(model, provider=provider, allow_fallback=True)
    machine.gpus, machine.running, machine.opening = 0, [DEVICE_LOST], [DEVICE_LOST] * 2
    loaded.run(_images(1)[0])
    assert (loaded.provider.effective, loaded.provider.degraded) == (CPU, True)
    assert f"{provider} was lost" in str(loaded.provider.reason)


def test_auto_goes_on_with_the_cpu(machine: Machine, model: Path) -> None:
    loaded = Model(model)
    machine.running = [DEVICE_LOST, DEVICE_LOST]
    loaded.run(_images(1)[0])
    assert (loaded.provider.effective, loaded.provider.degraded) == (CPU, True)


def test_impossible_values_of_a_gpu_are_a_failure_of_it(machine: Machine, model: Path) -> None:
    loaded = Model(model, provider="cuda", allow_fallback=True)
    machine.offset = float("nan")
    assert np.isfinite(loaded.run(_images(1)[0]).anomaly_map).all()
    assert loaded.provider.degraded
    assert "reaches from nan" in str(loaded.provider.reason)


def test_an_image_of_another_shape_is_no_failure_of_the_gpu(machine: Machine, model: Path) -> None:
    loaded = Model(model, provider="cuda", allow_fallback=True)
    for images in (_images(65), np.zeros((1, 128, 128, 1), np.float32)):
        with pytest.raises(ModelError, match="takes 1 to 64 images"):
            loaded.run_batch(images)
    assert loaded.provider.effective == CUDA
    assert len(machine.opened) == 1


@pytest.mark.parametrize("running", [[], [DEVICE_LOST], [DEVICE_LOST] * 2])
def test_a_batch_gives_what_its_slices_give(
    machine: Machine, model: Path, running: list[Any]
) -> None:
    images = _images(5)
    alone = [Model(model, provider="cpu").run(image) for image in images]
    loaded = Model(model, provider="cuda", allow_fallback=True)
    machine.running = running
    for one, other in zip(alone, loaded.run_batch(images), strict=True):
        assert np.array_equal(one.anomaly_map, other.anomaly_map)
        assert np.array_equal(one.reconstruction, other.reconstruction)


def test_threads_share_a_model_that_loses_its_gpu(machine: Machine, model: Path) -> None:
    images = _images(24)
    alone = [Model(model, provider="cpu").run(image).anomaly_map for image in images]
    loaded = Model(model, provider="cuda", allow_fallback=True)
    machine.running = [None] * 5 + [OUT_OF_MEMORY] + [None] * 5 + [DEVICE_LOST] * 2
    found: dict[int, Any] = {}

    def run(numbers: range) -> None:
        for number in numbers:
            found[number] = loaded.run(images[number]).anomaly_map

    threads = [Thread(target=run, args=(range(first, 24, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert all(np.array_equal(found[number], alone[number]) for number in found)
    assert loaded.provider.degraded
    assert len(machine.opened) == 3


def test_results_say_what_they_were_computed_on(machine: Machine, model: Path) -> None:
    detector = Detector(model)
    first = detector.detect(draw_head())
    machine.running = [DEVICE_LOST, DEVICE_LOST]
    second = detector.detect(draw_head())
    assert first.settings.provider.effective == "TensorrtExecutionProvider"
    assert second.settings.provider.effective == CPU
    assert (first.settings.provider.degraded, second.settings.provider.degraded) == (False, True)
    assert np.array_equal(first.anomaly_map, second.anomaly_map)


def test_a_session_of_its_own_kind_says_what_went_wrong(model: Path) -> None:
    cpu = opening.open_on_cpu(model.read_bytes(), None)
    with pytest.raises(ModelError, match="the graph does not run"):
        Session(cpu.onnx).run(["nonsense"], {"image": _images(1)})


_ARENA = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node."
    " Name:'' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360"
    " void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*)"
    " Available memory of {} is smaller than requested bytes of {}"
)


@pytest.mark.parametrize(
    ("complaint", "says"),
    [
        ("std::bad_alloc", "there is no more memory for it"),
        (str(OUT_OF_MEMORY), "there is no more memory for it"),
        (_ARENA.format(500 << 20, 640 << 30), "it asks for more than 512 MiB of memory"),
        (_ARENA.format(1 << 20, 8 << 20), "all that run in this process ask for more than 512 MiB"),
    ],
)
def test_who_asks_for_too_much_memory_is_told(complaint: str, says: str) -> None:
    assert what_went_wrong(RuntimeError(complaint)).startswith(says)
