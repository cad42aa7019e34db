"""Equality of values that hold arrays, which NumPy compares element by element."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np


class ByContent:
    """Base of dataclasses (``eq=False``) with arrays among their fields.

    Two are equal if they are of one class and all their fields are: arrays in shape, type and
    values, where NaN equals NaN. They cannot be hashed, as arrays cannot.
    """

    __hash__ = None  # type: ignore[assignment]  # as the data model spells it

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(
            same(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)  # type: ignore[arg-type]  # those who inherit are dataclasses
        )


def same(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Tell whether two fields are equal, see :class:`ByContent`."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return (
            isinstance(one, np.ndarray)
            and isinstance(other, np.ndarray)
            and one.dtype == other.dtype
            and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
        )
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)  # noqa: PLR0124  # NaN
    return bool(one == other)
