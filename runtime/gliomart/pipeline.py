"""Work that overlaps: several items at a time, results in order, never far ahead of who takes them.

Threads are enough: ONNX Runtime, OpenCV, NumPy and the operating system let others run meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gliomart.errors import UsageError

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

    Raises
    ------
    UsageError
        It is the process that began it whose threads are at work, and this is a child of it.
    """
    process = os.getpid()
    with ThreadPoolExecutor(workers, thread_name_prefix="gliomart") as pool:
        pending: deque[Future[_Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield _result_of(pending.popleft(), process)
            while pending:
                yield _result_of(pending.popleft(), process)
        finally:  # who takes them may stop early
            while pending and os.getpid() == process:
                pending.popleft().cancel()


def _result_of(future: Future[_Result], process: int) -> _Result:
    if os.getpid() != process:
        raise UsageError("results that were begun before a fork belong to the parent; begin anew")
    return future.result()
