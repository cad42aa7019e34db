"""How all of gliomart's commands read their arguments."""

from __future__ import annotations

import argparse
from typing import NoReturn

from gliomart.errors import UsageError

PROVIDERS = ("auto", "tensorrt", "cuda", "cpu")


class ArgumentParser(argparse.ArgumentParser):
    """Usage errors end like all others: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with the whole usage."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def positive(text: str) -> int:
    """Read a whole number above zero."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
