"""How all of gliomart's commands read their arguments."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn, get_args

from gliomart.errors import UsageError
from gliomart.providers import Requested

PROVIDERS = get_args(Requested)


class ArgumentParser(argparse.ArgumentParser):
    """Usage errors end like all others: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with the whole usage."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def threads(text: str) -> int:
    """Read a number of threads, at most one per core: more only get in each other's way."""
    value = positive(text)
    if value > (os.cpu_count() or value):
        raise argparse.ArgumentTypeError(f"this machine has {os.cpu_count()} cores")
    return value


def positive(text: str) -> int:
    """Read a whole number above zero."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def limit(text: str) -> tuple[str, float]:
    """Read a limit on reading, ``NAME=VALUE``; which names there are is told by the budget."""
    name, _, value = text.partition("=")
    return name.replace("-", "_"), float(value)
