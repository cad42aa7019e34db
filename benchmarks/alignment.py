"""Measure how well series that lie on each other are told from others, and how they are registered.

    python benchmarks/alignment.py DATA --out alignment.json
    python benchmarks/alignment.py DATA --registered 12 --out registration.json

DATA holds ``lgg_flair`` with ``lgg_t1``, of which the patients of the split train are taken, and
perhaps ``ms_ljubljana``. The former have no places: pixels count as 0.9375 mm, slices as 5 mm, or
as 2.5 mm where a patient has 40 or more, so that all heads come out equally high. A head that has
moved is the same images with other places, so that nothing is interpolated more often than in true
pairs. A series with *a grid of its own* was interpolated onto slices that lie .4 steps and half a
pixel beside its own. No mask is read.

With ``--registered`` so many pairs of each data set are registered as they are and moved; the error
is how far the movements that are found differ, in mm (root mean square over a head of 80 mm) and
degrees, from the true movement put after what was found for the pair as it is.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gliomart import sources
from gliomart.errors import InputRefusedError
from gliomart.image import alignment as bounds
from gliomart.image.alignment import Alignment, alignment
from gliomart.image.geometry import ImagePlane
from gliomart.image.registration import registered
from gliomart.image.resampling import Rigid, Stack
from gliomart.image.slices import Slice
from side_by_side import write

PIXEL_MM, STEP_MM, THIN_MM, MANY = 0.9375, 5.0, 2.5, 40
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SEQUENCES = {"ms_ljubljana": ("T1w", "T2w"), "lgg": ("t1", "t1c")}
RADIUS_MM = 80.0
QUANTILES = (0.05, 0.5, 0.95)
Head = dict[str, Stack]


def heads_of(data: Path, name: str) -> Iterator[Head]:
    """Read the series of each patient: the lead as ``lead``, others by their sequence."""
    if name == "lgg":
        yield from _slices(data)
        return
    for folder in sorted((data / name).glob("sub-*/anat")):
        found = {}
        for sequence in ("FLAIR", *SEQUENCES[name]):
            (series,) = sources.scan([folder / f"{folder.parent.name}_{sequence}.nii.gz"]).series
            read = sources.read_series(series.files, series.source)
            stack = Stack.of([item for item in read if isinstance(item, Slice)])
            found["lead" if sequence == "FLAIR" else sequence] = stack
        yield found


def _slices(data: Path) -> Iterator[Head]:
    patients = defaultdict(list)
    with (data / "lgg_t1" / "index.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            split, patient, _ = row["flair"].split("/")
            if split == "train":
                patients[patient].append(row)
    for rows in patients.values():
        step = THIN_MM if len(rows) >= MANY else STEP_MM
        found = {}
        for name, column, folder in (
            ("lead", "flair", "lgg_flair"),
            *((sequence, sequence, "lgg_t1") for sequence in SEQUENCES["lgg"]),
        ):
            slices = [
                Slice(
                    np.float32(cv2.imread(str(data / folder / row[column]), cv2.IMREAD_GRAYSCALE)),
                    position=(0.0, 0.0, step * int(Path(row["flair"]).stem)),
                    orientation=AXIAL,
                    spacing=(PIXEL_MM, PIXEL_MM),
                )
                for row in rows
                if row[column]
            ]
            if slices:
                found[name] = Stack.of(slices)
        yield found


def movements(centre: Any) -> dict[str, list[Rigid]]:
    """Give turns and shifts along each axis, both ways, by their names."""
    found = {}
    for size in (5.0, 2.5):
        for axis, direction in zip("xyz", np.eye(3), strict=True):
            both = (size * direction, -size * direction)
            turns = [Rigid.of(turn=way, centre=centre) for way in both]
            shifts = [Rigid.of(translation=way, centre=centre) for way in both]
            found[f"turned by {size:g} degrees about {axis}"] = turns
            found[f"shifted by {size:g} mm along {axis}"] = shifts
    return found


def moved(stack: Stack, movement: Rigid) -> Stack:
    """Give the same images other places."""
    planes = []
    for plane in stack.planes:
        (place,) = movement(np.array([plane.position]))
        axes = np.reshape(plane.orientation, (2, 3)) @ movement.rotation.T
        planes.append(ImagePlane(tuple(place), tuple(axes.ravel()), plane.spacing))
    return Stack(stack.voxels, tuple(planes))


def on_a_grid_of_its_own(stack: Stack) -> Stack:
    """Interpolate a series onto slices beside its own."""
    step = float(np.median(np.diff([plane.height for plane in stack.planes])))
    first = stack.planes[0]
    row, column = np.reshape(first.orientation, (2, 3))
    half = 0.5 * (first.spacing[1] * row + first.spacing[0] * column)
    by = Rigid.of(translation=0.4 * step * first.axes[0] + half)
    planes = moved(stack, by).planes
    shape = (stack.voxels.shape[1], stack.voxels.shape[2])
    sampled = [(stack.sampled(plane, shape), plane) for plane in planes]
    kept = [(values, plane) for (values, inside), plane in sampled if inside.any()]
    return Stack(np.stack([values for values, _ in kept]), tuple(plane for _, plane in kept))


def kinds_of(heads: list[Head], number: int, sequence: str) -> Iterator[tuple[str, Stack]]:
    """Give a patient's series as it lies, and in all ways in which it does not."""
    lead, other = heads[number]["lead"], heads[number][sequence]
    yield "as they lie", other
    yield "on a grid of its own", on_a_grid_of_its_own(other)
    for name, both in movements(lead.centre).items():
        for movement in both:
            yield name, moved(other, movement)
    for further in (1, 7):
        stranger = heads[(number + further) % len(heads)]
        if sequence in stranger and stranger is not heads[number]:
            yield "another patient's", stranger[sequence]
    half = len(other.planes) // 2
    yield "its lower half alone", Stack(other.voxels[:half], other.planes[:half])
    yield "its upper half alone", Stack(other.voxels[half:], other.planes[half:])
    width = other.voxels.shape[2] // 2
    yield "its left half alone", Stack(other.voxels[:, :, :width], other.planes)
    away = Rigid.of(translation=(70.0, 0.0, 0.0))
    yield "shifted by half a head", moved(other, away)


def told(heads: list[Head], sequences: tuple[str, ...]) -> dict[str, Any]:
    """Measure all kinds of all patients: which pass, and what was measured of them."""
    found: defaultdict[str, list[Alignment]] = defaultdict(list)
    for number, head in enumerate(heads):
        for sequence in sequences:
            if sequence not in head:
                continue
            for kind, other in kinds_of(heads, number, sequence):
                found[kind].append(alignment(head["lead"], other))
    return {kind: _summary(each) for kind, each in found.items()}


def _summary(each: list[Alignment]) -> dict[str, Any]:
    codes = [measured.concern.code if measured.concern else "passes" for measured in each]
    rows = {
        "offset_mm": [m.offset_mm for m in each if m.offset_mm is not None],
        "sharpness": [measured.sharpness for measured in each],
        "covered": [measured.covered for measured in each],
    }
    return {
        "pairs": len(each),
        **{code: codes.count(code) for code in ("passes", "not-aligned", "partly-covered")},
        **{name: _quantiles(values) for name, values in rows.items()},
    }


def _quantiles(values: list[float]) -> list[float]:
    return [round(float(value), 4) for value in (*np.quantile(values, QUANTILES), max(values))]


def registrations(heads: list[Head], sequences: tuple[str, ...], most: int) -> dict[str, Any]:
    """Register pairs as they are and moved; see the module."""
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    pairs = [(n, name) for n, head in enumerate(heads) for name in sequences if name in head]
    chosen = [pairs[n] for n in np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int)]
    for number, sequence in chosen:
        lead, other = heads[number]["lead"], heads[number][sequence]
        as_is = _register(lead, other)
        found["as they lie"].append(_apart(as_is, Rigid.of(), lead.centre))
        for name, both in islice(movements(lead.centre).items(), 6):
            movement = both[number % 2]
            again = _register(lead, moved(other, movement))
            expected = movement if as_is is None else movement.after(as_is)
            found[name].append(_apart(again, expected, lead.centre))
    return {kind: _errors(each) for kind, each in found.items()}


def _register(lead: Stack, other: Stack) -> Rigid | None:
    try:
        return registered(lead, other)
    except InputRefusedError:
        return None


def _apart(found: Rigid | None, expected: Rigid, centre: Any) -> dict[str, float]:
    if found is None:
        return {}
    points = np.random.default_rng(0).normal(size=(4000, 3))
    points *= (
        RADIUS_MM
        * np.random.default_rng(1).random((4000, 1)) ** (1 / 3)
        / np.linalg.norm(points, axis=1, keepdims=True)
    )
    apart = found(points + centre) - expected(points + centre)
    turn = Rigid(found.rotation @ expected.rotation.T, found.translation, found.centre)
    return {"mm": float(np.sqrt((apart**2).sum(axis=1).mean())), "degrees": turn.angle}


def _errors(each: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {name: [one[name] for one in each if name in one] for name in ("mm", "degrees")}
    rows = {name: values for name, values in rows.items() if values}
    return {
        "pairs": len(each),
        "used": sum("mm" in one for one in each),
        **{
            f"mean_{name}": round(float(np.mean(values)), 3)
            for name, values in rows.items()
            if values
        },
        **{f"largest_{name}": round(max(values), 3) for name, values in rows.items()},
    }


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description="Measure how alignment is told, or registered.")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--registered", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "bounds": {
            "farthest_mm": bounds.FARTHEST_MM,
            "least_sharpness": bounds.LEAST_SHARPNESS,
            "least_covered": bounds.LEAST_COVERED,
        },
        "quantiles": [*QUANTILES, 1.0],
    }
    for name, sequences in SEQUENCES.items():
        if not (data := list(heads_of(options.data, name))):
            continue
        if options.registered:
            found[name] = registrations(data, sequences, options.registered)
        else:
            found[name] = told(data, sequences)
        for kind, row in found[name].items():
            print(name, kind, json.dumps(row), flush=True)
    write(options.out, found)


if __name__ == "__main__":
    main()
