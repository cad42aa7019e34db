"""The ``gliomart`` command.

Standard output is for results, everything else goes to standard error. Commands of the other
packages join through the entry-point group ``gliomart.commands``: functions that take arguments,
print results to :func:`gliomart.host.streams.results` and give an exit status.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from gliomart.errors import (
    GliomartError,
    MissingExtraError,
    OutputError,
    StarvedError,
    UsageError,
    WrittenInPartError,
)
from gliomart.host import processors, streams
from gliomart.host.signals import Signals, ignore_at_exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gliomart.outputs.documents import Results

_KEPT = "what is finished is kept, and --resume goes on from it"


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
        _quieten_libraries()
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
    from gliomart.cli.parser import EXTERNAL, parser

    external = bool(arguments) and arguments[0] in EXTERNAL
    if alone:
        _bound_libraries(algebra=external)
    if external:
        return _run_external(arguments[0], EXTERNAL[arguments[0]][1], arguments[1:])
    options = parser().parse_args(arguments)
    return _COMMANDS[options.command](options)


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
        from gliomart.host import (
            extras,
        )

        told = extras.broken("gliomart", module, error)
        return str(told), told.exit_status
    return f"internal error ({type(error).__name__}: {error}); GLIOMART_DEBUG=1 shows where", 1


def _infer(options: argparse.Namespace) -> int:
    from pathlib import Path

    from gliomart import sources
    from gliomart.cli.progress import bar
    from gliomart.outputs import folder as output
    from gliomart.outputs import outcome
    from gliomart.outputs.options import OutputOptions
    from gliomart.run import Run

    if options.dicom_out:
        import gliomart.outputs.dicom  # noqa: F401  # says so at once where its extra is missing
    paths = [Path(path) for path in options.paths]
    places = {"overwrite": options.overwrite, "resume": options.resume}
    wanted = OutputOptions(options.overlays, options.maps, options.dicom_out, options.identify)
    with output.claimed(options.out, paths, **places) as claim:
        if not claim.locked:
            _note(
                options,
                f"{claim.path}: its file system has no locks; let no other run write into it",
            )
        inventory = sources.scan(paths, _budget(options), plane=options.plane)
        detector = _detector(options, options.plane)
        claim.clear(overwrite=options.overwrite)
        try:
            with bar(shown=not options.quiet) as progress:
                document = Run(detector, inventory, claim.path, wanted, progress).write()
        except KeyboardInterrupt as interruption:
            hint = f"finished series are kept; go on with --out {claim.path} --resume"
            interruption.add_note(hint)
            raise
    _tell(document, claim.path, options)
    if failed := outcome.failed(document):
        where = claim.path / output.RESULTS
        raise WrittenInPartError(f"{failed}; {where} says which and why")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from gliomart.sources.simulated import simulated_study

    _note(options, "a simulated head with a pontine lesion in some slices (no real person)")
    options.overlays = "flagged"
    options.maps = options.dicom_out = options.identify = False
    options.plane = None
    with simulated_study() as study:
        options.paths = [study]
        return _infer(options)


def _info(options: argparse.Namespace) -> int:
    import dataclasses

    from gliomart import providers
    from gliomart.cli.leaflet import leaflet
    from gliomart.cli.terminal import columns

    detector = _detector(options)
    card = dataclasses.asdict(detector.card)
    if options.json:
        _print_json({"sha256": detector.settings.model_sha256, **card})
        return 0
    reasons = providers.reasons()
    width = columns(streams.results())
    streams.give(leaflet(detector.card, detector.calibration, detector.settings, reasons, width))
    return 0


def _completion(options: argparse.Namespace) -> int:
    from importlib import resources

    script = resources.files("gliomart") / "completion" / f"gliomart.{options.shell}"
    streams.give(script.read_text(encoding="utf-8").removesuffix("\n"))
    return 0


def _bench(options: argparse.Namespace) -> int:
    from gliomart import bench
    from gliomart.outputs.folder import write_atomically
    from gliomart.outputs.target import check_target

    for target in filter(None, (options.out, options.plot)):
        check_target(target, [options.path, options.model, options.float_model, options.budget])
    budgets = bench.read_budgets(options.budget) if options.budget else []
    plan = bench.Plan(
        study=options.path,
        repeats=options.repeats,
        model=options.model,
        provider=options.provider,
        threads=options.threads,
        overlays=options.overlays,
        load=options.load or bench.asks_for(budgets, "load"),
        compare=options.compare,
        float_model=options.float_model,
        rounds=options.rounds,
    )
    report = bench.measure(_detector(options), plan)
    if options.json:
        _print_json(report)
    else:
        streams.give(bench.table(report))
    if options.out:
        write_atomically(options.out, bench.encoded(report))
    if options.plot:
        write_atomically(options.plot, bench.plot(report))
    bench.check(report, budgets)
    return 0


def _no_command(options: argparse.Namespace) -> int:
    del options
    raise UsageError("no command; begin with gliomart demo, or see gliomart --help")


def _run_external(name: str, extra: str, arguments: Sequence[str]) -> int:
    from importlib.metadata import entry_points

    from gliomart.host import extras

    found = entry_points(group="gliomart.commands", name=name)
    if not found:
        raise MissingExtraError(f"gliomart {name}", extra)
    try:
        command = next(iter(found)).load()
        status: int = command(list(arguments))
    except ImportError as error:
        if isinstance(error, GliomartError):
            raise
        raise extras.refused(f"gliomart {name}", extra, error) from error
    return status


def _detector(options: argparse.Namespace, plane: int | None = None) -> Any:  # noqa: ANN401  # imported where used
    from gliomart.detector import Detector

    detector = Detector(
        options.model,
        provider=options.provider,
        allow_fallback=options.allow_fallback,
        false_alarm_rate=options.false_alarm_rate,
        threads=options.threads,
        force=options.force,
        budget=_budget(options),
        plane=plane,
    )
    if detector.settings.provider.degraded:
        effective = detector.settings.provider.effective
        _note(options, f"{options.provider} does not run here; using {effective}")
    return detector


def _budget(options: argparse.Namespace) -> Any:  # noqa: ANN401  # imported where used
    from gliomart.sources import DEFAULT

    return DEFAULT.but(dict(options.limits))


def _tell(document: Results, out: Path, options: argparse.Namespace) -> None:
    """Say on standard output what was found."""
    from gliomart.cli import summary
    from gliomart.cli.terminal import Ink, columns, is_terminal

    if options.quiet:
        return
    stream = streams.results()
    if options.json:
        _print_json(document)
    elif is_terminal(stream):
        streams.give(*summary.brief(document, out, columns(stream), Ink.of(stream)))
    else:
        streams.give(*summary.plain(document, out))


def _print_json(values: Mapping[str, object]) -> None:
    import json

    if (stream := streams.results()) is not None:
        json.dump(values, stream, indent=1)  # in ASCII, whatever the terminal's encoding
        streams.give("")


def _note(options: argparse.Namespace, message: str) -> None:
    if not options.quiet:
        streams.say(f"gliomart: {message}")


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


def _bound_libraries(*, algebra: bool) -> None:
    """Tell libraries how many threads to start, before the first of them is loaded.

    OpenBLAS, of which NumPy, OpenCV and SciPy bring one each, starts a thread for each processor of
    the machine when it is loaded, and sends itself SIGINT where it is refused one. Where there is
    no ``algebra`` to speak of, it has nothing to do that pays for a second one.
    """
    from gliomart.host import processors

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


_COMMANDS: dict[str | None, Callable[[argparse.Namespace], int]] = {
    None: _no_command,
    "infer": _infer,
    "demo": _demo,
    "info": _info,
    "bench": _bench,
    "completion": _completion,
}
