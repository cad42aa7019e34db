"""``gliomart calibrate``."""

from __future__ import annotations

from argparse import ArgumentTypeError
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.cli.arguments import path, place
from gliomart.cli.options import DetectorOptions, add_limits, add_plane
from gliomart.errors import OutputExistsError, UsageError
from gliomart.host import streams
from gliomart.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from gliomart.cli.arguments import Commands
    from gliomart.detector import Detector
    from gliomart.model.card import ModelCard
    from gliomart.site.calibration import SiteScores
    from gliomart.sources import Inventory

_MOST_CONTAMINATED = 0.5
# Of the two models that come with gliomart: whom each is for, and what its site's file is called.
_BUILT_IN = {"cpu": "", "cuda": "-fp32"}


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "calibrate",
        help="set a model's thresholds by a site's own scans",
        description="Set a model's thresholds by a site's own tumour-free scans, of at least 20"
        " patients (40 for verdicts on series), given as whole series. The weights stay the same,"
        " and the scans are not kept.",
        examples={
            "gliomart calibrate scans/ --check": "does this site differ? writes nothing",
            "gliomart calibrate scans/ --out site.onnx": "and site-fp32.onnx, for a GPU",
            "gliomart calibrate scans/ --out site.onnx --contaminated 0.1": "a tenth may be ill",
            "gliomart infer study/ --model site.onnx": "what comes next",
        },
    )
    parser.add_argument(
        "paths", nargs="+", type=path, metavar="PATH",
        help="files, or folders of any depth, of tumour-free patients",
    )  # fmt: skip
    parser.add_argument("--out", type=place, metavar="SITE.onnx", help="where the new model goes")
    parser.add_argument(
        "--model", type=place, metavar="MODEL",
        help="model file to calibrate, or the name of one that comes along: both of its files, the"
        " second as SITE-fp32.onnx (default: flair-dae)",
    )  # fmt: skip
    parser.add_argument(
        "--contaminated", type=_share, metavar="SHARE", default=0.0,
        help="share of the patients who may not be tumour-free, below 0.5; false alarms stay as"
        " promised, at the cost of sensitivity (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="tell whether the site differs from the model's own calibration; writes nothing",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier SITE.onnx")
    add_plane(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Calibrate a model on a site's scans, or check whether that would change anything."""
    from gliomart import sources

    targets = [] if options.check else _targets(options)
    budget = DetectorOptions(limits=options.limits).budget
    try:
        inventory = sources.scan(map(Path, options.paths), budget, plane=options.plane)
        with ExitStack() as stack:
            models = _models(options.model, stack)
            if options.check:
                _check(models[0], inventory, options)
                if options.out is not None:
                    streams.note(
                        f"{printable(str(options.out))}: not written, since --check was given"
                    )
                return 0
            contents = [_calibrated(model, inventory, options) for model in models]
    except KeyboardInterrupt as interruption:
        interruption.add_note("nothing was written")
        raise
    _refuse_existing(targets, options)  # another process may have written them meanwhile
    _write(dict(zip(targets, contents, strict=True)))
    for target in targets:
        streams.give(f"model: {printable(str(target))}")
    streams.give(f"next: gliomart infer study/ --model {printable(str(targets[0]))}")
    return 0


def _targets(options: argparse.Namespace) -> list[Path]:
    """See that every file can be written, and replaces nothing that is read or not to be."""
    from gliomart.model.built_in import files_of
    from gliomart.outputs.target import check_target

    out: Path | None = options.out
    if out is None:
        raise UsageError("give --out SITE.onnx, or --check (see gliomart calibrate --help)")
    if out.suffix != ".onnx":
        raise UsageError(f"{out}: a model's name has to end in .onnx")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent}: no such folder; make it first")
    own = files_of(options.model)
    endings = zip(own, _BUILT_IN.values(), strict=False)  # of one file, the first
    targets = [out.with_name(f"{out.stem}{ending}.onnx") for _, ending in endings]
    for target in targets:
        check_target(target, [*own, *map(Path, options.paths)])
    _refuse_existing(targets, options)
    return targets


def _refuse_existing(targets: Iterable[Path], options: argparse.Namespace) -> None:
    for target in targets:
        if target.exists() and not options.overwrite:
            raise OutputExistsError(f"{target}: exists already; give --overwrite to replace it")


def _models(model: Path | None, stack: ExitStack) -> list[Path]:
    """Give the file that was asked for; of a model that comes along both of its files."""
    from gliomart.model.built_in import built_in_file, files_of, name_of

    name = name_of(model)
    if name is None:
        return [*files_of(model)]
    files = (built_in_file(provider, name) for provider in ("cpu", "cuda"))
    return [stack.enter_context(file) for file in files]


def _measured(
    model: Path, inventory: Inventory, options: argparse.Namespace, least: int
) -> tuple[Detector, SiteScores]:
    """Score a site's scans with a model, on the CPU, which a GPU's results are held to."""
    from gliomart.cli.progress import bar
    from gliomart.site import calibration

    wanted = DetectorOptions(model, "cpu", limits=options.limits, threads=options.threads)
    detector = wanted.open(plane=options.plane)
    with bar(shown=True) as progress:
        site = calibration.measure(detector, inventory, progress, least=least)
    if site.left_out:
        codes = ", ".join(f"{count} {code}" for code, count in sorted(site.left_out.items()))
        streams.note(f"not analysed, and left out: {codes}")
    return detector, site


def _check(model: Path, inventory: Inventory, options: argparse.Namespace) -> None:
    from gliomart.site.calibration import models_own
    from gliomart.site.check import check

    detector, site = _measured(model, inventory, options, least=2)
    found = check(site.patients, models_own(detector.card)[0])
    head = f"{'score':>6}  {'slices':>6}  {'flagged':>7}  {'mean p':>6}"
    streams.give(f"{head}  patient, by the first series")
    for row in found.patients:
        figures = f"{row.score:6.3f}  {row.slices:6}  {row.flagged:7.3f}  {row.p_value:6.3f}"
        streams.give(f"{figures}  {printable(row.source)}")
    streams.give(*_verdict(site, detector.card))


def _calibrated(model: Path, inventory: Inventory, options: argparse.Namespace) -> bytes:
    """Make the content of a site's model file."""
    from gliomart.model.model import with_card
    from gliomart.site import calibration

    detector, site = _measured(model, inventory, options, least=calibration.LEAST_PATIENTS)
    sha256 = detector.settings.model_sha256
    card = calibration.site_card(detector.card, sha256, site, contaminated=options.contaminated)
    content = with_card(model, card, sha256)
    streams.give(f"{printable(model.name)}: {card.name} {card.version}")
    streams.give(*_verdict(site, detector.card), *_thresholds(card))
    if suspects := calibration.to_be_looked_at(site, options.contaminated):
        named = ", ".join(printable(patient.source) for patient in suspects)
        streams.give(f"look at those who score highest, and leave out who is ill: {named}")
    return content


def _verdict(site: SiteScores, card: ModelCard) -> Iterator[str]:
    """Tell whether a site differs from a model's own calibration."""
    from gliomart.site.calibration import models_own
    from gliomart.site.check import LEVEL, check

    own = models_own(card)[0]
    found = check(site.patients, own)
    slices = sum(row.slices for row in found.patients)
    yield (
        f"{len(found.patients)} patients, {slices} slices: the model's own calibration flags"
        f" {found.flagged:.3f} of them, where it promises {own.false_alarm_rate:g}"
    )
    side = "higher" if found.p_value < 0.5 else "lower"  # noqa: PLR2004  # what is expected
    told = f"they score {side}" if found.differs else "no difference is seen"
    yield (
        f"mean p-value {found.p_value:.3f}, 0.5 where the site is like the calibration:"
        f" {told} (p = {found.chance:.2g} over patients, level {LEVEL:g})"
    )


def _thresholds(card: ModelCard) -> Iterator[str]:
    """Tell from which scores on is flagged, now and by the model's own calibration."""
    from gliomart.findings.scoring import highest_unflagged

    site = card.site
    assert site is not None  # noqa: S101  # the card was calibrated
    assert card.calibration is not None  # noqa: S101
    new, own = card.calibration, site.model_calibration
    rate = new.false_alarm_rate
    rows = {
        "slice": (new.slice_scores, own.slice_scores),
        "slice by itself": (new.of_slices(alone=True), own.of_slices(alone=True)),
        "series": (new.series_scores, own.series_scores),
    }
    for judge, before in zip(card.judges, site.model_judges, strict=True):
        if judge.rules is not None and before.rules is not None:
            rows[judge.name] = (judge.rules.slice_scores, before.rules.slice_scores)
            if judge.rules.single_scores is not None and judge.name not in site.kept:
                both = (judge.rules.of_slices(alone=True), before.rules.of_slices(alone=True))
                rows[f"{judge.name} by itself"] = both
            rows[f"{judge.name} series"] = (judge.rules.series_scores, before.rules.series_scores)
    for name, both in rows.items():
        if name in site.kept:
            yield f"{name}: too few patients; the model's own threshold stays"
        else:
            thresholds = [_score(highest_unflagged(scores, rate)) for scores in both]
            yield f"{name}: flagged above {thresholds[0]} (the model's own: {thresholds[1]})"
    now, then = new.pixel_threshold, own.pixel_threshold
    yield f"pixel: marked above {now:.4f} (the model's own: {then:.4f})"


def _score(score: float | None) -> str:
    return "no score, for want of patients" if score is None else f"{score:.4f}"


def _write(files: dict[Path, bytes]) -> None:
    """Write all files, or none that was not there before."""
    from gliomart.outputs.folder import write_atomically

    written = []
    try:
        for target, content in files.items():
            new = not target.exists()
            write_atomically(target, content)
            written += [target] if new else []
    except BaseException:
        for target in written:
            target.unlink(missing_ok=True)
        raise


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < _MOST_CONTAMINATED:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to below {_MOST_CONTAMINATED}")
    return share
