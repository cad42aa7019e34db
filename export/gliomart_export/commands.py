"""``gliomart export``."""

from __future__ import annotations

import dataclasses
import math
import sys
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.cli.arguments import ArgumentParser, place
from gliomart.cli.terminal import is_terminal
from gliomart.errors import DatasetError, UsageError
from gliomart.host.streams import give, say
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart_export.precision import PRECISIONS
from gliomart_training.record import run_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from gliomart.findings.calibration import PatientScores
    from gliomart.model.card import ModelCard
    from gliomart.model.familiar import Familiar
    from gliomart_export.cards import Description
    from gliomart_export.converter import Converter
    from gliomart_export.precision import PrecisionPlan
    from gliomart_export.run import Run


# More of them would take longer and tell no more.
_MOST_SCANNERS = 9


def export(arguments: Sequence[str]) -> int:
    """Turn a trained network into a calibrated model file."""
    options = export_parser().parse_args(arguments)

    from gliomart_training import backend

    backend.load_quietly()
    import tf2onnx  # noqa: F401  # first, so that its absence names the extra

    from gliomart_export.cards import calibrated, uncalibrated
    from gliomart_export.conversion import with_card
    from gliomart_export.converter import Converter

    run = _with_map_options(_run(options), options.map_options)
    others = _others(run, options)
    _step("converting the network and comparing it with Keras")
    converter = Converter.of(run, options.precision)
    card = uncalibrated(converter, _description(options))
    graph, parity = converter.convert(run.network, card)
    card = replace(card, parity=parity)
    card = calibrated(card, _calibrate_folds(converter, card, options.scanners))
    card = replace(card, familiar=_familiar(run, card, others))
    write_atomically(options.model, with_card(graph, card))
    _report(options.model, card, converter.precision)
    return 0


def _run(options: argparse.Namespace) -> Run:
    """Read a network's run, and see that none of what is read would be replaced."""
    from gliomart_export.run import read_run, recorded
    from gliomart_training.bases import saw_masks

    if options.model.suffix != ".onnx":
        raise UsageError(f"{options.model}: a model's name has to end in .onnx")
    record = recorded(options.network)
    if saw_masks(record) and not options.comparison:
        raise UsageError(
            f"{options.network}: tumour masks taught it, or a network that it is built on; with"
            " --comparison it is exported, marked as made for comparison alone"
        )
    data = options.data or Path(record["data"])
    folder = run_folder(options.network)
    others = [place for _, place in options.unlike]
    check_target(options.model, [options.network, folder, data, options.metrics, *others])
    return read_run(options.network, record, data)


def _description(options: argparse.Namespace) -> Description:
    from gliomart_export.cards import Description, read_metrics

    return Description(
        name=options.name,
        version=options.model_version,
        modality=options.modality,
        sequence=options.sequence,
        plane=options.plane,
        trained_on=options.trained_on,
        licence=options.licence,
        metrics=read_metrics(options.metrics) if options.metrics else {},
    )


def _calibrate_folds(
    converter: Converter, card: ModelCard, scanners: int
) -> list[list[PatientScores]]:
    """Export the networks of the folds, and score with each the patients that it never saw.

    Each of them is scored as scanned, and at so many drawn scanners.

    Their models stay beside the networks: held-out patients are evaluated with them.
    """
    from gliomart_export import calibration
    from gliomart_export.cards import calibrated
    from gliomart_export.conversion import with_card

    groups = converter.run.groups
    networks = converter.run.fold_networks
    files = [file.with_suffix(".onnx") for file in networks]
    graphs = [converter.convert(file, card).graph for file in networks]
    for file, graph in zip(files, graphs, strict=True):
        write_atomically(file, with_card(graph, card))
    scores = []
    for number, (file, group) in enumerate(zip(files, groups, strict=True), start=1):
        _step(f"calibrating on fold {number} of {len(groups)}: {len(group)} patients")
        scores.append(calibration.score(file, group, scanners))
    for number, (file, graph) in enumerate(zip(files, graphs, strict=True)):
        # A fold is calibrated on the others, so that its false alarms are not counted in advance.
        others = [*scores[:number], *scores[number + 1 :]] or scores
        write_atomically(file, with_card(graph, calibrated(card, others)))
    return scores


def _others(run: Run, options: argparse.Namespace) -> dict[str, Path]:
    """Give folders of other sequences by name, and see that the model can be told from them."""
    from gliomart_export import familiarity

    others: dict[str, Path] = {}
    for name, folder in options.unlike:
        if name in others:
            raise UsageError(f"--unlike {printable(name)} is given twice")
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")
        others[name] = folder
    if others and not _can_be_told(run, options.plane):
        raise UsageError(
            f"--unlike needs axial slices of {familiarity.FEWEST_PATIENTS} held-out patients"
        )
    return others


def _can_be_told(run: Run, plane: str) -> bool:
    """Tell whether enough was held out to tell what a model knows from what it does not."""
    from gliomart_export import familiarity

    return plane == "axial" and familiarity.enough(run.groups)


def _familiar(run: Run, card: ModelCard, others: Mapping[str, Path]) -> Familiar | None:
    from gliomart_export import familiarity

    if not _can_be_told(run, card.plane):
        return None
    _step("telling what the model knows from what it does not")
    return familiarity.of_run(run, others)


def _unlike(argument: str) -> tuple[str, Path]:
    name, equals, folder = argument.partition("=")
    if not (name and equals and folder):
        raise ArgumentTypeError(f"{printable(argument)} is not NAME=DIR")
    return name, place(folder)


def _map_option(argument: str) -> tuple[str, float]:
    name, equals, number = argument.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (name and equals and math.isfinite(value)):
        raise ArgumentTypeError(f"{printable(argument)} is not OPTION=NUMBER")
    return name, int(value) if value.is_integer() else value


def _with_map_options(run: Run, options: Sequence[tuple[str, float]]) -> Run:
    """Change options of how outputs become the anomaly map.

    Raises
    ------
    UsageError
        The map has no such option.
    """
    known = [field.name for field in dataclasses.fields(run.residual)]  # type: ignore[arg-type]
    for name, _ in options:
        if name not in known:
            raise UsageError(f"--map {printable(name)}: the map has {', '.join(known)}")
    try:
        return replace(run, residual=run.residual.with_options(dict(options)))
    except ValueError as error:
        raise UsageError(f"--map: {error}") from error


def _step(what: str) -> None:
    """Tell whoever watches what it is that takes its time."""
    if is_terminal(sys.stderr):
        say(f"gliomart: {what}")


def _report(path: Path, card: ModelCard, plan: PrecisionPlan) -> None:
    calibrated = card.calibration
    assert calibrated is not None  # noqa: S101  # that is what export does
    give(f"model: {printable(str(path))} ({path.stat().st_size / 1e6:.2f} MB)")
    give(f"precision: {plan.precision}")
    moved, in_float = plan.sensitivity, plan.in_float
    if moved:
        give(
            f"convolutions quantised: {len(moved) - len(in_float)}, left in float: {len(in_float)};"
            f" each alone moves an output by {max(moved):.2g} on average, or less"
        )
    for name, difference in card.parity.items():
        give(f"parity with Keras, {name}: max abs error {difference:.2g}")
    give(
        f"calibrated on {len(calibrated.slice_scores)} scores of tumour-free slices of"
        f" {calibrated.patients} patients ({calibrated.method})"
    )
    give(f"pixel threshold {calibrated.pixel_threshold:.4f}")
    for judge in card.judges:
        if judge.rules is not None:
            give(
                f"{judge.name}: {len(judge.rules.slice_scores)} scores of tumour-free sections,"
                f" {len(judge.rules.series_scores)} of series, pixel threshold"
                f" {judge.rules.pixel_threshold:.4f}"
            )
    if len(calibrated.series_scores) + 1 < 1 / calibrated.false_alarm_rate:
        give(
            f"too few patients to judge a series at {calibrated.false_alarm_rate:.0%}:"
            " results will say so"
        )


def export_parser() -> ArgumentParser:
    """Make the parser of ``gliomart export``."""
    parser = ArgumentParser(
        prog="gliomart export",
        description="Turn a trained network into one ONNX file with its card: converted, checked,"
        " compared with Keras, and calibrated on patients that its training held out.",
        examples={
            "gliomart export own.keras own.onnx": "convert, check and calibrate",
            "gliomart export own.keras own.onnx --licence 'in-house only'": "say what may be done",
            "gliomart infer study/ --model own.onnx": "what comes next",
        },
    )
    parser.add_argument(
        "network", type=place, metavar="NETWORK.keras", help="from train, its run beside it"
    )
    parser.add_argument("model", type=place, metavar="MODEL.onnx", help="where the model goes")
    parser.add_argument("--data", type=place, metavar="DIR", help="dataset, if it has moved")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32",
        help="int8 is fastest on CPUs, fp16 is for GPUs (default: fp32)",
    )  # fmt: skip
    parser.add_argument(
        "--scanners", type=int, choices=range(_MOST_SCANNERS + 1), metavar="N", default=2,
        help="scanners that are drawn for every held-out patient, so that thresholds hold at others"
        " than the one that scanned them; 0 for this one alone (default: 2)",
    )  # fmt: skip
    parser.add_argument("--name", help="model name (default: <sequence>-<network>)")
    parser.add_argument(
        "--model-version", default="1", metavar="VERSION", help="version of the model (default: 1)"
    )
    parser.add_argument("--modality", default="MR", help="modality, as in DICOM (default: MR)")
    parser.add_argument(
        "--sequence", default="FLAIR", help="sequence that it was trained on (default: FLAIR)"
    )
    parser.add_argument(
        "--plane", default="axial", help="plane that it was trained on (default: axial)"
    )
    parser.add_argument("--trained-on", metavar="TEXT", help="the data, in words, for the card")
    parser.add_argument(
        "--licence", default="not stated", metavar="TEXT", help="licence of the weights"
    )
    parser.add_argument(
        "--unlike", type=_unlike, action="append", default=[], metavar="NAME=DIR",
        help="pictures of another sequence, in a folder for each patient, that the model is to tell"
        " from its own; may be repeated",
    )  # fmt: skip
    _add_changes(parser)
    return parser


def _add_changes(parser: ArgumentParser) -> None:
    """Add the options that let through or change what is exported."""
    parser.add_argument(
        "--comparison", action="store_true",
        help="export even what tumour masks taught, marked as made for comparison alone",
    )  # fmt: skip
    parser.add_argument(
        "--map", type=_map_option, action="append", default=[], metavar="OPTION=NUMBER",
        dest="map_options",
        help="change an option of the anomaly map, as the card names it; may be repeated",
    )  # fmt: skip
    parser.add_argument("--metrics", type=place, metavar="FILE", help="figures from evaluate --out")
