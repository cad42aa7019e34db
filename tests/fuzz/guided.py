"""Attack the reading of DICOM files with inputs that coverage guides (Linux, CPython 3.11+).

``pip install atheris``, then ``python tests/fuzz/guided.py CORPUS -max_total_time=1200``, where
CORPUS is a folder that is filled with a small file of every transfer syntax and then with what
reaches new code. Further arguments are libFuzzer's. An input that does anything but be read or
refused is written to ``crash-*`` and ends the run.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import atheris

with atheris.instrument_imports(include=["gliomart", "pydicom"]):
    import mutate


def attack(data: bytes) -> None:
    """Let a file through the wall; only an InputRefusedError may come of it."""
    mutate.through_the_wall(data)


def main() -> None:
    """Fill the corpus and fuzz."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in mutate.seeds().items():
        (corpus / f"{name}.dcm").write_bytes(data)
    warnings.simplefilter("ignore")  # pydicom's, about odd values
    limits = ["-max_len=16384", "-timeout=10", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], attack)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
