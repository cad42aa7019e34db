"""What a model knows, told from what it does not: the bounds of the content check.

Patients of the training data and changed copies of them are described by
:func:`gliomart.image.appearance.appearance`; linear discriminants with a shared, shrunken
covariance (Friedman, JASA 1989) tell each kind from good scans. Bounds are those that good scans of
patients held out of the fit pass with a nominal rate, all kinds together, and no lower than
halfway between both kinds. No label of a tumour is used.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from gliomart.errors import DatasetError, InputRefusedError
from gliomart.findings.familiar import FEWEST, LOOKED_AT, look
from gliomart.image.appearance import EDGES, NUMBERS, SIDE
from gliomart.image.grid import crop
from gliomart.image.normalisation import estimate_normalisation
from gliomart.image.sampling import evenly_spaced
from gliomart.image.slices import Slice, of_array
from gliomart.model.familiar import Code, ExpectedBrain, Familiar, Unfamiliar
from gliomart_training import unfamiliar
from gliomart_training.stress import at_drawn_scanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_export.run import Run
    from gliomart_training.patients import Patient

    Looks = NDArray[np.float32]

# Good scans that are not what the check takes them for, all kinds together.
STOPPED = 0.01
# Fewer held-out patients are no basis for it.
FEWEST_PATIENTS = 20
# Copies of every patient at drawn scanners.
_SCANNERS = 1
# Pictures that are drawn of what is no head.
_PICTURES = 300
_EDGES, _TEXTURE = range(EDGES), range(EDGES, NUMBERS)
_BOTH = range(NUMBERS)
# Diagonal that is added to the covariance, in units of its own mean.
_SHRINKAGE = 0.02
# A slice shows brain where that is so much of the grid. Of a kind, so many are left below a bound.
_SHOWN, _LOWEST = 0.05, 0.05
GOOD = "good"
NO_HEAD = "no head"


class Kind(NamedTuple):
    """What is told from good scans: its code, by which numbers, and where."""

    code: Code
    name: str
    numbers: range
    of_series: bool = True
    of_images: bool = True
    halfway: bool = True


_STRIPPED, _T2 = "a brain without its skull", "a T2"


def kinds(others: Iterable[str]) -> tuple[Kind, ...]:
    """List all kinds; ``others`` are sequences that were given in folders.

    How tissues differ is told by texture alone where there are many slices, and only with edges in
    a single one. It is only told, so that its bound lies where good scans end; what is refused has
    to be halfway to the kind.
    """
    contrast = [
        (
            Kind("unusual-contrast", name, _TEXTURE, of_images=False, halfway=False),
            Kind("unusual-contrast", name, _BOTH, of_series=False),
        )
        for name in (_T2, *others)
    ]
    return (
        Kind("not-a-head", NO_HEAD, _BOTH),
        *(Kind("turned", name, _EDGES) for name in unfamiliar.TURNS),
        *(Kind("wrong-plane", f"{plane} slices", _EDGES) for plane in unfamiliar.PLANES),
        Kind("skull-stripped", _STRIPPED, _BOTH),
        *(each for pair in contrast for each in pair),
    )


@dataclass
class Seen:
    """How series of one patient, or of nobody, look: by kind, one (N, numbers) for each series.

    ``brain`` is how single slices look, with the fraction of the grid that is brain in them.
    """

    looks: defaultdict[str, list[Looks]] = field(default_factory=lambda: defaultdict(list))
    brain: list[tuple[Looks, float]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        slices: Sequence[Slice],
        spec: Preprocessing,
        masks: Sequence[NDArray[np.bool_]] | None = None,
    ) -> None:
        """Look at a series, with its brain where that is known; one without a head is left out."""
        try:
            norm = estimate_normalisation(slices, spec)
        except (InputRefusedError, IndexError):
            return
        looks = [look(item, norm, spec) for item in slices]
        if not any(each is not None for each in looks):
            return
        self.looks[kind].append(np.stack([each for each in looks if each is not None]))
        for each, mask in zip(looks, masks or (), strict=False):
            if each is not None:
                inside = crop(mask.astype(np.float32), norm.box, SIDE, 0.0)
                self.brain.append((each, float(inside.mean())))


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
        seen.add(GOOD, slices, spec, masks)
        for how in unfamiliar.TURNS:
            seen.add(how, unfamiliar.turned(slices, how), spec)
        for plane in unfamiliar.PLANES:
            seen.add(f"{plane} slices", unfamiliar.resliced(slices, plane), spec)
        seen.add(_STRIPPED, unfamiliar.stripped(slices, masks), spec)
        seen.add(_T2, unfamiliar.with_bright_fluid(slices, masks), spec)
        seen.add(GOOD, unfamiliar.fat_suppressed(slices, masks, random), spec, masks)
    for name, other in others.items():
        seen.add(name, evenly_spaced(other, LOOKED_AT), spec)
    return seen


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


def enough(groups: Sequence[Sequence[Patient]]) -> bool:
    """Tell whether so many patients were held out, in groups, that bounds can be set by them."""
    return len(groups) > 1 and sum(map(len, groups)) >= FEWEST_PATIENTS


def of_run(run: Run, folders: Mapping[str, Path]) -> Familiar:
    """Fit on the patients of a run, held out group by group, and on other sequences of them.

    Raises
    ------
    DatasetError
        A folder holds no pictures of any of the patients.
    """
    spec = run.preprocessing
    groups = [[see(p, spec, others_of(p.id, folders)) for p in group] for group in run.groups]
    for name, folder in folders.items():
        if not any(seen.looks[name] for group in groups for seen in group):
            raise DatasetError(f"{folder}: holds no pictures of the patients trained on")
    return fit(groups, pictures(spec, _PICTURES), folders)


def pictures(spec: Preprocessing, count: int) -> Seen:
    """Look at drawn pictures that are no heads."""
    random = np.random.default_rng(0)
    seen = Seen()
    for _ in range(count):
        seen.add(NO_HEAD, [unfamiliar.drawn(random)], spec)
    return seen


def fit(groups: Sequence[Sequence[Seen]], drawn: Seen, others: Iterable[str]) -> Familiar:
    """Fit on all patients; bounds are those of patients held out, group by group."""
    wanted = kinds(others)
    held_out = _HeldOut()
    for number, group in enumerate(groups):
        rest = [seen for n, other in enumerate(groups) if n != number for seen in other]
        held_out.add(group, *_discriminants([*rest, drawn], wanted))
    everyone = [seen for group in groups for seen in group]
    weights, offsets = _discriminants([*everyone, drawn], wanted)
    rate = STOPPED / len({kind.name for kind in wanted})
    fitted = tuple(
        Unfamiliar(
            code=kind.code,
            name=kind.name,
            weights=tuple(round(float(w), 4) for w in row),
            offset=round(float(offset), 4),
            series_bound=held_out.series_bound(n, kind, rate) if kind.of_series else None,
            image_bound=held_out.image_bound(n, rate) if kind.of_images else None,
        )
        for n, (kind, row, offset) in enumerate(zip(wanted, weights, offsets, strict=True))
    )
    method = f"{STOPPED:g} of the scans of {len(everyone)} held-out patients, all kinds together"
    return Familiar(fitted, _expected_brain(groups), method)


@dataclass
class _HeldOut:
    """What held-out patients score, (K,) each: whole series by kind, and good slices with brain."""

    series: defaultdict[str, list[NDArray[np.float64]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    images: list[NDArray[np.float64]] = field(default_factory=list)

    def add(
        self, group: Iterable[Seen], weights: NDArray[np.float64], offsets: NDArray[np.float64]
    ) -> None:
        """Score a group by what was fitted on the others."""
        for seen in group:
            for kind, every in seen.looks.items():
                scored = (looks @ weights.T + offsets for looks in every if len(looks) >= FEWEST)
                self.series[kind] += [np.median(scores, axis=0) for scores in scored]
            self.images += [look @ weights.T + offsets for look, b in seen.brain if b >= _SHOWN]

    def series_bound(self, number: int, kind: Kind, rate: float) -> float:
        """Give what good series pass at a rate; halfway to the kind where there is room."""
        good = _highest([scores[number] for scores in self.series[GOOD]], rate)
        own = [scores[number] for scores in self.series[kind.name] if kind.halfway]
        halfway = (good + float(np.quantile(own, _LOWEST))) / 2 if own else 0.0
        return round(max(good, halfway, 0.0), 4)

    def image_bound(self, number: int, rate: float) -> float:
        """Give what good slices that show brain pass at a rate: of others nothing would be said."""
        return round(max(_highest([scores[number] for scores in self.images], rate), 0.0), 4)


def _highest(scores: Sequence[float], rate: float) -> float:
    return float(np.quantile(scores, 1 - rate, method="higher"))


def _expected_brain(groups: Sequence[Sequence[Seen]]) -> ExpectedBrain:
    """Fit how much brain a slice shows; the bound is that of patients held out."""
    missing = []
    for number, held_out in enumerate(groups):
        rest = [seen for n, group in enumerate(groups) if n != number for seen in group]
        weights, offset = _regression(rest)
        for seen in held_out:
            missing += [look @ weights + offset - share for look, share in seen.brain]
    weights, offset = _regression([seen for group in groups for seen in group])
    return ExpectedBrain(
        weights=tuple(round(float(w), 6) for w in weights),
        offset=round(offset, 6),
        bound=round(float(np.quantile(missing, 1 - STOPPED)), 4),
    )


def _regression(everyone: Sequence[Seen]) -> tuple[NDArray[np.float64], float]:
    """Fit the fraction of brain by ridge regression on all of the appearance."""
    looks = np.array([look for seen in everyone for look, _ in seen.brain], np.float64)
    shares = np.array([share for seen in everyone for _, share in seen.brain])
    middle, mean = looks.mean(axis=0), float(shares.mean())
    covariance = np.cov(looks.T, bias=True)
    covariance += _SHRINKAGE * np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    moments = (looks - middle).T @ (shares - mean) / len(looks)
    weights = np.linalg.solve(covariance, moments)
    return weights, mean - float(weights @ middle)


def _discriminants(
    everyone: Sequence[Seen], wanted: Sequence[Kind]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit weights (K, numbers) and offsets (K,) that are above 0 where a slice is of a kind."""
    named = dict.fromkeys([GOOD, *(kind.name for kind in wanted)])
    of_kind = {n: [looks for seen in everyone for looks in seen.looks[n]] for n in named}
    stacked = {n: np.concatenate(looks).astype(np.float64) for n, looks in of_kind.items() if looks}
    means = {name: looks.mean(axis=0) for name, looks in stacked.items()}
    within = [np.cov(looks.T, bias=True) for name, looks in stacked.items() if name != NO_HEAD]
    covariance = np.mean(within, axis=0)
    weights = np.zeros((len(wanted), covariance.shape[0]))
    offsets = np.full(len(wanted), -1.0)
    for row, kind in enumerate(wanted):
        if kind.name not in means:
            continue
        own = np.array(kind.numbers)
        part = covariance[np.ix_(own, own)]
        shrunk = part + _SHRINKAGE * np.eye(len(own)) * np.trace(part) / len(own)
        weights[row, own] = np.linalg.solve(shrunk, (means[kind.name] - means[GOOD])[own])
        offsets[row] = -weights[row] @ (means[kind.name] + means[GOOD]) / 2
    return weights, offsets
