"""How all of gliomart's commands read their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from gliomart.errors import UsageError
from gliomart.host import processors, streams
from gliomart.outputs.options import Overlays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    # What :meth:`ArgumentParser.add_subparsers` gives, to which each command adds its own parser.
    Commands: TypeAlias = "argparse._SubParsersAction[ArgumentParser]"  # noqa: SLF001

OVERLAYS = get_args(Overlays)
_LARGEST_SEED = 2**32 - 1


class ArgumentParser(argparse.ArgumentParser):
    """Help ends with examples; usage errors end like all others, in one line with exit status 2.

    Parameters
    ----------
    examples
        Commands as they are typed, and what each is for.
    """

    def __init__(self, *, examples: Mapping[str, str] | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.examples = examples or {}

    def format_help(self) -> str:
        """Add the examples to what argparse says."""
        lines = [f"  # {purpose}\n  {command}\n" for command, purpose in self.examples.items()]
        return super().format_help() + ("\nexamples:\n" + "".join(lines) if lines else "")

    def _print_message(self, message: str, file: object = None) -> None:
        """Print help and version where results go."""
        del file  # argparse names standard output as it was found
        if message:
            streams.give(message.removesuffix("\n"))
            streams.finish()

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with the whole usage."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def threads(text: str) -> int:
    """Read a number of threads, at most one per processor: more only get in each other's way."""
    value = positive(text)
    if value > (most := processors.usable()):
        known = "1 processor" if most == 1 else f"{most} processors"
        raise argparse.ArgumentTypeError(f"{value} are too many: this process may use {known}")
    return value


def path(text: str) -> str:
    """Read a path; an empty one would stand for the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path was given")
    if "\0" in text:
        raise argparse.ArgumentTypeError("a path holds a zero byte")
    return text


def place(text: str) -> Path:
    """Read a path, as one."""
    return Path(path(text))


def positive(text: str) -> int:
    """Read a whole number above zero."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return value


def seed(text: str) -> int:
    """Read a seed, as every generator of random numbers takes it."""
    value = int(text) if text.isdecimal() and len(text) <= len(str(_LARGEST_SEED)) else -1
    if not 0 <= value <= _LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 0 to {_LARGEST_SEED}"
        )
    return value


def limit(text: str) -> tuple[str, float]:
    """Read a limit on reading, ``NAME=VALUE``; which names there are is told by the budget."""
    name, _, value = text.partition("=")
    try:
        return name.replace("-", "_"), float(value)
    except ValueError as error:
        reason = f"{text!r} is not NAME=VALUE, such as seconds=5"
        raise argparse.ArgumentTypeError(reason) from error
