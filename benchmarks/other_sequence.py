"""Make a data set of another sequence of the same patients, or of all their sequences together.

    python benchmarks/other_sequence.py DATA t1c OUT
    python benchmarks/other_sequence.py DATA all OUT

DATA holds ``lgg_flair`` and ``lgg_t1``, which lie on the same pixel grid; OUT gets ``index.csv``,
images and masks as PNG, for ``gliomart train`` and ``gliomart evaluate``. Masks were drawn on
FLAIR. A patient whom one sequence lacks is left out; of all together FLAIR leads, and the others
stand in columns of their own, empty where a patient lacks them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import cv2

_COLUMNS = ("image", "mask", "split", "patient", "slice")
_OTHERS = ("t1", "t1c")


def make(data: Path, sequence: str, out: Path) -> tuple[int, int]:
    """Write the data set; returns how many slices and patients it has.

    Raises
    ------
    OSError
        An image cannot be read or written, or OUT is there already.
    """
    flair, others = data / "lgg_flair", data / "lgg_t1"
    paths = {row["flair"]: row for row in _rows(others / "index.csv")}
    out.mkdir(parents=True)
    made = []
    for row in _rows(flair / "index.csv"):
        own = paths.get(row["image"], {})
        kept = {name: row[name] for name in _COLUMNS}
        if sequence == "all":
            _copy(flair / row["image"], out / row["image"])
            beside = {name: own.get(name, "") for name in _OTHERS}
            kept |= {name: _as_png(others, path, out) for name, path in beside.items()}
        elif own.get(sequence):
            kept["image"] = _as_png(others, own[sequence], out)
        else:
            continue
        if row["mask"]:
            _copy(flair / row["mask"], out / row["mask"])
        made.append(kept)
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    return len(made), len({row["patient"] for row in made})


def _rows(index: Path) -> list[dict[str, str]]:
    with index.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _as_png(folder: Path, path: str, out: Path) -> str:
    """Write an image as PNG, and tell where; nothing of none."""
    if not path:
        return ""
    pixels = cv2.imread(str(folder / path), cv2.IMREAD_GRAYSCALE)
    target = (out / path).with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None or not cv2.imwrite(str(target), pixels):
        raise OSError(f"{folder / path}: cannot be read, or written as {target}")
    return str(target.relative_to(out))


def main() -> None:
    """Make one from the command line."""
    parser = argparse.ArgumentParser(description="Make a data set of other sequences.")
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("sequence", choices=(*_OTHERS, "all"))
    parser.add_argument("out", type=Path, metavar="OUT")
    options = parser.parse_args()
    slices, patients = make(options.data, options.sequence, options.out)
    print(f"{options.out}: {slices} slices of {patients} patients")


if __name__ == "__main__":
    main()
