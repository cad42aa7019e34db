"""Budgets for pytest-benchmark: a benchmark named after a figure fails past its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliomart.bench import read_budgets

BUDGETS = Path(__file__).parent / "budgets.toml"


@pytest.fixture
def within_budget(benchmark: Any) -> Any:
    """Give a function that times another and holds its 95th percentile to a budget, in ms.

    The budget is that of its figure in the file, or what is given.
    """
    budgets = {budget.figure: budget.at_most for budget in read_budgets(BUDGETS)}

    def time(figure: str, function: Any, *arguments: Any, at_most: float | None = None) -> Any:
        limit = budgets[figure] if at_most is None else at_most
        result = benchmark.pedantic(function, arguments, rounds=60, iterations=1, warmup_rounds=5)
        if benchmark.stats is not None:  # with --benchmark-disable there are none
            p95 = float(np.percentile(benchmark.stats.stats.data, 95)) * 1e3
            benchmark.extra_info["p95_ms"] = round(p95, 3)
            assert p95 <= limit, f"{figure}: {p95:.2f} ms, budget {limit:g} ms"
        return result

    return time
