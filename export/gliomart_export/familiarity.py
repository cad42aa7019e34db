"""What a model knows, told from what it does not: the bounds of the content check.

Patients of the training data, simulated heads and changed copies of both are described by
:func:`gliomart.image.appearance.appearance`; linear discriminants with a shared, shrunken
covariance (Friedman, JASA 1989) tell each kind from good scans, those of series apart from those of
images by themselves. Bounds are those that good scans of patients held out of the fit pass with a
nominal rate, and mostly no lower than halfway between both kinds. No label of a tumour is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gliomart.errors import DatasetError
from gliomart.findings.familiar import FEWEST
from gliomart.image.appearance import EDGES, NUMBERS
from gliomart.model.familiar import Code, ExpectedBrain, Familiar, Unfamiliar
from gliomart_export.looks import (
    GOOD,
    NO_HEAD,
    STRIPPED,
    T2,
    others_of,
    pictures,
    see,
    see_simulated,
)
from gliomart_training import unfamiliar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart_export.looks import Look, Seen
    from gliomart_export.run import Run
    from gliomart_training.patients import Patient

# Good scans that are refused, and as many more of which something is told; and good slices of which
# it is said that their brain was not found.
STOPPED, BRAIN_STOPPED = 0.01, 0.001
# Parts of these by codes that share them.
_PARTS: dict[tuple[Code, ...], float] = {
    ("not-a-head",): STOPPED / 2,
    ("turned", "wrong-plane"): STOPPED / 2,
    ("skull-stripped", "unusual-contrast"): STOPPED,
}
# Fewer held-out patients are no basis for it.
FEWEST_PATIENTS = 20
# Pictures that are drawn of what is no head, and simulated heads.
_PICTURES, _HEADS = 300, 20
_EDGES, _TEXTURE = range(EDGES), range(EDGES, NUMBERS)
_BOTH = range(NUMBERS)
# Diagonal that is added to the covariance, in units of its own mean.
_SHRINKAGE = 0.02
# Of a kind, so many are left below a bound.
_LOWEST = 0.05


class Kind(NamedTuple):
    """What is told from good scans: its code, by which numbers, in series or in images."""

    code: Code
    name: str
    numbers: range
    of_series: bool
    halfway: bool = True

    def looks(self, seen: Seen, name: str) -> list[Look]:
        """Give how those of a name look that are judged like this kind, (N, numbers) each."""
        if self.of_series:
            return seen.series[name]
        return [look[np.newaxis] for look in seen.images[name]]


def kinds(others: Iterable[str]) -> tuple[Kind, ...]:
    """List all kinds; ``others`` are sequences that were given in folders.

    How tissues differ is told by texture alone where there are many slices, and only with edges in
    a single one. It is only told, so that its bound lies where good scans end; what is refused has
    to be halfway to the kind.
    """
    refused: tuple[tuple[Code, str, range], ...] = (
        ("not-a-head", NO_HEAD, _BOTH),
        *(("turned", name, _EDGES) for name in unfamiliar.TURNS),
        *(("wrong-plane", f"{plane} slices", _EDGES) for plane in unfamiliar.PLANES),
        ("skull-stripped", STRIPPED, _BOTH),
    )
    return (
        *(Kind(*each, of_series=of_series) for of_series in (True, False) for each in refused),
        *(
            Kind("unusual-contrast", name, numbers, of_series, halfway=False)
            for of_series, numbers in ((True, _TEXTURE), (False, _BOTH))
            for name in (T2, *others)
        ),
    )


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
        if not any(seen.series[name] for group in groups for seen in group):
            raise DatasetError(f"{folder}: holds no pictures of the patients trained on")
    return fit(groups, see_simulated(_HEADS, spec), pictures(spec, _PICTURES), folders)


def fit(
    patients: Sequence[Sequence[Seen]],
    simulated: Sequence[Seen],
    drawn: Seen,
    others: Iterable[str],
) -> Familiar:
    """Fit on all patients and simulated heads; bounds are those of others, held out by group."""
    wanted = kinds(others)
    held_out = _Scored(wanted)
    groups = [[*group, *simulated[n :: len(patients)]] for n, group in enumerate(patients)]
    for number, group in enumerate(groups):
        rest = [seen for n, other in enumerate(groups) if n != number for seen in other]
        held_out.add(group, *_discriminants([*rest, drawn], wanted))
    everyone = [seen for group in groups for seen in group]
    weights, offsets = _discriminants([*everyone, drawn], wanted)
    seen = _Scored(wanted)
    seen.add(everyone, weights, offsets)
    fitted = tuple(
        Unfamiliar(
            code=kind.code,
            name=kind.name,
            weights=tuple(round(float(w), 4) for w in row),
            offset=round(float(offset), 4),
            series_bound=bound if kind.of_series else None,
            image_bound=None if kind.of_series else bound,
        )
        for kind, row, offset, bound in zip(
            wanted, weights, offsets, held_out.bounds(seen), strict=True
        )
    )
    method = (
        f"{STOPPED:g} of the scans of {sum(map(len, patients))} patients and {len(simulated)}"
        f" simulated heads, held out, are refused, and something is told of {STOPPED:g}"
    )
    return Familiar(fitted, _expected_brain(groups), method)


class _Scored:
    """What scans score by each kind's weights: good ones, and its own."""

    def __init__(self, wanted: Sequence[Kind]) -> None:
        self.wanted = wanted
        self.good: list[list[float]] = [[] for _ in wanted]
        self.own: list[list[float]] = [[] for _ in wanted]

    def add(
        self, group: Iterable[Seen], weights: NDArray[np.float64], offsets: NDArray[np.float64]
    ) -> None:
        """Score a group."""
        for seen in group:
            for number, kind in enumerate(self.wanted):
                for name, scores in ((GOOD, self.good), (kind.name, self.own)):
                    scores[number] += [
                        float(np.median(looks @ weights[number]) + offsets[number])
                        for looks in kind.looks(seen, name)
                        if len(looks) >= FEWEST or not kind.of_series
                    ]

    def bounds(self, seen: _Scored) -> list[float]:
        """Give what good ones pass; of series, halfway to the kind where there is room.

        Of images, what was drawn is but an example of what is no head: there the bound lies where
        good ones end, also those that were ``seen`` by the fit, and may be nearer to them than
        halfway.
        """
        bounds = []
        for number, kind in enumerate(self.wanted):
            rate, own, least = self._rate(kind), self.own[number], 0.0
            highest = float(np.quantile(self.good[number], 1 - rate, method="higher"))
            if kind.name == NO_HEAD and not kind.of_series:
                least = float(np.quantile(seen.good[number], 1 - rate, method="higher"))
            if own and kind.of_series and kind.halfway:
                least = (highest + float(np.quantile(own, _LOWEST))) / 2
            bounds.append(round(max(highest, least), 4))
        return bounds

    def _rate(self, kind: Kind) -> float:
        """Share of good scans that one of the kinds beside it stops, so that all stop their part.

        What looks odd looks so in several ways: the parts overlap.
        """
        codes = next(codes for codes in _PARTS if kind.code in codes)
        beside = [
            scores
            for other, scores in zip(self.wanted, self.good, strict=True)
            if other.of_series == kind.of_series and other.code in codes
        ]
        good = np.array(beside)
        ranks = good.argsort(axis=1)[:, ::-1].argsort(axis=1) / good.shape[1]  # 0 is the oddest
        return float(np.quantile(ranks.min(axis=0), _PARTS[codes], method="lower"))


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
        bound=round(float(np.quantile(missing, 1 - BRAIN_STOPPED)), 4),
    )


def _regression(everyone: Sequence[Seen]) -> tuple[NDArray[np.float64], float]:
    """Fit the fraction of brain by ridge regression on all of the appearance."""
    looks = np.array([look for seen in everyone for look, _ in seen.brain], np.float64)
    shares = np.array([share for seen in everyone for _, share in seen.brain])
    middle, mean = looks.mean(axis=0), float(shares.mean())
    covariance = _shrunk(np.cov(looks.T, bias=True))
    moments = (looks - middle).T @ (shares - mean) / len(looks)
    weights = np.linalg.solve(covariance, moments)
    return weights, mean - float(weights @ middle)


def _discriminants(
    everyone: Sequence[Seen], wanted: Sequence[Kind]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit weights (K, numbers) and offsets (K,) that are above 0 where a slice is of a kind."""
    weights, offsets = np.zeros((len(wanted), NUMBERS)), np.full(len(wanted), -1.0)
    for of_series in (True, False):
        rows = [n for n, kind in enumerate(wanted) if kind.of_series == of_series]
        some = wanted[rows[0]]
        named = dict.fromkeys([GOOD, *(wanted[n].name for n in rows)])
        of_kind = {name: [x for seen in everyone for x in some.looks(seen, name)] for name in named}
        stacked = {n: np.concatenate(x).astype(np.float64) for n, x in of_kind.items() if x}
        means = {name: looks.mean(axis=0) for name, looks in stacked.items()}
        within = [np.cov(x.T, bias=True) for name, x in stacked.items() if name != NO_HEAD]
        covariance = np.mean(within, axis=0)
        for row in rows:
            kind = wanted[row]
            if kind.name not in means:
                continue
            own = np.array(kind.numbers)
            apart = (means[kind.name] - means[GOOD])[own]
            weights[row, own] = np.linalg.solve(_shrunk(covariance[np.ix_(own, own)]), apart)
            offsets[row] = -weights[row] @ (means[kind.name] + means[GOOD]) / 2
    return weights, offsets


def _shrunk(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    size = len(covariance)
    return covariance + _SHRINKAGE * np.eye(size) * np.trace(covariance) / size
