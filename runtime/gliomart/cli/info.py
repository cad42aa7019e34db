"""``gliomart info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.cli.arguments import place
from gliomart.cli.options import DetectorOptions
from gliomart.host import streams

if TYPE_CHECKING:
    import argparse

    from gliomart.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
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
    parser.add_argument(
        "model", nargs="?", type=place, help="model file (default: the built-in one)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole card as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a model's card."""
    from dataclasses import asdict

    from gliomart import providers
    from gliomart.cli.leaflet import leaflet
    from gliomart.cli.terminal import columns

    detector = DetectorOptions(options.model).open()
    card, settings = detector.card, detector.settings
    if options.json:
        streams.give_json({"sha256": settings.model_sha256, **asdict(card)})
        return 0
    width = columns(streams.results())
    streams.give(leaflet(card, detector.calibration, settings, providers.reasons(), width))
    return 0
