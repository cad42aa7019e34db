"""A command that is told to end before it has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import gliomart

WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

# Sends the signal while the command itself is loaded.
LOADING = """
import os, sys
module, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Finder:
    def find_spec(self, name, path, target=None):
        if name == module:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Finder())
from gliomart.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("module", ["gliomart.cli", "gliomart.host.streams", "typing"])
def test_a_signal_before_the_command_has_begun_ends_in_one_line(name: str, module: str) -> None:
    # Without what a site imports at every start, "typing" is there to be imported.
    places = [Path(gliomart.__file__).parents[1], sysconfig.get_path("platlib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}
    words = [
        sys.executable,
        "-S",
        "-c",
        LOADING,
        module,
        str(int(getattr(signal, name))),
        "completion",
        "bash",
    ]
    ended = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 128 + getattr(signal, name)
    assert ended.stdout == ""
    assert ended.stderr == f"gliomart: {WORDS[name]} before it had begun\n"


def test_the_package_is_a_command_as_well() -> None:
    words = [sys.executable, "-m", "gliomart", "completion", "bash"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "gliomart" in ended.stdout
