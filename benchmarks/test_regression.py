"""Nothing has become slower, by a measure that a busy machine does not change.

Seconds depend on the machine and on what else it does; even ratios of times wander by tens of per
cent beside other work. The number of instructions of the same libraries is the same to a few per
mille wherever and beside whatever they run, so a few per cent more of them is a change in the code
or the model, and never noise. What it cannot see is a change in how long each instruction takes
(memory, threads, AVX-512): that is what ``gliomart bench --compare`` is for.

Run with ``pytest benchmarks/test_regression.py``; it takes a minute or a few. Where a change is
meant, ``python benchmarks/instructions.py --out benchmarks/results/instructions.json`` makes the
new counts the baseline.
"""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest

import instructions
from gliomart.bench import machine

BASELINE = Path(__file__).parent / "results" / "instructions.json"
TOLERANCE = 0.05


def test_no_part_takes_more_instructions_than_before() -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("Valgrind is not installed")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
    here = machine.versions()
    if platform.machine() != "x86_64" or any(
        here.get(name) != version for name, version in baseline["versions"].items()
    ):
        pytest.skip(f"the baseline was counted on x86_64 with {baseline['versions']}")
    counts = instructions.count()["instructions"]
    before = baseline["instructions"]
    more = {part: counts[part] / before[part] - 1 for part in instructions.PARTS}
    assert {part: f"{each:+.1%}" for part, each in more.items() if each > TOLERANCE} == {}
