"""Several runs at once: folders of their own, and one folder for one run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Thread

import pytest

import runs
from gliomart import Detector, sources
from gliomart.errors import OutputBusyError
from gliomart.outputs import lock
from gliomart.run import Run

linux = pytest.mark.skipif(sys.platform != "linux", reason="signals and forks of Linux")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return runs.pictures(tmp_path / "study", 24, side=256)


def _stopped(process: subprocess.Popen[str], *, once: Path) -> None:
    """Stop a run in its course, once a file is there."""
    while not once.exists():
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(
    model: Path, study: Path, tmp_path: Path
) -> None:
    place = tmp_path / "work"
    place.mkdir()
    started = [runs.start("infer", study, "--model", model, cwd=place) for _ in range(4)]
    assert [process.communicate()[1] for process in started] == [""] * 4
    assert [process.returncode for process in started] == [0] * 4
    folders = list((place / "gliomart-results").iterdir())
    assert len(folders) == 4
    for folder in folders:
        assert len(runs.results(folder)["slices"]) == 24


@pytest.mark.sampled(3)
@linux
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("options", [(), ("--resume",), ("--overwrite",)])
def test_a_second_run_into_a_folder_is_told_at_once_and_disturbs_nothing(
    options: tuple[str, ...], link: bool, model: Path, study: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    wanted = ("--model", model, "--maps", "--overlays", "all")
    first = runs.start("infer", study, *wanted, "--out", out)
    _stopped(first, once=out / "maps")
    other.symlink_to(out) if link else None
    target = other if link else out
    # Told before the inputs are looked at: these are not even there.
    second = runs.run("infer", tmp_path / "none", "--model", model, "--out", target, *options)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        f"gliomart: {target}: another run is writing into it; wait for it, or choose another"
        " --out\n"
    )
    first.send_signal(signal.SIGCONT)
    assert first.communicate()[1] == ""
    assert first.returncode == 0
    assert len(list((out / "overlays").rglob("*.png"))) == 24
    assert len(list((out / "maps").rglob("*.npy"))) == 24
    assert not list(out.glob(".gliomart*"))


@linux
def test_a_killed_run_holds_nothing(model: Path, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = runs.start("infer", study, "--model", model, "--out", out)
    _stopped(first, once=out / lock.NAME)
    first.kill()
    first.communicate()
    options = ["--resume"] if [path.name for path in out.iterdir()] != [lock.NAME] else []
    assert runs.run("infer", study, "--model", model, "--out", out, *options).returncode == 0
    assert not list(out.glob(".gliomart*"))


@linux
def test_a_fork_of_a_process_that_was_killed_holds_nothing(
    model: Path, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    program = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from gliomart.outputs import lock
        with lock.exclusive(Path(sys.argv[1])):
            child = os.fork()
            if child == 0:
                print("forked", flush=True)
                sys.stdin.read()  # as long as the test does not end it
            else:
                os.waitpid(child, 0)
    """)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    parent = subprocess.Popen([sys.executable, "-c", program, str(out)], text=True, **pipes)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "forked\n"
    assert runs.run("infer", study, "--model", model, "--out", out).returncode == 2
    parent.kill()
    parent.wait()
    assert runs.run("infer", study, "--model", model, "--out", out).returncode == 0
    assert parent.stdin is not None
    parent.stdin.close()


def test_threads_do_not_share_a_folder(model: Path, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    detector, inventory = Detector(model, provider="cpu"), sources.scan([study])
    raised: list[BaseException] = []

    def second() -> None:
        try:
            Run(detector, inventory, out).write()
        except OutputBusyError as error:
            raised.append(error)

    with lock.exclusive(out):
        thread = Thread(target=second)
        thread.start()
        thread.join()
        assert len(raised) == 1
        assert Run(detector, inventory, out).write()["slices"]  # who holds it may write


def test_results_do_not_go_among_the_results_of_another_run(
    model: Path, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert runs.run("infer", study, "--model", model, "--out", out).returncode == 0
    for option in ([], ["--overwrite"], ["--resume"]):
        inner = out / "overlays" / "more"
        done = runs.run("infer", study, "--model", model, "--out", inner, *option)
        assert done.returncode == 2
        assert "lies among the results in" in done.stderr
        assert runs.one_line(done.stderr)
    assert runs.run("infer", study, "--model", model, "--out", out / "more").returncode == 0


def test_files_of_somebody_else_that_are_called_like_results_are_not_replaced(
    model: Path, study: Path, tmp_path: Path
) -> None:
    for name in ("results.csv", "report.html", "overview"):
        out = tmp_path / f"out-{name}"
        out.mkdir()
        (out / name).mkdir() if name == "overview" else (out / name).write_text("mine")
        for option in ("--resume", "--overwrite"):
            done = runs.run("infer", study, "--model", model, "--out", out, option)
            assert done.returncode == 2
            assert "holds something other than results" in done.stderr
            assert runs.one_line(done.stderr)
        assert [path.name for path in out.iterdir()] == [name]


@linux
def test_an_input_that_is_mounted_twice_is_known_by_either_name(
    model: Path, study: Path, tmp_path: Path
) -> None:
    twice = tmp_path / "twice"
    twice.mkdir()
    mounted = ["unshare", "--mount", "sh", "-c", f'mount --bind {study} {twice} && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    for out in (twice, twice / "out"):
        done = runs.run("infer", study, "--model", model, "--out", out, prefix=mounted)
        assert done.returncode == 2
        assert "lies inside the input" in done.stderr
    assert runs.run("infer", study, "--model", model, "--out", study.parent / "out").returncode == 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "statement",
    [
        "shutil.rmtree({out!r})",
        "os.rename({out!r}, {out!r} + '-moved')",
        "os.rename({out!r}, {out!r} + '-moved'); os.mkdir({out!r})",
    ],
)
@pytest.mark.parametrize("at", ["overview", "report-pictures", "overlays"])
def test_a_run_whose_folder_is_taken_away_says_so_and_leaves_nothing_in_its_place(
    statement: str, at: str, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        runs.dicom_series(tmp_path / "studies" / f"{number}", str(number))
    out = tmp_path / "out"
    one_flagged = ("--out", out, "--false-alarm-rate", "0.1")
    done = runs.run_and_do(
        statement.format(out=str(out)), f"{out}/{at}/", "infer", tmp_path / "studies", *one_flagged
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert runs.one_line(done.stderr)
    assert not out.exists() or not list(out.iterdir())


def test_what_is_in_the_way_of_results_is_named(model: Path, study: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "file"
    file.write_text("a file")
    done = runs.run("infer", study, "--model", model, "--out", file / "out" / "more")
    assert done.returncode == 6
    assert done.stderr == f"gliomart: {file}: cannot be written (not a directory)\n"
    (out / lock.NAME).mkdir(parents=True)
    done = runs.run("infer", study, "--model", model, "--out", out)
    assert done.returncode == 6
    assert done.stderr == f"gliomart: {out / lock.NAME}: cannot be written (is a directory)\n"


@pytest.mark.sampled(3)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="a library is compiled")
@linux
@pytest.mark.parametrize("errno", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_said_and_is_no_other_run(
    errno: str, model: Path, study: Path, tmp_path: Path
) -> None:
    source, library = tmp_path / "no_locks.c", tmp_path / "no_locks.so"
    source.write_text(
        "#include <errno.h>\n"
        f"int flock(int file, int operation) {{ errno = {errno}; return -1; }}\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    out = tmp_path / "out"
    done = runs.run("infer", study, "--model", model, "--out", out, env=environment)
    assert done.returncode == 0
    assert done.stderr == (
        f"gliomart: {out}: its file system has no locks; let no other run write into it\n"
    )
    assert not list(out.glob(".gliomart*"))


@linux
def test_a_working_directory_that_is_read_only_or_gone_ends_in_one_line(
    model: Path, study: Path, tmp_path: Path
) -> None:
    read_only, gone = tmp_path / "read-only", tmp_path / "gone"
    read_only.mkdir(mode=0o555)
    prefix = runs.unprivileged()
    done = runs.run("infer", study, "--model", model, cwd=read_only, prefix=prefix)
    assert done.returncode == 6
    assert "gliomart-results" in done.stderr
    assert runs.one_line(done.stderr)
    gone.mkdir()
    command = f"rmdir {gone} && exec {' '.join(runs.COMMAND)} infer {study} --model {model}"
    ended = subprocess.run(
        ["sh", "-c", command], cwd=gone, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 6
    assert runs.one_line(ended.stderr)


def test_a_folder_that_was_made_for_nothing_is_removed(model: Path, tmp_path: Path) -> None:
    done = runs.run("infer", tmp_path / "none", "--model", model, cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "gliomart-results").exists()
    out = tmp_path / "a" / "b"
    assert runs.run("infer", tmp_path / "none", "--model", model, "--out", out).returncode == 2
    assert not (tmp_path / "a").exists()
    file = out / "c" / "figures.json"
    assert runs.run("evaluate", tmp_path / "none", "--out", file).returncode == 8
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["infer", ""], ["infer", "study", ""], ["infer", "study", "--out", ""],
        ["infer", "study", "--model", ""], ["demo", "--out", ""], ["info", ""], ["bench", ""],
        ["bench", "--out", ""],
    ],
)  # fmt: skip
def test_an_empty_path_is_a_usage_error_and_not_the_working_directory(
    arguments: list[str], study: Path
) -> None:
    done = runs.run(*arguments, cwd=study.parent)
    assert done.returncode == 2
    assert "an empty path was given" in done.stderr
    assert runs.one_line(done.stderr)
    assert [path.name for path in study.parent.iterdir()] == ["study"]
