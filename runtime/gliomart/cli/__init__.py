"""The ``gliomart`` command; see :mod:`gliomart.cli.command`."""

from gliomart.cli.command import main

__all__ = ["main"]
