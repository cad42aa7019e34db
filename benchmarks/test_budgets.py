"""Every budget at once, also those of whole processes and of a busy machine."""

from __future__ import annotations

from pathlib import Path

from gliomart import cli


def test_every_budget_is_kept() -> None:
    budgets = Path(__file__).with_name("budgets.toml")
    assert cli.main(["bench", "--provider", "cpu", "--budget", str(budgets)]) == 0
