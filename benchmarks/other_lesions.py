"""Lesions of kinds that no system was taught by tumour masks: what they change, and where.

Gliomas of the pons are those of :mod:`gliomart_training.evaluation.lesions`. Above it, in slices of
the same patients that are tumour-free, two kinds are put into five neighbouring slices: blobs of
:mod:`gliomart_training.corruption` that darken, and a sphere of tissue that swells and presses what
is around it together, its brightness left as it is. Everything happens on the source's pixels, and
to all systems alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gliomart.image.grid import depth
from gliomart_training.corruption import blobs
from gliomart_training.evaluation.lesions import ROWS, with_lesions
from gliomart_training.generator import generator_of
from gliomart_training.patients import Ellipse
from gliomart_training.pontine import PontineLesion, implant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.image.slices import Slice
    from gliomart_training.evaluation.lesions import Row
    from gliomart_training.patients import Patient
    from side_by_side import Seen

    Mask = NDArray[np.bool_]
    Pixels = NDArray[np.float32]
    # From the slices chosen of a patient, their brains, and chance, to new pixels and what changed.
    Put = Callable[
        [Mapping[int, tuple[Pixels, Seen]], np.random.Generator],
        Mapping[int, tuple[Pixels, Mask]],
    ]

# Supratentorial slices, as fractions of a patient's; the pons is marked at .2 to .4.
_HEIGHTS = (0.5, 0.85)
_SLICES = 5
# What covers less of an image than this is left out.
_LEAST = 0.0005
# The brain is at this value in the images that corruption is made for.
_BRAIN = 0.4
# What dark blobs may cover of the brain of the middle slice, and how often they are drawn for it.
_COVERED, _DRAWS = (0.01, 0.1), 200
# Radius of what swells, as a share of that of a disk as large as the brain, how far it swells, and
# how many radii of brain have to be around its middle.
_RADIUS, _EXPANSION, _INSIDE = 0.2, 1.5, 1.7


@dataclass(frozen=True)
class Changed:
    """A patient's series after a change.

    Attributes
    ----------
    slices
        All of them.
    lesions
        Where something was put, bool (H, W), by the slice's number; only slices that changed.
    """

    slices: list[Slice]
    lesions: dict[int, Mask]


@dataclass(frozen=True)
class Kind:
    """A kind of lesion; ``change`` puts it into a patient whose brain was found."""

    name: str
    change: Callable[[Patient, Mapping[int, Seen]], Changed]


def kinds() -> list[Kind]:
    """List all kinds."""
    chosen = {
        *(f"bright, {share} at +30%" for share in ("25%", "50%", "100%")),
        *(f"soft, {share} at +35%" for share in ("25%", "50%", "100%")),
        *(f"swollen ×{times}" for times in ("1.2", "1.5")),
    }
    return [
        *(_in_the_pons(row) for row in ROWS if row.name in chosen),
        *(_above("dark", f"dark, -{share:.0%}", _dark(share)) for share in (0.2, 0.5)),
        _above("swollen", f"swollen ×{_EXPANSION:g}", _swollen),
    ]


def _in_the_pons(row: Row) -> Kind:
    def change(patient: Patient, brains: Mapping[int, Seen]) -> Changed:
        del brains
        slices, implanted = with_lesions(patient, row)
        # Where nothing brightens, what was put in is a larger pons.
        return Changed(
            slices, {n: each.lesion if row.signal else each.pons for n, each in implanted.items()}
        )

    return Kind(f"pons: {row.name}", change)


def _above(arm: str, name: str, put: Put) -> Kind:
    """Make a kind; those of one arm have the same shapes and places."""

    def change(patient: Patient, brains: Mapping[int, Seen]) -> Changed:
        chosen = {
            n: (patient.examples[n].slice.pixels, brains[n])
            for n in supratentorial(patient)
            if n in brains and brains[n].brain.any()
        }
        made = put(chosen, generator_of(f"{patient.id}/{arm}")) if chosen else {}
        slices, lesions = list(patient.slices), {}
        for number, (pixels, where) in made.items():
            if where.mean() >= _LEAST:
                slices[number] = replace(slices[number], pixels=pixels)
                lesions[number] = where
        return Changed(slices, lesions)

    return Kind(f"brain: {name}", change)


def supratentorial(patient: Patient) -> list[int]:
    """Choose neighbouring slices that are tumour-free: the middle of the longest row of them."""
    count = len(patient.examples)
    free = [
        n
        for n, example in enumerate(patient.examples)
        if example.tumour_free and _HEIGHTS[0] <= n / max(count - 1, 1) <= _HEIGHTS[1]
    ]
    rows = [[n for _, n in row] for _, row in groupby(enumerate(free), lambda e: e[1] - e[0])]
    longest: list[int] = max(rows, key=len, default=[])
    start = max(len(longest) - _SLICES, 0) // 2
    return longest[start : start + _SLICES]


def _dark(share: float) -> Put:
    """Darken by so much of the brain's brightness: blobs that go on from slice to slice."""

    def put(
        chosen: Mapping[int, tuple[Pixels, Seen]], random: np.random.Generator
    ) -> dict[int, tuple[Pixels, Mask]]:
        pixels, middle = _middle(chosen)
        strength = (_BRAIN * share, _BRAIN * share)
        for _ in range(_DRAWS):
            drawn = blobs(pixels, random, bright=0.0, strength=strength)
            where = drawn <= -_BRAIN * share / 2
            if _COVERED[0] <= where[middle.brain].mean() <= _COVERED[1]:
                break
        else:
            return {}
        made = {}
        for number, (own, here) in chosen.items():
            inside = cv2.GaussianBlur(here.brain.astype(np.float32), (0, 0), 1.5) * here.brain
            darker = own + drawn * inside * np.float32(here.level / _BRAIN)
            made[number] = (np.maximum(darker, own.min()), where & (inside >= 0.5))
        return made

    return put


def _swollen(
    chosen: Mapping[int, tuple[Pixels, Seen]], random: np.random.Generator
) -> dict[int, tuple[Pixels, Mask]]:
    """Let a sphere of tissue grow wider, and move what is around it: nothing brightens."""
    _, middle = _middle(chosen)
    radius = _RADIUS * float(np.sqrt(middle.brain.sum() / np.pi))
    places = np.argwhere(depth(middle.brain) >= _INSIDE * radius)
    if not len(places):
        return {}
    row, column = random.permutation(places)[0].tolist()
    lesion = PontineLesion(fraction=0.0, signal=0.0, expansion=_EXPANSION)
    made = {}
    numbers = list(chosen)
    for place, (number, (own, here)) in enumerate(chosen.items()):
        # A sphere is smaller away from its middle; at its ends it still is half as wide.
        away = (place - len(numbers) // 2) / (len(numbers) // 2 + 1)
        own_radius = radius * float(np.sqrt(1 - away**2))
        if depth(here.brain)[row, column] < own_radius:
            continue
        ellipse = Ellipse(column, row, own_radius, own_radius)
        put = implant(own, ellipse, lesion, random)
        made[number] = (put.pixels, put.pons & here.brain)
    return made


def _middle(chosen: Mapping[int, tuple[Pixels, Seen]]) -> tuple[Pixels, Seen]:
    every: Sequence[tuple[Pixels, Seen]] = list(chosen.values())
    return every[len(every) // 2]
