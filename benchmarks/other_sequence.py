"""Make a data set of another sequence of the same patients, with the masks drawn on FLAIR.

    python benchmarks/other_sequence.py DATA t1c OUT

DATA holds ``lgg_flair`` and ``lgg_t1``, which lie on the same pixel grid; OUT gets ``index.csv``,
images and masks as PNG, for ``gliomart train`` and ``gliomart evaluate``. A patient whom the
sequence lacks is left out.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import cv2

_COLUMNS = ("image", "mask", "split", "patient", "slice")


def make(data: Path, sequence: str, out: Path) -> tuple[int, int]:
    """Write the data set; returns how many slices and patients it has.

    Raises
    ------
    OSError
        An image cannot be read or written, or OUT is there already.
    """
    flair, others = data / "lgg_flair", data / "lgg_t1"
    paths = {row["flair"]: row[sequence] for row in _rows(others / "index.csv") if row[sequence]}
    out.mkdir(parents=True)
    made = []
    for row in _rows(flair / "index.csv"):
        if (path := paths.get(row["image"])) is None:
            continue
        pixels = cv2.imread(str(others / path), cv2.IMREAD_GRAYSCALE)
        target = (out / row["image"]).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None or not cv2.imwrite(str(target), pixels):
            raise OSError(f"{others / path}: cannot be read, or written as {target}")
        if row["mask"]:
            (out / row["mask"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(flair / row["mask"], out / row["mask"])
        image = str(target.relative_to(out))
        made.append({name: row[name] for name in _COLUMNS} | {"image": image})
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS)
        writer.writeheader()
        writer.writerows(made)
    return len(made), len({row["patient"] for row in made})


def _rows(index: Path) -> list[dict[str, str]]:
    with index.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def main() -> None:
    """Make one from the command line."""
    parser = argparse.ArgumentParser(description="Make a data set of another sequence.")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("sequence", choices=("t1", "t1c"))
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    slices, patients = make(options.data, options.sequence, options.out)
    print(f"{options.out}: {slices} slices of {patients} patients")


if __name__ == "__main__":
    main()
