"""What only a GPU can show; ``pytest -m gpu`` runs it where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from gliomart import providers
from gliomart.model.built_in import default_model
from gliomart.model.model import Model
from gliomart.providers.choice import GPU_PROVIDERS
from samples import GOLDEN

pytestmark = pytest.mark.gpu


@pytest.fixture(params=list(GPU_PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Any:
    reason = providers.reasons()[request.param]
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


def _images(count: int) -> Any:
    return np.random.default_rng(0).random((count, 256, 256, 1), np.float32)


def test_it_runs_and_agrees_with_the_cpu(provider: Any) -> None:
    choice = Model(provider=provider).provider
    assert choice.effective == GPU_PROVIDERS[provider].onnx_name
    assert choice.parity is not None
    assert 0 < max(choice.parity.values()) <= GPU_PROVIDERS[provider].tolerance


def test_slices_one_by_one_together_and_from_threads_are_the_same(provider: Any) -> None:
    loaded, images = Model(provider=provider), _images(8)
    alone = [loaded.run(image).anomaly_map for image in images]
    together = [outputs.anomaly_map for outputs in loaded.run_batch(images)]
    threaded: dict[int, Any] = {}

    def run(number: int) -> None:
        threaded[number] = loaded.run(images[number]).anomaly_map

    threads = [Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tolerance = GPU_PROVIDERS[provider].tolerance
    for number in range(8):
        assert np.array_equal(alone[number], threaded[number])
        assert np.abs(alone[number] - together[number]).max() <= tolerance
    assert not loaded.provider.degraded


def test_an_engine_is_kept_and_loaded_again(
    provider: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if provider == "cuda":
        pytest.skip("keeps nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Model(provider=provider)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.engine")}
    Model(provider=provider)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.engine")} == kept
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_nothing_of_the_libraries_reaches_standard_output(provider: Any, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "gliomart.cli", "infer", str(GOLDEN), "--json",
        "--model", str(default_model()), "--out", str(tmp_path / "out"), "--provider", provider,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["provider"]["requested"] == provider


def test_a_hidden_gpu_is_told_of(provider: Any, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "gliomart.cli", "infer", str(GOLDEN), "--json",
        "--out", str(tmp_path / "out"), "--provider", provider, "--allow-fallback",
    ]  # fmt: skip
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=hidden)
    assert json.loads(done.stdout)["provider"]["degraded"]
