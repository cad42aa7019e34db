"""Time per slice of reading each transfer syntax: survey, parsing, decoding, modality values.

``python benchmarks/syntaxes.py [--json FILE]``. The picture is a slice of the simulated study, 12
bit, 256² and enlarged to 512². High-throughput JPEG 2000 is left out: nothing here encodes it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import syntaxes
from gliomart import sources
from gliomart.sources import codecs, dicom

GOLDEN = Path(sources.__file__).parents[1] / "golden" / "slice_010.dcm"
_ROUNDS = 40
_NOT_ENCODED = {f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)}


def measure() -> dict[str, dict[str, float]]:
    """Return median milliseconds by syntax and side."""
    (series,) = sources.scan([GOLDEN]).series
    (plain,) = (item.pixels for item in sources.read(series.files[0]))  # type: ignore[union-attr]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slice.dcm"
        for syntax in codecs.SYNTAXES:
            if syntax.uid in _NOT_ENCODED:
                continue
            figures[syntax.name] = {}
            for side in (256, 512):
                pixels = cv2.resize(plain, (side, side)).clip(0, 4095).astype(np.uint16)
                if syntax.uid == syntaxes.BASELINE:
                    pixels = (pixels >> 4).astype(np.uint8)
                path.write_bytes(syntaxes.file_in(syntax.uid, pixels))
                times = []
                for _ in range(_ROUNDS):
                    begin = time.perf_counter()
                    (read,) = dicom.read(path, "slice", "slice", sources.DEFAULT)
                    times.append(time.perf_counter() - begin)
                    assert read.pixels.shape == (side, side)  # type: ignore[union-attr]
                figures[syntax.name][str(side)] = round(float(np.median(times)) * 1e3, 2)
    return figures


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = measure()
    for name, by_side in figures.items():
        print(f"{name:40} {by_side['256']:8.2f} {by_side['512']:8.2f} ms")
    if options.json:
        libraries = ("pydicom", "pyjpegls", "pylibjpeg-openjpeg", "python-gdcm", "numpy")
        report = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "versions": {name: version(name) for name in libraries},
            "rounds": _ROUNDS,
            "median_ms": figures,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
