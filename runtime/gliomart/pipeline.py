"""Work that overlaps: several items at a time, results in order, never far ahead of who takes them.

Threads are enough: ONNX Runtime, OpenCV, NumPy and the operating system let others run meanwhile.
Where the system refuses threads, work goes on in those there are; with none, in the taker's own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, repeat
from typing import TYPE_CHECKING, Generic, TypeVar

from gliomart.errors import UsageError
from gliomart.host import processors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int
) -> Generator[_Result, None, None]:
    """Apply a function to items in threads, and give the results in the items' order.

    While the taker is busy with one, ``workers`` more are under way or wait to be taken, and no
    others have been begun: memory does not grow with their number. What the function raises is
    raised in its turn, and nothing is begun after it.

    Raises
    ------
    UsageError
        It is the process that began it whose threads are at work, and this is a child of it.
    """
    process, thread = os.getpid(), threading.get_ident()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gliomart")
    pending: deque[_Task[_Item, _Result]] = deque()
    helped = refused = False
    try:
        for item in items:
            _refuse_child_of(process)
            pending.append(_Task(function, item))
            if not refused or helped:
                started = _submitted(pool, pending[-1])
                if not (started or refused):
                    processors.fewer_threads(workers)
                helped, refused = helped or started, refused or not started
            if len(pending) > workers:
                yield pending.popleft().result(helped=helped)
                _refuse_child_of(process)  # before anything is taken of other pools
        while pending:
            yield pending.popleft().result(helped=helped)
            _refuse_child_of(process)
    finally:  # who takes them may stop early
        # A child has none of the threads, and locks that one of them held stay locked there.
        if os.getpid() == process:
            for task in pending:
                task.future.cancel()
            # What was forgotten may be collected in any thread, even in one that is about to start
            # and holds a lock that threads end by: it must not wait for them.
            pool.shutdown(wait=threading.get_ident() == thread)


def windows(items: Iterable[_Item], width: int) -> Generator[tuple[_Item | None, ...], None, None]:
    """Give every item between those before and after it, ``width`` (odd) in all.

    Beyond the ends there is None.
    """
    reach = width // 2
    window: deque[_Item | None] = deque([None] * reach, maxlen=width)
    for item in chain(items, repeat(None, reach)):
        window.append(item)
        if len(window) == width:
            yield tuple(window)


class _Task(Generic[_Item, _Result]):
    """A function and what it is applied to, once, by whoever comes first."""

    def __init__(self, function: Callable[[_Item], _Result], item: _Item) -> None:
        self.future: Future[_Result] = Future()
        self._function, self._item = function, item

    def __call__(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._function(self._item)
        except BaseException as error:  # noqa: BLE001  # raised where the result is taken
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def result(self, *, helped: bool) -> _Result:
        """Wait for the result, or work for it where there is nobody else."""
        if not helped:
            self()
        return self.future.result()


def _refuse_child_of(process: int) -> None:
    if os.getpid() != process:
        raise UsageError("results that were begun before a fork belong to the parent; begin anew")


def _submitted(pool: ThreadPoolExecutor, task: Callable[[], None]) -> bool:
    """Hand a task to a pool, and tell whether it could have the thread it may have needed.

    Where it could not, the task waits in the pool all the same, and the threads that are there
    already do it.
    """
    try:
        pool.submit(task)
    except RuntimeError as error:
        if not processors.is_refused_thread(error):  # the pool may be at its end
            raise
        return False
    return True
