"""Programs of ours in processes of their own, wherever gliomart runs.

What decodes compressed frames is a Python program in a process of its own, and what gliomart runs
in need not be a Python: it may be frozen (PyInstaller), or a host that has Python inside. An
unknown program is never run, and a program that was started as ours starts none.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

# Set for processes that are to be one of our programs.
MARK = "GLIOMART_PROGRAM"
# A program comes in as code, so that no file is needed of it: there is none in an archive.
_READ_AND_RUN = (
    "import marshal, sys; exec(marshal.load(sys.stdin.buffer), {'__name__': '__main__'})"
)
_PYTHON = re.compile(r"(pythonw?|pypy)(\d+(\.\d+)?)?t?(_d|-dbg)?(\.exe)?", re.IGNORECASE)

_has_freeze_support = False


def freeze_support() -> None:
    """Let a frozen program be started as one of ours; call it before anything else there.

    A program that PyInstaller has frozen does so by itself. In one that was started as one of ours
    this does not return.
    """
    global _has_freeze_support  # noqa: PLW0603  # what the program has done holds for all of it
    _has_freeze_support = True
    if MARK in os.environ:
        exec(_READ_AND_RUN)  # noqa: S102  # what our own parent has sent
        sys.stdout.flush()
        os._exit(0)


def interpreter() -> str | None:
    """Find a Python of this one's version.

    Returns
    -------
    That of ``multiprocessing.set_executable`` if the host called it; the one that runs this, if one
    does; the one that this is part of; None where there is none.

    References
    ----------
    Python, :data:`sys.executable`, :func:`multiprocessing.set_executable`, *venv*.
    """
    chosen = _of_multiprocessing()
    if chosen and chosen != sys.executable:
        return chosen
    if getattr(sys, "frozen", False):
        return None
    homes = dict.fromkeys((sys.exec_prefix, sys.prefix, sys.base_exec_prefix, sys.base_prefix))
    if sys.executable and _PYTHON.fullmatch(Path(sys.executable).name):
        places = {Path(sys.executable), Path(sys.executable).resolve()}
        if any(place.is_relative_to(home) for place in places for home in _resolved(homes)):
            return sys.executable
    named = f"python{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}"
    for home in homes:
        found = Path(home, "python.exe") if os.name == "nt" else Path(home, "bin", named)
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    return None


def command() -> list[str] | None:
    """Command that reads a program from its standard input and runs it, given ``MARK``.

    Returns
    -------
    The command; None where nothing can be started that is known to do so.
    """
    if MARK in os.environ:
        return None
    python = interpreter()
    if python is not None:
        # Not with the working directory on its path: a folder "dl" there breaks GDCM. Nor with what
        # its site runs at every start: it may print, or read, where our program comes and goes.
        return [python, "-P", "-S", "-c", _READ_AND_RUN]
    frozen = getattr(sys, "frozen", False) and _has_freeze_support
    return [sys.executable] if frozen else None


def _of_multiprocessing() -> str | None:
    spawn = sys.modules.get("multiprocessing.spawn")  # nobody has set it, if it is not there
    chosen = spawn.get_executable() if spawn else None
    return os.fsdecode(chosen) if chosen else None


def _resolved(homes: dict[str, None]) -> set[Path]:
    return {each for home in homes for each in (Path(home), Path(home).resolve())}
