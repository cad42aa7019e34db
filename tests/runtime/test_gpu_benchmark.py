from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gliomart import providers

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_where_there_is_no_gpu_the_benchmark_says_so_and_ends(tmp_path: Path) -> None:
    if list(providers.reasons().values()).count(None) > 1:
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "gpu.json")],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 5
    assert done.stderr.startswith("no GPU runs here (tensorrt: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "gpu.json").exists()
