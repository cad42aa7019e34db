"""Pools of threads are made for what a process may use, and refused threads end nothing badly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliomart import Detector
from gliomart.errors import UsageError
from gliomart.host import processors
from gliomart.pipeline import in_order
from samples import GOLDEN

PIDS = Path("/sys/fs/cgroup/pids")
COMMAND = [sys.executable, "-m", "gliomart.cli"]
DEMO = [*COMMAND, "demo", "--provider", "cpu", "--quiet", "--out"]

needs_groups = pytest.mark.skipif(
    os.name != "posix" or os.getuid() != 0 or not PIDS.is_dir(),
    reason="needs root and the pids controller of control groups, version 1",
)

# Runs a detector over the simulated study, and tells the most threads that there ever were.
EMBEDDING = """
import json, os, sys, threading
from gliomart import Detector
import cv2

detector = Detector(provider="cpu")
most, over = 0, threading.Event()

def watch():
    global most
    while not over.wait(0.001):
        most = max(most, len(os.listdir("/proc/self/task")) - 1)

watcher = threading.Thread(target=watch)
watcher.start()
results = list(detector.stream([sys.argv[1]]))
over.set()
watcher.join()
print(json.dumps([most, len(results), detector.workers, cv2.getNumThreads()]))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    library = tmp_path_factory.mktemp("shim") / "processors.so"
    source = Path(__file__).with_name("processors.cpp")
    command = [compiler, "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.fixture
def group() -> Iterator[Path]:
    folder = PIDS / f"gliomart-{uuid4()}"
    folder.mkdir()
    yield folder
    folder.rmdir()


def _run(
    command: list[str],
    *,
    shim: Path | None = None,
    group: Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    if shim is not None:
        given |= {"LD_PRELOAD": str(shim), "PROCESSORS": "32"}

    def prepare() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    return subprocess.run(
        command, env=given | environment, preexec_fn=prepare, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def _one_line(ended: subprocess.CompletedProcess[str]) -> bool:
    return ended.stderr.startswith("gliomart: ") and ended.stderr.count("\n") == 1


@pytest.mark.sampled(2)
@needs_groups
@pytest.mark.parametrize("tasks", [128, 64, 16, 8])
def test_a_demo_runs_on_32_processors_with_few_tasks(
    tasks: int, shim: Path, group: Path, tmp_path: Path
) -> None:
    (group / "pids.max").write_text(str(tasks))
    ended = _run([*DEMO, str(tmp_path / "out")], shim=shim, group=group)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["slices"]) == 24


@pytest.mark.sampled(3)
@needs_groups
@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_where_no_thread_can_be_had_a_sentence_says_so(
    tasks: int, shim: Path, group: Path, tmp_path: Path
) -> None:
    (group / "pids.max").write_text(str(tasks))
    ended = _run([*DEMO, str(tmp_path / "out")], shim=shim, group=group)
    assert ended.returncode == 14, ended.stderr
    assert _one_line(ended), ended.stderr
    assert "TasksMax" in ended.stderr


@pytest.mark.sampled(2)
@pytest.mark.parametrize("tasks", [1, 2, 4, 6, 12, 40])
def test_a_limit_of_the_users_ends_in_a_sentence_or_in_fewer_threads(
    tasks: int, shim: Path, tmp_path: Path
) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become somebody else who may read what root may")
    somebody = ["setpriv", "--reuid", "54321", "--clear-groups"]
    rights = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    limited = [*somebody, *rights, "prlimit", f"--nproc={tasks}"]
    ended = _run([*limited, *DEMO, str(tmp_path / "out")], shim=shim)
    if tasks >= 12:
        assert (ended.returncode, ended.stderr) == (0, "")
    else:
        assert ended.returncode == 0 or (ended.returncode == 14 and _one_line(ended)), ended.stderr


def test_a_command_starts_no_more_threads_than_its_processors_ask_for(tmp_path: Path) -> None:
    # sitecustomize is imported before anything of the command.
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os\n"
        "atexit.register(lambda: print(len(os.listdir('/proc/self/task')), file=open("
        f"{str(tmp_path / 'threads')!r}, 'w')))\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = _run(["taskset", "-c", _first_processor(), *DEMO, str(tmp_path / "out")],
                 PYTHONPATH=path)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert int((tmp_path / "threads").read_text()) == 1


@needs_groups
def test_a_program_on_32_processors_has_pools_for_what_its_tasks_allow(
    shim: Path, group: Path
) -> None:
    (group / "pids.max").write_text("40")
    program = [sys.executable, "-c", EMBEDDING, str(GOLDEN)]
    ended = _run(program, shim=shim, group=group, OPENBLAS_NUM_THREADS="1")
    assert ended.returncode == 0, ended.stderr
    most, slices, workers, opencv = json.loads(ended.stdout)
    assert slices == 24
    assert most < 40
    assert 1 < workers <= 8
    assert opencv <= 8


@needs_groups
def test_a_watch_on_64_processors_needs_few_tasks(shim: Path, group: Path, tmp_path: Path) -> None:
    (group / "pids.max").write_text("64")
    shutil.copytree(GOLDEN, tmp_path / "inbox")
    script = Path(__file__).parents[2] / "examples" / "watch_folder.py"
    watch = [sys.executable, str(script), str(tmp_path / "inbox"), str(tmp_path / "out")]
    ended = _run([*watch, "--once", "--settle", "0"], shim=shim, group=group, PROCESSORS="64")
    assert ended.returncode == 0, ended.stderr
    assert "24 files, exit status 0" in ended.stderr


@needs_groups
def test_a_training_that_cannot_have_its_threads_says_so(
    shim: Path, group: Path, tmp_path: Path
) -> None:
    pytest.importorskip("keras", reason="needs the extra: training")
    (group / "pids.max").write_text("64")
    words = [*COMMAND, "train", str(GOLDEN), "--out", str(tmp_path / "own.keras")]
    ended = _run(words, shim=shim, group=group)
    assert ended.returncode == 14, ended.stderr
    assert _one_line(ended), ended.stderr
    assert "TasksMax" in ended.stderr


@pytest.mark.slow
def test_threads_are_judged_against_what_this_process_may_use(tmp_path: Path) -> None:
    words = [*DEMO, str(tmp_path / "out"), "--threads", "2"]
    ended = _run(["taskset", "-c", _first_processor(), *words])
    assert ended.returncode == 2
    assert "this process may use 1 processor " in ended.stderr
    ended = _run(words, SLURM_CPUS_PER_TASK="1")
    assert ended.returncode == 2
    for garbage in ("", "0", "-3", "many", "2(x3)", "1e3", "9" * 5000, "٣"):
        ended = _run(words[:-2], SLURM_CPUS_PER_TASK=garbage, SLURM_CPUS_ON_NODE="\n")
        assert ended.returncode == 0, ended.stderr
        shutil.rmtree(tmp_path / "out")


def _first_processor() -> str:
    if shutil.which("taskset") is None:
        pytest.skip("there is no taskset")
    return str(min(os.sched_getaffinity(0)))


# Where control groups are, and what they say, as machines of several kinds have it.
V2 = "36 25 0:32 / {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "33 24 0:29 {root} {point}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that tells what is written into it, on a machine of 64 processors."""
    monkeypatch.setattr(processors, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "proc").mkdir()
    return tmp_path


def _tell(root: Path, groups: str, mounts: str, files: dict[str, str]) -> int:
    (root / "proc" / "cgroup").write_text(groups)
    (root / "proc" / "mountinfo").write_text(mounts)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return processors.usable()


def test_the_smallest_share_of_nested_groups_counts(told: Path) -> None:
    files = {
        "g/a/cpu.max": "400000 100000\n", "g/a/b/cpu.max": "max 100000\n",
        "g/a/b/c/cpu.max": "650000 100000\n", "g/other/cpu.max": "100000 100000\n",
    }  # fmt: skip
    assert _tell(told, "0::/a/b/c\n", V2.format(point=told / "g"), files) == 4


def test_half_a_processor_is_one(told: Path) -> None:
    files = {"g/cpu.max": "50000 100000\n"}
    assert _tell(told, "0::/\n", V2.format(point=told / "g"), files) == 1


def test_shares_are_rounded_up(told: Path) -> None:
    files = {"g/cpu.max": "250000 100000\n"}
    assert _tell(told, "0::/\n", V2.format(point=told / "g"), files) == 3


def test_a_container_sees_its_own_group_where_the_hierarchy_begins(told: Path) -> None:
    files = {"g/cpu/cpu.cfs_quota_us": "300000\n", "g/cpu/cpu.cfs_period_us": "100000\n"}
    mounts = V1.format(root="/docker/abc", point=told / "g")
    assert _tell(told, "4:cpu,cpuacct:/docker/abc\n", mounts, files) == 3
    assert _tell(told, "4:cpu,cpuacct:/../outside\n", mounts, files) == 3


def test_a_share_of_version_1_without_an_end_is_none(told: Path) -> None:
    files = {"g/cpu/cpu.cfs_quota_us": "-1\n", "g/cpu/cpu.cfs_period_us": "100000\n"}
    assert _tell(told, "4:cpu,cpuacct:/\n", V1.format(root="/", point=told / "g"), files) == 64


def test_tasks_leave_room_for_the_pools_of_fewer_processors(told: Path) -> None:
    files = {"g/a/pids.max": "128\n", "g/a/pids.current": "20\n", "g/pids.max": "max\n"}
    count = _tell(told, "0::/a\n", V2.format(point=told / "g"), files)
    assert 1 < count <= (128 - 20) // 4


def test_a_mount_point_may_have_blanks_in_its_name(told: Path) -> None:
    files = {"a b/cpu.max": "100000 100000\n"}
    point = str(told / "a b").replace(" ", "\\040")
    assert _tell(told, "0::/\n", V2.format(point=point), files) == 1


def test_a_system_that_tells_nothing_has_the_processors_that_it_schedules_on(told: Path) -> None:
    assert processors.usable() == 64
    assert _tell(told, "garbage\n::\n0::\n", "a - cgroup2\n - \n\n1 2 3 4 5 - cgroup\n", {}) == 64


@given(st.text(), st.text())
def test_whatever_the_system_tells_is_read(groups: str, mounts: str) -> None:
    assert all(isinstance(folder, Path) for folder in processors.own_groups(groups, mounts))


@given(st.text())
def test_whatever_a_share_says_is_a_number_above_zero_or_none(text: str) -> None:
    count = processors.quota(text)
    assert count is None or count >= 1


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_a_share_is_never_less_than_it_grants(share: int, period: int) -> None:
    count = processors.quota(f"{share} {period}\n")
    assert count is not None
    assert (count - 1) * period < share or count == 1
    assert count * period >= share


@given(st.dictionaries(st.sampled_from(processors._SLURM), st.text()))
def test_whatever_slurm_says_is_a_number_above_zero_or_nothing(given_: dict[str, str]) -> None:
    assert all(count >= 1 for count in processors.slurm(given_))


def test_a_detector_takes_at_least_one_thread_and_at_most_what_can_be_started() -> None:
    for threads in (0, -1):
        with pytest.raises(UsageError, match="threads"):
            Detector(provider="cpu", threads=threads)
    assert Detector(provider="cpu", threads=64).workers == 8


def test_threads_that_can_be_afforded_have_ended_afterwards() -> None:
    before = threading.active_count()
    assert processors.affordable(5) == 5
    assert processors.affordable(1) == 1
    assert threading.active_count() == before


@pytest.mark.parametrize("tasks", range(1, 40, 3))
def test_work_goes_on_in_the_threads_there_are(
    tasks: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, left = threading.Thread.start, tasks - 1

    def refuse(thread: threading.Thread) -> None:
        nonlocal left
        if left == 0:
            raise RuntimeError("can't start new thread")
        left -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(in_order(lambda number: -number, range(50), workers=20)) == [*range(0, -50, -1)]
    assert len(caplog.records) == 1 or (tasks > 1 and not caplog.records)
