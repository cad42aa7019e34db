"""From parsed JSON to frozen dataclasses: fields are exactly the keys, of the types declared."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gliomart.errors import ModelCardError

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


def build(cls: type[_T], values: object, where: str) -> _T:
    """Make a dataclass of a JSON object.

    Its fields may be of ``str``, ``int``, ``float``, ``bool``, a Literal, a dataclass, a tuple of
    these, any of them or None, and a ``Mapping[str, ...]`` of numbers or of anything (``object``).

    Parameters
    ----------
    cls
        The dataclass.
    values
        What :mod:`json` made of the text.
    where
        What an error calls it.

    Raises
    ------
    ModelCardError
        A key is missing or unknown, or a value is of another type.
    """
    if not isinstance(values, dict):
        raise ModelCardError(f"the model's {where} is not an object")
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for problem, keys in (
        ("lacks", names - values.keys()),
        ("has an unknown", values.keys() - names),
    ):
        if keys:
            raise ModelCardError(f"the model's {where} {problem} {', '.join(sorted(keys))}")
    hints = get_type_hints(cls)
    return cls(**{name: _value(hints[name], values[name], f"{where}.{name}") for name in values})


def _value(hint: Any, value: object, where: str) -> object:  # noqa: ANN401  # as it is written
    origin, choices = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        (other,) = (choice for choice in choices if choice is not types.NoneType)
        return None if value is None else _value(other, value, where)
    if origin is tuple and isinstance(value, list):
        return _items(choices, value, where)
    if origin is Mapping and isinstance(value, dict):
        _, of = choices
        return {name: _value(of, each, f"{where}.{name}") for name, each in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]  # a class, not an instance
    if not _fits(hint, value):
        raise ModelCardError(f"the model's {where} has a value of the wrong kind")
    return float(value) if hint is float else value  # type: ignore[arg-type]  # it fits


def _fits(hint: Any, value: object) -> bool:  # noqa: ANN401  # a type as it is written
    """Tell whether a value is of a plain type; true and false are no numbers."""
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint is float:
        return type(value) is float or (
            type(value) is int and abs(value) <= sys.float_info.max  # else float() fails
        )
    return hint is object or type(value) is hint


def _items(hints: Sequence[Any], values: Sequence[object], where: str) -> tuple[object, ...]:
    """Take a list as a tuple: of any length where its hint ends in ``...``."""
    if hints[-1] is Ellipsis:
        return tuple(_value(hints[0], value, where) for value in values)
    if len(values) != len(hints):
        raise ModelCardError(f"the model's {where} has {len(values)} values, not {len(hints)}")
    return tuple(_value(hint, value, where) for hint, value in zip(hints, values, strict=True))
