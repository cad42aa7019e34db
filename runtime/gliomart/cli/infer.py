"""``gliomart infer``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.cli.arguments import OVERLAYS, path, place
from gliomart.cli.options import (
    Destination,
    DetectorOptions,
    add_destination,
    add_detector_options,
    add_plane,
    add_sequence,
    asked,
)
from gliomart.errors import UsageError, WrittenInPartError
from gliomart.host import streams
from gliomart.outputs.options import OutputOptions

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gliomart.cli.arguments import Commands
    from gliomart.outputs.documents import Results


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "infer",
        help="analyse images and DICOM files",
        description="Analyse images and DICOM files, and write a report, tables and pictures.",
        examples={
            "gliomart infer study/ --out results/": "analyse a folder; look at report.html first",
            "gliomart infer study/ --out results/ --resume": "go on with an interrupted run",
            "gliomart infer a.dcm b.dcm --maps --dicom-out": "write maps, masks and DICOM as well",
            "gliomart infer study/ --json | jq .series": "hand the results to another program",
        },
    )
    parser.add_argument(
        "paths", nargs="+", type=path, metavar="PATH",
        help="files, or folders of any depth",
    )  # fmt: skip
    add_destination(parser)
    parser.add_argument(
        "--overlays", choices=OVERLAYS, default="flagged",
        help="which slices to write overlays of (default: flagged)",
    )  # fmt: skip
    add_plane(parser)
    add_sequence(parser)
    parser.add_argument("--maps", action="store_true", help="write anomaly maps and masks as well")
    parser.add_argument(
        "--dicom-out", dest="dicom", action="store_true",
        help="write results as DICOM objects as well",
    )  # fmt: skip
    parser.add_argument(
        "--identify", action="store_true",
        help="show paths and UIDs in the report, which may tell who was examined",
    )  # fmt: skip
    parser.add_argument(
        "--drift", type=place, metavar="FILE",
        help="count the studies in this record of the site, and tell where they are no longer like"
        " those before (see docs/drift.md)",
    )  # fmt: skip
    add_detector_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Analyse what was asked for."""
    return analyse(
        [Path(each) for each in options.paths],
        asked(DetectorOptions, options),
        asked(Destination, options),
        asked(OutputOptions, options),
        plane=options.plane,
        sequence=options.sequence,
        record=options.drift,
    )


def analyse(
    paths: Sequence[Path],
    wanted: DetectorOptions,
    destination: Destination,
    output: OutputOptions,
    *,
    plane: int | None = None,
    sequence: str | None = None,
    record: Path | None = None,
) -> int:
    """Analyse files and folders, write the results, and print what was found.

    Parameters
    ----------
    paths, wanted, destination
        What to analyse, with which detector, and where results go.
    output
        What is written beside the report and tables.
    plane
        Colour plane of pictures, from 1.
    sequence
        MR sequence that images are given as, as far as they do not say it.
    record
        Of drift, in which studies are counted.

    Raises
    ------
    UsageError
        The record of drift lies in the output folder.
    WrittenInPartError
        Some inputs or outputs failed.
    """
    from gliomart import sources
    from gliomart.cli.progress import bar
    from gliomart.outputs import folder, outcome
    from gliomart.outputs.claim import claimed, lies_in
    from gliomart.run import Run
    from gliomart.site import drift

    if record is not None:
        drift.check(record)
    if output.dicom:
        import gliomart.outputs.dicom  # noqa: F401  # says so at once where its extra is missing
    with claimed(
        destination.out, paths, overwrite=destination.overwrite, resume=destination.resume
    ) as claim:
        if not (claim.locked or destination.quiet):
            streams.note(
                f"{claim.path}: its file system has no locks; let no other run write into it"
            )
        if record is not None and lies_in(Path(os.path.realpath(record)), claim.path):
            raise UsageError(f"{record}: lies among the results; choose another --drift")
        inventory = sources.scan(paths, wanted.budget, plane=plane, sequence=sequence)
        suited = wanted.suited(inventory, quiet=destination.quiet)
        detector = suited.open(plane=plane, sequence=sequence, quiet=destination.quiet)
        claim.clear(overwrite=destination.overwrite)
        try:
            with bar(shown=not destination.quiet) as progress:
                document = Run(detector, inventory, claim.path, output, progress, record).write()
        except KeyboardInterrupt as interruption:
            interruption.add_note(
                f"finished series are kept; go on with --out {claim.path} --resume"
            )
            raise
    _print(document, claim.path, destination)
    if failed := outcome.failed(document):
        where = claim.path / folder.RESULTS
        raise WrittenInPartError(f"{failed}; {where} says which and why")
    return 0


def _print(document: Results, out: Path, destination: Destination) -> None:
    """Print what was found, in the form that was asked for."""
    from gliomart.cli import summary
    from gliomart.cli.terminal import Ink, columns, is_terminal

    if destination.quiet:
        return
    stream = streams.results()
    if destination.json:
        streams.give_json(document)
    elif is_terminal(stream):
        streams.give(*summary.brief(document, out, columns(stream), Ink.of(stream)))
    else:
        streams.give(*summary.plain(document, out))
