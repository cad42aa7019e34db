"""How good scans look, and what models were not made for: series, and images by themselves.

An image by itself is brought onto the model's grid by itself: a vertex is then as large as any
other slice, and a neck as bright. Simulated heads stand beside patients, as another scanner's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from gliomart.errors import InputRefusedError
from gliomart.findings.familiar import LOOKED_AT, look
from gliomart.image.appearance import SIDE
from gliomart.image.grid import crop
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Slice, of_array
from gliomart_training import unfamiliar
from gliomart_training.stress import at_drawn_scanner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_training.patients import Patient

Look: TypeAlias = "NDArray[np.float32]"
Masks: TypeAlias = "Sequence[NDArray[np.bool_]]"

GOOD, WITHOUT_BRAIN = "good", "good, without brain"
NO_HEAD, STRIPPED, T2 = "no head", "a brain without its skull", "a T2"
# An image shows brain where that is so much of the grid.
_SHOWN = 0.05
# Copies of every patient at drawn scanners.
_SCANNERS = 1
# Simulated heads, apart from those that teach and those that measure.
_FIRST_HEAD, _SLICES_OF_A_HEAD = 300, 24


@dataclass
class Seen:
    """How series of one patient, or of nobody, look.

    Attributes
    ----------
    series
        By kind, one (N, numbers) for each series.
    images
        By kind, one (numbers,) for each image by itself; ``WITHOUT_BRAIN`` are good ones that show
        none, of which nothing needs to be told.
    brain
        How good slices look, in their series and by themselves, and the fraction of the grid that
        is brain in them.
    """

    series: defaultdict[str, list[Look]] = field(default_factory=lambda: defaultdict(list))
    images: defaultdict[str, list[Look]] = field(default_factory=lambda: defaultdict(list))
    brain: list[tuple[Look, float]] = field(default_factory=list)

    def add(
        self, kind: str, slices: Sequence[Slice], spec: Preprocessing, masks: Masks | None = None
    ) -> None:
        """Look at a series, with its brain where that is known; one without a head is left out."""
        unlit = replace(spec, shading=None)  # they are looked at as they were lit
        together = _look(slices, unlit, masks)
        if together:
            self.series[kind].append(np.stack([seen for seen, _ in together]))
        alone = []
        for number, item in enumerate(slices):
            own = None if masks is None else masks[number : number + 1]
            alone += _look([item], unlit, own)
        self.images[kind] += [seen for seen, brain in alone if brain >= _SHOWN]
        if kind == GOOD:
            self.images[WITHOUT_BRAIN] += [seen for seen, brain in alone if brain < _SHOWN]
            self.brain += [*together, *alone]


def _look(
    slices: Sequence[Slice], spec: Preprocessing, masks: Masks | None
) -> list[tuple[Look, float]]:
    """Look at slices that share a normalisation; how much is brain is all where it is not known."""
    try:
        norm = estimate_normalisation(slices, spec)
    except (InputRefusedError, IndexError):
        return []
    looks = []
    for number, item in enumerate(slices):
        found = look(item, norm, spec)
        if found is None:
            continue
        share = 1.0
        if masks is not None:
            share = float(crop(masks[number].astype(np.float32), norm.box, SIDE, 0.0).mean())
        looks.append((found, share))
    return looks


def see(patient: Patient, spec: Preprocessing, others: Mapping[str, Sequence[Slice]]) -> Seen:
    """Look at a patient as scanned, at drawn scanners, and as what the model was not made for.

    Parameters
    ----------
    patient
        A good scan; all its slices are looked at, also those with a tumour.
    spec
        The model's preprocessing.
    others
        Series of other sequences of the same patient, by name.
    """
    seen = Seen()
    random = np.random.default_rng(sum(patient.id.encode()))
    for slices, masks in _series_of(patient):
        _see(seen, slices, masks, spec, random)
    for name, other in others.items():
        seen.add(name, evenly_spaced(other, LOOKED_AT), spec)
    return seen


def see_simulated(heads: int, spec: Preprocessing) -> list[Seen]:
    """Look at simulated heads likewise, whose brain is known in every slice."""
    from gliomart_training.simulation import simulate_head

    found = []
    for seed in range(_FIRST_HEAD, _FIRST_HEAD + heads):
        head = simulate_head(slices=_SLICES_OF_A_HEAD, seed=seed)
        chosen = evenly_spaced(range(_SLICES_OF_A_HEAD), LOOKED_AT)
        seen = Seen()
        slices, masks = [Slice(head.pixels[n]) for n in chosen], [head.brain[n] for n in chosen]
        _see(seen, slices, masks, spec, np.random.default_rng(seed))
        found.append(seen)
    return found


def _see(
    seen: Seen,
    slices: Sequence[Slice],
    masks: Masks,
    spec: Preprocessing,
    random: np.random.Generator,
) -> None:
    """Look at a good series, and at it as what the model was not made for."""
    seen.add(GOOD, slices, spec, masks)
    for how, turn in unfamiliar.TURNS.items():
        seen.add(how, unfamiliar.turned(slices, how), spec, [turn(mask) for mask in masks])
    for plane in unfamiliar.PLANES:
        seen.add(f"{plane} slices", unfamiliar.resliced(slices, plane), spec)
    with_brain = [mask for mask in masks if mask.any()]
    seen.add(STRIPPED, unfamiliar.stripped(slices, masks), spec, with_brain)
    seen.add(T2, unfamiliar.with_bright_fluid(slices, masks), spec, masks)
    seen.add(GOOD, unfamiliar.fat_suppressed(slices, masks, random), spec, masks)


def _series_of(patient: Patient) -> Iterator[tuple[list[Slice], list[NDArray[np.bool_]]]]:
    """Give some slices of the patient's most frequent shape, as scanned and at drawn scanners.

    With them comes where their brain is.
    """
    shapes = [s.pixels.shape for s in patient.slices]
    usual = max(shapes, key=shapes.count)
    copies = (at_drawn_scanner(patient, f"familiar {n}") for n in range(_SCANNERS))
    for each in (patient, *copies):
        shown = [s for s in each.slices if s.pixels.shape == usual and np.ptp(s.pixels) > 0]
        chosen = evenly_spaced(range(len(shown)), LOOKED_AT)
        masks = unfamiliar.brains(shown)
        yield [shown[n] for n in chosen], [masks[n] for n in chosen]


def others_of(patient: str, folders: Mapping[str, Path]) -> dict[str, list[Slice]]:
    """Read pictures of other sequences of a patient, from folders of folders of patients.

    They are what OpenCV reads; a patient without any is left out.
    """
    found = {}
    for name, folder in folders.items():
        files = sorted(p for p in (folder / patient).glob("*") if p.is_file())
        read = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
        slices = [of_array(pixels) for pixels in read if pixels is not None and np.ptp(pixels) > 0]
        if slices:
            found[name] = slices
    return found


def pictures(spec: Preprocessing, count: int) -> Seen:
    """Look at drawn pictures that are no heads."""
    random = np.random.default_rng(0)
    seen = Seen()
    for _ in range(count):
        seen.add(NO_HEAD, [unfamiliar.drawn(random)], spec)
    return seen
