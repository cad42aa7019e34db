"""What real-time use asks for, and whether a report keeps to it."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import BudgetExceededError, UsageError
from gliomart.printable import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class FigureBudget(NamedTuple):
    """What one figure of a report may be at most, and why; its keys are joined by dots."""

    figure: str
    at_most: float
    reason: str


def read_budgets(path: Path) -> list[FigureBudget]:
    """Read a budget file: tables ``[[budget]]`` with ``figure``, ``at_most`` and ``reason``.

    Raises
    ------
    UsageError
        The file is not there or not of this form.
    """
    try:
        budgets = tomllib.loads(path.read_text(encoding="utf-8"))["budget"]
        return [
            FigureBudget(str(each["figure"]), float(each["at_most"]), str(each["reason"]))
            for each in budgets
        ]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({reason_of(error)})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a budget file ({type(error).__name__}: {error})") from error


def asks_for(budgets: Sequence[FigureBudget], part: str) -> bool:
    """Tell whether a budget holds a figure of one part of a report."""
    return any(budget.figure.partition(".")[0] == part for budget in budgets)


def measured(report: Mapping[str, object], figure: str) -> float:
    """Look a figure up by its keys, joined by dots.

    Raises
    ------
    UsageError
        The report has no such figure.
    """
    value: object = report
    for key in figure.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UsageError(f"no figure {figure} is measured")
        value = value[key]
    if not isinstance(value, int | float):
        raise UsageError(f"{figure} is not a number")
    return float(value)


def check(report: Mapping[str, object], budgets: Sequence[FigureBudget]) -> None:
    """Hold a report to budgets.

    Raises
    ------
    BudgetExceededError
        Names every figure past its budget.
    UsageError
        A budget names a figure that the report does not have.
    """
    exceeded = []
    for budget in budgets:
        value = measured(report, budget.figure)
        if value > budget.at_most:
            exceeded.append(f"{budget.figure} is {value:g}, budget {budget.at_most:g}")
    if exceeded:
        raise BudgetExceededError("; ".join(exceeded))
