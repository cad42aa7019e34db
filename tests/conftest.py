"""Fixtures that tests share."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

from gliomart.image.slices import Slice
from samples import draw_head, tiny_model

if "PYTEST_XDIST_WORKER" in os.environ:  # one of as many processes as there are processors
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# How long an example takes is the machine's business; budgets belong to the benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_xdist_auto_num_workers() -> int:
    """Take a process more than there are processors: some tests wait rather than work."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the many like cases of a test that is marked as sampled, leave most to the slow run."""
    cases: Counter[str] = Counter()
    for item in items:
        if (mark := item.get_closest_marker("sampled")) is not None:
            (every,) = mark.args
            test = item.nodeid.partition("[")[0]
            number, cases[test] = cases[test], cases[test] + 1
            if (number + number // every) % every:  # shifted, to meet all values of several lists
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "tiny.onnx")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of six PNG slices, the third and fourth with a lesion, and a file that is none."""
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(6):
        lesion = 0.9 if number in (2, 3) else 0.0
        pixels = (draw_head(lesion=lesion, seed=number) / 5).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number + 1}.png"), pixels)
    (folder / "README.txt").write_text("not an image")
    return folder


@pytest.fixture
def head() -> Slice:
    return Slice(draw_head())
