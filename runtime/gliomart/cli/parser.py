"""What the ``gliomart`` command can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart._version import __version__
from gliomart.cli import bench, calibrate, completion, demo, external, infer, info
from gliomart.cli.arguments import ArgumentParser
from gliomart.errors import UsageError

if TYPE_CHECKING:
    import argparse


def parser() -> ArgumentParser:
    """Make the parser of all commands; those of other packages are only named.

    Each command sets ``run``, a function of the parsed options that gives an exit status.
    """
    parser = ArgumentParser(
        prog="gliomart",
        description="Shows where a brain MRI departs from tumour-free ones."
        " Research software, not a medical device.",
        examples={
            "gliomart demo": "see it run on a simulated study",
            "gliomart infer study/ --out results/": "analyse a folder of your own",
            "gliomart infer --help": "show a command's options, with examples",
        },
    )
    parser.add_argument("-V", "--version", action="version", version=f"gliomart {__version__}")
    parser.set_defaults(run=_no_command)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (infer, demo, info, calibrate, bench, external, completion):
        command.add_to(commands)
    return parser


def _no_command(options: argparse.Namespace) -> int:
    del options
    raise UsageError("no command; begin with gliomart demo, or see gliomart --help")
