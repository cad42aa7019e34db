"""Parts of gliomart that are installed by choice, and what is said where one cannot be used."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gliomart.errors import BrokenExtraError, GliomartError, MissingExtraError
from gliomart.printable import said

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needed(what: str, extra: str, *modules: str) -> Iterator[None]:
    """Import modules of an extra within this, and nothing else.

    Parameters
    ----------
    what
        Needs them; the start of a sentence.
    extra
        That brings them.
    modules
        Their names at the top level.

    Raises
    ------
    MissingExtraError
        One of them is not installed.
    BrokenExtraError
        They are installed, and something that they need is not, or does not load: a shared
        library, a module built for another NumPy.
    """
    try:
        yield
    except GliomartError:
        raise
    except Exception as error:  # modules raise other errors than ImportError, too
        if isinstance(error, ModuleNotFoundError) and error.name in modules:
            raise MissingExtraError(what, extra) from error
        raise broken(what, modules[0], error) from error


def refused(what: str, extra: str, error: ImportError) -> MissingExtraError | BrokenExtraError:
    """Say why a command of another package does not load, whatever modules it needs.

    Parameters
    ----------
    what, extra
        As :func:`needed` takes them.
    error
        What importing raised.
    """
    module = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and module and find_spec(module) is None:
        return MissingExtraError(f"{what} ({module} is not installed)", extra)
    return broken(what, module or "a module", error)


def broken(what: str, module: str, error: Exception) -> BrokenExtraError:
    """Say that a module is there and does not load, and why in the first place."""
    origin: BaseException = error
    while origin.__cause__ is not None:
        origin = origin.__cause__
    return BrokenExtraError(f"{what} needs {module}, which does not load ({said(origin)})")
