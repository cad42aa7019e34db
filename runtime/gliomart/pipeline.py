"""Work that overlaps: several items at a time, results in order, never far ahead of who takes them.

Threads are enough: ONNX Runtime, OpenCV, NumPy and the operating system let others run meanwhile.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> Iterator[_Result]:
    """Apply a function to items in threads, and give the results in the items' order.

    While the taker is busy with one, ``workers`` more are under way or wait to be taken, and no
    others have been begun: memory does not grow with their number. What the function raises is
    raised in its turn, and nothing is begun after it.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="gliomart") as pool:
        pending: deque[Future[_Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # who takes them may stop early
            for future in pending:
                future.cancel()
