"""``gliomart evaluate``."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, NamedTuple

from gliomart.cli.arguments import ArgumentParser, place, positive, seed
from gliomart.errors import UsageError
from gliomart.host.streams import give
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart.providers.choice import PROVIDERS
from gliomart_training import dataset

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from gliomart_training.evaluation.metrics import Bootstrap
    from gliomart_training.evaluation.panel import Candidate
    from gliomart_training.truth.marks import Choice

_MOST_RESAMPLES = 1_000_000


def evaluate(arguments: Sequence[str]) -> int:
    """Measure a model on a dataset folder with tumour masks."""
    parser = evaluate_parser()
    options = parser.parse_args(arguments)
    _check_together(parser, options)
    _check_outputs(options)

    # First, so that their absence names the extra before anything has been measured.
    import sklearn  # noqa: F401

    if options.plots:
        import matplotlib as mpl  # noqa: F401

    for directory in options.directories:
        splits = dataset.splits(directory)
        if options.split is None and _takes_split(options) and len(splits) > 1:
            named = ", ".join(sorted(splits))
            raise UsageError(f"{directory}: its index names splits; give --split ({named})")
    measured = _measured(options)
    figures = json.dumps(measured.document, indent=1)
    if options.out is not None:
        written = measured.rows if _is_table(options.out) else figures + "\n"
        write_atomically(options.out, written.encode())
    give(figures if options.json else measured.table)
    if options.plots and not options.json:
        give(f"plots: {printable(str(options.plots))}")
    return 0


class _Measured(NamedTuple):
    """Figures as JSON values, as a table for people and, of whole data sets, as one of rows."""

    document: object
    table: str
    rows: str = ""


def _measured(options: argparse.Namespace) -> _Measured:
    """Measure what was asked for."""
    if options.compare:
        return _compare(options)
    if options.pons:
        return _evaluate_pons(options)
    if options.stress:
        return _evaluate_stressed(options)
    return _evaluate_several(options) if len(options.directories) > 1 else _evaluate(options)


def _evaluate(options: argparse.Namespace) -> _Measured:
    """Measure a model, or the folds of a run."""
    from gliomart_training.evaluation import evaluation, several_table, text_table

    (candidate,) = _candidates(options)
    result = evaluation.evaluate(candidate, _bootstrap(options), plots=options.plots)
    rows = several_table.to_csv({result["dataset"]["folder"]: result}, None)
    return _Measured(result, text_table.table(result), rows)


def _evaluate_several(options: argparse.Namespace) -> _Measured:
    """Measure a model on several data sets."""
    from gliomart_training.evaluation import several, several_table

    result = several.evaluate(_candidates(options), _bootstrap(options))
    rows = several_table.to_csv(result["datasets"], result["total"])
    return _Measured(result, several_table.table(result), rows)


def _evaluate_pons(options: argparse.Namespace) -> _Measured:
    """Measure likewise how the pons is found."""
    from gliomart_training.evaluation import pons_evaluation, pons_plot, pons_sheet, pons_table

    (candidate,) = _candidates(options)
    result = pons_evaluation.evaluate(candidate, _bootstrap(options))
    if options.plots:
        write_atomically(options.plots / "lesions.png", pons_sheet.draw(candidate))
        write_atomically(options.plots / "pons.png", pons_plot.plot(result))
    return _Measured(result, pons_table.table(result))


def _evaluate_stressed(options: argparse.Namespace) -> _Measured:
    """Measure likewise what other scanners would have made of the same heads."""
    from gliomart_training.evaluation import stress_table, stresses

    (candidate,) = _candidates(options)
    result = stresses.evaluate(candidate, _bootstrap(options))
    return _Measured(result, stress_table.table(result))


def _compare(options: argparse.Namespace) -> _Measured:
    """Measure two models, each a file or a run."""
    from gliomart_training.evaluation import comparison, text_table
    from gliomart_training.evaluation.panel import Candidate

    (directory,) = options.directories
    a, b = (
        Candidate.of(directory, path, options.split, options.provider, _choice(options))
        for path in options.compare
    )
    result = comparison.compare(a, b, _bootstrap(options))
    return _Measured(result, text_table.comparison(result))


def _candidates(options: argparse.Namespace) -> list[Candidate]:
    """Take the model on every data set; of several, those without splits are taken whole."""
    from gliomart_training.evaluation.panel import Candidate

    several = len(options.directories) > 1
    with_splits = [bool(dataset.splits(directory)) for directory in options.directories]
    return [
        Candidate(
            directory,
            model=options.model,
            run=options.held_out,
            split=options.split if splits or not (several and any(with_splits)) else None,
            provider=options.provider,
            choice=_choice(options),
        )
        for directory, splits in zip(options.directories, with_splits, strict=True)
    ]


def _choice(options: argparse.Namespace) -> Choice:
    from gliomart_training.truth.marks import Choice

    return Choice(tuple(options.label or ()), options.derivative)


def _bootstrap(options: argparse.Namespace) -> Bootstrap:
    from gliomart_training.evaluation.metrics import Bootstrap

    return Bootstrap(options.bootstrap, options.seed)


def _check_together(parser: ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that do not go together, and a data set that is given twice."""
    if options.compare and (options.pons or options.plots):
        parser.error("--compare goes with neither --pons nor --plots, which show one model")
    if options.stress and (options.compare or options.pons or options.plots):
        parser.error("--stress goes with none of --compare, --pons and --plots")
    of_one = ("held_out", "compare", "pons", "stress", "plots")
    given = [f"--{name.replace('_', '-')}" for name in of_one if getattr(options, name)]
    if len(options.directories) > 1 and given:
        parser.error(f"{given[0]} goes with one data set")
    if (
        options.out is not None
        and _is_table(options.out)
        and (options.compare or options.pons or options.stress)
    ):
        parser.error(f"--out {options.out}: a table of data sets goes with none of --compare,"
                     " --pons and --stress")  # fmt: skip
    for number, folder in enumerate(options.directories):
        for other in options.directories[:number]:
            if _overlap(folder.resolve(), other.resolve()):
                raise UsageError(f"{folder}: is, or lies in, or holds the data set {other}")


def _is_table(path: Path) -> bool:
    """Tell whether a file of figures is to be a table of data sets, rather than JSON."""
    return path.suffix.lower() == ".csv"


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _check_outputs(options: argparse.Namespace) -> None:
    """See that an evaluation can write what it is to, and replaces nothing that it reads."""
    models = [options.model, options.held_out, *(options.compare or ())]
    read = [*options.directories, *models]
    if options.out is not None:
        check_target(options.out, read)
    if options.plots:
        if options.out is not None and options.out.resolve() == options.plots.resolve():
            raise UsageError(f"{options.out}: cannot be both a file (--out) and a folder (--plots)")
        (directory,) = options.directories
        dataset.keep_pictures_out(directory, options.plots)
        check_target(options.plots / "plots.png", read)


def _takes_split(options: argparse.Namespace) -> bool:
    """Tell whether a model file is measured: a training run has its own split."""
    if options.compare:
        return not all(path.is_dir() for path in options.compare)
    return options.held_out is None


def _resamples(text: str) -> int:
    count = positive(text)
    if count > _MOST_RESAMPLES:
        raise ArgumentTypeError(f"{count} are too many, of which no interval would be narrower")
    return count


def evaluate_parser() -> ArgumentParser:
    """Make the parser of ``gliomart evaluate``."""
    parser = ArgumentParser(
        prog="gliomart evaluate",
        description="Run a model over folders with tumour masks (an index.csv, BIDS derivatives,"
        " DICOM segmentations; docs/data.md) and measure it beside trivial baselines, or beside"
        " another model, on the images' own pixel grid.",
        examples={
            "gliomart evaluate scans/ --split test": "the built-in model",
            "gliomart evaluate scans/ --held-out own.run --stress": "on patients that training held"
            " out, at scanners not yet seen",
            "gliomart evaluate here/ there/ --out both.csv": "several data sets, a row each",
            "gliomart evaluate scans/ --compare a.onnx b.onnx --split test": "which is better",
        },
    )
    parser.add_argument(
        "directories", type=place, nargs="+", metavar="DIR", help="dataset folders, each a row"
    )
    _add_measured(parser)
    _add_truth(parser)
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
    parser.add_argument(
        "--out", type=place, metavar="FILE",
        help="write the figures as JSON, or with a row for each data set where FILE ends in .csv",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _add_truth(parser: ArgumentParser) -> None:
    """Add the options that say which marks are tumours."""
    parser.add_argument(
        "--label", action="append", metavar="LABEL",
        help="label of the masks that is tumour: a number, or the name of a segment; may be given"
        " several times (default: all but 0)",
    )  # fmt: skip
    parser.add_argument(
        "--derivative", metavar="NAME",
        help="folder of a BIDS data set's derivatives with the masks (needed where several have"
        " some)",
    )  # fmt: skip


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
