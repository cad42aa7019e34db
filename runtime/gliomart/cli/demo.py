"""``gliomart demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.cli.infer import analyse
from gliomart.cli.options import (
    Destination,
    DetectorOptions,
    add_destination,
    add_detector_options,
    asked,
)
from gliomart.host import streams
from gliomart.outputs.options import OutputOptions

if TYPE_CHECKING:
    import argparse

    from gliomart.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "demo",
        help="analyse the built-in simulated study",
        description="Analyse the built-in simulated study: a head with a pontine lesion.",
        examples={
            "gliomart demo": "results go to gliomart-results/<date-time>/",
            "gliomart demo --out demo/ --overwrite": "into a folder of your choice",
        },
    )
    add_destination(parser)
    add_detector_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Analyse the simulated study as ``infer`` does by default."""
    from gliomart.sources.simulated import simulated_study

    destination = asked(Destination, options)
    if not destination.quiet:
        streams.note("a simulated head with a pontine lesion in some slices (no real person)")
    with simulated_study() as study:
        return analyse([study], asked(DetectorOptions, options), destination, OutputOptions())
