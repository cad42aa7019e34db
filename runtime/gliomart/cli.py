"""The ``gliomart`` command.

Standard output is for results, everything else goes to standard error. Commands of the other
packages join through the entry-point group ``gliomart.commands``.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomart.errors import (
    GliomartError,
    MissingExtraError,
    OutputError,
    UsageError,
    WrittenInPartError,
)
from gliomart.parser import EXTERNAL, parser
from gliomart.printable import printable
from gliomart.terminal import Ink, columns, is_terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911  # one per way to end
    """Run one command and return its exit status (see :mod:`gliomart.errors`)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _quieten_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments and arguments[0] in EXTERNAL:
            return _run_external(arguments[0], arguments[1:])
        options = parser().parse_args(arguments)
        status = _COMMANDS[options.command](options)
        if sys.stdout is not None:  # closed, where nobody wants to hear anything
            sys.stdout.flush()
    except GliomartError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; what is finished is kept, and --resume goes on from it", INTERRUPTED
        )
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{(error.strerror or str(error)).lower()}", OutputError.exit_status)
    except Exception as error:
        if os.environ.get("GLIOMART_DEBUG"):
            raise
        return _fail(*_unforeseen(error))
    return status


def _unforeseen(error: Exception) -> tuple[str, int]:
    """Say what no part of gliomart raises on purpose, and the exit status."""
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ImportError) and module not in {"", "gliomart"}:
        from gliomart import extras  # the base installation is broken: by a shared library, mostly

        told = extras.broken("gliomart", module, error)
        return str(told), told.exit_status
    return f"internal error ({type(error).__name__}: {error}); GLIOMART_DEBUG=1 shows where", 1


def _infer(options: argparse.Namespace) -> int:
    from gliomart import sources
    from gliomart.inference import Run
    from gliomart.outputs import folder as output
    from gliomart.outputs import records

    if options.dicom_out:
        import gliomart.outputs.dicom  # noqa: F401  # says so at once where its extra is missing
    paths = [Path(path) for path in options.paths]
    places = {"overwrite": options.overwrite, "resume": options.resume}
    with output.claimed(options.out, paths, **places) as claim:
        if not claim.locked:
            _note(
                options,
                f"{claim.path}: its file system has no locks; let no other run write into it",
            )
        inventory = sources.scan(paths, _budget(options), plane=options.plane)
        detector = _detector(options, options.plane)
        claim.clear(overwrite=options.overwrite)
        run = Run(
            detector,
            inventory,
            claim.path,
            overlays=options.overlays,
            maps=options.maps,
            dicom=options.dicom_out,
            identify=options.identify,
            progress=not options.quiet,
        )
        try:
            document = run.write()
        except KeyboardInterrupt:
            hint = f"finished series are kept; go on with --out {claim.path} --resume"
            return _fail(f"interrupted; {hint}", INTERRUPTED)
    _tell(document, claim.path, options)
    if failed := records.failed(document):
        where = claim.path / output.RESULTS
        raise WrittenInPartError(f"{failed}; {where} says which and why")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from gliomart.rehearsal import simulated_study

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
    from gliomart.leaflet import leaflet

    detector = _detector(options)
    card = dataclasses.asdict(detector.card)
    if options.json:
        _print_json({"sha256": detector.settings.model_sha256, **card})
        return 0
    reasons = providers.reasons()
    print(leaflet(detector.card, detector.calibration, detector.settings, reasons, columns()))
    return 0


def _completion(options: argparse.Namespace) -> int:
    from importlib import resources

    script = resources.files("gliomart") / "completion" / f"gliomart.{options.shell}"
    print(script.read_text(encoding="utf-8"), end="")
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
        print(bench.table(report))
    if options.out:
        write_atomically(options.out, bench.encoded(report))
    if options.plot:
        write_atomically(options.plot, bench.plot(report))
    bench.check(report, budgets)
    return 0


def _no_command(options: argparse.Namespace) -> int:
    del options
    raise UsageError("no command; begin with gliomart demo, or see gliomart --help")


def _run_external(name: str, arguments: Sequence[str]) -> int:
    from importlib.metadata import entry_points

    from gliomart import extras

    found = entry_points(group="gliomart.commands", name=name)
    extra = EXTERNAL[name][1]
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


def _tell(document: dict[str, Any], out: Path, options: argparse.Namespace) -> None:
    """Say on standard output what was found."""
    from gliomart.outputs import summary

    if options.quiet:
        return
    if options.json:
        _print_json(document)
    elif is_terminal(sys.stdout):
        print(*summary.brief(document, out, columns(), Ink.of(sys.stdout)), sep="\n")
    else:
        print(*summary.plain(document, out), sep="\n")


def _print_json(values: dict[str, Any]) -> None:
    json.dump(values, sys.stdout, indent=1)  # in ASCII, whatever the terminal's encoding
    print()


def _note(options: argparse.Namespace, message: str) -> None:
    if not options.quiet:
        print(f"gliomart: {message}", file=sys.stderr)


def _fail(message: str, status: int) -> int:
    name = Ink.of(sys.stderr).error("gliomart:")
    print(f"{name} {printable(' '.join(message.split()))}", file=sys.stderr)
    return status


def _quieten_libraries() -> None:
    """Keep decoders' chatter off the terminal: what matters becomes a refusal with a reason."""
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


if __name__ == "__main__":
    sys.exit(main())
