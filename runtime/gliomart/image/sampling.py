"""Some of many, evenly spaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_Item = TypeVar("_Item")


def evenly_spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    """Choose at most so many, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
