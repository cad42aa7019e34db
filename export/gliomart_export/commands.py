"""``gliomart export``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomart.cli.arguments import ArgumentParser, place
from gliomart.cli.terminal import is_terminal
from gliomart.errors import DatasetError, ModelNotFoundError, UsageError
from gliomart.host.streams import give, say
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart_export.precision import PRECISIONS
from gliomart_training.record import RECORD, folds_of, read_record, run_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart.model.card import ModelCard
    from gliomart_export.precision import Numbers
    from gliomart_training.dataset import Patient
    from gliomart_training.residual import Residual

INTENDED_USE = (
    "Research on unsupervised anomaly detection in brain MRI. Not a medical device, not cleared"
    " or approved by any authority, and not for diagnosis or any clinical decision."
)
# Held-out slices that parity is checked on, and those that ranges of integers are taken from.
_PARITY_SLICES = 8
_RANGE_SLICES = 64
_READ_OF_RECORD = {
    "data", "folds", "patients", "pons", "preprocessing", "recipe", "slices", "software", "split",
    "variation",
}  # fmt: skip


def export(arguments: Sequence[str]) -> int:
    """Turn a trained network into a calibrated model file."""
    options: argparse.Namespace = export_parser().parse_args(arguments)

    from gliomart_training import backend

    backend.load_quietly()
    import numpy as np
    import tf2onnx  # noqa: F401  # first, so that its absence names the extra

    from gliomart.image.preprocess import stack_channels
    from gliomart.image.steps import Preprocessing
    from gliomart_export import calibration, conversion, precision
    from gliomart_training import dataset, network_file
    from gliomart_training.batches import tumour_free_images
    from gliomart_training.residual import Residual

    record = _record(options)
    spec = record["preprocessing"]
    spec = Preprocessing(**(spec | {"channels": tuple(spec["channels"])}))
    residual = Residual()
    patients = dataset.load(options.data or Path(record["data"]), record["split"])
    by_id = {patient.id: patient for patient in patients}
    groups = [_patients(by_id, ids) for ids in folds_of(record, by_id)]

    unseen = tumour_free_images([patient for group in groups for patient in group], spec).plain
    if len(unseen) == 0:
        raise DatasetError("no tumour-free slice of a held-out patient to compare on")

    def evenly(count: int) -> NDArray[np.float32]:
        places = np.linspace(0, len(unseen) - 1, min(count, len(unseen))).round().astype(int)
        return np.stack([stack_channels(unseen[place], spec) for place in places])

    samples, for_ranges = evenly(_PARITY_SLICES), evenly(_RANGE_SLICES)

    def convert(file: Path, card: ModelCard) -> tuple[Any, dict[str, float]]:
        network = network_file.load(file, spec)
        graph = conversion.to_onnx(network, residual)
        conversion.parity(network, residual, conversion.with_card(graph, card), samples)
        graph = precision.converted(graph, numbers, for_ranges)
        content = conversion.with_card(graph, card)
        return graph, conversion.parity(network, residual, content, samples, numbers.precision)

    def calibrated(card: ModelCard, scores: Sequence[calibration.Scores]) -> ModelCard:
        judges = tuple(
            replace(judge, rules=calibration.calibrate_pons(scores)) for judge in card.judges
        )
        return replace(card, calibration=calibration.calibrate(scores), judges=judges)

    _step("converting the network and comparing it with Keras")
    network = network_file.load(options.network, spec)
    # What is left in float for the final network is so for the folds that calibrate it.
    numbers = precision.choose(options.precision, conversion.to_onnx(network, residual), samples)
    card = _card(options, record, spec, residual, numbers)
    final, parity = convert(options.network, card)
    card = replace(card, parity=parity)
    # Kept beside the networks: what held-out patients are evaluated with.
    fold_files = [
        run_folder(options.network) / f"fold-{number}.onnx" for number in range(1, len(groups) + 1)
    ]
    graphs = [convert(file.with_suffix(".keras"), card)[0] for file in fold_files]
    for file, graph in zip(fold_files, graphs, strict=True):
        write_atomically(file, conversion.with_card(graph, card))
    scores = []
    for number, (file, group) in enumerate(zip(fold_files, groups, strict=True), start=1):
        _step(f"calibrating on fold {number} of {len(groups)}: {len(group)} patients")
        scores.append(calibration.score(file, group))
    for file, graph, own in zip(fold_files, graphs, scores, strict=True):
        # A fold is calibrated on the others, so that its false alarms are not counted in advance.
        others = [fold for fold in scores if fold is not own] or scores
        write_atomically(file, conversion.with_card(graph, calibrated(card, others)))
    card = calibrated(card, scores)
    write_atomically(options.model, conversion.with_card(final, card))
    _report(options.model, card)
    return 0


def _step(what: str) -> None:
    """Tell who watches what takes its time."""
    if is_terminal(sys.stderr):
        say(f"gliomart: {what}")


def _card(
    options: argparse.Namespace,
    record: dict[str, Any],
    spec: Preprocessing,
    residual: Residual,
    numbers: Numbers,
) -> ModelCard:
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import InputImage, Limits, Scoring, usual_outputs
    from gliomart_export import calibration

    judges = (calibration.PONS_JUDGE,) if record["pons"] else ()

    network = record["recipe"]["network"]
    return ModelCard(
        name=options.name or f"{options.sequence.lower()}-{network}",
        version=options.model_version,
        family="slice",
        network={"name": network, "residual": vars(residual), **asdict(numbers)},
        preprocessing=spec,
        scoring=Scoring(),
        calibration=calibration.UNCALIBRATED,
        judges=judges,
        images=(InputImage(options.modality, options.sequence),),
        plane=options.plane,
        outputs=usual_outputs(*(judge.name for judge in judges)),
        limits=Limits(),
        training={
            "data": options.trained_on or printable(Path(record["data"]).name),
            "split": record["split"],
            "patients": record["patients"],
            "slices": record["slices"],
            "recipe": record["recipe"],
            "variation": record["variation"],
            "pons": record["pons"],
            "software": record["software"],
        },
        metrics=_metrics(options.metrics) if options.metrics else {},
        parity={},
        licence=options.licence,
        intended_use=INTENDED_USE,
    )


def _record(options: argparse.Namespace) -> dict[str, Any]:
    """Read the record of a network's run, and see that none of what is read would be replaced."""
    network: Path = options.network
    if options.model.suffix != ".onnx":
        raise UsageError(f"{options.model}: a model's name has to end in .onnx")
    if not network.is_file():
        what = "a folder, not a network" if network.is_dir() else "no such network"
        raise ModelNotFoundError(f"{network}: {what}; gliomart train makes one")
    folder = run_folder(network)
    if not (folder / RECORD).is_file():
        raise ModelNotFoundError(
            f"{folder / RECORD}: the run's record is missing; keep {folder.name} beside the network"
        )
    record = read_record(folder)
    if missing := sorted(_READ_OF_RECORD - record.keys()):
        raise DatasetError(f"{folder / RECORD}: does not say {missing[0]}; train again")
    data = options.data or Path(record["data"])
    check_target(options.model, [network, folder, data, options.metrics])
    return record


def _metrics(file: Path) -> dict[str, Any]:
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not the figures that evaluate --out writes") from error
    if not isinstance(metrics, dict):
        raise UsageError(f"{file}: not the figures that evaluate --out writes")
    # Rows of single patients stay out of a file that is passed on.
    return {name: value for name, value in metrics.items() if name != "patients"}


def _patients(by_id: dict[str, Patient], ids: Sequence[str]) -> list[Patient]:
    missing = [patient for patient in ids if patient not in by_id]
    if missing:
        raise DatasetError(
            f"{len(missing)} of the patients held out in training are not in the data, such as"
            f" {missing[0]}; give --data"
        )
    return [by_id[patient] for patient in ids]


def _report(path: Path, card: Any) -> None:  # noqa: ANN401
    calibrated = card.calibration
    give(f"model: {printable(str(path))} ({path.stat().st_size / 1e6:.2f} MB)")
    give(f"precision: {card.network['precision']}")
    moved, in_float = card.network["sensitivity"], card.network["in_float"]
    if moved:
        give(
            f"convolutions quantised: {len(moved) - len(in_float)}, left in float: {len(in_float)};"
            f" each alone moves an output by {max(moved):.2g} on average, or less"
        )
    for name, difference in card.parity.items():
        give(f"parity with Keras, {name}: max abs error {difference:.2g}")
    give(
        f"calibrated on {len(calibrated.slice_scores)} tumour-free slices of"
        f" {calibrated.patients} patients ({calibrated.method})"
    )
    give(f"pixel threshold {calibrated.pixel_threshold:.4f}")
    for judge in card.judges:
        give(
            f"{judge.name}: {len(judge.rules.slice_scores)} tumour-free sections of"
            f" {len(judge.rules.series_scores)} patients, pixel threshold"
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
    parser.add_argument("--name", help="model name (default: <sequence>-<network>)")
    parser.add_argument("--model-version", default="1", metavar="VERSION", help="(default: 1)")
    parser.add_argument("--modality", default="MR", help="as in DICOM (default: MR)")
    parser.add_argument("--sequence", default="FLAIR", help="what it was trained for")
    parser.add_argument("--plane", default="axial", help="what it was trained for")
    parser.add_argument("--trained-on", metavar="TEXT", help="the data, in words, for the card")
    parser.add_argument("--licence", default="not stated", metavar="TEXT", help="of the weights")
    parser.add_argument("--metrics", type=place, metavar="FILE", help="figures from evaluate --out")
    return parser
