"""Every way gliomart can refuse, as one family.

Each error is a :class:`GliomartError` and, where one fits, the standard library's type as
well, so that callers may catch either. ``code`` is stable and meant for programs,
``exit_status`` is what the command line ends with, and the message is one line for people.

========  =====================================================================
status    meaning
========  =====================================================================
0         results were written (some inputs may be refused, findings flagged)
1         an internal error: a defect of gliomart
2         usage: an option or an output folder that cannot be used as asked
3         nothing could be analysed
4         the model file was refused
5         the execution provider asked for does not run here
6         results could not be written
7         an optional part of gliomart is not installed, or does not load
8         a dataset for training, evaluation or calibration was refused
9         a latency budget was exceeded
10        a training came to nothing
11        written in part: some inputs or outputs failed, the rest was written
14        starved: the system gives no thread or process that has to be had
129       hung up: the terminal went away (SIGHUP)
130       interrupted (Ctrl-C, SIGINT)
143       terminated (SIGTERM)
========  =====================================================================
"""

from __future__ import annotations

from typing import Any, ClassVar

from gliomart.printable import printable

# What errors of the standard library hold beside their arguments.
_STANDARD = ("errno", "strerror", "filename", "filename2", "msg", "name", "path")


class GliomartError(Exception):
    """Base of all errors that gliomart raises on purpose."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(self, *arguments: object) -> None:
        # In one line, whatever a path or a word that is quoted holds.
        super().__init__(*(printable(a) if isinstance(a, str) else a for a in arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be copied, and sent from one process to another, whatever its constructor takes.

        References
        ----------
        Python, *pickle*, ``object.__reduce__``. That of exceptions calls the constructor again,
        with what the message was made of.
        """
        held = {name: getattr(self, name, None) for name in _STANDARD}
        state = {name: value for name, value in held.items() if value is not None}
        return _again, (type(self), *self.args), state | vars(self)

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        for name, value in (state or {}).items():
            setattr(self, name, value)


def _again(kind: type[GliomartError], *arguments: Any) -> GliomartError:  # noqa: ANN401
    """Make an error of its arguments, past its constructor."""
    builtin: Any = kind
    while issubclass(builtin, GliomartError):  # to the one that it has its memory's layout from
        builtin = builtin.__base__
    error: GliomartError = builtin.__new__(kind, *arguments)
    error.args = arguments
    return error


class UsageError(GliomartError, ValueError):
    """What was asked for contradicts itself or cannot be done as asked."""

    code = "usage"
    exit_status = 2


class OutputExistsError(UsageError, FileExistsError):
    """The output folder holds something already."""

    code = "output-exists"


class OutputBusyError(UsageError):
    """Another run is writing into the output folder."""

    code = "output-busy"


class DriftRecordError(UsageError):
    """The file named as a record of drift cannot be used as one; it is left as it is."""

    code = "drift-record"


class InputNotFoundError(UsageError, FileNotFoundError):
    """A path given as input does not exist."""

    code = "input-not-found"


class InputRefusedError(GliomartError, ValueError):
    """One input cannot be analysed; ``code`` is the entry's code under ``not_analysed``."""

    exit_status = 3

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code  # type: ignore[misc]  # an instance's code shadows the class's
        self.reason = reason


class NothingAnalysedError(GliomartError):
    """No input at all could be analysed."""

    code = "nothing-analysed"
    exit_status = 3


class ModelError(GliomartError, ValueError):
    """The model file is not one that gliomart can run."""

    code = "model-invalid"
    exit_status = 4


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model file at the path given."""

    code = "model-not-found"


class ModelCardError(ModelError):
    """The model file carries no card, or one that this version cannot read."""

    code = "model-card"


class ProviderError(GliomartError, RuntimeError):
    """The execution provider asked for does not run on this machine."""

    code = "provider"
    exit_status = 5


class OutputError(GliomartError, OSError):
    """Results could not be written."""

    code = "output"
    exit_status = 6


class UnwritableError(OutputError):
    """One output cannot be written where it belongs, such as under its name; others may be."""

    code = "unwritable"

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(f"{place}: cannot be written ({reason})")
        self.reason = f"it cannot be written ({reason})"


class MissingExtraError(GliomartError, ImportError):
    """A part of gliomart that this needs is not installed."""

    code = "missing-extra"
    exit_status = 7

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra that is missing: pip install 'gliomart[{extra}]'")


class BrokenExtraError(GliomartError, ImportError):
    """A part of gliomart that this needs is installed, and does not load."""

    code = "broken-extra"
    exit_status = 7


class DatasetError(GliomartError, ValueError):
    """Scans cannot be trained, evaluated or calibrated on."""

    code = "dataset"
    exit_status = 8


class TrainingError(GliomartError, ArithmeticError):
    """A training came to nothing."""

    code = "training"
    exit_status = 10


class BudgetExceededError(GliomartError):
    """A measured latency is above its budget."""

    code = "budget-exceeded"
    exit_status = 9


class WrittenInPartError(GliomartError):
    """Some inputs or outputs failed; the rest was written, and results say which and why."""

    code = "written-in-part"
    exit_status = 11


class StarvedError(GliomartError, RuntimeError):
    """The system gives no thread or process that has to be had."""

    code = "starved"
    exit_status = 14

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} cannot be started: a limit on tasks is reached"
            " (TasksMax, pids.max or ulimit -u), or memory is"
        )
