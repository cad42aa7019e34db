"""``gliomart train``, and ``gliomart evaluate`` for whoever looks for commands here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gliomart.cli.arguments import ArgumentParser, place, positive, seed
from gliomart.host.streams import give
from gliomart.image.steps import Channel, Preprocessing, Shading
from gliomart.printable import printable
from gliomart_training import dataset, networks
from gliomart_training.corruption import CORRUPTIONS
from gliomart_training.evaluation.command import evaluate, evaluate_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from gliomart_training.plan import Plan

__all__ = ["evaluate", "evaluate_parser", "train", "train_parser"]
# Batches that a brain localiser is trained on, for every epoch of the network; no more than its own
# recipe has, however many epochs few slices take.
_BRAIN_STEPS = 80
_CHANNELS: dict[str, tuple[Channel, ...]] = {
    "plain": ("plain",),
    "clahe": ("clahe",),
    "both": ("plain", "clahe"),
}


def train(arguments: Sequence[str]) -> int:
    """Train networks on a dataset folder."""
    parser = train_parser()
    options = parser.parse_args(arguments)
    if options.out.suffix != ".keras":
        parser.error(f"--out {options.out}: has to end in .keras")
    dataset.keep_pictures_out(options.directory, options.out)

    from gliomart_training import backend

    backend.load_quietly()

    from gliomart_training import training

    plan = _plan(options)
    try:
        training.run(plan, resume=options.resume, overwrite=options.overwrite)
    except KeyboardInterrupt as interruption:
        interruption.add_note("what is finished is kept, and --resume goes on from it")
        raise
    drawn = ", ".join(str(path) for path in sorted(plan.folder.glob("*.png")))
    give(f"network: {printable(str(options.out))}\nrun: {printable(str(plan.folder))}")
    give(f"pictures: {printable(drawn)}")
    following = f"{options.out} {options.out.with_suffix('.onnx')}"
    give(f"next: gliomart export {printable(following)}")
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    from gliomart_training.bases import BaseRun, residual_of
    from gliomart_training.batches import Variation
    from gliomart_training.plan import Plan
    from gliomart_training.recipe import BrainRecipe, PonsRecipe

    given = {
        name: getattr(options, name)
        for name in ("corruption", "epochs", "batch_size", "learning_rate", "seed")
        if getattr(options, name) is not None
    }
    declared = networks.network(options.network)
    if declared.residual_of_base and options.bases:
        given["residual"] = residual_of(BaseRun.read(options.bases[0]).record)
    recipe = replace(declared.recipe, **given)
    return Plan(
        data=options.directory,
        split=options.split or _training_split(options.directory),
        out=options.out,
        recipe=recipe,
        brain=BrainRecipe(
            steps=min(_BRAIN_STEPS * recipe.epochs, BrainRecipe().steps), seed=recipe.seed
        ),
        pons=PonsRecipe(seed=recipe.seed),
        preprocessing=Preprocessing(channels=_CHANNELS[options.channels], shading=Shading()),
        variation=Variation(),
        folds=options.folds,
        bases=tuple(options.bases),
        patients=options.patients,
    )


def _training_split(directory: Path) -> str | None:
    """Take the split called ``train`` where the dataset's index names one, else everything."""
    named = [split for split in dataset.splits(directory) if split.lower() == "train"]
    return named[0] if len(named) == 1 else None


def train_parser() -> ArgumentParser:
    """Make the parser of ``gliomart train``."""
    parser = ArgumentParser(
        prog="gliomart train",
        description="Train an autoencoder on tumour-free slices of a folder of images or DICOM."
        " With an index.csv (image, mask, patient, split), slices with a mask or within 3 of one"
        " are left out. Pictures of how it goes lie beside the networks, in FILE.run.",
        examples={
            "gliomart train scans/ --out own.keras": "the built-in model's recipe, on your scans",
            "gliomart train scans/ --out own.keras --resume": "go on with an interrupted run",
            "gliomart train scans/ --out try.keras --folds 1 --epochs 4": "a quick first look",
            "gliomart export own.keras own.onnx": "what comes next: a model file for infer",
        },
    )
    parser.add_argument("directory", type=place, metavar="DIR", help="dataset folder")
    parser.add_argument(
        "--network", choices=networks.names(), default="dae",
        help="what is trained (docs/autoencoder-or-unet.md; default: dae, which undoes noise)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=place, required=True, metavar="FILE.keras", help="where the network goes"
    )
    parser.add_argument(
        "--split", metavar="NAME", help="split of index.csv (default: train, where it is named)"
    )
    parser.add_argument(
        "--from", type=place, nargs="+", default=[], metavar="RUN", dest="bases",
        help="finished runs (FILE.run) on the same patients that this one builds on: the first"
        " gives its localisers, all of them what the network is made of",
    )  # fmt: skip
    parser.add_argument(
        "--patients", type=positive, metavar="N", help="as many patients of the data, at random"
    )
    _add_recipe(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    existing.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    return parser


def _add_recipe(parser: ArgumentParser) -> None:
    """Add the options that change a network's recipe, its input or its folds."""
    parser.add_argument(
        "--corruption", choices=tuple(CORRUPTIONS),
        help="what the network learns to undo (default: the network's own)",
    )  # fmt: skip
    parser.add_argument(
        "--channels", choices=tuple(_CHANNELS), default="plain",
        help="the image as it is, equalised (CLAHE), or both (default: plain)",
    )  # fmt: skip
    parser.add_argument(
        "--folds", type=positive, metavar="N", default=3,
        help="groups of patients held out in turn for calibration; 1 holds out a fifth, once",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=positive, metavar="N", help="passes over the slices (default: 30)"
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="slices in a step (default: 16)"
    )
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE",
        help="highest learning rate; the optimiser is AdamW (default: 0.001)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=seed, metavar="N",
        help="seed of the weights, the order of the slices and the noise (default: 0)",
    )  # fmt: skip
