"""The ``gliomart`` command.

How a process starts, ends and is interrupted; what it does between is a module a command. Standard
output is for results, everything else goes to standard error.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from gliomart.errors import GliomartError, OutputError, StarvedError, UsageError
from gliomart.host import processors, streams
from gliomart.host.signals import Signals, ignore_at_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

# Unless a command adds a note that says more.
_KEPT = "what is finished is kept"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (see :mod:`gliomart.errors`).

    Parameters
    ----------
    arguments
        What was asked for. None takes it from the command line, and the process for the command's
        own: standard output is kept for results, libraries are told how many threads to start, and
        a command that a signal ended ends the process. A program that gives arguments keeps its
        streams; signals that nobody handles are handled while the command runs.
    """
    alone = arguments is None
    told = Signals(alone=alone, first=_stop_decoding)
    try:
        status = _listening(arguments, told, alone=alone)
        if alone and told.number is not None:
            _stop_decoding()
            os._exit(status)  # threads of libraries may be at work, and would not survive the rest
        return status
    finally:
        if alone:
            ignore_at_exit()
        told.give_back()


def _listening(arguments: Sequence[str] | None, told: Signals, *, alone: bool) -> int:
    try:
        told.take()
        with streams.owned() if alone else nullcontext():
            status = _status(sys.argv[1:] if arguments is None else arguments, told, alone=alone)
            told.ignore_from_here()  # what there was to do is done
    except KeyboardInterrupt:  # before a command had begun, or while it said why it failed
        status = _interrupted(told, _KEPT)
    return status


def _status(arguments: Sequence[str], told: Signals, *, alone: bool) -> int:
    """Run one command, and tell how it ended."""
    kept = _KEPT
    try:
        status = _run(_words(arguments), alone=alone)
        streams.finish()
    except BaseException as error:  # noqa: BLE001  # every way to end is told
        # What a signal raised may have come out as something else, of a library that it was in.
        if told.number is None and not isinstance(error, KeyboardInterrupt):
            return _failed(error)
        kept = next(iter(getattr(error, "__notes__", [])), _KEPT)
    else:
        if told.number is None:
            return status
    return _interrupted(told, kept)


def _interrupted(told: Signals, kept: str) -> int:
    status = _fail(f"{told.word}; {kept}", told.status)
    told.said()
    return status


def _words(arguments: Sequence[str]) -> list[str]:
    """Take what a program gives for a command line; a path may be one of its words."""
    words = list(arguments)
    if isinstance(arguments, str) or not all(isinstance(w, str | os.PathLike) for w in words):
        raise UsageError("arguments are a list of words, such as ['info']")
    return [os.fsdecode(word) for word in words]


def _run(arguments: list[str], *, alone: bool) -> int:
    from gliomart.cli import external

    if arguments and arguments[0] in external.EXTERNAL:
        _prepare_libraries(alone=alone, algebra=True)
        return external.run(arguments[0], arguments[1:])
    from gliomart.cli.parser import parser

    options = parser().parse_args(arguments)
    _prepare_libraries(alone=alone, algebra=False)
    status: int = options.run(options)
    return status


def _failed(error: BaseException) -> int:
    """Say in one line why a command failed, and give the status that stands for it."""
    error = _starved(error) or error
    if isinstance(error, GliomartError):
        return _fail(str(error), error.exit_status)
    if isinstance(error, BrokenPipeError):
        streams.give_up()  # the reader of our output has gone; nothing is left to say to it
        return 0
    if isinstance(error, OSError):
        streams.give_up()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{(error.strerror or str(error)).lower()}", OutputError.exit_status)
    if isinstance(error, SystemExit) and not error.code:  # argparse's, of --help
        return 0
    if not isinstance(error, Exception) or os.environ.get("GLIOMART_DEBUG"):
        raise error
    return _fail(*_unforeseen(error))


def _starved(error: BaseException) -> StarvedError | None:
    if isinstance(error, BlockingIOError):  # fork(2), EAGAIN
        return StarvedError("a process")
    if processors.is_refused_thread(error):
        return StarvedError("a thread")
    return None


def _unforeseen(error: Exception) -> tuple[str, int]:
    """Say what no part of gliomart raises on purpose, and the exit status."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and module not in {"", "gliomart"}:
        from gliomart.host import extras

        told = extras.broken("gliomart", module, error)
        return str(told), told.exit_status
    return f"internal error ({type(error).__name__}: {error}); GLIOMART_DEBUG=1 shows where", 1


def _fail(message: str, status: int) -> int:
    from gliomart.cli.terminal import Ink
    from gliomart.printable import printable

    name = Ink.of(sys.stderr).error("gliomart:")
    streams.say(f"{name} {printable(' '.join(message.split()))}")
    return status


def _stop_decoding() -> None:
    """End the process that decodes, where there is one, even in the middle of a frame."""
    codecs = sys.modules.get("gliomart.sources.codecs")
    if codecs is not None and hasattr(codecs, "kill_decoders"):  # it may be half imported
        codecs.kill_decoders()


def _prepare_libraries(*, alone: bool, algebra: bool) -> None:
    """Set what libraries read when they are loaded, which is from here on."""
    _quieten_libraries()
    if alone:
        _bound_libraries(algebra=algebra)


def _bound_libraries(*, algebra: bool) -> None:
    """Tell libraries how many threads to start, before the first of them is loaded.

    OpenBLAS, of which NumPy, OpenCV and SciPy bring one each, starts a thread for each processor of
    the machine when it is loaded, and sends itself SIGINT where it is refused one. Where there is
    no ``algebra`` to speak of, it has nothing to do that pays for a second one.
    """
    count = processors.usable()
    most = str(processors.affordable(count) if algebra else count)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", most if algebra else "1")
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, most)


def _quieten_libraries() -> None:
    """Keep decoders' chatter off the terminal: what matters becomes a refusal with a reason."""
    import logging
    import warnings

    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module=r"pydicom(\..*)?")
    for name in ("pydicom", "highdicom"):  # they quote what they complain about
        logging.getLogger(name).setLevel(logging.CRITICAL)
