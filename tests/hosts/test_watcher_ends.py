"""How the watcher of an export folder ends, and what it lets nobody change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from samples import GOLDEN

SCRIPT = Path(__file__).parents[2] / "examples" / "watch_folder.py"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

# Runs the watcher, and sends it signals when it is told to end and when its interpreter ends.
AT_THE_END = """
import atexit, logging, os, runpy, signal, sys
number = int(sys.argv.pop(1))
hit = lambda *_: os.kill(os.getpid(), number)
real = logging.Logger.info
def info(*arguments):
    real(*arguments)
    hit()
logging.Logger.info = info
class Last:
    def __del__(self):
        hit()
sys.last = Last()
atexit.register(hit)
import time
time.sleep = hit
sys.argv.pop(0)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(("told", "status"), [("SIGTERM", 0), ("SIGHUP", 0), ("SIGINT", 130)])
def test_signals_that_follow_the_first_change_nothing(
    tmp_path: Path, told: str, status: int
) -> None:
    (tmp_path / "inbox").mkdir()
    number = str(int(getattr(signal, told)))
    words = [sys.executable, "-c", AT_THE_END, number, SCRIPT, tmp_path / "inbox", tmp_path / "out"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.count("\n")) == (status, 1), ended.stderr
    assert "stopped; what was begun is begun again" in ended.stderr


def test_results_are_published_whatever_folder_the_options_name(
    tmp_path: Path, model: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    for file in GOLDEN.glob("*.dcm"):
        (tmp_path / "inbox" / file.name).write_bytes(file.read_bytes())
    words = [sys.executable, SCRIPT, tmp_path / "inbox", tmp_path / "out", "--once", "--settle"]
    options = ["0", "--", "--model", model, "--out", tmp_path / "elsewhere"]
    ended = subprocess.run([*words, *options], capture_output=True, check=False, timeout=120)
    assert ended.returncode == 0
    assert not (tmp_path / "elsewhere").exists()
    (results,) = (tmp_path / "out").glob("[!.]*/results.json")
    assert len(json.loads(results.read_text())["slices"]) == 24
