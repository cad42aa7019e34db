"""A slice that has to be decoded, and what a process of nobody else's makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import JPEGLSLossless

import processes
from samples import golden_slice


@pytest.fixture(scope="session")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice of the simulated study in JPEG-LS, which the decoder's process decodes."""
    pytest.importorskip("jpeg_ls")
    file = tmp_path_factory.mktemp("compressed") / "jpeg-ls.dcm"
    dataset = golden_slice(6)
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(file)
    return file


@pytest.fixture(scope="session")
def score(compressed: Path) -> str:
    code = (
        "import sys; from gliomart import Detector\n"
        "print(Detector(force=True, threads=1).detect(sys.argv[1]).score)"
    )
    return processes.run(code, compressed).stdout
