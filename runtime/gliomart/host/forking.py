"""What a ``fork`` does to a process that has used gliomart, and what is done about it.

A child has the memory of its parent, but of its threads only the one that forked. Threads of ONNX
Runtime are not there any more, and whoever destroys a session waits for them for ever. Locks that
another thread held stay locked. So, where Python itself forks (:func:`os.fork`, ``multiprocessing``
with the start method ``fork``, servers that load an application before they fork):

- a fork waits until what is being analysed or read in other threads is done, which takes
  milliseconds; what is read may never come, and is waited for no longer than a moment;
- what is open is told in the child (:func:`inherited`), and what is native is left alone there for
  ever (:func:`leave_alone`), also when the interpreter ends.

Where something else forks, past Python (uWSGI, a host in C), nothing waits, and the child finds out
by itself (:func:`notice`).

References
----------
Python, :func:`os.register_at_fork`; POSIX, *fork*, rationale; NVIDIA, *CUDA C++ Programming Guide*:
a CUDA context is not valid in a child.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from contextlib import ContextDecorator
from threading import Condition, Lock, local
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from gliomart.errors import ProviderError

if TYPE_CHECKING:
    from types import TracebackType

# A slice takes hundredths of a second; what takes this long may never end.
_LONGEST_WORK_S = 10.0
# A file takes less; a share that hangs is not to hold up whoever forks.
_LONGEST_INPUT_S = 0.5
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
    other one; it may hold others.

    Parameters
    ----------
    longest_wait_s
        After which a fork goes ahead all the same.
    tears
        Whether a child that was forked in the middle of another thread's piece is let in no more.
    """

    def __init__(self, longest_wait_s: float, *, tears: bool) -> None:
        self.longest_wait_s, self._tears = longest_wait_s, tears
        self._changed = Condition()
        self._thread = local()
        self._pieces = self._forks = 0
        self._torn = False

    def __enter__(self) -> None:
        """Begin a piece.

        Raises
        ------
        ProviderError
            This process was forked from one that was in the middle of a piece.
        """
        notice()
        if self._torn:
            raise ProviderError(_TORN)
        depth = self._depth
        if depth == 0:
            with self._changed:
                while self._forks:
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
        """Before a fork: let no piece begin, and wait for those that other threads have begun."""
        self._changed.acquire()
        self._forks += 1  # several threads may fork at once
        self._changed.wait_for(lambda: self._pieces <= self._own, self.longest_wait_s)

    def go_on(self) -> None:
        """After a fork, in the parent."""
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def forked(self) -> None:
        """After a fork, in the child: only the thread that forked is there."""
        self._torn = self._torn or (self._tears and self._pieces > self._own)
        self._pieces, self._forks = self._own, 0
        self._changed = Condition()

    @property
    def _depth(self) -> int:
        """Pieces that this thread has begun, each within the one before."""
        depth: int = getattr(self._thread, "depth", 0)
        return depth

    @property
    def _own(self) -> int:
        """How many of the pieces are this thread's."""
        return min(self._depth, 1)


# What computes, natively: whoever is forked in the middle of it cannot.
at_work = AtWork(_LONGEST_WORK_S, tears=True)
# What reads a file or a stream. It may import what it needs, and Python's locks of that count.
at_input = AtWork(_LONGEST_INPUT_S, tears=False)
_process = os.getpid()
_noticing = Lock()
_inherited: WeakSet[Inherited] = WeakSet()


def inherited(each: Inherited) -> None:
    """Have something told when it finds itself in the child of a fork."""
    _inherited.add(each)


def leave_alone(native: object) -> None:
    """Let something never be destroyed in this process, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))


def notice() -> None:
    """Find out whether this is the child of a fork that Python was not told of."""
    if os.getpid() != _process:
        with _noticing:
            if os.getpid() != _process:
                _in_the_child()


def _before() -> None:
    at_input.wait()
    at_work.wait()


def _in_the_parent() -> None:
    at_work.go_on()
    at_input.go_on()


def _in_the_child() -> None:
    global _process  # noqa: PLW0603  # there is one
    at_input.forked()
    at_work.forked()
    for each in list(_inherited):
        each.forked()
    _let_opencv_work_alone()
    _process = os.getpid()


def _let_opencv_work_alone() -> None:
    """Have OpenCV start nothing in its threads: they are gone, and may have left locks behind."""
    set_threads = getattr(sys.modules.get("cv2"), "setNumThreads", None)
    if set_threads is not None:  # another thread may have been importing it
        set_threads(0)


if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(
        before=_before, after_in_parent=_in_the_parent, after_in_child=_in_the_child
    )
    atexit.register(notice)  # before sessions are destroyed
