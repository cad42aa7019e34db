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

from gliomart._version import __version__
from gliomart.arguments import PROVIDERS, ArgumentParser, limit, positive, threads
from gliomart.errors import (
    GliomartError,
    MissingExtraError,
    OutputError,
    UsageError,
)
from gliomart.printable import printable
from gliomart.terminal import Ink, columns, is_terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

INTERRUPTED = 130
# Those that there is a completion script for.
SHELLS = ("bash", "zsh", "fish")

# Commands that live in other packages: what they do, and the extra that brings them.
_EXTERNAL = {
    "train": ("train an autoencoder on tumour-free scans", "training"),
    "evaluate": ("measure a model on a folder with tumour masks", "evaluate"),
    "export": ("turn a trained network into a model file", "export"),
}


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911  # one per way to end
    """Run one command and return its exit status (see :mod:`gliomart.errors`)."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _quieten_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if arguments and arguments[0] in _EXTERNAL:
            return _run_external(arguments[0], arguments[1:])
        options = parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], int] = options.command
        status = command(options)
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
        kind = type(error).__name__
        return _fail(f"internal error ({kind}: {error}); GLIOMART_DEBUG=1 shows where", 1)
    return status


def _infer(options: argparse.Namespace) -> int:
    from gliomart import sources
    from gliomart.inference import Run
    from gliomart.outputs import folder as output

    if options.dicom_out:
        import gliomart.outputs.dicom  # noqa: F401  # says so at once where its extra is missing
    paths = [Path(path) for path in options.paths]
    inventory = sources.scan(paths, _budget(options))
    detector = _detector(options)
    out = options.out or output.default_folder()
    output.open_folder(out, paths, overwrite=options.overwrite, resume=options.resume)
    try:
        document = Run(
            detector,
            inventory,
            out,
            maps=options.maps,
            dicom=options.dicom_out,
            identify=options.identify,
            progress=not options.quiet,
        ).write()
    except KeyboardInterrupt:
        hint = f"finished series are kept; go on with --out {out} --resume"
        return _fail(f"interrupted; {hint}", INTERRUPTED)
    _tell(document, out, options)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from importlib import resources

    study = Path(str(resources.files("gliomart") / "golden"))
    _note(options, "a simulated head with a pontine lesion in some slices (no real person)")
    options.paths = [study]
    options.maps = options.dicom_out = options.identify = False
    return _infer(options)


def _info(options: argparse.Namespace) -> int:
    import dataclasses

    from gliomart.leaflet import leaflet

    detector = _detector(options)
    card = dataclasses.asdict(detector.card)
    if options.json:
        _print_json({"sha256": detector.settings.model_sha256, **card})
        return 0
    reasons = _why_not()
    print(leaflet(detector.card, detector.calibration, detector.settings, reasons, columns()))
    return 0


def _why_not() -> dict[str, str | None]:
    """Tell of every execution provider why it cannot run here; None where it can."""
    import onnxruntime

    from gliomart.providers import why_not

    available = onnxruntime.get_available_providers()
    return {name: why_not(name, available) for name in PROVIDERS if name != "auto"}


def _completion(options: argparse.Namespace) -> int:
    from importlib import resources

    script = resources.files("gliomart") / "completion" / f"gliomart.{options.shell}"
    print(script.read_text(encoding="utf-8"), end="")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from gliomart import bench

    budgets = bench.read_budgets(options.budget) if options.budget else []
    report = bench.measure(_detector(options), options)
    if options.json:
        _print_json(report)
    else:
        print(bench.table(report))
    bench.check(report, budgets)
    return 0


def _no_command(options: argparse.Namespace) -> int:
    del options
    raise UsageError("no command; begin with gliomart demo, or see gliomart --help")


def _run_external(name: str, arguments: Sequence[str]) -> int:
    from importlib.metadata import entry_points

    found = entry_points(group="gliomart.commands", name=name)
    extra = _EXTERNAL[name][1]
    if not found:
        raise MissingExtraError(f"gliomart {name}", extra)
    try:
        command = next(iter(found)).load()
        status: int = command(list(arguments))
    except ModuleNotFoundError as error:
        if isinstance(error, MissingExtraError) or (error.name or "").startswith("gliomart"):
            raise
        raise MissingExtraError(
            f"gliomart {name} ({error.name} is not installed)", extra
        ) from error
    return status


def _detector(options: argparse.Namespace) -> Any:  # noqa: ANN401  # imported where used
    from gliomart.detector import Detector

    detector = Detector(
        options.model,
        provider=options.provider,
        allow_fallback=options.allow_fallback,
        false_alarm_rate=options.false_alarm_rate,
        threads=options.threads,
        force=options.force,
        budget=_budget(options),
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
    print(json.dumps(values, indent=1))  # in ASCII, whatever the terminal's encoding


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
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def parser() -> ArgumentParser:
    """Make the parser of all commands; those of other packages are only named."""
    parser = ArgumentParser(
        prog="gliomart",
        description="Shows where a brain MRI departs from tumour-free ones."
        " Research software, not a medical device.",
        examples={
            "gliomart demo": "see it run on a simulated study",
            "gliomart infer study/ --out results/": "analyse a folder of your own",
            "gliomart infer --help": "every command tells its options, with examples",
        },
    )
    parser.add_argument("-V", "--version", action="version", version=f"gliomart {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    parser.set_defaults(command=_no_command)

    infer = commands.add_parser(
        "infer",
        help="analyse images and DICOM files",
        description="Analyse images and DICOM files, and write a report, tables and pictures.",
        examples={
            "gliomart infer study/ --out results/": "analyse a folder; look at report.html first",
            "gliomart infer study/ --out results/ --resume": "go on with an interrupted run",
            "gliomart infer a.dcm b.dcm --maps --dicom-out": "write maps, masks and DICOM as well",
            "gliomart infer study/ --json | jq .series": "hand the results to another program",
        },
    )
    infer.add_argument("paths", nargs="+", metavar="PATH", help="files, or folders to walk")
    _output_options(infer)
    infer.add_argument("--maps", action="store_true", help="write anomaly maps and masks as well")
    infer.add_argument(
        "--dicom-out", action="store_true", help="write results as DICOM objects as well"
    )
    infer.add_argument(
        "--identify", action="store_true",
        help="let the report show paths and UIDs, which may tell who was examined",
    )  # fmt: skip
    _model_options(infer)
    infer.set_defaults(command=_infer)

    demo = commands.add_parser(
        "demo",
        help="run infer on the simulated study that comes along",
        description="Analyse the simulated study that comes along: a head with a pontine lesion.",
        examples={
            "gliomart demo": "results go to gliomart-results/<date-time>/",
            "gliomart demo --out demo/ --overwrite": "into a folder of your choice",
        },
    )
    _output_options(demo)
    _model_options(demo)
    demo.set_defaults(command=_demo)

    info = commands.add_parser(
        "info",
        help="show a model's card",
        description="Show what a model is for, what is known of it, its limits, and what it runs"
        " on here.",
        examples={
            "gliomart info": "the built-in model",
            "gliomart info own.onnx": "a model of your own",
            "gliomart info --json | jq .metrics": "every figure that the card holds",
        },
    )
    info.add_argument("model", nargs="?", type=Path, help="model file (default: the built-in one)")
    info.add_argument("--json", action="store_true", help="print the whole card as JSON")
    info.set_defaults(
        command=_info,
        provider="auto",
        allow_fallback=False,
        false_alarm_rate=None,
        threads=None,
        force=False,
        limits=[],
        quiet=False,
    )

    bench = commands.add_parser(
        "bench",
        help="time every stage on this machine",
        description="Time every stage on this machine, cold start and memory included.",
        examples={
            "gliomart bench": "on the simulated study",
            "gliomart bench study/ --provider cpu --threads 1": "on slices of your own, one thread",
        },
    )
    bench.add_argument("path", nargs="?", type=Path, help="folder (default: the simulated study)")
    bench.add_argument("--repeats", type=positive, default=10, help="passes over it (default: 10)")
    bench.add_argument("--budget", type=Path, metavar="FILE", help="fail past these budgets (TOML)")
    bench.add_argument("--json", action="store_true", help="print JSON")
    _model_options(bench)
    bench.set_defaults(command=_bench, quiet=False)

    for name, (summary, _) in _EXTERNAL.items():
        commands.add_parser(name, help=summary, add_help=False)

    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands in a shell",
        description="Print a script with which a shell completes gliomart's commands and options.",
        examples={
            'eval "$(gliomart completion bash)"': "in ~/.bashrc",
            'eval "$(gliomart completion zsh)"': "in ~/.zshrc, after compinit",
            "gliomart completion fish > ~/.config/fish/completions/gliomart.fish": "once",
        },
    )
    completion.add_argument("shell", choices=SHELLS, help="of which shell")
    completion.set_defaults(command=_completion)
    return parser


def _output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="output folder (default: gliomart-results/<time>)"
    )
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--json", action="store_true", help="print results.json, and nothing else")
    said.add_argument(
        "--quiet", action="store_true", help="print errors alone; the exit status tells the rest"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace earlier results in DIR")
    existing.add_argument("--resume", action="store_true", help="go on with an interrupted run")


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, metavar="FILE", help="model file (default: built in)")
    parser.add_argument(
        "--provider", choices=PROVIDERS, default="auto",
        help="execution provider (default: the fastest that runs)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-fallback", action="store_true", help="let a provider named fall back to the CPU"
    )
    parser.add_argument(
        "--false-alarm-rate", type=float, metavar="RATE",
        help="tumour-free slices that may be flagged (default: the model's own, such as 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="store_true", help="analyse what the model was not made for as well"
    )
    parser.add_argument(
        "--limit", dest="limits", type=limit, action="append", default=[], metavar="NAME=VALUE",
        help="what reading one file may take, such as seconds=5 (see docs/dicom.md)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="CPU threads (default: one per core)"
    )


if __name__ == "__main__":
    sys.exit(main())
