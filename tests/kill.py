"""Runs that are killed at any moment, and what a run leaves behind.

``python tests/kill.py --count 200 --seed 0`` kills so many and reports where they were hit;
``--every-operation`` kills before each one of what a run does to files.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gliomart import cli
from gliomart.outputs import folder as output
from samples import draw_head, tiny_model

SERIES, SLICES = 5, 3
# Python's audit events for what changes a folder, and the flags of a file opened for it.
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def make_inputs(folder: Path, *, side: int = 256) -> list[str]:
    """Write a model and a study of several series; give the arguments of ``infer`` for them."""
    for series in range(SERIES):
        (folder / "study" / str(series)).mkdir(parents=True)
        for number in range(SLICES):
            head = draw_head(
                (side, side), lesion=0.4 * (number == 1), seed=SLICES * series + number
            )
            pixels = (head / 5).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "study" / str(series) / f"{number}.png"), pixels)
    (folder / "study" / "empty.png").touch()
    model = tiny_model(folder / "tiny.onnx", pons=True)
    return [
        "infer",
        str(folder / "study"),
        "--model",
        str(model),
        "--maps",
        "--overlays",
        "all",
        "--provider",
        "cpu",
    ]


def run(arguments: list[str], out: Path, *options: str) -> int:
    """Run ``infer`` here, its report unheard."""
    return run_and_listen(arguments, out, *options)[0]


def run_and_listen(arguments: list[str], out: Path, *options: str) -> tuple[int, str]:
    """Run ``infer`` here; give its exit status and what it printed on standard error."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = cli.main([*arguments, "--out", str(out), *options])
    return status, errors.getvalue()


def start(arguments: list[str], out: Path, *options: str) -> subprocess.Popen[bytes]:
    """Run ``infer`` in a process of its own."""
    command = [sys.executable, "-m", "gliomart.cli", *arguments, "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_files(out: Path) -> None:
    """Read every file that has its final name to its end."""
    for path in out.rglob("*"):
        if path.is_file() and not path.name.endswith(".partial"):
            _check_file(path, path.read_bytes())


def _check_file(path: Path, content: bytes) -> None:
    if path.name == output.JOURNAL:  # its last line may be cut off, as the run that reads it knows
        for line in content.splitlines(keepends=True)[:-1]:
            json.loads(line)
    elif path.parent.name == output.PICTURES:
        assert len(json.loads(content)) == SLICES
    elif path.name == output.REPORT:
        assert content.rstrip().endswith(b"</html>"), f"{path} is cut off"
    elif path.suffix == ".json":
        assert {"series", "slices", "not_analysed"} < json.loads(content).keys()
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        assert len(rows) == SERIES * SLICES + 1, f"{path} has {len(rows)} rows"
        assert not any(None in row or None in row.values() for row in rows)
    elif path.suffix == ".png":
        assert b"IEND" in content[-12:], f"{path} is cut off"
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is not None
    else:
        assert path.suffix == ".npy", f"{path} was not expected"
        assert np.load(io.BytesIO(content)).dtype == np.float32


def contents(out: Path) -> dict[str, Any]:
    """Everything in a folder of results by its place, without the times in results.json."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            found[path.relative_to(out).as_posix()] = path.read_bytes()
    document = json.loads(found[output.RESULTS])
    for entry in document["slices"]:
        del entry["ms"]
    return found | {output.RESULTS: document}


def resume(arguments: list[str], out: Path) -> str:
    """Look at what a killed run left, let it go on to its end, and tell where it was hit."""
    hit = _where(out)
    check_files(out)
    assert run(arguments, out, "--resume") == 0
    check_files(out)
    return hit


def kill(arguments: list[str], out: Path, delay_s: float, *options: str) -> None:
    """Kill a run after so many seconds."""
    process = start(arguments, out, *options)
    time.sleep(delay_s)
    process.kill()
    process.wait()


def kill_at(operation: int, arguments: list[str], out: Path, *options: str) -> bool:
    """Kill a run just before it changes the output folder for so many times; False if it ended."""
    given = ["--die-at", str(operation), str(out), *arguments, "--out", str(out), *options]
    command = [sys.executable, __file__, *given]
    status = subprocess.run(command, capture_output=True, check=False).returncode
    assert status in {0, -signal.SIGKILL}, f"ended in {status}"
    return status != 0


def _die_at(operation: int, out: str, arguments: list[str]) -> int:
    """Run a command in this process, which dies before an operation on files in a folder."""
    left = operation

    def count(event: str, details: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event in _CHANGES or (event == "open" and details[2] & _WRITING)
        if writes and _place(event, details).startswith(out):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return cli.main(arguments)


def _where(out: Path) -> str:
    if not out.is_dir():
        return "no folder"
    abandoned = ", a file half-written" if list(out.rglob("*.partial")) else ""
    journal = out / output.JOURNAL
    if not journal.exists():
        return "complete results" if (out / output.RESULTS).exists() else "an empty folder"
    lines = journal.read_bytes().count(b"\n")
    if lines == 0:
        return f"an empty journal{abandoned}"
    if (out / output.TABLE).exists():
        return f"all series finished, tables being written{abandoned}"
    return f"{lines - 1} of {SERIES} series finished{abandoned}"


def _place(event: str, details: tuple[Any, ...]) -> str:
    if event in {"os.remove", "os.rmdir"} and details[1] != -1:  # relative to an open folder
        return str(Path(f"/proc/self/fd/{details[1]}").readlink())
    return str(details[0])


def _seconds(arguments: list[str], out: Path, *options: str) -> float:
    began = time.perf_counter()
    assert start(arguments, out, *(options if out.exists() else ())).wait() == 0
    return time.perf_counter() - began


def _random_moments(arguments: list[str], folder: Path, count: int, seed: int) -> Counter[str]:
    chance = random.Random(seed)  # noqa: S311
    hits: Counter[str] = Counter()
    assert start(arguments, folder / "warm-up").wait() == 0
    whole_s = min(_seconds(arguments, folder / "whole", "--overwrite") for _ in range(3))
    undisturbed = contents(folder / "whole")
    print(f"an undisturbed run takes {whole_s:.2f} s and leaves {len(undisturbed)} files")
    for number in range(count):
        # Of four runs two begin anew, one replaces results, one was killed before and resumes.
        out = folder / f"out{number - (number % 4 == 1)}"
        options = ((), ("--overwrite",), (), ("--resume",))[number % 4]
        if "--resume" in options:
            kill(arguments, out, chance.uniform(0.5, 0.9) * whole_s)
        kill(arguments, out, chance.uniform(0.5 if options else 0, 1) * whole_s, *options)
        hits[resume(arguments, out)] += 1
        assert contents(out) == undisturbed, f"{out} differs after kill {number}"
    return hits


def _every_operation(arguments: list[str], folder: Path) -> Counter[str]:
    hits: Counter[str] = Counter()
    assert run(arguments, folder / "whole") == 0
    undisturbed = contents(folder / "whole")
    for options in ((), ("--overwrite",)):
        for operation in itertools.count(1):
            out = folder / f"out{'-'.join(options)}-{0 if options else operation}"
            if options:
                assert run(arguments, out, *(options if out.exists() else ())) == 0
            if not kill_at(operation, arguments, out, *options):
                break
            hits[resume(arguments, out)] += 1
            assert contents(out) == undisturbed, f"{out} differs after operation {operation}"
    return hits


def _main() -> None:
    if sys.argv[1:2] == ["--die-at"]:
        sys.exit(_die_at(int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="kills at random moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--every-operation",
        action="store_true",
        help="instead, kill before each operation on files of the output folder",
    )
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = make_inputs(folder)
        if options.every_operation:
            hits = _every_operation(arguments, folder)
        else:
            hits = _random_moments(arguments, folder, options.count, options.seed)
    print(f"{sum(hits.values())} kills in {time.perf_counter() - began:.0f} s;")
    print("every file was whole, every resumed run ended as the undisturbed one did. Hit with:")
    for where, count in sorted(hits.items()):
        print(f"{count:5}  {where}")


if __name__ == "__main__":
    _main()
