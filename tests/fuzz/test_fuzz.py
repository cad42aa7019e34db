from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("gdcm", reason="the extra dicom makes and decodes the seeds")
sys.path.insert(0, str(Path(__file__).parent))

import mutate


@pytest.mark.parametrize("target", mutate.TARGETS)
def test_nothing_but_refusals_comes_of_mutated_files(target: str) -> None:
    count = 2000 if target == "wall" else 500
    outcomes = mutate.run(mutate.TARGETS[target], mutate.seeds_of(target), 1, range(count))
    # What is slow is told by mutate.py itself, on a machine that does nothing else.
    assert outcomes.escapes + outcomes.large == []
    assert sum(sum(counts.values()) for counts in outcomes.counts.values()) == count
    assert sum(counts["read"] for counts in outcomes.counts.values()) > count / 10
    assert sum(counts["undecodable"] for counts in outcomes.counts.values()) > count / 20


def test_a_mutation_can_be_made_again() -> None:
    seeds = mutate.seeds()
    assert mutate.mutation(seeds, 3, 5) == mutate.mutation(seeds, 3, 5)
    assert mutate.mutation(seeds, 3, 5) != mutate.mutation(seeds, 3, 6)


def test_what_escapes_is_reported() -> None:
    def target(data: bytes) -> str:
        if len(data) % 2:
            raise ZeroDivisionError("no refusal")
        return "read"

    outcomes = mutate.run(target, {"one": b"abcd"}, 0, range(40))
    assert outcomes.counts["one"]["ESCAPE"] == len(outcomes.escapes) > 0
    assert "ZeroDivisionError" in outcomes.faults[0]
