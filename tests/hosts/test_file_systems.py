"""File systems that take fewer names than others: what does not fit is told of by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import runs
from gliomart.outputs import names

_ODD = [
    "a:b", "what?", "star*", 'quo"te', "less<more>", "pipe|", "back\\slash", "dot.", "space ",
    "CON", "nul", "com1", "LPT9.x", "two\nlines", "tab\t", "Case", "case", "é", "e\u0301",
    "x" * 240, "y" * 200 + ".", "…" * 70,
]  # fmt: skip


def _done(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture(params=["exfat", "ntfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk as cameras, sticks and Windows have it."""
    make, mount = {
        "exfat": (["mkfs.exfat"], ["mount.exfat-fuse"]),
        "ntfs": (["mkfs.ntfs", "-f", "-q"], ["ntfs-3g", "-o", "windows_names"]),
    }[request.param]
    missing = [t for t in (make[0], mount[0], "losetup", "umount") if shutil.which(t) is None]
    if missing or not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip(f"a disk is mounted, which only root may, and with {', '.join(missing)}")
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as stream:
        stream.truncate(64 << 20)
    device = _done(["losetup", "--show", "-f", str(image)])
    try:
        _done([*make, device])
        _done([*mount, device, str(place)])
        yield place
        subprocess.run(["umount", str(place)], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@pytest.fixture
def odd_study(tmp_path: Path) -> Path:
    study = tmp_path / "study"
    content = (runs.pictures(tmp_path / "one", 1) / "0.png").read_bytes()
    for name in _ODD:
        (study / name).mkdir(parents=True)
        (study / name / "1.png").write_bytes(content)
        (study / f"{name}.png").write_bytes(content)
    return study


@pytest.mark.slow
def test_every_output_has_its_file_on_every_disk(model: Path, odd_study: Path, disk: Path) -> None:
    out = disk / "out"
    arguments = ("infer", odd_study, "--model", model, "--out", out, "--overlays", "all", "--maps")
    done = runs.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    document = runs.results(out)
    assert len(document["slices"]) == 2 * len(_ODD)
    for kind in ("overlay", "map", "mask"):
        assert all((out / entry[kind]).stat().st_size for entry in document["slices"])
    assert all((out / each["overview"]).stat().st_size for each in document["series"])
    assert not list(out.glob(".gliomart*"))
    assert runs.run(*arguments, "--resume").returncode == 0
    assert runs.run(*arguments, "--overwrite").returncode == 0


def test_names_are_ones_that_every_file_system_takes() -> None:
    for name in _ODD:
        portable = names.portable(name)
        assert not set(portable) & set('<>:"/\\|?*'), name
        assert all(character >= " " for character in portable)
        assert portable[-1] not in ". "
        assert portable.split(".")[0].lower() not in {"con", "nul", "com1", "lpt9"}
        assert len(portable.encode()) <= 200
    for ordinary in ("slice_001", "Müller 2", "a.b-c_d", "T1 (axial)", "1.2.840.10008"):
        assert names.portable(ordinary) == ordinary


def test_deep_and_long_paths_stay_short_and_apart() -> None:
    deep = [names.fitting(PurePosixPath(*("d",) * 1000, *end, "x")) for end in ("a", "b")]
    assert len(set(deep)) == 2
    middles = [PurePosixPath(*("d",) * 200, middle, *("d",) * 200, "x") for middle in "ab"]
    assert len({names.fitting(name) for name in middles}) == 2
    for name in (*deep, names.fitting(PurePosixPath(*("y" * 240,) * 50, "z" * 240))):
        assert len(str(name).encode()) <= 1800
        assert len(name.parts) <= 102


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_an_output_whose_path_is_too_long_is_named_and_the_rest_is_written(
    model: Path, tmp_path: Path
) -> None:
    study = runs.pictures(tmp_path / "study", 4)
    (study / "0.png").rename(study / f"{'long' * 45}.png")
    room = os.pathconf("/", "PC_PATH_MAX") - 1 - len(str(tmp_path)) - 120  # for what lies in it
    out = tmp_path.joinpath(*["o" * 99] * (room // 100 - 1), "o" * (room % 100 + 99))
    arguments = ("infer", study, "--model", model, "--out", out, "--overlays", "all")
    done = runs.run(*arguments)
    assert done.returncode == 11
    assert runs.one_line(done.stderr)
    assert "could not be written" in done.stderr
    document = runs.results(out)
    assert len(document["slices"]) == 4
    (missing,) = document["not_written"]
    assert missing == {
        "source": f"study/{'long' * 45}.png", "frame": None, "object": "overlay",
        "code": "unwritable", "reason": "it cannot be written (file name too long)",
    }  # fmt: skip
    assert [e["overlay"] is None for e in document["slices"]].count(True) == 1
    assert runs.run(*arguments, "--resume").returncode == 11


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_file_beyond_the_limit_of_files_is_named_and_the_rest_is_written(
    model: Path, tmp_path: Path
) -> None:
    small = runs.pictures(tmp_path / "study" / "small", 3)
    runs.pictures(tmp_path / "study" / "large", 3, side=512)
    out = tmp_path / "out"
    limited = ["sh", "-c", 'ulimit -f 1500; exec "$@"', "sh"]
    arguments = ("infer", small.parent, "--model", model, "--out", out, "--maps")
    done = runs.run(*arguments, prefix=limited)
    assert done.returncode == 11, done.stderr
    assert runs.one_line(done.stderr)
    document = runs.results(out)
    assert len(document["slices"]) == 6
    assert {entry["object"] for entry in document["not_written"]} == {"map"}
    assert all(entry["source"].startswith("study/large/") for entry in document["not_written"])


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("blocks", [40, 400])
def test_a_report_beyond_the_limit_of_files_costs_no_results(
    blocks: int, model: Path, tmp_path: Path
) -> None:
    """Of 512 bytes each: the pictures of a series are too large as well, or the page alone is."""
    study, out = tmp_path / "study", tmp_path / "out"
    for number in range(3):
        runs.pictures(study / str(number), 6, side=256)
    limited = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"]
    arguments = ("infer", study, "--model", model, "--out", out)
    done = runs.run(*arguments, prefix=limited)
    assert done.returncode == 11, done.stderr
    assert runs.one_line(done.stderr)
    document = runs.results(out)
    assert len(document["slices"]) == 18
    assert {
        "source": None, "frame": None, "object": "report", "code": "unwritable",
        "reason": "it cannot be written (file too large)",
    } in document["not_written"]  # fmt: skip
    assert "not written: " in done.stdout
    assert "report: " not in done.stdout.replace("report: it cannot be written", "")
    assert not (out / "report.html").exists()
    assert runs.run(*arguments, "--resume").returncode == 11
    assert runs.run(*arguments, "--overwrite").returncode == 0
