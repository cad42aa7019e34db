"""A command that is told to end does: one line, its status, whole files, and nothing left running.

``python tests/hosts/test_signals.py --count 100 --signals SIGINT,SIGTERM`` hits runs at random
moments and says how they ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gliomart import cli
from samples import GOLDEN

COMMAND = [sys.executable, "-m", "gliomart.cli"]
DEMO = [*COMMAND, "demo", "--provider", "cpu", "--out"]
WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

# Runs the command, and sends it signals when it first does what is named.
AT = """
import os, signal, sys, threading
moment, numbers = sys.argv[1], [int(each) for each in sys.argv[2].split(",")]
del sys.argv[1:3]
count = 0

def hit():
    global count
    count += 1
    if count == 1:
        for number in numbers:
            os.kill(os.getpid(), number)

def before(owner, name):
    real = getattr(owner, name)
    def wrapped(*arguments, **options):
        hit()
        return real(*arguments, **options)
    setattr(owner, name, wrapped)

if moment.startswith("import "):
    class Finder:
        def find_spec(self, name, path, target=None):
            if name == moment.split()[1]:
                hit()
    sys.meta_path.insert(0, Finder())
elif moment == "parse":
    from gliomart.cli.arguments import ArgumentParser
    before(ArgumentParser, "parse_args")
elif moment == "session":
    import onnxruntime
    before(onnxruntime.InferenceSession, "__init__")
elif moment == "write":
    from pathlib import Path
    before(Path, "replace")
elif moment == "join":
    from concurrent.futures import ThreadPoolExecutor
    before(ThreadPoolExecutor, "shutdown")
elif moment == "finaliser":
    import gliomart.sources
    class Dropped:
        def __del__(self):
            hit()
            for _ in range(1000):
                pass
    real = gliomart.sources.scan
    def scan(*arguments, **options):
        Dropped()
        return real(*arguments, **options)
    gliomart.sources.scan = scan
elif moment == "converted":
    import gliomart.sources
    def scan(*arguments, **options):
        try:
            hit()
            for _ in range(1000):
                pass
        except KeyboardInterrupt as error:
            raise SystemError("initialization of x raised unreported exception") from error
    gliomart.sources.scan = scan
elif moment == "stuck":
    import gliomart.sources
    def scan(*arguments, **options):
        try:
            hit()
            for _ in range(1000):
                pass
        finally:  # on the way out something waits for what never comes
            import threading, time
            def again():
                time.sleep(1.1)
                os.kill(os.getpid(), numbers[0])
            threading.Thread(target=again, daemon=True).start()
            threading.Event().wait()
    gliomart.sources.scan = scan
elif moment == "exit":
    import atexit
    atexit.register(hit)
from gliomart.cli import main
sys.exit(main())
"""


def _said(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if "simulated head" not in line]


def _numbers(*names: str) -> str:
    return ",".join(str(int(getattr(signal, name))) for name in names)


def _at(moment: str, names: tuple[str, ...], out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", AT, moment, _numbers(*names), *DEMO[3:], str(out)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


def _whole(out: Path) -> None:
    """What there is is whole, and the next run goes on from it."""
    assert not [*out.rglob("*.partial")]
    option = ["--resume"] if out.exists() else []
    again = subprocess.run([*DEMO, str(out), *option], capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(json.loads((out / "results.json").read_text())["slices"]) == 24


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "moment",
    ["import argparse", "import numpy", "import cv2", "import onnxruntime", "parse", "session",
     "write", "join", "finaliser", "converted"],
)  # fmt: skip
@pytest.mark.parametrize("count", [1, 4])
def test_signals_at_any_moment_end_in_one_line_and_one_status(
    moment: str, count: int, tmp_path: Path
) -> None:
    ended = _at(moment, ("SIGINT",) * count, tmp_path / "out")
    (line,) = _said(ended.stderr)
    assert line.startswith("gliomart: interrupted; ")
    assert (ended.returncode, ended.stdout) == (130, "")
    _whole(tmp_path / "out")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WORDS)
def test_a_signal_that_comes_when_all_is_done_changes_nothing(name: str, tmp_path: Path) -> None:
    ended = _at("exit", (name,) * 3, tmp_path / "out")
    assert (ended.returncode, _said(ended.stderr)) == (0, [])
    _whole(tmp_path / "out")


@pytest.mark.parametrize("name", WORDS)
def test_each_signal_has_its_status(name: str, tmp_path: Path) -> None:
    ended = _at("write", (name,), tmp_path / "out")
    assert ended.returncode == 128 + getattr(signal, name)
    assert f"--out {tmp_path / 'out'} --resume" in ended.stderr


def test_nobody_is_told_to_resume_what_cannot_be_resumed() -> None:
    words = [sys.executable, "-c", AT, "parse", _numbers("SIGINT"), "info"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "gliomart: interrupted; what is finished is kept\n"


def test_one_more_signal_ends_what_cannot_tidy_up(tmp_path: Path) -> None:
    ended = _at("stuck", ("SIGTERM",), tmp_path / "out")
    assert ended.returncode == 143
    assert _said(ended.stderr) == ["gliomart: terminated before it could tidy up"]


def test_of_several_signals_one_is_told(tmp_path: Path) -> None:
    ended = _at("write", ("SIGTERM", "SIGINT", "SIGHUP"), tmp_path / "out")
    (line,) = _said(ended.stderr)
    ends = {128 + getattr(signal, name): f"gliomart: {word}; " for name, word in WORDS.items()}
    assert line.startswith(ends[ended.returncode])
    _whole(tmp_path / "out")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WORDS)
def test_a_signal_that_is_ignored_stays_ignored(name: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", AT, "write", _numbers(name), *DEMO[3:], str(tmp_path / "out")]
    ended = subprocess.run(
        ["bash", "-c", f'trap "" {name}; exec "$@"', "bash", *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, _said(ended.stderr)) == (0, [])


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_first_process_of_a_container_ends_when_it_is_told_to(
    name: str, tmp_path: Path
) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    words = [sys.executable, "-c", AT, "write", _numbers(name), *DEMO[3:], str(tmp_path / "out")]
    ended = subprocess.run(
        ["unshare", "--fork", "--pid", "--mount-proc", *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 128 + getattr(signal, name)
    assert len(_said(ended.stderr)) == 1
    _whole(tmp_path / "out")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_a_signal_has_its_status_where_nobody_hears_of_it(redirection: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", AT, "write", _numbers("SIGTERM"), *DEMO[3:]]
    ended = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirection}', "bash", *words, str(tmp_path / "out")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "")


EMBEDDED = """
import os, signal, sys, threading
from gliomart.cli import main
from gliomart.outputs import folder

real = folder.write_atomically
def write(*arguments, **how):
    if threading.current_thread() is threading.main_thread():
        os.kill(os.getpid(), int(sys.argv[1]))
    real(*arguments, **how)
folder.write_atomically = write
before = [signal.getsignal(number) for number in (2, 15, 1)]
status = main(["demo", "--provider", "cpu", "--quiet", "--out", sys.argv[2]])
assert before == [signal.getsignal(number) for number in (2, 15, 1)]
print(status)
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WORDS)
def test_a_program_that_calls_a_command_goes_on_with_its_own_handlers(
    name: str, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", EMBEDDED, _numbers(name), str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout == f"{128 + getattr(signal, name)}\n", ended.stderr


def test_a_program_may_call_a_command_in_a_thread_that_hears_no_signals(tmp_path: Path) -> None:
    statuses: list[int] = []
    words = ["infer", str(GOLDEN), "--provider", "cpu", "--quiet", "--out", str(tmp_path / "out")]
    thread = threading.Thread(target=lambda: statuses.append(cli.main(words)))
    thread.start()
    thread.join()
    assert statuses == [0]


def test_a_handler_of_the_hosts_stays(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        words = ["infer", "/none", "--out", str(tmp_path / "out")]
        assert cli.main(words) == 2
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_a_command_of_another_package_ends_likewise(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    code = AT.replace('elif moment == "exit":', 'elif moment == "evaluate":\n'
                      "    from gliomart_training import dataset\n"
                      '    before(dataset, "splits")\nelif moment == "exit":')  # fmt: skip
    words = [sys.executable, "-c", code, "evaluate", _numbers(*["SIGINT"] * 3), "evaluate"]
    ended = subprocess.run(
        [*words, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 130, ended.stderr
    assert len(_said(ended.stderr)) == 1


DECODING = """
import os, signal, sys
from gliomart.sources import isolation

place = sys.argv.pop(1)
real = isolation._ask
def ask(process, *arguments):
    if not os.path.exists(place):
        with open(place, "w") as stream:
            stream.write(str(process.pid))
        os.kill(process.pid, signal.SIGSTOP)  # a frame that takes for ever
        os.kill(os.getpid(), signal.SIGTERM)
    return real(process, *arguments)
isolation._ask = ask
from gliomart.cli import main
sys.exit(main())
"""


def test_the_process_that_decodes_is_gone_with_the_command(tmp_path: Path) -> None:
    pytest.importorskip("jpeg_ls", reason="needs the extra dicom")
    import pydicom
    from pydicom.uid import JPEGLSLossless

    dataset = pydicom.dcmread(GOLDEN / "slice_010.dcm")
    (tmp_path / "in").mkdir()
    dataset.decompress()
    dataset.compress(JPEGLSLossless)
    dataset.save_as(tmp_path / "in" / "one.dcm")
    words = ["infer", str(tmp_path / "in"), "--force", "--out", str(tmp_path / "out")]
    code = [sys.executable, "-c", DECODING, str(tmp_path / "pid"), *words]
    ended = subprocess.run(code, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 143, ended.stderr
    assert len(_said(ended.stderr)) == 1
    left = Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    assert not (left.exists() and left.read_bytes())  # who adopts it may not have buried it yet


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 3, 5, 8])
def test_a_measurement_that_is_interrupted_leaves_no_process_and_one_line(
    seconds: float,
) -> None:
    words = [*COMMAND, "bench", "--load", "--compare", "--provider", "cpu", "--repeats", "1"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        time.sleep(seconds)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, ""), stderr
    assert len(_said(stderr)) == 1, stderr


def _hit(names: list[str], count: int, seed: int, folder: Path) -> Counter[Any]:
    """Hit runs at random moments from one to four times, and count how they ended."""
    chance = random.Random(seed)  # noqa: S311
    began = time.monotonic()
    subprocess.run([*DEMO, str(folder / "whole")], capture_output=True, check=True)
    whole_s = time.monotonic() - began
    ends: Counter[Any] = Counter()
    for number in range(count):
        out = folder / str(number)
        process = subprocess.Popen(
            [*DEMO, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # From when Python has got so far as to run gliomart: before, its traceback is Python's.
        time.sleep(chance.uniform(0.25, 1.05) * whole_s)
        for _ in range(chance.randint(1, 4)):
            if process.poll() is None:
                process.send_signal(getattr(signal, chance.choice(names)))
            time.sleep(chance.choice((0, 0.0005, 0.003, 0.02)))
        _, stderr = process.communicate(timeout=60)
        clean = len(_said(stderr)) == (process.returncode != 0)
        ends[process.returncode, clean] += 1
        if not clean or process.returncode not in {0, 129, 130, 143}:
            sys.stdout.write(stderr)
        _whole(out)
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("names", [["SIGINT"], ["SIGTERM", "SIGINT", "SIGHUP"]], ids=len)
def test_runs_that_are_hit_at_random_end_in_one_line(names: list[str], tmp_path: Path) -> None:
    ends = _hit(names, 40, 0, tmp_path)
    assert {status for status, _ in ends} <= {0, 129, 130, 143}
    assert all(clean for _, clean in ends)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", default="SIGINT")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ends_of_runs = _hit(asked.signals.split(","), asked.count, asked.seed, Path(name))
        sys.stdout.write(f"{ends_of_runs}\n")
