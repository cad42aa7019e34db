"""Count the processor instructions of a slice, which no neighbour on the machine can change.

``python benchmarks/instructions.py`` runs itself under Valgrind's Callgrind, which counts every
instruction of a process, and prints JSON; ``--out benchmarks/results/instructions.json`` makes it
the baseline of ``test_regression.py``. Between the parts the process calls ``getppid``, which does
nothing and which Callgrind is told to write its counts before. Valgrind shows a processor with AVX2
and without AVX-512 whatever it runs on, so the same libraries take the same way everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("slice", "model", "overlay")
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
# One thread, and the order of sets and dictionaries the same in every run.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}


def count() -> dict[str, Any]:
    """Count each of ``PARTS`` once, after one run that warms up.

    Returns
    -------
    ``instructions`` of each part in 10⁶, and what they depend on: ``versions`` and ``model``.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                "--dump-before=getppid",
                f"--callgrind-out-file={folder}/counts",
                sys.executable,
                __file__,
                "--run",
            ],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | _ENVIRONMENT,
        )
        # The first holds everything before the first part.
        files = [Path(folder) / f"counts.{number + 2}" for number in range(len(PARTS))]
        totals = [_TOTAL.search(file.read_text("utf-8")) for file in files]
    counts = [int(found[1]) / 1e6 for found in totals if found]
    return {
        "schema": 1,
        "command": "python benchmarks/instructions.py",
        **json.loads(done.stdout),
        "instructions": {part: round(value, 1) for part, value in zip(PARTS, counts, strict=True)},
    }


def _run() -> None:
    """Do each part, a mark before each and after the last."""
    import gliomart
    from gliomart import Detector, sources
    from gliomart.bench import machine, stages
    from gliomart.model import model
    from gliomart.outputs import pictures
    from gliomart.providers import session

    # The limit on a first run is against graphs without end; under Valgrind all take long.
    session.LONGEST_FIRST_RUN_S = 600.0
    detector = Detector(provider="cpu", threads=1)
    inventory = sources.scan([Path(gliomart.__file__).with_name("golden")])
    typical = stages.typical(detector, inventory)
    assert typical.file is not None
    path, result = typical.file, detector.detect(typical.file)
    alone = model.Model(provider="cpu", threads=1)
    limit = detector.calibration.display_limit
    work: dict[str, Callable[[], object]] = {
        "slice": lambda: detector.detect(path),
        "model": lambda: alone.run(typical.image),
        "overlay": lambda: pictures.png(pictures.overlay(result, limit)),
    }
    for part in PARTS:
        work[part]()
    for part in PARTS:
        os.getppid()
        work[part]()
    os.getppid()
    names = ("python", "numpy", "opencv-python-headless", "pydicom", "onnxruntime")
    versions = {name: version for name, version in machine.versions().items() if name in names}
    print(json.dumps({"model": detector.settings.model_sha256, "versions": versions}))


def main() -> None:
    """Count, or be counted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the counts there")
    options = parser.parse_args()
    if options.run:
        _run()
        return
    text = json.dumps(count(), indent=1) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
