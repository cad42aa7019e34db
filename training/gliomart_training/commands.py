"""``gliomart train`` and ``gliomart evaluate``."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import replace
from typing import TYPE_CHECKING

from gliomart.cli.arguments import ArgumentParser, place, positive, seed
from gliomart.errors import UsageError
from gliomart.host.streams import give
from gliomart.image.steps import Channel, Preprocessing, Shading
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart.providers.choice import PROVIDERS
from gliomart_training import dataset, networks, tables
from gliomart_training.corruption import CORRUPTIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from gliomart_training.evaluation.metrics import Bootstrap
    from gliomart_training.evaluation.panel import Candidate
    from gliomart_training.plan import Plan

_MOST_RESAMPLES = 1_000_000
# Batches that a brain localiser is trained on, for every epoch of the autoencoder.
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
    _keep_pictures_out(options.directory, options.out)

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
    from gliomart_training.batches import Variation
    from gliomart_training.plan import Plan
    from gliomart_training.recipe import BrainRecipe, PonsRecipe

    given = {
        name: getattr(options, name)
        for name in ("corruption", "epochs", "batch_size", "learning_rate", "seed")
        if getattr(options, name) is not None
    }
    recipe = replace(networks.network(options.network).recipe, **given)
    return Plan(
        data=options.directory,
        split=options.split or _training_split(options.directory),
        out=options.out,
        recipe=recipe,
        brain=BrainRecipe(steps=_BRAIN_STEPS * recipe.epochs, seed=recipe.seed),
        pons=PonsRecipe(seed=recipe.seed),
        preprocessing=Preprocessing(channels=_CHANNELS[options.channels], shading=Shading()),
        variation=Variation(),
        folds=options.folds,
    )


def evaluate(arguments: Sequence[str]) -> int:
    """Measure a model on a dataset folder with tumour masks."""
    parser = evaluate_parser()
    options = parser.parse_args(arguments)
    if options.compare and (options.pons or options.plots):
        parser.error("--compare goes with neither --pons nor --plots, which show one model")
    if options.stress and (options.compare or options.pons or options.plots):
        parser.error("--stress goes with none of --compare, --pons and --plots")
    _check_outputs(options)

    # First, so that their absence names the extra before anything has been measured.
    import sklearn  # noqa: F401

    if options.plots:
        import matplotlib as mpl  # noqa: F401

    splits = dataset.splits(options.directory)
    if options.split is None and _takes_split(options) and len(splits) > 1:
        named = ", ".join(sorted(splits))
        raise UsageError(f"{options.directory}: its index names splits; give --split ({named})")
    figures, table = _measured(options)
    if options.out is not None:
        write_atomically(options.out, (figures + "\n").encode())
    give(figures if options.json else table)
    if options.plots and not options.json:
        give(f"plots: {printable(str(options.plots))}")
    return 0


def _measured(options: argparse.Namespace) -> tuple[str, str]:
    """Measure what was asked for; JSON and a table."""
    if options.compare:
        return _compare(options)
    if options.pons:
        return _evaluate_pons(options)
    return _evaluate_stressed(options) if options.stress else _evaluate(options)


def _evaluate(options: argparse.Namespace) -> tuple[str, str]:
    """Measure a model, or the folds of a run; JSON and a table."""
    from gliomart_training.evaluation import evaluation, text_table

    result = evaluation.evaluate(_candidate(options), _bootstrap(options), plots=options.plots)
    return json.dumps(result, indent=1), text_table.table(result)


def _evaluate_pons(options: argparse.Namespace) -> tuple[str, str]:
    """Measure likewise how the pons is found."""
    from gliomart_training.evaluation import pons_evaluation, pons_plot, pons_sheet, pons_table

    candidate = _candidate(options)
    result = pons_evaluation.evaluate(candidate, _bootstrap(options))
    if options.plots:
        write_atomically(options.plots / "lesions.png", pons_sheet.draw(candidate))
        write_atomically(options.plots / "pons.png", pons_plot.plot(result))
    return json.dumps(result, indent=1), pons_table.table(result)


def _evaluate_stressed(options: argparse.Namespace) -> tuple[str, str]:
    """Measure likewise what other scanners would have made of the same heads."""
    from gliomart_training.evaluation import stress_table, stresses

    result = stresses.evaluate(_candidate(options), _bootstrap(options))
    return json.dumps(result, indent=1), stress_table.table(result)


def _compare(options: argparse.Namespace) -> tuple[str, str]:
    """Measure two models, each a file or a run."""
    from gliomart_training.evaluation import comparison, text_table
    from gliomart_training.evaluation.panel import Candidate

    a, b = (
        Candidate.of(options.directory, path, options.split, options.provider)
        for path in options.compare
    )
    result = comparison.compare(a, b, _bootstrap(options))
    return json.dumps(result, indent=1), text_table.comparison(result)


def _candidate(options: argparse.Namespace) -> Candidate:
    from gliomart_training.evaluation.panel import Candidate

    return Candidate(
        options.directory,
        model=options.model,
        run=options.held_out,
        split=options.split,
        provider=options.provider,
    )


def _bootstrap(options: argparse.Namespace) -> Bootstrap:
    from gliomart_training.evaluation.metrics import Bootstrap

    return Bootstrap(options.bootstrap, options.seed)


def _check_outputs(options: argparse.Namespace) -> None:
    """See that an evaluation can write what it is to, and replaces nothing that it reads."""
    read = [options.directory, options.model, options.held_out, *(options.compare or ())]
    if options.out is not None:
        check_target(options.out, read)
    if options.plots:
        if options.out is not None and options.out.resolve() == options.plots.resolve():
            raise UsageError(f"{options.out}: cannot be both a file (--out) and a folder (--plots)")
        _keep_pictures_out(options.directory, options.plots)
        check_target(options.plots / "plots.png", read)


def _keep_pictures_out(directory: Path, path: Path) -> None:
    """Refuse to leave pictures where the next run would read them as slices."""
    listed = directory.is_dir() and tables.find(directory, dataset.INDEX) is not None
    if not listed and path.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"{path}: lies inside the data set {directory}; choose another place")


def _takes_split(options: argparse.Namespace) -> bool:
    """Tell whether a model file is measured: a training run has its own split."""
    if options.compare:
        return not all(path.is_dir() for path in options.compare)
    return options.held_out is None


def _training_split(directory: Path) -> str | None:
    """Take the split called ``train`` where the dataset's index names one, else everything."""
    named = [split for split in dataset.splits(directory) if split.lower() == "train"]
    return named[0] if len(named) == 1 else None


def _resamples(text: str) -> int:
    count = positive(text)
    if count > _MOST_RESAMPLES:
        raise ArgumentTypeError(f"{count} are too many, of which no interval would be narrower")
    return count


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
        help="what is trained: an autoencoder, or one that undoes noise (default: dae)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=place, required=True, metavar="FILE.keras", help="where the network goes"
    )
    parser.add_argument(
        "--split", metavar="NAME", help="split of index.csv (default: train, where it is named)"
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


def evaluate_parser() -> ArgumentParser:
    """Make the parser of ``gliomart evaluate``."""
    parser = ArgumentParser(
        prog="gliomart evaluate",
        description="Run a model over a folder with tumour masks (index.csv) and measure it beside"
        " trivial baselines, or beside another model, on the images' own pixel grid.",
        examples={
            "gliomart evaluate scans/ --split test": "the built-in model",
            "gliomart evaluate scans/ --model own.onnx --split test --plots plots/": "with plots",
            "gliomart evaluate scans/ --held-out own.run --stress": "on patients that training held"
            " out, at scanners not yet seen",
            "gliomart evaluate scans/ --compare a.onnx b.onnx --split test": "which is better",
        },
    )
    parser.add_argument("directory", type=place, metavar="DIR", help="dataset folder")
    _add_measured(parser)
    parser.add_argument(
        "--plots", type=place, metavar="DIR",
        help="write plots, and pictures of slices of the data set, into this folder",
    )  # fmt: skip
    parser.add_argument(
        "--split", metavar="NAME", help="split of index.csv (needed where it names several)"
    )
    parser.add_argument(
        "--provider", choices=PROVIDERS, default="auto",
        help="execution provider (default: the fastest that runs)",
    )  # fmt: skip
    parser.add_argument(
        "--bootstrap", type=_resamples, metavar="N", default=1000,
        help="resamples of patients (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=seed, metavar="N", default=0, help="seed of the resampling (default: 0)"
    )
    parser.add_argument("--out", type=place, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _add_measured(parser: ArgumentParser) -> None:
    """Add the options that say which model is measured, and what of it."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", type=place, metavar="FILE", help="model file (default: built in)")
    what.add_argument(
        "--held-out", type=place, metavar="RUN",
        help="folder of an exported training run: each fold's model on the patients it never saw",
    )  # fmt: skip
    what.add_argument(
        "--compare", type=place, nargs=2, metavar=("A", "B"),
        help="two models, each a FILE or a RUN as above, paired patient by patient",
    )  # fmt: skip
    parser.add_argument(
        "--pons", action="store_true",
        help="measure how the pons is found, and simulated gliomas put into it, instead"
        " (needs a pons.csv that marks it)",
    )  # fmt: skip
    parser.add_argument(
        "--stress", action="store_true",
        help="measure it on what other scanners would have made of the same heads instead:"
        " shading, contrast, noise, thickness and more, a row each",
    )  # fmt: skip
