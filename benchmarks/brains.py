"""Measure the brain output of a model file against 60 brains whose outline is known.

``python benchmarks/brains.py DATA --model FILE --out FILE.json [--only CONDITION...]``

36 slices were outlined by eye (``brains.json`` beside this file says how), 24 are simulated. All go
through the runtime as parts of their whole series. They are measured as scanned, and again

- each as a series of its own;
- with a lesion put into the brain, of a fiftieth to a third of it, up to saturation;
- with what surrounds the brain darker, brighter, without scalp, or gone, and drawn in to 0.6 of its
  thickness, as thin as a child's: in all slices of a simulated series, whose brains are all known,
  and in the outlined ones of a real series.

A pixel counts as brain from a probability of 0.5 on. Everything is counted on the model's grid. No
threshold, no weight and no map is made from this.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gliomart import Detector, sources
from gliomart.image.grid import crop, depth
from gliomart.image.head import head_mask
from gliomart.image.slices import Slice
from gliomart_training.simulation import simulate_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gliomart.findings.results import SliceResult

    Pixels = NDArray[np.float32]
    Mask = NDArray[np.bool_]
    # Pixels of a slice, its brain and its number to other pixels, and where a lesion was put.
    Change = Callable[[Pixels, Mask, int], tuple[Pixels, Mask | None]]

MARKED = Path(__file__).with_name("brains.json")
HEADS, SLICES_OF_A_HEAD = 6, 24
LEVELS = ("posterior fossa", "skull base", "middle", "upper")
# The first slice of each level in a simulated head.
_FIRST_SLICE = (0, 8, 10, 18)
# Output farther than this outside the outline is leak, in pixels of the model's grid.
TOLERANCE = 3.0
# Slices with less brain than this share of the grid are not asked for a Dice.
SMALLEST = 0.01
WANTED_DICE, WANTED_KEPT = 0.95, 0.97
LESION_SIZES = (0.02, 0.1, 0.33)
# The lesion's brightness, as a multiple of the brain's median; from 2.5 on the input saturates.
LESION_LEVELS = (1.5, 2.0, 3.0)
# The scalp's thickness, as a share of the head's shorter side; the share of its thickness that
# what surrounds a child's brain keeps.
SCALP, CHILD = 0.05, 0.6


@dataclass(frozen=True)
class Series:
    """Slices in anatomical order, with the brains that are known of them.

    Attributes
    ----------
    name
        Of the patient or the simulated head.
    slices
        All of the series.
    brains
        Masks on the source's grid, bool (H, W), by the slice's number.
    levels
        Of the slices that are measured, by their number: one of ``LEVELS``.
    """

    name: str
    slices: tuple[Slice, ...]
    brains: Mapping[int, Mask]
    levels: Mapping[int, str]


@dataclass(frozen=True)
class Condition:
    """How slices are measured: changed in what way, and together with which others."""

    name: str
    change: Change
    alone: bool = False
    whole_series: bool = False


def marked_series(data: Path) -> Iterator[Series]:
    """Read the series of the outlined slices."""
    entries: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for entry in json.loads(MARKED.read_text())["slices"]:
        whole = "frame" in entry
        path = entry["image"] if whole else str(Path(entry["image"]).parent)
        entries.setdefault((path, whole), []).append(entry)
    for (path, whole), of_series in entries.items():
        (files,) = sources.scan([data / path], sources.DEFAULT, plane=None).series
        read = sources.read_series(files.files, path, "axial")
        slices = tuple(item for item in read if isinstance(item, Slice))
        brains, levels = {}, {}
        for entry in of_series:
            name = Path(entry["image"]).name
            number = next(
                i
                for i, s in enumerate(slices)
                if (s.frame == entry["frame"] if whole else s.source.endswith(name))
            )
            brains[number] = filled(entry["brain"], slices[number].pixels.shape)
            levels[number] = entry["level"]
        yield Series(Path(path).name, slices, brains, levels)


def filled(polygons: list[list[list[float]]], shape: tuple[int, ...]) -> Mask:
    """Fill outlines, whose points (x, y) are in source pixels with centres at integers."""
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        points = np.rint(np.array(polygon) * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], 1, shift=4)
    return mask.astype(bool)


def simulated_series() -> Iterator[Series]:
    """Simulate heads; of each, four slices are measured, and each height once among all."""
    for head in range(HEADS):
        made = simulate_head(slices=SLICES_OF_A_HEAD, seed=700 + head)
        slices = tuple(
            Slice(pixels, source=f"{i:02d}", spacing=made.spacing)
            for i, pixels in enumerate(made.pixels)
        )
        measured = range(head, SLICES_OF_A_HEAD, HEADS)
        levels = {i: LEVELS[np.searchsorted(_FIRST_SLICE, i, "right") - 1] for i in measured}
        yield Series(f"simulated {head}", slices, dict(enumerate(made.brain)), levels)


def lesion(size: float, level: float) -> Change:
    """Put in a lesion: a share of the brain, in multiples of its median, at its edge or deep."""

    def put(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
        if not brain.any():
            return pixels, None
        rng = np.random.default_rng([number, round(100 * size), round(100 * level)])
        inward = depth(brain)
        at_the_edge = (number + LESION_SIZES.index(size)) % 2
        place = inward < 2 if at_the_edge else inward > inward.max() / 2
        centre = rng.permutation(np.argwhere(place & brain))[0]
        noise = cv2.GaussianBlur(rng.standard_normal(brain.shape), (0, 0), 8)
        y, x = np.indices(brain.shape)
        turn = rng.uniform(0, np.pi)
        along = (x - centre[1]) * np.cos(turn) + (y - centre[0]) * np.sin(turn)
        across = (y - centre[0]) * np.cos(turn) - (x - centre[1]) * np.sin(turn)
        reach = np.hypot(along, across * rng.uniform(1, 1.8)) * np.exp(0.25 * noise / noise.std())
        inside = brain & (reach <= np.quantile(reach[brain], size))
        share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.5) * brain
        middle = np.median(pixels[brain])
        texture = cv2.GaussianBlur(rng.standard_normal(brain.shape), (0, 0), 2)
        bright = middle * level * (1 + 0.08 * texture / texture.std())
        return (pixels + share * (bright - pixels)).astype(np.float32), inside

    return put


def around_times(factor: float) -> Change:
    """Make what surrounds the brain darker or brighter; between both it fades over two pixels."""

    def change(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
        del number
        outside = np.clip(depth(~brain) / 2, 0, 1)
        return (pixels * (1 + outside * (factor - 1))).astype(np.float32), None

    return change


def without_scalp(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
    """Remove the head's outermost layer, but nothing of the brain."""
    del number
    head = head_mask(pixels, 0.1 * float(np.percentile(pixels, 99)))
    thickness = SCALP * min(cv2.boundingRect(head.view(np.uint8))[2:])
    return np.where((depth(head) > thickness) | brain, pixels, pixels.min()), None


def stripped(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
    """Leave the brain alone."""
    del number
    return np.where(brain, pixels, 0).astype(np.float32), None


def as_a_child(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
    """Draw in what surrounds the brain, each point towards the nearest one of the brain."""
    del number
    if not brain.any():
        return pixels, None
    _, labels = cv2.distanceTransformWithLabels(
        (~brain).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.zeros((labels.max() + 1, 2), np.float32)
    place[labels[brain]] = np.argwhere(brain)
    nearest = place[labels]
    here = np.moveaxis(np.indices(brain.shape), 0, -1).astype(np.float32)
    came_from = nearest + (here - nearest) / np.float32(CHILD)
    moved = cv2.remap(pixels, came_from[..., 1], came_from[..., 0], cv2.INTER_LINEAR)
    return np.where(brain, pixels, moved).astype(np.float32), None


def unchanged(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
    """Leave everything as it is."""
    del brain, number
    return pixels, None


def both(first: Change, then: Change) -> Change:
    """Make one change after the other."""

    def change(pixels: Pixels, brain: Mask, number: int) -> tuple[Pixels, Mask | None]:
        return then(first(pixels, brain, number)[0], brain, number)

    return change


SURROUNDINGS: dict[str, Change] = {
    "dark scalp": around_times(0.3),
    "bright scalp": around_times(1.8),
    "without scalp": without_scalp,
    "skull-stripped": stripped,
    "thin as a child's": as_a_child,
}


def measure(detector: Detector, series: Series, condition: Condition) -> list[dict[str, Any]]:
    """Measure the slices of one series."""
    changed = list(series.brains if condition.whole_series else series.levels)
    slices, lesions = dict(enumerate(series.slices)), {}
    for n in changed:
        pixels, lesions[n] = condition.change(slices[n].pixels, series.brains[n], n)
        slices[n] = replace(slices[n], pixels=pixels)
    named = [replace(slices[n], source=str(n), frame=None) for n in sorted(slices)]
    together = [[named[n]] for n in series.levels] if condition.alone else [named]
    results = [result for some in together for result in detector.detect_series(some).slices]
    analysed = {int(result.slice.source): result for result in results}
    rows = []
    for n, level in series.levels.items():
        row: dict[str, Any] = {"series": series.name, "slice": n, "level": level}
        if n in analysed:
            row |= compare(analysed[n], series.brains[n], lesions[n])
        else:
            row["dice"] = 0.0 if series.brains[n].mean() >= SMALLEST else None
        rows.append(row)
    return rows


def compare(result: SliceResult, brain: Mask, lesion: Mask | None) -> dict[str, Any]:
    """Compare a slice's brain output with its outline, on the model's grid."""
    assert result.brain is not None
    found = result.brain >= 0.5
    true = on_grid(brain, result)
    row: dict[str, Any] = {
        "found_px": int(found.sum()),
        "leak_px": int((found & (depth(~true) > TOLERANCE)).sum())
        if true.any()
        else int(found.sum()),
        "dice": None,
    }
    if true.mean() >= SMALLEST:
        row["dice"] = round(float(2 * (found & true).sum() / (found.sum() + true.sum())), 4)
        row["missed"] = round(float((true & ~found).sum() / true.sum()), 4)
        if lesion is not None:
            put = on_grid(lesion, result)
            row["lesion_px"] = int(put.sum())
            row["kept"] = round(float((put & found).sum() / put.sum()), 4)
    return row


def on_grid(mask: Mask, result: SliceResult) -> Mask:
    """Bring a mask of the source's grid onto the model's."""
    assert result.brain is not None
    box, size = result.normalisation.box, len(result.brain)
    return crop(mask.astype(np.float32), box, size, 0) > 0.5


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the slices of one condition."""
    dices = [row["dice"] for row in rows if row["dice"] is not None]
    found = sum(row.get("found_px", 0) for row in rows)
    told: dict[str, Any] = {
        "slices": len(rows),
        "not_analysed": sum("found_px" not in row for row in rows),
        "dice_median": round(float(np.median(dices)), 4),
        "dice_min": min(dices),
        "dice_at_least_0.95": round(float(np.mean([d >= WANTED_DICE for d in dices])), 3),
        "leak": round(sum(row.get("leak_px", 0) for row in rows) / max(found, 1), 4),
        "missed": round(float(np.mean([row["missed"] for row in rows if "missed" in row])), 4),
    }
    if kept := [row["kept"] for row in rows if "kept" in row]:
        pixels = [row["lesion_px"] for row in rows if "kept" in row]
        told |= {
            "kept": round(float(np.average(kept, weights=pixels)), 4),
            "kept_min": min(kept),
            "kept_at_least_0.97": round(float(np.mean([k >= WANTED_KEPT for k in kept])), 3),
        }
    return told


def conditions() -> Iterator[Condition]:
    """Give every condition."""
    yield Condition("as scanned", unchanged)
    yield Condition("alone", unchanged, alone=True)
    for name, change in SURROUNDINGS.items():
        yield Condition(name, change, whole_series=True)
    for size in LESION_SIZES:
        for level in LESION_LEVELS:
            yield Condition(f"lesion of {size:.0%}, {level:g} times", lesion(size, level))
        darkened = both(SURROUNDINGS["dark scalp"], lesion(size, LESION_LEVELS[-1]))
        yield Condition(f"dark scalp, lesion of {size:.0%}, {LESION_LEVELS[-1]:g} times", darkened)


def main() -> None:
    """Measure, print a table, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of lgg_flair/ and ms_ljubljana/")
    parser.add_argument("--model", type=Path, help="model file; default: the built-in one")
    parser.add_argument("--only", nargs="+", metavar="CONDITION", help="by name; default: all")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    detector = Detector(options.model, provider="cpu", threads=2, force=True)
    every = [*marked_series(options.data), *simulated_series()]
    results: dict[str, Any] = {}
    for condition in conditions():
        if options.only and condition.name not in options.only:
            continue
        rows = [row for series in every for row in measure(detector, series, condition)]
        groups = {"all": rows} | {
            level: [row for row in rows if row["level"] == level] for level in LEVELS
        }
        groups["simulated"] = [row for row in rows if row["series"].startswith("simulated")]
        groups["real"] = [row for row in rows if not row["series"].startswith("simulated")]
        results[condition.name] = {key: summary(of) for key, of in groups.items()}
        if condition.name == "as scanned":
            results[condition.name]["rows"] = rows
        print(f"{condition.name}: {json.dumps(results[condition.name]['all'])}", flush=True)
    settings = detector.settings
    told = {
        "model": settings.model_name,
        "version": settings.model_version,
        "sha256": settings.model_sha256,
        "conditions": results,
    }
    options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
