"""Python programs in processes of their own, for tests of gliomart in those of others."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from gliomart.errors import InputRefusedError

# A hang is what many of these tests look for; nothing takes nearly as long where there is none.
LONGEST_S = 120


def run(
    code: str, *arguments: object, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run code in a new Python; what hangs fails."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return finish(command, check=check, **options)


def finish(
    command: list[Any], *, check: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and fail with what it said."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        **options,
    )
    assert not check or done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done


def searched() -> dict[str, str]:
    """Environment in which another Python of this version finds what this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def refuse(_: object) -> None:
    """Raise what a detector does in another process, where it is found by this name."""
    raise InputRefusedError("no-head", "there is no head")
