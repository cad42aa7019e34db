"""Disks that are full, and folders that may no longer be written into: real ones.

``PYTHONPATH=tests python tests/end_to_end/test_full_disk.py`` tries every size, page by page.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

import kill
from gliomart.outputs import folder as output

_PAGE = 4096
_SIDE = 64  # small files, so that few pages lie between one kind and the next
_PLENTY = 10_000
_KINDS = {
    "overlays", "overview", "maps", "masks",
    output.PICTURES, output.JOURNAL, output.REPORT, output.TABLE, output.RESULTS,
}  # fmt: skip


@contextmanager
def _disk(place: Path, *, pages: int = _PLENTY, inodes: int = _PLENTY) -> Iterator[Path]:
    """Mount a disk of so many pages and so many inodes."""
    place.mkdir(exist_ok=True)
    _mount(place, f"size={pages * _PAGE},nr_inodes={inodes}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(place: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(command, capture_output=True, check=True)


needs_small_disks = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None or sys.platform != "linux",
    reason="a small disk is mounted, which only root may",
)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return kill.make_inputs(tmp_path_factory.mktemp("inputs"), side=_SIDE)


@pytest.fixture(scope="module")
def whole(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert kill.run(arguments, out) == 0
    return out


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> dict[str, Any]:
    return kill.contents(whole)


@pytest.fixture
def disk_may_be_mounted(tmp_path: Path) -> None:
    """Even root may be refused, in a container."""
    try:
        with _disk(tmp_path / "trial"):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no disk can be mounted here: {error.stderr.decode().strip()}")


def _fill(
    arguments: list[str], place: Path, undisturbed: dict[str, Any], **limits: int
) -> str | None:
    """Run on a disk with limits and go on without; tell what did not fit, None if all did."""
    kind = None
    with _disk(place, **limits) as disk:
        out = disk / "out"
        status, errors = kill.run_and_listen(arguments, out)
        if status:
            assert status == 6
            assert errors.startswith(f"gliomart: {out}")
            assert errors.endswith(": cannot be written (no space left on device)\n")
            assert errors.count("\n") == 1
            assert not list(out.rglob("*.partial"))
            kill.check_files(out)
            kind = _kind(Path(errors.removeprefix("gliomart: ").partition(": ")[0]), out)
            _mount(disk, f"remount,size={_PLENTY * _PAGE},nr_inodes={_PLENTY}")
            assert kill.run(arguments, out, *(["--resume"] if out.exists() else [])) == 0
        assert kill.contents(out) == undisturbed
    return kind


def _kind(path: Path, out: Path) -> str:
    return "the folder" if path == out else path.relative_to(out).parts[0]


def _pages_of(out: Path) -> int:
    return sum(-(-path.stat().st_size // _PAGE) for path in out.rglob("*") if path.is_file())


@needs_small_disks
@pytest.mark.usefixtures("disk_may_be_mounted")
def test_a_full_disk_ends_the_run_in_one_line_and_loses_nothing(
    arguments: list[str], undisturbed: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    used = _pages_of(whole)
    # The first series fills thirty-two pages, its slices' files side by side in any order; at the
    # end the report's pictures are still there too.
    failed = {
        _fill(arguments, tmp_path / "disk", undisturbed, pages=pages)
        for pages in (1, 2, 7, 14, 21, 25, *range(30, 35), used - 10, *range(used + 6, used + 18))
    }
    # Which of a slice's files meets the end of the disk is a matter of chance.
    for pages in (*range(3, 30, 2), *range(4, 30, 2)):
        if failed >= _KINDS:
            break
        failed.add(_fill(arguments, tmp_path / "disk", undisturbed, pages=pages))
    assert failed >= _KINDS
    assert _fill(arguments, tmp_path / "disk", undisturbed, pages=used + 40) is None


@needs_small_disks
@pytest.mark.usefixtures("disk_may_be_mounted")
def test_a_disk_without_room_for_one_more_file_is_full(
    arguments: list[str], undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    for inodes in (2, 3, 5, 40):
        assert _fill(arguments, tmp_path / "disk", undisturbed, inodes=inodes) is not None


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="permissions mean nothing to root, who cannot give that up here",
)
def test_permission_that_is_lost_on_the_way_ends_the_run_in_one_line(
    arguments: list[str], undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    as_others = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    command = [*as_others, sys.executable, "-m", "gliomart.cli", *arguments, "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (out / "overlays" / "study").exists():
            assert process.poll() is None
            time.sleep(0.0005)
        folders = [path for path in (out, *out.rglob("*")) if path.is_dir()]
        for folder in folders:
            folder.chmod(0o555)
        _, errors = process.communicate(timeout=60)
    for folder in folders:
        folder.chmod(0o755)
    assert process.returncode == 6
    assert errors.startswith(f"gliomart: {out}")
    assert errors.endswith(": cannot be written (permission denied)\n")
    assert errors.count("\n") == 1
    kill.check_files(out)
    assert kill.run(arguments, out, "--resume") == 0
    assert kill.contents(out) == undisturbed


@needs_small_disks
@pytest.mark.usefixtures("disk_may_be_mounted")
def test_a_disk_that_becomes_read_only_ends_the_run_in_one_line(
    arguments: list[str], undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with _disk(tmp_path / "disk") as disk:
        assert kill.kill_at(30, arguments, disk / "out")
        _mount(disk, "remount,ro")
        status, errors = kill.run_and_listen(arguments, disk / "out", "--resume")
        assert (status, errors.count("\n")) == (6, 1)
        assert errors.endswith(": cannot be written (read-only file system)\n")
        _mount(disk, "remount,rw")
        assert kill.run(arguments, disk / "out", "--resume") == 0
        assert kill.contents(disk / "out") == undisturbed


def _try_every_size() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        arguments = kill.make_inputs(place, side=_SIDE)
        assert kill.run(arguments, place / "whole") == 0
        undisturbed = kill.contents(place / "whole")
        failed: Counter[str] = Counter()
        for limit in ("pages", "inodes"):
            for most in range(1 if limit == "pages" else 2, _PLENTY):
                kind = _fill(arguments, place / "disk", undisturbed, **{limit: most})
                if kind is None:
                    break
                failed[f"{kind} for want of {limit}"] += 1
    for kind, count in sorted(failed.items()):
        print(f"{count:5}  {kind}")  # noqa: T201


if __name__ == "__main__":
    _try_every_size()
