"""What the ``gliomart`` command can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart._version import __version__
from gliomart.cli.arguments import (
    OVERLAYS,
    PROVIDERS,
    ArgumentParser,
    limit,
    path,
    place,
    positive,
    threads,
)  # fmt: skip

if TYPE_CHECKING:
    import argparse

# Those that there is a completion script for.
SHELLS = ("bash", "zsh", "fish")

# Commands that live in other packages: what they do, and the extra that brings them.
EXTERNAL = {
    "train": ("train an autoencoder on tumour-free scans", "training"),
    "evaluate": ("measure a model on a folder with tumour masks", "evaluate"),
    "export": ("turn a trained network into a model file", "export"),
}


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
    parser.set_defaults(command=None)

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
    infer.add_argument(
        "paths", nargs="+", type=path, metavar="PATH", help="files, or folders to walk"
    )
    _output_options(infer)
    infer.add_argument(
        "--overlays", choices=OVERLAYS, default="flagged",
        help="slices to write overlays of (default: flagged)",
    )  # fmt: skip
    infer.add_argument(
        "--plane", type=positive, metavar="N",
        help="colour plane of pictures to analyse, from 1 (default: all have to be alike)",
    )  # fmt: skip
    infer.add_argument("--maps", action="store_true", help="write anomaly maps and masks as well")
    infer.add_argument(
        "--dicom-out", action="store_true", help="write results as DICOM objects as well"
    )
    infer.add_argument(
        "--identify", action="store_true",
        help="let the report show paths and UIDs, which may tell who was examined",
    )  # fmt: skip
    _model_options(infer)
    infer.set_defaults(command="infer")

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
    demo.set_defaults(command="demo")

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
    info.add_argument("model", nargs="?", type=place, help="model file (default: the built-in one)")
    info.add_argument("--json", action="store_true", help="print the whole card as JSON")
    info.set_defaults(
        command="info",
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
    bench.add_argument("path", nargs="?", type=place, help="folder (default: the simulated study)")
    bench.add_argument("--repeats", type=positive, default=10, help="passes over it (default: 10)")
    bench.add_argument(
        "--budget", type=place, metavar="FILE", help="fail past these budgets (TOML)"
    )
    bench.add_argument("--json", action="store_true", help="print JSON")
    bench.add_argument("--out", type=place, metavar="FILE", help="write the report as JSON")
    bench.add_argument("--plot", type=place, metavar="FILE.png", help="draw the report")
    bench.add_argument("--load", action="store_true", help="beside a busy process as well")
    bench.add_argument("--overlays", choices=OVERLAYS, help="as infer does, for the series")
    bench.add_argument(
        "--compare", action="store_true", help="other engines on the same network, turn by turn"
    )
    bench.add_argument(
        "--float", dest="float_model", type=place, metavar="FILE",
        help="the same network in single precision, to be compared as well",
    )  # fmt: skip
    bench.add_argument(
        "--rounds", type=positive, default=30, help="turns in a comparison (default: 30)"
    )
    _model_options(bench)
    bench.set_defaults(command="bench", quiet=False)

    for name, (summary, _) in EXTERNAL.items():
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
    completion.set_defaults(command="completion")
    return parser


def _output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=place, metavar="DIR", help="output folder (default: gliomart-results/<time>)"
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
    parser.add_argument(
        "--model", type=place, metavar="FILE", help="model file (default: built in)"
    )
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
        "--threads", type=threads, metavar="N", help="CPU threads (default: one per processor)"
    )
