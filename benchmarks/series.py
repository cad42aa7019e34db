"""Time whole series by several models, in turns, and measure what memory they take.

``python benchmarks/series.py MODEL... --out FILE.json [--study DIR | --slices N...]``

A model is a file, or the name of one that comes along; ``NAME=MODEL`` calls it otherwise. Every
model analyses the FLAIR of a study alone and, where it takes companions, with those that stand
beside it, as ``gliomart infer`` does: from the scan of the files to results and report. In each
round every one has its turn, in a new order; the ratio is that to the first model, FLAIR alone, in
that round.

Without ``--study`` the study is simulated: slices of the one that comes along, each as often as it
takes, and a T1 made of them.

Memory is measured in processes of their own, by workers (``Detector(threads=...)``), and nothing is
kept of the results: ``arena_mb`` is what ONNX Runtime's allocator has taken from the system, of the
512 MiB that all models of a process may have; each time it takes twice as much as before, so that
half of it may be to spare. ``peak_mb`` is the most memory that the whole process had (Linux).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom

from gliomart import Detector, SliceResult, sources
from gliomart.bench import machine
from gliomart.errors import GliomartError, UsageError
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.options import OutputOptions
from gliomart.outputs.target import check_target
from gliomart.printable import last_line
from gliomart.run import Run
from gliomart.sources.simulated import simulated_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart.sources import SeriesFiles

_MIB = 2**20
_COVERED_MM = 140  # by a simulated series, however many its slices
_TAKEN = re.compile(r"Total allocated bytes: (\d+)")


@dataclass(frozen=True)
class Case:
    """One model on a study.

    Attributes
    ----------
    name, model
        What the model is called here, and what a detector is made of.
    detector
        Made of it.
    paths
        What it analyses.
    beside
        How many series stand beside the FLAIR.
    """

    name: str
    model: str
    detector: Detector
    paths: tuple[Path, ...]
    beside: int

    def turn(self) -> tuple[float, int]:
        """Analyse the study: seconds, and slices that were analysed.

        Raises
        ------
        UsageError
            A companion was not seen.
        """
        with TemporaryDirectory() as folder:
            started = perf_counter()
            run = Run(self.detector, sources.scan(self.paths), Path(folder), OutputOptions())
            results = run.write()
            seconds = perf_counter() - started
        seen = sum("seen-together" in json.dumps(each) for each in results["series"])
        if bool(seen) != bool(self.beside):
            raise UsageError(f"{self.name}: what stands beside the FLAIR was not seen")
        return seconds, len(results["slices"])


def cases(models: Sequence[str], study: Path, threads: int | None) -> list[Case]:
    """Open every model, and find what it sees of a study.

    Raises
    ------
    UsageError
        The study holds no series.
    """
    opened = []
    for each in models:
        name, _, model = each.rpartition("=")
        detector = Detector(model, provider="cpu", threads=threads)
        arranged = detector.arrange(sources.scan([study]).series)
        opened.append((name or Path(model).stem, model, detector, _leading(arranged)))
    leading = _leading([series for *_, series in opened if series is not None])
    if leading is None:
        raise UsageError(f"{study}: holds no series")
    alone, found = tuple(file.path for file in leading.files), []
    for name, model, detector, series in opened:
        found.append(Case(name, model, detector, alone, 0))
        if series is not None and series.companions:
            found.append(Case(name, model, detector, (study,), len(series.companions)))
    return found


def _leading(arranged: Sequence[SeriesFiles]) -> SeriesFiles | None:
    """Pick a series beside which others stand, the longest if there are several."""
    return max(arranged, key=lambda each: (bool(each.companions), len(each.files)), default=None)


def timed(every: Sequence[Case], rounds: int) -> list[dict[str, Any]]:
    """Give all their turns, after one that warms them up.

    Raises
    ------
    UsageError
        They do not analyse the same number of slices.
    """
    counts = {case.turn()[1] for case in every}
    if len(counts) > 1:
        raise UsageError(f"the models analyse {sorted(counts)} slices, and are no comparison")
    seconds = np.zeros((rounds, len(every)))
    rng = np.random.default_rng(0)
    for turns in seconds:
        for number in rng.permutation(len(every)):
            turns[number], _ = every[number].turn()
    ratios = seconds / seconds[:, :1]
    return [
        {
            "model": case.name,
            "beside": case.beside,
            "seconds": _spread(of_case),
            "ratio": _spread(ratio),
        }
        for case, of_case, ratio in zip(every, seconds.T, ratios.T, strict=True)
    ]


def _spread(values: np.ndarray) -> dict[str, float]:
    percentiles = np.percentile(values, (5, 50, 95)).round(3).tolist()
    return dict(zip(("p5", "p50", "p95"), percentiles, strict=True))


def memory(case: Case, workers: int) -> dict[str, Any]:
    """Analyse a study in a process of its own, and tell what memory that takes.

    Raises
    ------
    GliomartError
        It fails.
    """
    command = [sys.executable, __file__, "--measured", case.model, str(workers), *case.paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GliomartError(f"{case.name} with {workers} workers: {last_line(done.stderr)}")
    taken = [int(number) for number in _TAKEN.findall(done.stderr)]
    measured = {"arena_mb": round(max(taken, default=0) / _MIB), **json.loads(done.stdout)}
    return {"model": case.name, "beside": case.beside, "workers": workers, **measured}


def measured(model: str, workers: str, *paths: str) -> None:
    """Analyse a study and keep nothing; print how many slices, and the peak memory."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(1)  # its allocator tells whenever it takes memory
    detector = Detector(model, provider="cpu", threads=int(workers))
    slices = sum(isinstance(item, SliceResult) for item in detector.stream(paths))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps({"slices": slices, "peak_mb": round(peak / 1024)}))


@contextmanager
def simulated(slices: int) -> Iterator[Path]:
    """Write an examination of FLAIR and T1, so many slices each, for as long as this lasts."""
    with simulated_study() as known, TemporaryDirectory() as folder:
        files = sorted(known.glob("*.dcm"))
        for number in range(slices):
            for sequence in ("flair", "t1"):
                dataset = pydicom.dcmread(files[number * len(files) // slices])
                dataset.decompress(generate_instance_uid=False)
                if sequence == "t1":
                    _as_t1(dataset)
                uid = f"{dataset.SeriesInstanceUID[:56]}.{number + 1}"
                dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
                dataset.InstanceNumber = number + 1
                across, down, _ = dataset.ImagePositionPatient
                height = round(number * _COVERED_MM / slices, 3)
                dataset.ImagePositionPatient = [across, down, height]
                file = Path(folder) / f"{sequence}-{number:03}.dcm"
                dataset.save_as(file, enforce_file_format=True)
        yield Path(folder)


def _as_t1(dataset: pydicom.Dataset) -> None:
    """Give a slice the header of T1, and its contrast: bright tissue dark, air darkest."""
    dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID[:50]}.1"
    dataset.SeriesDescription, dataset.ScanningSequence = "AX T1 (simulated)", ["SE"]
    dataset.RepetitionTime, dataset.EchoTime = 500.0, 12.0
    del dataset.InversionTime
    pixels = dataset.pixel_array.astype(np.float32)
    top = 1.3 * np.percentile(pixels, 99)
    turned = np.where(pixels > 0.15 * top, np.clip(top - 0.6 * pixels, 0, None), 0.5 * pixels)
    dataset.PixelData = turned.astype(dataset.pixel_array.dtype).tobytes()


def of_study(study: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all models on one study."""
    every = cases(options.models, study, options.threads)
    seconds = timed(every, options.rounds) if options.rounds else []
    taken = [memory(case, workers) for case in every for workers in options.workers]
    return {"seconds": seconds, "memory": taken}


def described(models: Sequence[str]) -> list[dict[str, Any]]:
    """Tell which model files ran."""
    found = []
    for each in models:
        name, _, model = each.rpartition("=")
        detector = Detector(model, provider="cpu")
        settings, card = detector.settings, detector.card
        found.append(
            {
                "called": name or Path(model).stem,
                "name": settings.model_name,
                "version": settings.model_version,
                "sha256": settings.model_sha256,
                "family": card.family,
                "network": card.network.get("name"),
                "precision": machine.precision(card),
                "provider": settings.provider.effective,
            }
        )
    return found


def asked(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("models", nargs="+", metavar="[NAME=]MODEL")
    made.add_argument("--study", type=Path, help="folder of one examination")
    made.add_argument("--slices", type=int, nargs="+", default=[24, 48, 176], help="simulated ones")
    made.add_argument("--rounds", type=int, default=10, help="turns of each; 0: memory alone")
    made.add_argument("--threads", type=int, help="of what is timed")
    made.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8], help="for memory")
    made.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return made.parse_args(arguments)


def main() -> None:
    """Measure, and write what was found."""
    chosen = asked()
    check_target(chosen.out, [chosen.study])
    written: dict[str, Any] = {
        "schema": 1,
        "software": machine.versions(),
        "machine": machine.description(),
        "models": described(chosen.models),
        "threads": chosen.threads,
        "rounds": chosen.rounds,
        "studies": {},
    }
    if chosen.study is not None:
        written["studies"][chosen.study.resolve().name] = of_study(chosen.study, chosen)
    for slices in [] if chosen.study is not None else chosen.slices:
        with simulated(slices) as study:
            written["studies"][f"simulated, {slices} slices"] = of_study(study, chosen)
    write_atomically(chosen.out, (json.dumps(written, indent=1) + "\n").encode())
    for name, found in written["studies"].items():
        for row in (*found["seconds"], *found["memory"]):
            print(name, json.dumps(row))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        measured(*sys.argv[2:])
    else:
        try:
            main()
        except GliomartError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(error.exit_status)
