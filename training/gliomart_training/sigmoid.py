"""The logistic function of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Float = TypeVar("_Float", bound=np.floating)

_FURTHEST = 30  # beyond it nothing changes, and the exponential would overflow


def sigmoid(values: NDArray[_Float]) -> NDArray[_Float]:
    """Rise softly from 0 to 1 around 0; of the same shape and type."""
    return cast("NDArray[_Float]", 1 / (1 + np.exp(-np.clip(values, -_FURTHEST, _FURTHEST))))
