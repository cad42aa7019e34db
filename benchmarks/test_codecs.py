"""Reading one slice in every transfer syntax: file to stored values, a drawn head of 12 bit.

Run with ``pytest benchmarks/test_codecs.py``; keep a result with ``--benchmark-json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syntaxes
from gliomart.sources import codecs, wall
from samples import draw_head


@pytest.mark.parametrize("side", [256, 512])
@pytest.mark.parametrize("syntax", codecs.SYNTAXES, ids=lambda syntax: syntax.name)
def test_read(benchmark: Any, tmp_path: Path, syntax: codecs.Syntax, side: int) -> None:
    if not syntax.available:
        pytest.skip("the extra dicom is missing")
    if "High-Throughput" in syntax.name:
        pytest.skip("no Python library encodes it")
    head = (draw_head((side, side)) * 4).clip(0, 4095).astype(np.uint16)
    pixels = (head >> 4).astype(np.uint8) if syntax.uid == syntaxes.BASELINE else head
    path = tmp_path / "slice.dcm"
    path.write_bytes(syntaxes.file_in(syntax.uid, pixels))

    def read() -> np.ndarray:
        (frame,) = codecs.frames(wall.parse(path, pixels=True))
        return frame

    benchmark.extra_info["bytes"] = path.stat().st_size
    assert benchmark(read).shape == (side, side)


@pytest.mark.parametrize("side", [256, 512])
def test_way_through_the_process(benchmark: Any, side: int) -> None:
    """What a process of their own costs the decoders: bytes there, values of 16 bit back."""
    pytest.importorskip("jpeg_ls")
    flat = np.full((side, side), 7, np.uint16)
    dataset = syntaxes.with_pixels("1.2.840.10008.1.2.4.80", flat)
    (frame,) = benchmark(lambda: list(codecs.frames(dataset)))
    assert np.array_equal(frame, flat)
