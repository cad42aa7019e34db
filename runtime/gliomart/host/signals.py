"""How a command ends that is told to: at once, in one line, with whole files and a status.

The first signal raises :class:`Ended` wherever the command is, so that everything on the way out
tidies up. Those that follow are ignored while it does, for a second; after that, one more ends the
process where it stands.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from time import monotonic

TYPE_CHECKING = False  # as typing has it, which takes longer to load than all else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What each is called, in the message with which a command ends.
_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
# signal(7), and POSIX, Shell Command Language 2.8.2: the status of what a signal ended, by which a
# shell or a supervisor tells it from other ends.
STATUSES = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}
_PATIENCE_S = 1.0
# After which an exception is raised once more that was raised where none can be.
_AGAIN_S = 0.01


class Ended(KeyboardInterrupt):
    """A signal told the command to end."""


class Signals:
    """What this process does about signals while a command runs.

    A signal that was ignored before stays ignored, as ``nohup`` has it, and one that the host
    handles stays the host's. The first process of a container has the handlers that it sets alone,
    which is one more reason to set them (pid_namespaces(7)).

    Parameters
    ----------
    alone
        Whether the process is the command's own, and may be ended where it stands.
    first
        Is called at the first signal, from within its handler.

    Attributes
    ----------
    number
        Of the signal that came; None where none has.
    """

    def __init__(self, *, alone: bool, first: Callable[[], None]) -> None:
        self.number: int | None = None
        self._alone, self._first = alone, first
        self._since = 0.0
        self._said = self._over = False
        self._before: dict[int, Any] = {}
        self._late: list[int] = []
        self._hook = sys.unraisablehook

    def take(self) -> None:
        """Handle signals from here on, where that is possible: in the main thread of a process."""
        self._before = _handled(self._handle)
        if self._before:
            sys.unraisablehook = self._unraisable

    def ignore_from_here(self) -> None:
        """Raise nothing any more: what there was to do is done."""
        self._over = True

    def give_back(self) -> None:
        """Leave signals to those who had them; what came too late is theirs."""
        self._over = True
        if self._before:
            sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            if handler is not _at_the_start:  # this process is at its end
                signal.signal(number, handler)
        if not self._alone:
            for number in self._late:
                signal.raise_signal(number)

    @property
    def word(self) -> str:
        """What happened, in a word."""
        return _WORDS[self._name]

    @property
    def status(self) -> int:
        """Exit status of a command that a signal ended."""
        return STATUSES[self._name]

    @property
    def _name(self) -> str:
        """The signal's name; an interruption that none of ours raised is the keyboard's."""
        return "SIGINT" if self.number is None else signal.Signals(self.number).name

    def said(self) -> None:
        """Note that the message was given."""
        self._said = True

    def _handle(self, number: int, _frame: object) -> None:
        if self._over:
            self._late.append(number)
            return
        if self.number is None:
            self.number, self._since = number, monotonic()
            self._first()
            raise Ended
        if monotonic() - self._since > _PATIENCE_S:
            if not self._alone:
                raise Ended
            if not self._said:
                with suppress(OSError):  # nobody hears it, and the status says it as well
                    os.write(2, f"gliomart: {self.word} before it could tidy up\n".encode())
            os._exit(self.status)

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise once more what came where nothing can be raised, such as in a finaliser."""
        if not isinstance(unraisable.exc_value, Ended):
            self._hook(unraisable)
        elif self._alone and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, _raise)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def listen_from_the_start() -> None:
    """Let a signal end this process in one line, until a command takes them."""
    _handled(_at_the_start)


def ignore_at_exit() -> None:
    """Have signals ignored from the moment at which the interpreter takes itself apart.

    The command has ended by then, and its status stands.
    """
    import atexit

    atexit.register(_ignore)


def _ignore() -> None:
    with suppress(ValueError):  # it is not the main thread that ends, which alone may say so
        for number in _numbers():
            signal.signal(number, signal.SIG_IGN)


def _handled(handler: Callable[[int, object], None]) -> dict[int, Any]:
    """Handle signals that nobody does; those before, or none where this is not the main thread."""
    before: dict[int, Any] = {}
    with suppress(ValueError):
        for number in filter(_is_default, _numbers()):
            before[number] = signal.signal(number, handler)
    return before


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in _WORDS if hasattr(signal, name)]  # Windows lacks one


def _at_the_start(number: int, _frame: object) -> None:
    name = signal.Signals(number).name
    with suppress(OSError):  # nobody hears it, and the status says it as well
        os.write(2, f"gliomart: {_WORDS[name]} before it had begun\n".encode())
    os._exit(STATUSES[name])


def _raise(_number: int, _frame: object) -> None:
    raise Ended


def _is_default(number: int) -> bool:
    ours = (signal.SIG_DFL, signal.default_int_handler, _at_the_start)
    return signal.getsignal(number) in ours
