"""Containers: roots nobody may write to, users nobody knows, no network, other processors."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import gliomart

PACKAGES = Path(gliomart.__file__).parents[1]
NOBODY = 65534


def isolated(*flags: str) -> list[str]:
    """Command of a process with namespaces of its own; skips where it may not have them."""
    command = ["unshare", *flags]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("needs unshare, and the right to use it")
    return command


def of(results: Path) -> list[tuple[str, bool]]:
    """What was found in which slice."""
    document = json.loads((results / "results.json").read_bytes())
    return [(entry["source"], entry["flagged"]) for entry in document["slices"]]


def demo(out: Path, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration as a process of its own."""
    command = [*before, sys.executable, "-m", "gliomart.cli", "demo", "--out", str(out), "--quiet"]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bool]]:
    out = tmp_path_factory.mktemp("usual") / "out"
    assert demo(out).returncode == 0
    return of(out)


def test_an_unknown_user_in_a_read_only_root_needs_one_folder_to_write_into(
    tmp_path: Path, usual: list[tuple[str, bool]]
) -> None:
    """No home, no name, no temporary folder, nothing inherited from the environment."""
    unshare = isolated("--mount")
    room, out = tmp_path / "room", tmp_path / "out"
    room.mkdir()
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    libraries = sysconfig.get_path("platlib")
    for folder in ("python", "libraries", "packages", "out"):
        (room / folder).mkdir()
    mounts = {"python": sys.base_prefix, "libraries": libraries, "packages": PACKAGES, "out": out}
    user = NOBODY - 77
    run = f"""
        set -e
        for place in / /tmp /var/tmp /dev/shm /run; do
            if mountpoint -q $place; then mount -o remount,bind,ro $place; fi
        done
        if touch /tmp/probe 2>/dev/null; then rm /tmp/probe; exit 99; fi
        mount --bind {shlex.quote(str(room))} /mnt  # where the user may enter
        {"; ".join(f"mount --bind {shlex.quote(str(at))} /mnt/{n}" for n, at in mounts.items())}
        for place in /mnt /mnt/python /mnt/libraries /mnt/packages; do
            mount -o remount,bind,ro $place
        done
        mount -o remount,bind,rw /mnt/out
        cd /mnt
        exec setpriv --reuid={user} --regid={user} --clear-groups \\
            env -i PYTHONPATH=/mnt/packages:/mnt/libraries \\
            /mnt/python/bin/{Path(sys.executable).resolve().name} \\
            -m gliomart.cli demo --out /mnt/out/results --quiet
    """
    ended = subprocess.run([*unshare, "sh", "-c", run], capture_output=True, text=True, check=False)
    if ended.returncode == 99:
        pytest.skip("the root cannot be made read-only here")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert of(out / "results") == usual


def test_no_network_is_needed(tmp_path: Path, usual: list[tuple[str, bool]]) -> None:
    assert demo(tmp_path / "out", *isolated("--net")).returncode == 0
    assert of(tmp_path / "out") == usual


def test_no_proc_and_no_sys_are_needed(tmp_path: Path, usual: list[tuple[str, bool]]) -> None:
    hide = 'mount -t tmpfs none /proc && mount -t tmpfs none /sys && exec "$@"'
    ended = demo(tmp_path / "out", *isolated("--mount"), "sh", "-c", hide, "sh")
    # ONNX Runtime says there what it cannot know; gliomart has nothing to add.
    assert (ended.returncode, ended.stdout, "gliomart:" in ended.stderr) == (0, "", False)
    assert of(tmp_path / "out") == usual


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONOPTIMIZE": "2"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONDEVMODE": "1"},
        {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "7"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_the_environment_of_the_interpreter_changes_nothing(
    tmp_path: Path, usual: list[tuple[str, bool]], environment: dict[str, str]
) -> None:
    ended = demo(tmp_path / "out", **environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert of(tmp_path / "out") == usual


@pytest.mark.slow
def test_a_processor_without_avx2_finds_the_same(
    tmp_path: Path, usual: list[tuple[str, bool]]
) -> None:
    emulator = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if emulator is None or os.uname().machine != "x86_64":
        pytest.skip("needs qemu-user")
    # OpenBLAS asks the real processor, past the emulator, unless it is told.
    ended = demo(tmp_path / "out", emulator, "-cpu", "SandyBridge", OPENBLAS_CORETYPE="Sandybridge")
    assert ended.returncode == 0, ended.stderr
    assert of(tmp_path / "out") == usual
