"""What a ``fork`` does to a process that has used gliomart, and what is done about it.

A child has the memory of its parent, but of its threads only the one that forked. Threads of ONNX
Runtime are not there any more, and whoever destroys a session waits for them for ever. Locks that
another thread held stay locked. So, where Python itself forks (:func:`os.fork`, ``multiprocessing``
with the start method ``fork``, servers that load an application before they fork):

- a fork waits until what is being analysed in other threads is done, which takes milliseconds;
- what is open is told in the child (:func:`inherited`), and what is native is left alone there for
  ever (:func:`leave_alone`), also when the interpreter ends.

References
----------
Python, :func:`os.register_at_fork`; POSIX, *fork*, rationale; NVIDIA, *CUDA C++ Programming Guide*:
a CUDA context is not valid in a child.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import ContextDecorator
from threading import Condition, local
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from gliomart.errors import ProviderError

if TYPE_CHECKING:
    from types import TracebackType

# A slice takes hundredths of a second; what takes this long may never end.
LONGEST_WAIT_S = 10.0
_TORN = (
    "this process was forked while a slice was being analysed, and cannot analyse any;"
    " fork when nothing is, or start processes with spawn"
)


class Inherited(Protocol):
    """What a child has from its parent and cannot use as it is."""

    def forked(self) -> None:
        """Put it right; called in the child, before anything else is done there."""


class AtWork(ContextDecorator):
    """A piece of work that a fork waits for: it holds locks that would stay locked in the child.

    ``@at_work`` on, or ``with at_work:`` around, each piece that ends by itself and waits for no
    other one; it may hold others. Where a fork cannot wait (a piece takes too long, or is what
    forks), the child is not let in any more.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._thread = local()
        self._pieces = 0
        self._forking = self._torn = False

    def __enter__(self) -> None:
        """Begin a piece.

        Raises
        ------
        ProviderError
            This process was forked from one that was in the middle of a piece.
        """
        if self._torn:
            raise ProviderError(_TORN)
        depth = getattr(self._thread, "depth", 0)
        if depth == 0:
            with self._changed:
                while self._forking:
                    self._changed.wait()
                self._pieces += 1
        self._thread.depth = depth + 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.depth -= 1
        if self._thread.depth == 0:
            with self._changed:
                self._pieces -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Before a fork: let no piece begin, and wait for those that have."""
        own = 1 if getattr(self._thread, "depth", 0) else 0
        self._changed.acquire()
        self._forking = True
        self._changed.wait_for(lambda: self._pieces <= own, LONGEST_WAIT_S)

    def go_on(self) -> None:
        """After a fork, in the parent."""
        self._forking = False
        self._changed.notify_all()
        self._changed.release()

    def forked(self) -> None:
        """After a fork, in the child: only the thread that forked is there."""
        own = 1 if getattr(self._thread, "depth", 0) else 0
        self._torn = self._torn or self._pieces > 0
        self._pieces, self._forking = own, False
        self._changed = Condition()


at_work = AtWork()
_inherited: WeakSet[Inherited] = WeakSet()


def inherited(each: Inherited) -> None:
    """Have something told when it finds itself in the child of a fork."""
    _inherited.add(each)


def leave_alone(native: object) -> None:
    """Let something never be destroyed in this process, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))


def _in_the_child() -> None:
    at_work.forked()
    for each in list(_inherited):
        each.forked()


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(
        before=at_work.wait, after_in_parent=at_work.go_on, after_in_child=_in_the_child
    )
