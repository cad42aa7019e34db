"""Gather what ``systems.py`` wrote of systems trained on few and many patients, as curves.

    python benchmarks/curves.py few.json many.json --out curves.json --plot curves.png

All files have to be of the same patients and resamples. A recipe is a network and whether masks
taught it; its systems with as many patients, such as other seeds, stand side by side, and their
mean and standard deviation are told. It prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import DatasetError
from gliomart.outputs.figures import as_png, new_figure
from gliomart.outputs.folder import write_atomically
from gliomart.outputs.target import check_target
from side_by_side import cell, ended, markdown, write

if TYPE_CHECKING:
    from collections.abc import Sequence

FIGURES = {
    "pixel_average_precision": "pixel AP",
    "slice_auroc": "slice AUROC",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
    "dice": "Dice at the threshold",
}
_DRAWN = ("pixel_average_precision", "slice_auroc")
_ALIKE = ("dataset", "bootstrap")
# What systems have in common that differ in their seed alone.
_SCHEDULE = ("recipe", "patients", "slices", "epochs")


def read(file: Path) -> dict[str, Any]:
    """Read a file of ``systems.py``.

    Raises
    ------
    DatasetError
        It is something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        trained = {name: each for name, each in found["systems"].items() if "training" in each}
        return {key: found[key] for key in _ALIKE} | {"systems": trained}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{file}: is not what systems.py writes") from error


def gather(files: Sequence[Path]) -> dict[str, Any]:
    """Sort the systems of all files by recipe and by how many patients taught them.

    Raises
    ------
    DatasetError
        They were measured on other patients, one is of unknown training, or one comes twice.
    """
    documents = [read(file) for file in files]
    points: list[dict[str, Any]] = []
    seen: dict[str, Path] = {}
    for file, document in zip(files, documents, strict=True):
        if any(document[key] != documents[0][key] for key in _ALIKE):
            raise DatasetError(f"{file}: is of other patients or resamples than {files[0]}")
        for name, system in document["systems"].items():
            model = " ".join(system["model"]["sha256"])
            if model in seen:
                raise DatasetError(f"{file}: holds {name}, which {seen[model]} holds as well")
            seen[model] = file
            taught = system["training"]
            if taught["patients"] is None:
                raise DatasetError(f"{file}: does not tell how many patients taught {name}")
            points.append(
                {
                    "recipe": _recipe(system),
                    "system": name,
                    "sha256": system["model"]["sha256"],
                    **{key: taught[key] for key in ("patients", "slices", "epochs", "seed")},
                    "figures": {f: system["figures"]["method"][f] for f in FIGURES},
                }
            )
    points.sort(key=lambda point: (*(point[k] for k in _SCHEDULE), point["system"]))
    alike = {key: documents[0][key] for key in _ALIKE}
    return {"schema": 1, **alike, "points": points, "seeds": seeds(points)}


def seeds(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tell mean and standard deviation of what differs in nothing but the seed."""
    told = []
    for shared, alike in groupby(points, key=lambda point: {k: point[k] for k in _SCHEDULE}):
        of = list(alike)
        if len({point["seed"] for point in of}) == len(of) > 1:
            values = {f: [point["figures"][f]["value"] for point in of] for f in FIGURES}
            figures = {
                f: {"mean": float(np.mean(each)), "deviation": float(np.std(each, ddof=1))}
                for f, each in values.items()
            }
            told.append(shared | {"seeds": [p["seed"] for p in of], "figures": figures})
    return told


def _recipe(system: dict[str, Any]) -> str:
    labelled = "labelled" if system["training"]["saw_masks"] else "tumour-free alone"
    return f"{system['model']['network']}, {labelled}"


def table(curves: dict[str, Any]) -> str:
    """Lay out the points, a row each."""
    return markdown(
        [*_SCHEDULE, *FIGURES.values()],
        [
            [
                *(point[key] for key in _SCHEDULE),
                *(cell(point["figures"][figure]) for figure in FIGURES),
            ]
            for point in curves["points"]
        ],
    )


def table_of_seeds(curves: dict[str, Any]) -> str:
    """Lay out means and standard deviations over seeds, a row for each schedule."""
    rows = [
        [
            *(each[key] for key in _SCHEDULE),
            len(each["seeds"]),
            *(_spread(each["figures"][figure]) for figure in FIGURES),
        ]
        for each in curves["seeds"]
    ]
    return markdown([*_SCHEDULE, "seeds", *FIGURES.values()], rows)


def _spread(of: dict[str, float]) -> str:
    return f"{of['mean']:.3f} ± {of['deviation']:.3f}".replace("0.", ".")


def plot(curves: dict[str, Any]) -> bytes:
    """Draw figures against patients: intervals about each point, a line through the means."""
    figure = new_figure(10, 4.5)
    every = sorted({point["patients"] for point in curves["points"]})
    for axes, name in zip(figure.subplots(1, len(_DRAWN)), _DRAWN, strict=True):
        for number, recipe in enumerate(sorted({p["recipe"] for p in curves["points"]})):
            points = [
                (p["patients"], p["figures"][name])
                for p in curves["points"]
                if p["recipe"] == recipe and p["figures"][name]["value"] is not None
            ]
            colour = f"C{number}"
            for patients, of in points:
                low, high = of["interval"] or (of["value"], of["value"])
                axes.plot([patients, patients], [low, high], color=colour, alpha=0.4)
                axes.plot(patients, of["value"], "o", color=colour)
            counts = sorted({patients for patients, _ in points})
            means = [np.mean([of["value"] for n, of in points if n == count]) for count in counts]
            axes.plot(counts, means, color=colour, label=recipe)
        axes.set_xscale("log")
        axes.set_xticks(every, [str(count) for count in every], minor=False)
        axes.set_xticks([], minor=True)
        axes.set(xlabel="patients", title=FIGURES[name])
        axes.grid(alpha=0.3)
        axes.legend()
    return as_png(figure, dpi=110)


def main() -> None:
    """Gather, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="PNG file to write")
    options = parser.parse_args()
    for target in filter(None, (options.out, options.plot)):
        check_target(target, options.files)
    curves = gather(options.files)
    write(options.out, curves)
    if options.plot is not None:
        write_atomically(options.plot, plot(curves))
    print(table(curves))
    if curves["seeds"]:
        print(table_of_seeds(curves))


if __name__ == "__main__":
    ended(main)
