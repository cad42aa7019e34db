"""Commands of other packages.

They join through the entry-point group ``gliomart.commands``: functions that take arguments, print
results to :func:`gliomart.host.streams.results` and give an exit status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gliomart.errors import GliomartError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliomart.cli.arguments import Commands


class External(NamedTuple):
    """One command: what it does, and the extra that brings what it needs."""

    summary: str
    extra: str


EXTERNAL = {
    "train": External("train an autoencoder on tumour-free scans", "training"),
    "evaluate": External("measure a model on a folder with tumour masks", "evaluate"),
    "export": External("turn a trained network into a model file", "export"),
}


def add_to(commands: Commands) -> None:
    """Name these commands beside the others; each reads its arguments by itself."""
    for name, command in EXTERNAL.items():
        commands.add_parser(name, help=command.summary, add_help=False)


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one of these commands.

    Raises
    ------
    MissingExtraError
        What it needs is not installed.
    BrokenExtraError
        It is installed, and does not load.
    """
    from importlib.metadata import entry_points

    from gliomart.host import extras

    extra = EXTERNAL[name].extra
    found = entry_points(group="gliomart.commands", name=name)
    if not found:
        raise MissingExtraError(f"gliomart {name}", extra)
    try:
        command = next(iter(found)).load()
        status: int = command(list(arguments))
    except ImportError as error:
        if isinstance(error, GliomartError):
            raise
        raise extras.refused(f"gliomart {name}", extra, error) from error
    return status
