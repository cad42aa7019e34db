"""Measure how soon the watch for drift notices a change, and how often where there is none.

``python benchmarks/drift.py shared/data/lgg_flair shared/data/lgg_t1`` analyses every patient of
one split as scanned and changed in every way of ``CHANGES``, keeps what the watch counts of each in
``--cache`` (by model, so that a second run takes minutes), and replays streams of studies that are
drawn from these with replacement: so many as scanned, then all changed. It writes
``benchmarks/results/drift.json`` and the tables of ``docs/drift.md``.

Nothing is chosen by what comes out, and no mask is looked at.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import inspect
import json
import multiprocessing
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart import Detector, Slice
from gliomart._version import __version__
from gliomart.findings.photometry import photometry_of
from gliomart.image.grid import uncrop
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.steps import Preprocessing, Shading
from gliomart.outputs import records
from gliomart.site import drift
from gliomart.site.drift_evidence import REFERENCE, Evidence
from gliomart.site.drift_record import LIMIT, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Values = dict[str, float | None]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "drift.md"
RESULTS = ROOT / "benchmarks" / "results" / "drift.json"
_MARK = r"(<!-- (\w+): made by benchmarks/drift\.py -->\n).*?(<!-- end -->)"
_MARKED = re.compile(_MARK, re.DOTALL)
# Nominal, as the data set has none: only what is done to it matters.
_SPACING_MM, _STEP_MM = (0.9375, 0.9375), 5.0
_GAMMA = 0.15  # of the exponent's logarithm
_SHADING = 0.25  # of the logarithm of brightness, from the centre to one side
_NOISE = 0.01  # of a series' brightest hundredth
# Studies before the change, replays of each, and how long is waited for a notice.
BEFORE, REPLAYS, MOST = (40, 100), 200, 200
# Replays without a change, and their length.
QUIET_REPLAYS, QUIET_STUDIES, ORDERS = 200, 500, 1000


def gamma(volume: Volume, exponent: float) -> Volume:
    """Raise brightness to a power; its brightest hundredth stays."""
    bright = np.float32(np.percentile(volume, 99))
    return bright * (volume / bright) ** np.float32(exponent)


def shaded(volume: Volume, seed: int) -> Volume:
    """Add a smooth field in a direction that is drawn for each patient."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in volume.shape), indexing="ij")
    field = sum(part * axis for part, axis in zip(direction, axes, strict=True))
    return volume * np.exp(_SHADING * field).astype(np.float32)


def doubled(volume: Volume) -> Volume:
    """Multiply a series by the field of uneven light that is found in it."""
    slices = [Slice(pixels, spacing=_SPACING_MM) for pixels in volume]
    norm = estimate_normalisation(slices, Preprocessing(shading=Shading()))
    assert norm.field is not None
    shape = volume[0].shape
    fields = [norm.field.at(number).log[0] for number in range(len(volume))]
    return volume * np.exp(np.stack([uncrop(log, norm.box, shape) for log in fields]))


def halved(volume: Volume) -> Volume:
    """Halve the resolution in plane, and interpolate, as scanners do, to the same matrix."""

    def half(pixels: Volume) -> Any:
        small = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, pixels.shape[::-1], interpolation=cv2.INTER_CUBIC)

    return np.maximum(np.stack([half(pixels) for pixels in volume]), 0)


def noisy(volume: Volume, seed: int) -> Volume:
    """Add noise as of magnitude images (Gudbjartsson and Patz 1995: Rician)."""
    rng = np.random.default_rng(seed)
    sigma = _NOISE * np.percentile(volume, 99)
    real, imaginary = (rng.normal(0, sigma, volume.shape) for _ in range(2))
    return np.hypot(volume + real, imaginary).astype(np.float32)


# What is done to a series of (slices, height, width), by its name, with a seed of the patient's.
CHANGES: Mapping[str, Callable[[Volume, int], Volume]] = {
    "gamma +.15": lambda volume, _: gamma(volume, float(np.exp(_GAMMA))),
    "gamma -.15": lambda volume, _: gamma(volume, float(np.exp(-_GAMMA))),
    "shading doubled": lambda volume, _: doubled(volume),
    "shading of 25 % added": shaded,
    "half the resolution": lambda volume, _: halved(volume),
    "noise": noisy,
}
THICKER, SEQUENCE, MATCHED = "every second slice", "T1", "as scanned, where T1 is"


def measure(detector: Detector, volume: Volume, step: float) -> Values:
    """Analyse a series, and give what the watch counts of a study."""
    axial = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    slices = [
        Slice(p, spacing=_SPACING_MM, position=(0.0, 0.0, step * n), orientation=axial)
        for n, p in enumerate(np.asarray(volume, np.float32))
    ]
    result = detector.detect_series(slices)
    entries = []
    for each in result.slices:
        entry = records.slice_entry(each, dict.fromkeys(("overlay", "map", "mask")), 0.0)
        entry["photometry"] = records.photometry_entry(photometry_of(each))
        entries.append(entry)
    return drift.values_of(entries, len(result.not_analysed))


def measure_patient(
    patient: str, images: Sequence[tuple[Path, Path | None]], model: Path | None
) -> dict[str, Values]:
    """Measure one patient as scanned and changed in every way; files of FLAIR, and of T1."""
    detector = Detector(model, provider="cpu", threads=1)
    volume = np.stack([_read(path) for path, _ in images])
    seed = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:4])
    series = {"as scanned": volume}
    series |= {name: change(volume, seed) for name, change in CHANGES.items()}
    pairs = [(path, other) for path, other in images if other is not None]
    if pairs:
        series[MATCHED] = np.stack([_read(path) for path, _ in pairs])
        series[SEQUENCE] = np.stack([_read(other) for _, other in pairs])
    found = {name: measure(detector, each, _STEP_MM) for name, each in series.items()}
    found[THICKER] = measure(detector, volume[::2], 2 * _STEP_MM)
    return found


def _read(path: Path) -> Volume:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None, path
    return pixels.astype(np.float32)


def measured(options: argparse.Namespace) -> tuple[dict[str, dict[str, Values]], dict[str, Any]]:
    """Measure every patient, or read what was kept; gives it, and which model it was."""
    detector = Detector(options.model, provider="cpu")
    sha256, card = detector.settings.model_sha256, detector.card
    undone = card.preprocessing.shading is not None
    model = {"name": card.name, "version": card.version, "sha256": sha256, "shading_undone": undone}
    with (options.t1 / "index.csv").open(newline="") as stream:
        t1 = {row["flair"]: row["t1"] for row in csv.DictReader(stream)}
    patients: defaultdict[str, list[tuple[int, Path, Path | None]]] = defaultdict(list)
    with (options.flair / "index.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == options.split:
                other = options.t1 / t1[row["image"]] if t1.get(row["image"]) else None
                place = int(row["slice"]), options.flair / row["image"], other
                patients[row["patient"]].append(place)
    parts = (*_MEASURING, photometry_of, drift.values_of)
    code = "".join(map(inspect.getsource, parts)) + repr((_GAMMA, _SHADING, _NOISE))
    kept = options.cache / f"{sha256[:12]}-{hashlib.sha256(code.encode()).hexdigest()[:8]}"
    kept.mkdir(parents=True, exist_ok=True)
    missing = [patient for patient in patients if not (kept / f"{patient}.json").exists()]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawned) as pool:
        jobs = {
            patient: pool.submit(
                measure_patient,
                patient,
                [(path, other) for _, path, other in sorted(patients[patient])],
                options.model,
            )
            for patient in missing
        }
        for patient, job in jobs.items():
            (kept / f"{patient}.json").write_text(json.dumps(job.result()))
            print(patient, file=sys.stderr, flush=True)
    return {each: json.loads((kept / f"{each}.json").read_text()) for each in patients}, model


_MEASURING = (gamma, doubled, shaded, halved, noisy, measure, measure_patient)


class Watch:
    """The evidence of every statistic, as the record keeps it of one scanner and sequence."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._evidence = {name: Evidence() for name in STATISTICS}

    def add(self, values: Values) -> list[str]:
        """Count a study; gives the statistics that have moved, which begin anew."""
        moved = []
        for name, value in values.items():
            if value is not None:
                bin_ = drift.bin_of(name, value)
                evidence = self._evidence[name].with_value(bin_, self._rng.random())
                if evidence.value >= LIMIT:
                    moved.append(f"{name} {'risen' if evidence.risen else 'fallen'}")
                    evidence = Evidence()
                self._evidence[name] = evidence
        return moved


def delays(
    before: Sequence[Values], after: Sequence[Values], studies: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Replay a change after so many studies, and count those until it is noticed."""
    found: list[float] = []
    first: Counter[str] = Counter()
    early = 0
    for _ in range(REPLAYS):
        watch = Watch(rng)
        early += sum(len(watch.add(values)) for values in _drawn(before, studies, rng))
        moved: list[str] = []
        for number, values in enumerate(_drawn(after, MOST, rng), 1):
            if moved := watch.add(values):
                found.append(number)
                break
        else:
            found.append(np.inf)
        first.update(moved)
    low, middle, high = np.percentile(found, (10, 50, 90), method="higher")
    return {
        "studies_before": studies,
        "delay_median": _whole(middle),
        "delay_10_90": [_whole(low), _whole(high)],
        "noticed": float(np.mean(np.isfinite(found))),
        "false_notices_before": early,
        "moved_first": dict(first.most_common(4)),
    }


def quiet(studies: Sequence[Values], rng: np.random.Generator) -> dict[str, Any]:
    """Count notices where nothing changes."""
    drawn = [_notices(_drawn(studies, QUIET_STUDIES, rng), rng) for _ in range(QUIET_REPLAYS)]
    orders = [
        _notices([studies[n] for n in rng.permutation(len(studies))], rng) for _ in range(ORDERS)
    ]
    return {
        "drawn": _rate(drawn, QUIET_STUDIES),
        "orders_of_all_patients": _rate(orders, len(studies)),
    }


def _notices(studies: Iterable[Values], rng: np.random.Generator) -> int:
    watch = Watch(rng)
    return sum(len(watch.add(values)) for values in studies)


def _rate(notices: Sequence[int], length: int) -> dict[str, Any]:
    return {
        "replays": len(notices),
        "studies_each": length,
        "false_notices": sum(notices),
        "per_1000_studies": 1000 * sum(notices) / (len(notices) * length),
        "replays_with_any": float(np.mean(np.array(notices) > 0)),
        "bound_on_any": length / 1000,
    }


def _drawn(studies: Sequence[Values], count: int, rng: np.random.Generator) -> Iterable[Values]:
    return (studies[number] for number in rng.integers(len(studies), size=count))


def _whole(number: float) -> int | None:
    return int(number) if np.isfinite(number) else None


def spread(before: Sequence[Values], after: Sequence[Values]) -> dict[str, float]:
    """Tell how far a change moves each statistic, in standard deviations between patients."""
    moved = {}
    for name in STATISTICS:
        both = [
            [drift.bin_of(name, v[name]) for v in each if v[name] is not None]
            for each in (before, after)
        ]
        if all(both) and np.std(both[0]) > 0:
            moved[name] = round(float((np.mean(both[1]) - np.mean(both[0])) / np.std(both[0])), 2)
    return moved


def report(
    by_patient: Mapping[str, Mapping[str, Values]], model: Mapping[str, Any]
) -> dict[str, Any]:
    """Replay everything."""
    rng = np.random.default_rng(0)
    usual = [found["as scanned"] for found in by_patient.values()]
    changes = {}
    for name in (*CHANGES, THICKER, SEQUENCE):
        reference = MATCHED if name == SEQUENCE else "as scanned"
        pairs = [f for f in by_patient.values() if name in f]
        before, after = [f[reference] for f in pairs], [f[name] for f in pairs]
        replays = [delays(before, after, studies, rng) for studies in BEFORE]
        changes[name] = {
            "patients": len(pairs),
            "moved_by_deviations": spread(before, after),
            "replays": replays,
        }
        print(name, replays, file=sys.stderr, flush=True)
    return {
        "software": __version__,
        "model": dict(model),
        "patients": len(by_patient),
        "reference_studies": REFERENCE,
        "limit": LIMIT,
        "statistics": list(STATISTICS),
        "replays": REPLAYS,
        "most_studies_after": MOST,
        "changes": changes,
        "without_a_change": quiet(usual, rng),
    }


def rewritten(page: str, figures: Mapping[str, Any]) -> str:
    """Put the figures into the page."""
    parts = {"delays": _delays(figures), "quiet": _quiet(figures)}
    return _MARKED.sub(lambda m: f"{m[1]}\n{parts[m[2]]}\n{m[3]}", page)


def _delays(figures: Mapping[str, Any]) -> str:
    columns = "".join(f" after {studies} studies | noticed |" for studies in BEFORE)
    model = figures["model"]
    undone = "undone" if model["shading_undone"] else "left as it is: `shading` is not known"
    told = f"{model['name']} {model['version']} ({model['sha256'][:12]}), uneven light {undone}"
    lines = [
        f"Of {figures['patients']} patients, by {told}:\n",
        f"| change |{columns} moves first |",
        "|---" * (2 + 2 * len(BEFORE)) + "|",
    ]
    for name, change in figures["changes"].items():
        cells = []
        for each in change["replays"]:
            low, high = (_delay(value) for value in each["delay_10_90"])
            cells += [f"{_delay(each['delay_median'])} [{low}, {high}]", f"{each['noticed']:.2f}"]
        first = next(iter(change["replays"][-1]["moved_first"]), "–")
        lines.append(f"| {name} | {' | '.join(cells)} | {first} |")
    return "\n".join(lines) + "\n"


def _delay(studies: int | None) -> str:
    return f"> {MOST}" if studies is None else str(studies)


def _quiet(figures: Mapping[str, Any]) -> str:
    names = {"drawn": "drawn with replacement", "orders_of_all_patients": "each once, in any order"}
    lines = [
        "| studies | replays | of so many | false notices | per 1,000 | replays with any | bound |",
        "|---" * 7 + "|",
    ]
    for key, label in names.items():
        each = figures["without_a_change"][key]
        lines.append(
            f"| {label} | {each['replays']} | {each['studies_each']} | {each['false_notices']} |"
            f" {each['per_1000_studies']:.3f} | {each['replays_with_any']:.3f} |"
            f" {each['bound_on_any']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flair", type=Path, help="data set of axial FLAIR slices")
    parser.add_argument("t1", type=Path, help="T1 of the same slices")
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("drift-cache"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    figures = report(*measured(options))
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
