"""``gliomart bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.cli.arguments import OVERLAYS, place, positive
from gliomart.cli.options import DetectorOptions, add_detector_options, asked
from gliomart.host import streams

if TYPE_CHECKING:
    import argparse

    from gliomart.cli.arguments import Commands


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "bench",
        help="time every stage on this machine",
        description="Time every stage on this machine, cold start and memory included.",
        examples={
            "gliomart bench": "on the simulated study",
            "gliomart bench study/ --provider cpu --threads 1": "on slices of your own, one thread",
        },
    )
    parser.add_argument(
        "path", nargs="?", type=place, help="folder of images (default: the simulated study)"
    )
    parser.add_argument(
        "--repeats",
        type=positive,
        metavar="N",
        default=10,
        help="passes over the folder (default: 10)",
    )
    parser.add_argument(
        "--budget", type=place, metavar="FILE",
        help="fail where a figure exceeds its budget in this file (TOML)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--out", type=place, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--plot", type=place, metavar="FILE.png", help="write a plot of the report")
    parser.add_argument("--load", action="store_true", help="time it beside a busy process as well")
    parser.add_argument(
        "--overlays", choices=OVERLAYS,
        help="which slices to write overlays of when a series is timed (default: flagged)",
    )  # fmt: skip
    parser.add_argument(
        "--compare", action="store_true",
        help="time the same network on other engines as well, in turns",
    )  # fmt: skip
    parser.add_argument(
        "--float", dest="float_model", type=place, metavar="FILE",
        help="the same network in single precision, for --compare",
    )  # fmt: skip
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        default=30,
        help="turns of each engine (default: 30)",
    )
    add_detector_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure this machine, and hold it to budgets."""
    from gliomart import bench, sources
    from gliomart.outputs.folder import write_atomically
    from gliomart.outputs.target import check_target

    for target in filter(None, (options.out, options.plot)):
        check_target(target, [options.path, options.model, options.float_model, options.budget])
    wanted = asked(DetectorOptions, options)
    inventory = sources.scan([options.path], wanted.budget) if options.path else None
    wanted = wanted.suited(inventory, quiet=options.json)
    budgets = bench.read_budgets(options.budget) if options.budget else []
    plan = bench.Plan(
        study=options.path,
        repeats=options.repeats,
        model=wanted.model,
        provider=options.provider,
        threads=options.threads,
        overlays=options.overlays,
        load=options.load or bench.asks_for(budgets, "load"),
        compare=options.compare,
        float_model=options.float_model,
        rounds=options.rounds,
    )
    report = bench.measure(wanted.open(), plan)
    if options.json:
        streams.give_json(report)
    else:
        streams.give(bench.table(report))
    if options.out:
        write_atomically(options.out, bench.encoded(report))
    if options.plot:
        write_atomically(options.plot, bench.plot(report))
    bench.check(report, budgets)
    return 0
