"""What a site gains by calibrating a model on its own scans, by replay on a data set.

``python benchmarks/site_calibration.py scans/ --split dev --out FILE`` draws 20 patients 50 times,
calibrates on their tumour-free slices, and counts on the other patients how many tumour-free slices
are flagged, and how many of the slices with a tumour. It needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart import Detector
from gliomart.findings.calibration import SeriesScores, calibrated, calibrated_pons
from gliomart.findings.scoring import p_value
from gliomart.model.contents import PONS
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.provenance import provenance
from gliomart.site.calibration import SitePatient, SiteScores, alone, models_own, to_be_looked_at
from gliomart.site.check import check
from gliomart_training import dataset
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from gliomart.model.contents import Calibration, PonsCalibration
    from gliomart_training.dataset import Patient

# Of so many patients, this share carry their tumour where ill ones are among them.
_ILL = 0.1
SCENARIOS = {
    "the model's own calibration": (None, 0.0),
    "20 tumour-free patients": (0.0, 0.0),
    "the same, a tenth allowed for": (0.0, _ILL),
    "18 and 2 with their tumour": (_ILL, 0.0),
    "the same 18 and 2, a tenth allowed for": (_ILL, _ILL),
    "the same 18 and 2, those who score highest looked at": (_ILL, 0.0),
}
PROTOCOL = {
    "patients": "Whole series are analysed. Tumour-free slices are those more than three away from"
    " any mask; patients without one are left out.",
    "draws": "Patients are drawn at random, without replacement; all others are judged. Figures are"
    " means over draws, with the 10th and 90th percentile.",
    "ill": "A patient with a tumour calibrates with all slices of the series, tumour included.",
    "looked at": "Of the 20 the 4 whose series score highest are looked at, and who is ill is left"
    " out.",
    "sensitivity": "Slices with a tumour of the patients who are judged; a refused one is missed.",
    "differs": "Share of draws in which the check tells the 20 patients from the model's own"
    " calibration, and from the other patients of the data set, where it should do so at its level"
    " of 5 %.",
}


@dataclass(frozen=True)
class Scored:
    """One patient: tumour-free slices, all slices, and the scores of slices with a tumour."""

    free: SeriesScores
    whole: SeriesScores
    tumour: tuple[float, ...]


def score(patient: Patient, detector: Detector) -> Scored | None:
    """Analyse a patient; None where no tumour-free slice could be analysed."""
    results = results_of_examples(patient, detector.detect_series(patient.slices))
    pairs = list(zip(patient.examples, results, strict=True))
    every = [(n, r, alone(r, detector)) for n, (_, r) in enumerate(pairs) if r is not None]
    tumour_free = [example.tumour_free for example in patient.examples]
    free = SeriesScores.of((each for each in every if tumour_free[each[0]]), detector.card)
    whole = SeriesScores.of(every, detector.card)
    if free is None or whole is None:
        return None
    tumour = [math.nan if r is None else r.score for e, r in pairs if e.truth().any()]
    return Scored(free, whole, tuple(tumour))


def replay(
    scored: Sequence[Scored], detector: Detector, draws: int, count: int, rng: Generator
) -> dict[str, Any]:
    """Draw patients, calibrate on them, and judge the others."""
    own, judges = models_own(detector.card)
    rules = next((judge.rules for judge in judges if judge.name == PONS), None)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SCENARIOS}
    differs: dict[str, list[bool]] = {"from the model's own": [], "from the other patients": []}
    for _ in range(draws):
        order = rng.permutation(len(scored)).tolist()
        drawn, others = [[scored[n] for n in part] for part in (order[:count], order[count:])]
        for name, (ill, allowed) in SCENARIOS.items():
            calibration, pons = own, rules
            if ill is not None:
                patients = _patients(drawn, ill)
                if "looked at" in name:
                    patients = _looked_at(patients, [each.whole for each in drawn], ill)
                calibration = calibrated(own, patients, method="", contaminated=allowed)
                if rules is not None:
                    pons = calibrated_pons(rules, patients, contaminated=allowed)
            found[name].append(_judged(others, calibration, pons))
        site = [SitePatient("", (each.free,)) for each in drawn]
        rest = calibrated(own, [(each.free,) for each in others], method="")
        differs["from the model's own"].append(check(site, own).differs)
        differs["from the other patients"].append(check(site, rest).differs)
    return {
        "scenarios": {name: _summary(rows) for name, rows in found.items()},
        "differs": {name: float(np.mean(flags)) for name, flags in differs.items()},
    }


def _patients(drawn: Sequence[Scored], ill: float) -> list[tuple[SeriesScores, ...]]:
    """Take the first of those with a tumour whole, as many as may be ill."""
    left = round(ill * len(drawn))
    patients = []
    for each in drawn:
        whole = left > 0 and bool(each.tumour)
        left -= whole
        patients.append((each.whole if whole else each.free,))
    return patients


def _looked_at(
    patients: list[tuple[SeriesScores, ...]], whole: Sequence[SeriesScores], ill: float
) -> list[tuple[SeriesScores, ...]]:
    """Leave out who is ill among those who score highest, twice as many as may be ill."""
    site = SiteScores(tuple(SitePatient(str(n), p) for n, p in enumerate(patients)), (), (), {})
    looked_at = {int(patient.source) for patient in to_be_looked_at(site, ill)}
    return [p for n, p in enumerate(patients) if not (n in looked_at and p[0] is whole[n])]


def _judged(
    others: Sequence[Scored], calibration: Calibration, pons: PonsCalibration | None
) -> dict[str, float]:
    rate = calibration.false_alarm_rate
    free = [score for each in others for score in each.free.slices]
    alone = [score for each in others for score in each.free.singles]
    tumour = [score for each in others for score in each.tumour]
    highest = np.concatenate([each.free.highest for each in others])
    pixels = sum(each.free.pixels for each in others)
    figures = {
        "false alarms": _flagged(free, calibration.slice_scores, rate),
        "false alarms, slices alone": _flagged(alone, calibration.of_slices(alone=True), rate),
        "sensitivity": _flagged(tumour, calibration.slice_scores, rate),
        "pixels marked, tumour-free": float(np.sum(highest > calibration.pixel_threshold)) / pixels,
    }
    if pons is not None:
        scores = calibrated_pons(pons, [(each.free,) for each in others]).slice_scores
        figures["pons false alarms"] = _flagged(scores, pons.slice_scores, rate)
    return figures


def _flagged(scores: Sequence[float], healthy: Sequence[float], rate: float) -> float:
    """Tell which share of scores is flagged; NaN stands for a refused slice, which is not."""
    flags = [not math.isnan(score) and p_value(score, healthy) <= rate for score in scores]
    return float(np.mean(flags))


def _summary(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mean": float(np.mean([row[name] for row in rows])),
            "p10": float(np.quantile([row[name] for row in rows], 0.1)),
            "p90": float(np.quantile([row[name] for row in rows], 0.9)),
        }
        for name in rows[0]
    }


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    detector = Detector(options.model, provider="cpu")
    patients = dataset.load(options.directory, options.split)
    scored = [found for each in patients if (found := score(each, detector)) is not None]
    rng = np.random.default_rng(options.seed)
    made_by = provenance(detector.settings)
    document = {
        "schema": 1,
        "software": made_by["software"],
        "model": made_by["model"],
        "dataset": {
            "folder": options.directory.name,
            "split": options.split,
            "patients": len(scored),
            "tumour_free_slices": sum(len(each.free.slices) for each in scored),
            "tumour_slices": sum(len(each.tumour) for each in scored),
        },
        "protocol": PROTOCOL,
        "draws": {"count": options.draws, "patients": options.patients, "seed": options.seed},
        **replay(scored, detector, options.draws, options.patients, rng),
    }
    text = json.dumps(document, indent=1) + "\n"
    if options.out is not None:
        write_atomically(options.out, text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
