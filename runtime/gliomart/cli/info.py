"""``gliomart info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.cli.arguments import place
from gliomart.cli.options import DetectorOptions
from gliomart.errors import DriftRecordError, UsageError
from gliomart.host import streams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from gliomart.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "info",
        help="show a model's card, or a record of drift",
        description="Show what a model is for, what is known of it, its limits, and what it runs"
        " on here; or what a watch for drift has seen.",
        examples={
            "gliomart info": "the built-in model",
            "gliomart info own.onnx": "a model of your own",
            "gliomart info --drift drift.json": "what infer --drift counted, and noticed",
            "gliomart info --json | jq .metrics": "every figure that the card holds",
        },
    )
    parser.add_argument(
        "model",
        nargs="?",
        type=place,
        help="model file, or the name of one that comes along (default: flair-dae)",
    )
    parser.add_argument(
        "--drift", type=place, metavar="FILE", help="show this record of infer --drift instead"
    )
    parser.add_argument("--json", action="store_true", help="print the whole as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a model's card, or a record of drift."""
    if options.drift is not None:
        return _drift(options.drift, model=options.model, json=options.json)
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
    if options.model is None:
        streams.give(*_come_along())
    return 0


def _come_along() -> Iterator[str]:
    """List the models that come with gliomart, and the sequences that each takes."""
    from gliomart.model.built_in import MODELS, OF_SERIES

    yield "\nModels that come along (--model NAME):"
    for name, (first, *further) in MODELS.items():
        beside = f", and where they are there {' and '.join(further)}" if further else ""
        together = ", neighbouring slices together" if name == OF_SERIES else ""
        yield f"  {name}: {first}{beside}{together}"


def _drift(path: Path, *, model: Path | None, json: bool) -> int:
    """Print a record of drift."""
    from dataclasses import asdict

    from gliomart.cli.drift import table
    from gliomart.site import drift_record
    from gliomart.site.drift_evidence import REFERENCE

    if model is not None:
        raise UsageError("give a model, or --drift, and not both")
    record = drift_record.read(path)
    if record is None:
        raise DriftRecordError(f"{path}: there is no such record of drift")
    if json:
        streams.give_json(asdict(record))
    else:
        streams.give(*table(path, record, drift_record.LIMIT, REFERENCE))
    return 0
