"""Measure systems on conditions that none of them was made for, each system in the same slices.

    python benchmarks/conditions.py DATA --runs dae=dae.run unet=unet.run --against dae --out FILE

DATA holds ``lgg_flair`` and perhaps ``ms_ljubljana``. Simulated gliomas of the pons, dark lesions
and swelling (``other_lesions.py``) are put into tumour-free slices of real patients, and what a
system's map and scores say of these slices is set against the same slices untouched. Of three
patients with multiple sclerosis, whose plaques nobody outlined, it counts what is flagged and
outlined, and with ``--pictures DIR`` draws a contact sheet for each system, to be looked at: the
pictures show patients, and stay outside of the project. It prints tables in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart import Detector
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.pictures import overlay, overview, png, tile
from gliomart_training.dataset import keep_pictures_out
from gliomart_training.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    BINS,
    Bootstrap,
    Levels,
    described,
    histogram,
    sensitivity_at,
)
from gliomart_training.patients import results_of_examples
from other_lesions import kinds
from side_by_side import (
    System,
    cell,
    check,
    differences,
    document,
    ended,
    markdown,
    panels,
    parser,
    provenance,
    seen,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart_training.evaluation.metrics import Figure, Resamples
    from gliomart_training.evaluation.panel import Panel
    from other_lesions import Kind

PROTOCOL = {
    "slices": "Only slices that a lesion was put into count, with it and as they are; each series"
    " is run whole. A slice's score takes in its neighbours, most of which have the lesion as well."
    " A slice that is refused untouched is left out; one that is refused with it is missed.",
    "pixel_average_precision": "Of all pixels of slices with a lesion. Positive is where it has"
    " half its strength or more and, where tissue only moves, what has swollen.",
    "slice_auroc": "Slices with the lesion against the same ones untouched, all patients together.",
    "pons": "Simulated gliomas of the pons in all slices in which it is marked: bright ones and"
    " swollen ones of the first simulator, soft ones of the second.",
    "brain": "Five neighbouring tumour-free slices at .5 to .85 of the patient's height, or as many"
    " as there are: blobs that darken by so much of the brain's brightness; a sphere that swells to"
    " one and a half times its width, less towards the front.",
    "plaques": "FLAIR series of patients with multiple sclerosis, analysed whole, by the first fold"
    " of a run. Nobody outlined the plaques: counts tell how much is marked, not whether rightly.",
    "intervals": "95 % percentile intervals from resampling patients with replacement; differences"
    " are on the same resamples.",
}
_REFUSED = -1.0


@dataclass
class Tally:
    """What a system makes of one kind of lesion, patient by patient.

    Attributes
    ----------
    pixels
        uint32 (2, BINS) each, see :func:`gliomart_training.evaluation.metrics.histogram`.
    ill, well
        Score and flag of each slice, with the lesion and untouched.
    """

    pixels: list[NDArray[np.uint32]] = field(default_factory=list)
    ill: list[list[tuple[float, bool]]] = field(default_factory=list)
    well: list[list[tuple[float, bool]]] = field(default_factory=list)

    def add(
        self,
        lesions: Mapping[int, NDArray[np.bool_]],
        untouched: Sequence[SliceResult | None],
        changed: Sequence[SliceResult | None],
    ) -> None:
        """Add a patient: where lesions were put, by slice, and what is found before and after."""
        counted = np.zeros((2, BINS), np.uint32)
        ill, well = [], []
        for number, lesion in lesions.items():
            before, after = untouched[number], changed[number]
            if before is None:
                continue
            found = np.zeros(lesion.shape, np.float32) if after is None else after.anomaly_map
            counted += histogram(found, lesion)
            well.append((before.score, before.flagged))
            ill.append((_REFUSED, False) if after is None else (after.score, after.flagged))
        self.pixels.append(counted)
        self.ill.append(ill)
        self.well.append(well)

    @property
    def slices(self) -> int:
        """How many slices a lesion was put into."""
        return sum(map(len, self.ill))

    def figures(self, resamples: Resamples) -> dict[str, Figure]:
        """Measure what is found."""
        scored = [
            [(score, True) for score, _ in ill] + [(score, False) for score, _ in well]
            for ill, well in zip(self.ill, self.well, strict=True)
        ]
        levels = Levels.of_patients(scored)
        counts = [len(each) for each in self.ill]

        def flagged(slices: Sequence[Sequence[tuple[float, bool]]]) -> Figure:
            return resamples.ratio([sum(flag for _, flag in each) for each in slices], counts)

        return {
            "pixel_average_precision": resamples.rank(
                Levels.of_pixels(np.stack(self.pixels)), AVERAGE_PRECISION
            ),
            "slice_auroc": resamples.rank(levels, AUROC),
            "sensitivity_at_95_specificity": resamples.rank(levels, sensitivity_at(0.95)),
            "flag_sensitivity": flagged(self.ill),
            "flagged_untouched": flagged(self.well),
        }


def observe(opened: Mapping[str, Panel], chosen: Sequence[Kind]) -> dict[str, dict[str, Tally]]:
    """Put every kind of lesion into every patient once, and let all systems look at it."""
    tallies = {name: {kind.name: Tally() for kind in chosen} for name in opened}
    first = next(iter(opened.values()))
    spec = first.pairs[0][1].card.preprocessing
    for place, (patient, _) in enumerate(first.progress("conditions")):
        detectors = {name: panel.pairs[place][1] for name, panel in opened.items()}
        untouched = {
            name: results_of_examples(patient, detector.detect_series(patient.slices))
            for name, detector in detectors.items()
        }
        brains = seen(patient, spec)
        for kind in chosen:
            made = kind.change(patient, brains)
            for name, detector in detectors.items():
                found = untouched[name]
                if made.lesions:
                    found = results_of_examples(patient, detector.detect_series(made.slices))
                tallies[name][kind.name].add(made.lesions, untouched[name], found)
    return tallies


def plaques(system: System, data: Path, pictures: Path | None) -> dict[str, Any]:
    """Count what a system marks in patients with plaques, and draw it where pictures are wanted."""
    detector = Detector(system.model, provider="cpu", force=True)
    limit = detector.calibration.display_limit
    counted, sheets = {}, []
    for file in sorted(data.glob("ms_ljubljana/*/anat/*_FLAIR.nii.gz")):
        result = detector.detect_series(file)
        verdict = result.verdict
        counted[file.name.partition("_")[0]] = {
            "analysed": len(result.slices),
            "not_analysed": len(result.not_analysed),
            "flagged": sum(each.flagged for each in result.slices),
            "slices_outlined": sum(bool(each.mask.any()) for each in result.slices),
            "outlined_px": sum(int(each.mask.sum()) for each in result.slices),
            "regions": sum(len(each.regions) for each in result.slices),
            "series_flagged": None if verdict is None else verdict.flagged,
        }
        if pictures is not None and result.slices:
            sheets.append(overview([tile(each, overlay(each, limit)) for each in result.slices]))
    if pictures is not None and sheets:
        rows = max(map(len, sheets))
        beside = [np.pad(each, ((0, rows - len(each)), (0, 0), (0, 0))) for each in sheets]
        write_atomically(pictures / f"{system.name}.png", png(np.hstack(beside)))
    return counted


def measure(options: Any) -> dict[str, Any]:
    """Measure all systems."""
    started = perf_counter()
    chosen = [kind for kind in kinds() if not options.only or kind.name in options.only]
    opened = panels(options, options.data / "lgg_flair")
    first = next(iter(opened.values()))
    resamples = Bootstrap(options.resamples).draw(len(first.pairs))
    written = document(options, first, PROTOCOL)
    tallies = observe(opened, chosen)
    figures = {
        name: {kind: tally.figures(resamples) for kind, tally in of.items()}
        for name, of in tallies.items()
    }
    written["slices"] = {kind: tally.slices for kind, tally in next(iter(tallies.values())).items()}
    written["systems"] = {
        system.name: {
            "model": provenance(opened[system.name]),
            "nominal": opened[system.name].settings.false_alarm_rate,
            "figures": {kind: described(of) for kind, of in figures[system.name].items()},
            "less": {
                other: differences(figures[system.name], figures[other])
                for other in options.against
                if other != system.name
            },
            "plaques": plaques(system, options.data, options.pictures),
        }
        for system in options.runs
    }
    return written | {"seconds": round(perf_counter() - started, 1)}


_FIGURES = {
    "pixel_average_precision": "pixel AP",
    "slice_auroc": "slice AUROC",
    "flag_sensitivity": "flagged",
    "flagged_untouched": "flagged untouched",
}


def tables(result: Mapping[str, Any]) -> Iterator[str]:
    """Lay everything out in Markdown: a table for each kind of lesion, a row for each system."""
    systems = result["systems"]
    for kind, count in result["slices"].items():
        others = [
            f"{label} less {o}" for o in result["against"] for label in list(_FIGURES.values())[:2]
        ]
        rows = []
        for name, each in systems.items():
            row = [cell(each["figures"][kind][figure]) for figure in _FIGURES]
            for other in result["against"]:
                less = each["less"].get(other, {}).get(kind, {})
                row += [cell(less.get(figure), "+z.3f") for figure in list(_FIGURES)[:2]]
            rows.append([name, *row])
        yield markdown([f"{kind} ({count} slices)", *_FIGURES.values(), *others], rows)
    rows = [
        [
            f"{name}: {patient}",
            f"{of['flagged']} of {of['analysed']}",
            of["slices_outlined"],
            of["outlined_px"],
            of["regions"],
            {True: "flagged", False: "not flagged", None: "–"}[of["series_flagged"]],
        ]
        for name, each in systems.items()
        for patient, of in each["plaques"].items()
    ]
    heads = ["plaques", "slices flagged", "slices outlined", "pixels outlined", "regions", "series"]
    yield markdown(heads, rows)


def main() -> None:
    """Measure, print tables, and write the JSON file."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--only", nargs="+", metavar="KIND", choices=[kind.name for kind in kinds()]
    )
    arguments.add_argument("--pictures", type=Path, metavar="DIR", help="of plaques, to look at")
    options = arguments.parse_args()
    check(options)
    if options.pictures is not None:
        keep_pictures_out(options.data, options.pictures)
    result = measure(options)
    write(options.out, result)
    print("\n".join(tables(result)))


if __name__ == "__main__":
    ended(main)
