"""What real-time use asks for, and whether a report keeps to it."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from gliomart.errors import BudgetExceededError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def read_budgets(path: Path) -> list[dict[str, Any]]:
    """Read a budget file: tables ``[[budget]]`` with ``figure``, ``at_most`` and ``reason``.

    Raises
    ------
    UsageError
        The file is not there or not of this form.
    """
    try:
        budgets = tomllib.loads(path.read_text(encoding="utf-8"))["budget"]
        return [
            {
                "figure": str(each["figure"]),
                "at_most": float(each["at_most"]),
                "reason": str(each["reason"]),
            }
            for each in budgets
        ]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({(error.strerror or '').lower()})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a budget file ({type(error).__name__}: {error})") from error


def asks_for(budgets: list[dict[str, Any]], part: str) -> bool:
    """Tell whether a budget holds a figure of one part of a report."""
    return any(budget["figure"].partition(".")[0] == part for budget in budgets)


def measured(report: dict[str, Any], figure: str) -> float:
    """Look a figure up by its keys, joined by dots.

    Raises
    ------
    UsageError
        The report has no such figure.
    """
    value: Any = report
    for key in figure.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UsageError(f"no figure {figure} is measured")
        value = value[key]
    return float(value)


def check(report: dict[str, Any], budgets: list[dict[str, Any]]) -> None:
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
        value = measured(report, budget["figure"])
        if value > budget["at_most"]:
            exceeded.append(f"{budget['figure']} is {value:g}, budget {budget['at_most']:g}")
    if exceeded:
        raise BudgetExceededError("; ".join(exceeded))
