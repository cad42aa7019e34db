"""Grey-scale morphology of maps, with Keras alone.

Opening and closing are those of Serra, *Image Analysis and Mathematical Morphology*, 1982.

All take and give (N, H, W, 1), 0 or above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras import ops

if TYPE_CHECKING:
    from keras import KerasTensor

# Gaps are looked for on cells of this many pixels a side; what is within one is found all the same.
_CELL = 2


def highest(values: KerasTensor, side: int) -> KerasTensor:
    """Take the maximum over squares of an odd side, one direction after the other."""
    return _along(_along(values, (side, 1)), (1, side))


def opened(values: KerasTensor, side: int) -> KerasTensor:
    """Take off what no square of this side fits under."""
    return highest(-highest(-values, side), side)


def filled(values: KerasTensor, length: int) -> KerasTensor:
    """Fill gaps that have more on all four sides, each pair of sides less than a length apart.

    They are filled up to the least of the four: a closing by a line from side to side, and one from
    top to bottom, of which the lower counts. Two lesions beside each other are not joined.
    """
    cells, side = -ops.max_pool(-values, _CELL), length // _CELL | 1
    across, down = _closed(cells, (1, side)), _closed(cells, (side, 1))
    inside = ops.minimum(across, down)
    return ops.maximum(values, _doubled(inside))


def _doubled(cells: KerasTensor) -> KerasTensor:
    """Repeat (N, H, W, 1) to (N, 2 H, 2 W, 1)."""
    _, height, width, _ = cells.shape
    rows = ops.reshape(ops.concatenate([cells, cells], axis=-1), (-1, height, 1, 2 * width))
    return ops.reshape(ops.concatenate([rows, rows], axis=2), (-1, 2 * height, 2 * width, 1))


def _closed(values: KerasTensor, line: tuple[int, int]) -> KerasTensor:
    return -_along(-_along(values, line), line)


def _along(values: KerasTensor, line: tuple[int, int]) -> KerasTensor:
    """Take the maximum along a line of an odd length, in one direction."""
    return ops.max_pool(values, line, strides=1, padding="same")
