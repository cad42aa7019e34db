"""``gliomart completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.host import streams

if TYPE_CHECKING:
    import argparse

    from gliomart.cli.arguments import Commands

# Those that there is a completion script for.
SHELLS = ("bash", "zsh", "fish")


def add_to(commands: Commands) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands in a shell",
        description="Print a script with which a shell completes gliomart's commands and options.",
        examples={
            'eval "$(gliomart completion bash)"': "in ~/.bashrc",
            'eval "$(gliomart completion zsh)"': "in ~/.zshrc, after compinit",
            "gliomart completion fish > ~/.config/fish/completions/gliomart.fish": "once",
        },
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that the script is for")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script of one shell; ``docs/commands.py`` makes them."""
    from importlib import resources

    script = resources.files("gliomart") / "completion" / f"gliomart.{options.shell}"
    streams.give(script.read_text(encoding="utf-8").removesuffix("\n"))
    return 0
