"""Write anew what is made from the parsers of all commands.

These are the tables of options in command-line.md and the scripts that complete commands in a
shell. Run ``python docs/commands.py`` after a change (extra ``dev``); tests compare what it would
write with what is there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import gliomart
from gliomart.cli.arguments import place
from gliomart.cli.completion import SHELLS
from gliomart.cli.parser import parser as own_parser
from gliomart_export.commands import export_parser
from gliomart_training.commands import evaluate_parser, train_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("command-line.md")
SCRIPTS = Path(gliomart.__file__).with_name("completion")
_MARKED = re.compile(r"(<!-- (\w+): made by commands\.py -->\n).*?(<!-- end -->)", re.DOTALL)
_FOLDERS = {"DIR", "RUN"}


def whole_parser() -> argparse.ArgumentParser:
    """Make one parser of all commands, those of other packages included."""
    parser = own_parser()
    commands = parsers_of(parser)
    commands["train"], commands["evaluate"] = train_parser(), evaluate_parser()
    commands["export"] = export_parser()
    return parser


def parsers_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Find the parsers of single commands, by name."""
    return next((a.choices for a in _actions(parser) if isinstance(a.choices, dict)), {})


def rewritten(page: str) -> str:
    """Put every table of the page in its place."""
    commands = parsers_of(whole_parser())
    return _MARKED.sub(lambda m: f"{m[1]}\n{_table(commands[m[2]])}\n{m[3]}", page)


def scripts() -> dict[Path, str]:
    """Make the completion script of every shell; where it goes, and what is in it."""
    import shtab

    parser = whole_parser()
    for each in (parser, *parsers_of(parser).values()):
        for action in _actions(each):
            if action.type is place or action.metavar == "PATH":
                names = {action.metavar} if isinstance(action.metavar, str) else set()
                kind = shtab.DIRECTORY if names & _FOLDERS else shtab.FILE
                action.complete = kind  # type: ignore[attr-defined]
    return {
        SCRIPTS / f"gliomart.{shell}": shtab.complete(parser, shell).rstrip() + "\n"
        for shell in SHELLS
    }


def _table(parser: argparse.ArgumentParser) -> str:
    rows = ["| option | does |", "|---|---|"]
    rows += [f"| `{_usage(action)}` | {_text(action)} |" for action in _options(parser)]
    return "\n".join(rows) + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from (action for action in _actions(parser) if action.dest != "help")


def _usage(action: argparse.Action) -> str:
    values = _values(action)
    names = ", ".join(action.option_strings)
    return f"{names} {values}".strip().replace("|", r"\|")


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    name = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    return {"+": f"{name}...", "?": f"[{name}]"}.get(str(action.nargs), name)


def _text(action: argparse.Action) -> str:
    needed = " (needed)" if action.option_strings and action.required else ""
    return f"{action.help}{needed}".replace("<", "&lt;")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001  # argparse has no public way to ask


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for path, script in scripts().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(script, encoding="utf-8")
