"""Providers at their boundary: a stand-in for ONNX Runtime runs what it likes."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import pytest

from gliomart import providers
from gliomart.errors import MissingExtraError, ProviderError

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


class _Options:
    def add_session_config_entry(self, key: str, value: str) -> None:
        pass


def _runtime(available: list[str], runs: list[str]) -> SimpleNamespace:
    """An ONNX Runtime that lists ``available`` and whose sessions silently run on ``runs`` only."""

    def session(
        _model: bytes, _options: Any, providers: list[str], **_others: Any
    ) -> SimpleNamespace:
        effective = [provider for provider in providers if provider in runs]
        return SimpleNamespace(get_providers=lambda: effective)

    return SimpleNamespace(
        SessionOptions=_Options,
        GraphOptimizationLevel=SimpleNamespace(ORT_ENABLE_ALL=99),
        InferenceSession=session,
        get_available_providers=lambda: available,
    )


def _open(
    monkeypatch: pytest.MonkeyPatch,
    requested: Any,
    *,
    runs: list[str],
    loads: tuple[str, ...] = ("libcuda.so.1", "libnvinfer.so.10"),
    allow_fallback: bool = False,
) -> providers.ProviderChoice:
    def load(library: str) -> None:
        if library not in loads:
            raise OSError(library)

    monkeypatch.setattr(providers.ctypes, "CDLL", load)
    monkeypatch.setattr(providers, "_onnxruntime", lambda: _runtime([TENSORRT, CUDA, CPU], runs))
    _, choice = providers.open_session(b"", requested, allow_fallback=allow_fallback, threads=None)
    return choice


@pytest.mark.parametrize(
    ("runs", "loads", "effective"),
    [
        ([TENSORRT, CUDA, CPU], ("libcuda.so.1", "libnvinfer.so.10"), TENSORRT),
        ([TENSORRT, CUDA, CPU], ("libcuda.so.1",), CUDA),
        ([CUDA, CPU], ("libcuda.so.1", "libnvinfer.so.10"), CUDA),
        ([CPU], ("libcuda.so.1", "libnvinfer.so.10"), CPU),
        ([TENSORRT, CUDA, CPU], (), CPU),
    ],
)
def test_auto_takes_the_first_that_truly_runs(
    monkeypatch: pytest.MonkeyPatch, runs: list[str], loads: tuple[str, ...], effective: str
) -> None:
    choice = _open(monkeypatch, "auto", runs=runs, loads=loads)
    assert choice == providers.ProviderChoice("auto", effective, degraded=False)


def test_a_provider_by_name_has_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProviderError, match="CPUExecutionProvider instead"):
        _open(monkeypatch, "cuda", runs=[CPU])
    with pytest.raises(ProviderError, match=r"libnvinfer\.so\.10"):
        _open(monkeypatch, "tensorrt", runs=[TENSORRT, CPU], loads=("libcuda.so.1",))


def test_a_fallback_that_was_allowed_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = _open(monkeypatch, "cuda", runs=[CPU], allow_fallback=True)
    assert choice == providers.ProviderChoice("cuda", CPU, degraded=True)
    choice = _open(monkeypatch, "cuda", runs=[CUDA, CPU], allow_fallback=True)
    assert choice == providers.ProviderChoice("cuda", CUDA, degraded=False)


def test_two_onnxruntimes_at_once_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "1.32.0")
    with pytest.raises(ProviderError, match="both installed"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)


def test_no_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"gliomart\[cpu\]"):
        providers.open_session(b"", "cpu", allow_fallback=False, threads=None)
