"""Measure the content check: what share of each kind it tells, and how many good scans it stops.

    python benchmarks/content.py DATA --split train --out content-held-out.json
    python benchmarks/content.py DATA --split dev --out content-dev.json
    python benchmarks/content.py DATA --split train --side 128 --out content-128.json

DATA holds ``lgg_flair``, ``lgg_t1`` and perhaps ``ms_ljubljana`` and ``dicom``. What the model
knows is fitted on the patients of the split train; those are held out in five groups when they are
measured themselves. Series are 12 evenly spaced slices, and images each of these by itself, whether
it shows brain or not. No mask is read. With ``--side`` only what alterations show is measured, of
series brought to so many pixels by averaging.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.findings.content import content_of
from gliomart.findings.familiar import LOOKED_AT, unfamiliar
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Slice, of_array
from gliomart.model.familiar import Familiar
from gliomart.model.model import Model
from gliomart_export import familiarity, looks
from gliomart_export.looks import GOOD
from gliomart_training import dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gliomart.model.card import ModelCard
    from gliomart_export.looks import Seen
    from gliomart_training.patients import Patient

_GROUPS, _PICTURES, _HEADS = 5, 300, 20
_SEQUENCES = {"a T1": "t1", "a T1 after contrast": "t1c"}
Counts = dict[str, Counter[str]]


def _others(data: Path, split: str, patient: str) -> dict[str, list[Slice]]:
    folders = {name: data / "lgg_t1" / folder / split for name, folder in _SEQUENCES.items()}
    return looks.others_of(patient, folders)


def _count(counts: Counter[str], codes: Sequence[str]) -> None:
    counts["all"] += 1
    counts["told"] += bool(codes)
    counts.update(dict.fromkeys(codes, 1))


def _looked_at(seen: Seen, familiar: Familiar, series: Counts, images: Counts) -> None:
    """Count what is told of all kinds of one patient, by their appearance."""
    for kind, every in seen.series.items():
        for number, series_looks in enumerate(every):
            copied = kind == GOOD and number > 0
            name = "good, at drawn scanners or with suppressed fat" if copied else kind
            _count(series[name], [c.code for c in unfamiliar(series_looks, familiar)])
    for kind, alone in seen.images.items():
        for look in alone:
            _count(images[kind], [c.code for c in unfamiliar(look[np.newaxis], familiar)])


def _codes(slices: Sequence[Slice], card: ModelCard) -> list[str]:
    """Give all that the pixels of a series say against it."""
    try:
        norm = estimate_normalisation(slices, card.preprocessing)
    except InputRefusedError as error:
        return [error.code]
    return list(dict.fromkeys(c.code for c in content_of(slices, norm, card).concerns))


def _altered() -> dict[str, Callable[[NDArray[np.float32], float], NDArray[Any]]]:
    """Change a stack (N, H, W), of which 99 % lie below a value."""
    return {
        "good, all of the check": lambda p, _: p,
        "wrapped at 8 bits": lambda p, top: np.floor(p * 330 / top) % 256,
        "wrapped at 8 bits, then averaged to half": lambda p, top: np.stack(
            [_averaged(wrapped, p.shape[1] // 2) for wrapped in np.floor(p * 330 / top) % 256]
        ),
        "saturated at the brain": lambda p, top: np.minimum(p, 0.35 * top),
        "two grey values": lambda p, top: np.where(p > 0.2 * top, 255.0, 0.0),
        "cut by a quarter, to the edge": lambda p, _: p[:, :, _quarter(p) :],
        "cut by a quarter, to black": lambda p, _: np.where(
            np.arange(p.shape[2]) < _quarter(p), 0, p
        ),
    }


def _averaged(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Bring a slice to (side, side), no more than it has."""
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _quarter(stack: NDArray[np.float32]) -> int:
    """Find the column up to which a quarter of the head's width lies."""
    bright = (stack > 0.1 * stack.max()).mean(axis=(0, 1))
    columns = np.flatnonzero(bright > 0.1)
    return int(columns[0] + len(columns) / 4)


def _measured(patient: Patient, card: ModelCard, series: Counts, side: int | None = None) -> None:
    slices = evenly_spaced([s for s in patient.slices if np.ptp(s.pixels) > 0], LOOKED_AT)
    stack = np.stack([_averaged(s.pixels, side or len(s.pixels)) for s in slices])
    top = float(np.percentile(stack, 99))
    for name, change in _altered().items():
        changed = np.asarray(change(stack, top), np.float32)
        kept = [of_array(p) for p in changed if np.ptp(p) > 0]
        _count(series[name], _codes(kept, card))


def _beside(data: Path, card: ModelCard) -> dict[str, list[str]]:
    """Tell what is said of the other series at hand, by folder or file."""
    said = {}
    places = [*sorted(data.glob("ms_ljubljana/*/anat/*")), *sorted(data.glob("dicom/not_*/*"))]
    places += [data / "dicom" / n for n in ("head_ct_ge", "t1_mprage_trio", "flair_axial_lgg")]
    for place in places:
        for found in sources.scan([place]).series:
            items = sources.read_series(found.files, found.source)
            slices = [item for item in items if isinstance(item, Slice)]
            shapes = Counter(s.pixels.shape for s in slices)
            if shapes:
                usual = [s for s in slices if s.pixels.shape == shapes.most_common(1)[0][0]]
                said[found.source] = _codes(evenly_spaced(usual, 32), card)
    return said


def main() -> None:
    """Measure one split and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=("train", "dev"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, help="measure alterations at so many pixels alone")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    card = Model(None, provider="cpu", threads=1).card
    spec = card.preprocessing

    def look(split: str) -> dict[str, tuple[Patient, Seen]]:
        patients = dataset.load(options.data / "lgg_flair", split)
        others = {p.id: _others(options.data, split, p.id) for p in patients}
        return {p.id: (p, looks.see(p, spec, others[p.id])) for p in patients}

    if options.side is not None:
        counts: Counts = defaultdict(Counter)
        for patient in dataset.load(options.data / "lgg_flair", options.split):
            _measured(patient, replace(card, familiar=None), counts, options.side)
        _write(options.out, {"split": options.split, "side": options.side, "series": counts})
        return

    train = look("train")
    drawn = looks.pictures(spec, _PICTURES)
    heads = looks.see_simulated(_HEADS, spec)
    names = sorted(train)
    groups = [[train[name][1] for name in names[n::_GROUPS]] for n in range(_GROUPS)]
    series: Counts = defaultdict(Counter)
    images: Counts = defaultdict(Counter)

    def measure(patients: Sequence[tuple[Patient, Seen]], familiar: Familiar) -> None:
        for patient, seen in patients:
            _looked_at(seen, familiar, series, images)
            _measured(patient, replace(card, familiar=familiar), series)

    if options.split == "dev":
        familiar = familiarity.fit(groups, heads, drawn, _SEQUENCES)
        measure(list(look("dev").values()), familiar)
    else:
        for n in range(_GROUPS):
            rest = [group for number, group in enumerate(groups) if number != n]
            familiar = familiarity.fit(rest, heads, drawn, _SEQUENCES)
            measure([train[name] for name in names[n::_GROUPS]], familiar)
        familiar = familiarity.fit(groups, heads, drawn, _SEQUENCES)
    written = {
        "split": options.split,
        "series": series,
        "images": images,
        "beside": _beside(options.data, replace(card, familiar=familiar)),
    }
    _write(options.out, written)


def _write(file: Path, written: dict[str, Any]) -> None:
    file.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for level in ("series", "images"):
        for name, counts in written.get(level, {}).items():
            print(f"{level}: {name}: {counts['told'] / counts['all']:.3f} of {counts['all']}")


if __name__ == "__main__":
    main()
