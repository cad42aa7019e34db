"""What a detector does in the child of a fork."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

import processes
from samples import GOLDEN

SLICE = GOLDEN / "slice_006.dcm"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")

# An alarm ends a child that hangs, and the status tells.
_START = """
import os, signal, sys, threading
from gliomart import Detector, GliomartError

def in_child(work):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    signal.alarm(30)
    work()
    sys.stdout.flush()
    os._exit(0)

path, other = sys.argv[1:3]
detector = Detector(threads=4)
score = detector.detect(path).score
"""


def _run(code: str, other: object = "") -> str:
    return processes.run(_START + code, SLICE, other).stdout


def test_an_inherited_detector_gives_the_same_result() -> None:
    said = _run(
        "def work(): print(detector.detect(path).score == score, detector.settings.provider)\n"
        "print(in_child(work))"
    )
    assert "True" in said
    assert said.endswith("0\n")


def test_an_inherited_detector_is_opened_anew_and_the_old_session_never_destroyed() -> None:
    """ONNX Runtime's destructor waits for threads that a child has not got."""
    said = _run(
        "def work():\n"
        "    global detector\n"
        "    detector.detect(path)\n"
        "    del detector\n"
        "    print('gone')\n"
        "print(in_child(work))"
    )
    assert said == "gone\n0\n"


def test_a_new_detector_takes_the_place_of_the_old_one() -> None:
    said = _run(
        "def work():\n"
        "    global detector\n"
        "    detector = Detector(threads=2)\n"
        "    print(detector.detect(path).score == score)\n"
        "print(in_child(work))"
    )
    assert said == "True\n0\n"


@pytest.mark.parametrize("use", ["", "detector.detect(path)"])
def test_a_child_ends_by_itself(use: str) -> None:
    said = _run(
        f"def work():\n    {use or 'pass'}\n    sys.exit(0)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    signal.alarm(30)\n    work()\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    assert said == "0\n"


def test_a_child_of_a_child_works_as_well() -> None:
    said = _run(
        "def inner(): print(detector.detect(path).score == score)\n"
        "def work():\n"
        "    detector.detect(path)\n"
        "    sys.stdout.flush()\n"
        "    print(in_child(inner))\n"
        "print(in_child(work))"
    )
    assert said == "True\n0\n0\n"


def test_the_parent_goes_on() -> None:
    said = _run("in_child(lambda: None)\nprint(detector.detect(path).score == score)")
    assert said == "True\n"


def test_several_threads_of_a_child_open_it_once() -> None:
    said = _run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def work():\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        print({r.score == score for r in pool.map(detector.detect, [path] * 8)})\n"
        "print(in_child(work))"
    )
    assert said == "{True}\n0\n"


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_fork_waits_for_the_slices_that_other_threads_analyse(count: int) -> None:
    """Locks of theirs, within ONNX Runtime and Python, would stay locked in the child."""
    said = _run(
        "threads = [threading.Thread(target=lambda: [detector.detect(path) for _ in iter(int, 1)],"
        " daemon=True) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "def work():\n"
        "    print(Detector(threads=2).detect(path).score == score, flush=True)\n"
        "    print(detector.detect(path).score == score)\n"
        "statuses = {in_child(work) for _ in range(int(other))}\n"
        "print(statuses, flush=True)\n"
        "os._exit(0)",
        count,
    )
    assert said == "True\n" * 2 * count + "{0}\n"


def test_a_child_forked_while_another_thread_does_not_come_to_an_end_is_told_so() -> None:
    said = _run(
        "from gliomart.host.forking import at_work\n"
        "at_work.longest_wait_s = 0.1\n"
        "begun = threading.Event()\n"
        "def hang():\n"
        "    with at_work: begun.set(); signal.pause()\n"
        "threading.Thread(target=hang, daemon=True).start()\n"
        "begun.wait()\n"
        "def work():\n"
        "    try: detector.detect(path)\n"
        "    except GliomartError as error: print(error.code, error)\n"
        "print(in_child(work), detector.detect(path).score == score, flush=True)\n"
        "os._exit(0)"
    )
    assert said == (
        "provider this process was forked while a slice was being analysed, and cannot analyse any;"
        " fork when nothing is, or start processes with spawn\n0 True\n"
    )


def test_a_child_forked_while_another_thread_waits_for_a_file_works() -> None:
    """A share may hang for ever, and whoever forks has nothing to do with it."""
    said = _run(
        "import io\n"
        "begun, never = threading.Event(), threading.Event()\n"
        "class Hangs(io.BytesIO):\n"
        "    def read(self, *given): begun.set(); never.wait()\n"
        "hang = lambda: detector.detect(Hangs(bytes(9999)))\n"
        "threading.Thread(target=hang, daemon=True).start()\n"
        "begun.wait()\n"
        "def work(): print(detector.detect(path).score == score)\n"
        "print(in_child(work), detector.detect(path).score == score, flush=True)\n"
        "os._exit(0)"
    )
    assert said == "True\n0 True\n"


def test_a_child_forked_by_a_stream_that_is_read_works() -> None:
    said = _run(
        "import io\n"
        "class Stream(io.BytesIO):\n"
        "    def read(self, *given):\n"
        "        global status\n"
        "        def work(): print(detector.detect(path).score == score)\n"
        "        if status is None: status = 0; status = in_child(work)\n"
        "        return super().read(*given)\n"
        "status = None\n"
        "print(detector.detect(Stream(open(path, 'rb').read())).score == score, status)"
    )
    assert said == "True\nTrue 0\n"


@pytest.mark.slow
def test_children_forked_by_a_signals_handler_work_whatever_it_interrupts() -> None:
    said = _run(
        "statuses = []\n"
        "def work():\n"
        "    if detector.detect(path).score != score: os._exit(3)\n"
        "def handle(*_):\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
        "    statuses.append(in_child(work))\n"
        "    signal.signal(signal.SIGALRM, handle)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
        "threads = [threading.Thread(target=lambda: [detector.detect(path) for _ in iter(int, 1)],"
        " daemon=True) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "handle()\n"
        "while len(statuses) < 20: detector.detect(path)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(set(statuses), flush=True)\n"
        "os._exit(0)"
    )
    assert said == "{0}\n"


@pytest.mark.parametrize("count", [30, pytest.param(400, marks=pytest.mark.slow)])
def test_no_child_waits_for_threads_of_opencv(count: int) -> None:
    """They sleep in the parent a moment after each function, and hold locks as they fall asleep."""
    said = _run(
        "import cv2, numpy as np\n"
        "cv2.setNumThreads(4)\n"
        "pixels = np.zeros((512, 512), np.uint8)\n"
        "def work(): cv2.connectedComponents(cv2.dilate(pixels, np.ones((9, 9), np.uint8)))\n"
        "def after_work(): work(); return in_child(work)\n"
        "print({after_work() for _ in range(int(other))})",
        count,
    )
    assert said == "{0}\n"


# What uWSGI and hosts in C do: Python is not told, and none of its hooks are run.
_PAST_PYTHON = """
import ctypes
os.fork = ctypes.PyDLL(None).fork
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "use", ["", "detector.detect(path)", "detector = Detector(threads=2); detector.detect(path)"]
)
def test_a_child_that_python_was_not_told_of_ends_by_itself(use: str) -> None:
    said = _run(
        _PAST_PYTHON + f"def work():\n    global detector\n    {use or 'pass'}\n    sys.exit(0)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    signal.alarm(30)\n    work()\n"
        "print(os.waitpid(pid, 0)[1], detector.detect(path).score == score)"
    )
    assert said == "0 True\n"


def test_a_child_that_python_was_not_told_of_leaves_the_decoder_to_its_parent(
    compressed: Path,
) -> None:
    said = _run(
        _PAST_PYTHON + "from gliomart.sources.codecs import _process\n"
        "detector.detect(other)\n"
        "mine = _process._process\n"
        "def work():\n"
        "    print(detector.detect(other).score == score, _process._process.pid != mine.pid)\n"
        "    _process.stop()\n"
        "print(in_child(work))\n"
        "print(detector.detect(other).score == score, _process._process is mine, mine.poll())",
        compressed,
    )
    assert said == "True True\n0\nTrue True None\n"


def test_a_stream_that_was_begun_before_the_fork_is_refused_in_the_child(study: Path) -> None:
    said = _run(
        "results = detector.stream([other])\n"
        "next(results)\n"
        "def work():\n"
        "    try: list(results)\n"
        "    except GliomartError as error: print(error.code, error)\n"
        "    sys.exit(0)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    signal.alarm(30)\n    work()\n"
        "print(os.waitpid(pid, 0)[1], len(list(results)) > 3)",
        study,
    )
    assert said == (
        "usage results that were begun before a fork belong to the parent; begin anew\n0 True\n"
    )


# Stages within each other, as a stream has them. The first has fewer threads at work than it may
# have when the fork comes, and one of them holds a lock: a child that took one more item would
# start a thread, which waits for that lock for ever.
_STAGES = """
import os, signal, sys, threading
from contextlib import closing
from gliomart.errors import UsageError
from gliomart.pipeline import in_order

held, begun, taken = threading.Lock(), threading.Event(), []

def items():
    for number in range(9):
        taken.append(os.getpid())
        yield number

def work(number):
    if number < 3:
        return number
    with held:
        begun.set()
        assert go_on.wait(60)
    return number

def stages():
    results = in_order(work, items(), workers=3)
    for _ in range(int(sys.argv[1])):
        results = in_order(abs, within(results), workers=1)
    return results

def within(results):
    with closing(results):
        yield from results

go_on = threading.Event()
results = stages()
next(results)
assert begun.wait(60)
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    try: USE
    except UsageError as error: print(error)
    print(set(taken) == {os.getppid()}, threading.active_count(), flush=True)
    sys.exit(0)
status = os.waitpid(pid, 0)[1]
go_on.set()
print(status, len(list(results)))
"""


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize(
    ("use", "told"),
    [
        (
            "next(results)",
            "results that were begun before a fork belong to the parent; begin anew\n",
        ),
        ("results.close()", ""),
    ],
)
def test_a_child_takes_nothing_of_stages_begun_before_the_fork(
    use: str, told: str, depth: int
) -> None:
    said = processes.run(_STAGES.replace("USE", use), depth).stdout
    assert said == f"{told}True 1\n0 8\n"


def test_a_child_decodes_by_itself_and_holds_nothing_of_its_parents_decoder(
    compressed: Path,
) -> None:
    said = _run(
        "from gliomart.sources.codecs import _process\n"
        "detector.detect(other)\n"
        "mine = _process._process\n"
        "ends = {os.readlink(f'/proc/self/fd/{s.fileno()}') for s in (mine.stdin, mine.stdout)}\n"
        "def work():\n"
        "    held = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')"
        " if os.path.lexists(f'/proc/self/fd/{n}')}\n"
        "    print(held & ends, detector.detect(other).score == score)\n"
        "    print(_process._process.pid != mine.pid)\n"
        "print(in_child(work))\n"
        "print(detector.detect(other).score == score, _process._process is mine)",
        compressed,
    )
    assert said == "set() True\nTrue\n0\nTrue True\n"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_pool_of_processes_works(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "from gliomart import Detector\n"
        "detector = None\n"
        "def look(path):\n"
        "    global detector\n"
        "    detector = detector or Detector(threads=1)\n"
        "    return detector.detect(path).score\n"
        "if __name__ == '__main__':\n"
        "    if sys.argv[1] == 'fork':\n"
        "        detector = Detector(threads=1); detector.detect(sys.argv[2])\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        print(len(set(pool.map(look, sys.argv[2:] * 4))))\n"
    )
    done = processes.finish([sys.executable, program, method, SLICE])
    assert done.stdout == "1\n"


_APPLICATION = """
from gliomart import Detector

detector = Detector(threads=1)
detector.warm_up()


def application(environment, start_response):
    import os
    score = detector.detect(environment["QUERY_STRING"]).score
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{score} {os.getpid()}".encode()]
"""


@pytest.mark.slow
def test_gunicorn_serves_with_a_detector_made_before_it_forks(tmp_path: Path) -> None:
    if shutil.which("gunicorn", path=Path(sys.executable).parent) is None:
        pytest.skip("gunicorn is not installed")
    (tmp_path / "served.py").write_text(_APPLICATION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", address,
        "--graceful-timeout", "20", "served:application",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=processes.searched()
    ) as server:
        assert server.stderr is not None
        try:
            said = []
            for line in server.stderr:  # until both workers have started
                said.append(line)
                if sum("Booting worker" in each for each in said) == 2:
                    break
            answers = []
            for _ in range(10):
                with urlopen(f"http://{address}/?{SLICE}", timeout=60) as answer:
                    answers.append(answer.read().decode())
            assert len({each.split()[0] for each in answers}) == 1
            assert str(server.pid) not in {each.split()[1] for each in answers}
            server.send_signal(signal.SIGTERM)
            said.append(server.stderr.read())
            assert server.wait(timeout=60) == 0
            assert "SIGKILL" not in "".join(said)
            assert "timeout" not in "".join(said).lower()
        finally:
            server.kill()
