"""Mutate DICOM files of every transfer syntax, and pictures and volumes of every kind.

Nothing but a refusal may come of it.

``python tests/fuzz/mutate.py --count 100000 --seed 0 [--target pictures] [--report FILE]``

A mutation is made of its seed and number alone: ``--only 1234`` makes that one again. Fails where
anything but a GliomartError comes out, takes more than a second or more than 300 MB of memory.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import niftis
import pictures
import syntaxes
import tiffs
from gliomart import sources
from gliomart.errors import GliomartError, InputRefusedError
from gliomart.image.slices import Refusal
from gliomart.sources import codecs, wall

SECONDS = 1.0
MEGABYTES = 300
_LENGTHS = (0, 1, 2, 7, 8, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def through_the_wall(data: bytes) -> str:
    """Parse a file and decode its frames; return what came of it."""
    try:
        dataset = wall.parse_stream(BytesIO(data), len(data), pixels=True)
        for frame in codecs.frames(dataset):
            frame.max()
    except InputRefusedError as refusal:
        crashed = refusal.reason.endswith("crashed")
        return f"{refusal.code}, decoder crashed" if crashed else refusal.code
    return "read"


def through_sources(data: bytes) -> str:
    """Scan and read a file, as the command does; return what came of it."""
    return _scanned("file.dcm", data)


def through_pictures(data: bytes) -> str:
    """Scan and read a picture or a volume; return what came of it."""
    suffixes = {b"\x1f\x8b": ".nii.gz", b"\x5c\x01": ".nii", b"\x1c\x02": ".nii"}
    return _scanned(f"file{suffixes.get(data[:2], '')}", data)


def _scanned(name: str, data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        inventory = sources.scan([folder])
        outcomes = [refusal.code for refusal in inventory.refused]
        for series in inventory.series:
            for file in series.files:
                items = sources.read(file)
                outcomes += (item.code if isinstance(item, Refusal) else "read" for item in items)
    return outcomes[0] if outcomes else "ignored"


TARGETS: dict[str, Callable[[bytes], str]] = {
    "wall": through_the_wall,
    "sources": through_sources,
    "pictures": through_pictures,
}


@dataclass
class Outcomes:
    """What came of all mutations."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    escapes: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: dict[str, float] = field(default_factory=dict)

    @property
    def large(self) -> list[str]:
        """Who took too much memory."""
        return [f"{name}: {mb:.0f} MB" for name, mb in self.peak_mb.items() if mb > MEGABYTES]

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        return self.escapes + self.slow + self.large


def seeds(folder: Path | None = None) -> dict[str, bytes]:
    """Make a small file in every syntax, and take those of a folder as well."""
    made = {syntax.name: syntaxes.file_in(syntax.uid) for syntax in codecs.SYNTAXES}
    made["Explicit VR Little Endian, 3 frames"] = syntaxes.frames_in(wall.EXPLICIT)
    made["RLE Lossless, 3 frames"] = syntaxes.frames_in("1.2.840.10008.1.2.5")
    return made | _files(folder)


def _files(folder: Path | None) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    return {path.name: path.read_bytes() for path in files}


def seeds_of(target: str, folder: Path | None = None) -> dict[str, bytes]:
    """Make the seeds of a target, and take the files of a folder as well."""
    return seeds(folder) if target != "pictures" else small_pictures() | _files(folder)


def small_pictures() -> dict[str, bytes]:
    """Make a small picture of every kind, and volumes."""
    head = pictures.head()
    colour, deep = np.stack([head] * 3, -1), pictures.head("u2")
    exif = pictures.exif(6)
    turned = {274: ("short", [6]), 262: ("short", [0])}
    volume = niftis.volume(s=(niftis.affine(10), 2), q=(niftis.affine(), 1))
    return {
        "grey.png": pictures.png(head, 0, before=pictures.chunk(b"eXIf", exif)),
        "colour.png": pictures.png(colour, 2, before=pictures.chunk(b"tRNS", bytes(6))),
        "opacity.png": pictures.png(np.stack([deep, deep], -1), 4),
        "grey.jpg": pictures.jpeg(head, b"Exif\0\0" + exif, quality=50),
        "colour.jpg": pictures.jpeg(colour, quality=50),
        "pages.tif": tiffs.tiff([tiffs.page(deep, turned), tiffs.page(head)]),
        "big.tif": tiffs.tiff([tiffs.page(deep, turned)], big=True),
        "motorola.tif": tiffs.tiff([tiffs.page(head, turned)], order=">"),
        "lzw.tif": cv2.imencode(".tif", colour)[1].tobytes(),
        "two.tif": tiffs.tiff([tiffs.page(np.stack([deep, deep], -1))]),
        "volume.nii": volume,
        "volume2.nii": niftis.volume(s=(niftis.affine(), 1), two=True),
        "volume.nii.gz": gzip.compress(volume),
    }


def mutation(seeds: Mapping[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Make one mutation; return the name of what was mutated, and the bytes."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311  # which has to be the same again
    name = chance.choice(sorted(seeds))
    data = bytearray(seeds[name])
    pixels = max(data.rfind(b"\xe0\x7f\x10\x00"), data.rfind(b"\x7f\xe0\x00\x10"))
    kept = data[: pixels + 28] if pixels >= 0 and chance.random() < _ONLY_PIXELS else bytearray()
    del data[: len(kept)]
    mutations = _IN_PLACE if kept else _MUTATIONS
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        chance.choice(mutations)(data, chance, seeds)
    return name, bytes(kept + data)


def _flip(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    for _ in range(chance.choice((1, 1, 4, 16))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    start = chance.randrange(max(len(data) - 8, 1))
    data[start : start + 8] = chance.randbytes(8)[: len(data) - start]


def _set_length(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    size = chance.choice((2, 4))
    start = chance.randrange(len(data) // 2 + 1) * 2
    order = chance.choice(("little", "big"))
    length = chance.choice(_LENGTHS) & (256**size - 1)
    data[start : start + size] = length.to_bytes(size, order)[: len(data) - start]


def _splice(data: bytearray, chance: random.Random, seeds: Mapping[str, bytes]) -> None:
    other = seeds[chance.choice(sorted(seeds))]
    begin = chance.randrange(len(other))
    part = other[begin : begin + chance.choice((8, 64, 512, 4096))]
    start = chance.randrange(len(data) + 1)
    data[start : start + chance.choice((0, len(part)))] = part


def _truncate(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _duplicate(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    part = data[start : start + chance.choice((8, 16, 64, 512))]
    data[start:start] = part * chance.choice((1, 2, 16))


def _delete(data: bytearray, chance: random.Random, _: Mapping[str, bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 2, 8, 64))]


_MUTATIONS = (_flip, _flip, _overwrite, _set_length, _splice, _truncate, _duplicate, _delete)
# For the part of mutations that leave everything but the pixels whole, so that decoders get them.
_IN_PLACE = (_flip, _overwrite, _set_length)
_ONLY_PIXELS = 0.5


def run(
    target: Callable[[bytes], str], seeds: Mapping[str, bytes], seed: int, numbers: Sequence[int]
) -> Outcomes:
    """Attack a target with mutations."""
    outcomes = Outcomes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about odd values
        for name in sorted(seeds):  # what is imported and started on the way is not the attack
            target(seeds[name])
        codecs.stop_decoders()
        before = _peaks_mb()
        for number in numbers:
            name, data = mutation(seeds, seed, number)
            # A busy machine may take its time once; what is slow by its own doing always is.
            for _ in range(3):
                begin = time.perf_counter()
                outcome = _attack(target, data)
                taken = time.perf_counter() - begin
                if taken <= SECONDS:
                    break
            else:
                outcomes.slow.append(f"{number} ({name}): {taken:.1f} s")
            if outcome.startswith("ESCAPE"):
                outcomes.escapes.append(f"{number} ({name}): {outcome}")
            outcomes.slowest_s = max(outcomes.slowest_s, taken)
            outcomes.counts[name][outcome.split(":")[0]] += 1
    codecs.stop_decoders()  # only those that have ended are measured
    after = _peaks_mb()
    outcomes.peak_mb = {which: after[which] - before[which] for which in after}
    return outcomes


def _attack(target: Callable[[bytes], str], data: bytes) -> str:
    try:
        return target(data)
    except GliomartError as error:
        return f"{type(error).__name__} {error.code}"
    except BaseException as error:  # noqa: BLE001  # which is what is looked for
        return f"ESCAPE: {type(error).__name__}: {error}"


def _peaks_mb() -> dict[str, float]:
    """Peak memory so far of this process and of all decoders that have ended, in MB."""
    peaks = {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "decoders": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    }
    kilo = 1 if sys.platform != "darwin" else 1024
    return {which: peak / kilo / 1000 for which, peak in peaks.items()}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="make this mutation again")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="mutate these files as well")
    parser.add_argument("--target", choices=sorted(TARGETS), default="wall")
    parser.add_argument("--report", type=Path, metavar="FILE")
    given = parser.parse_args()
    numbers = range(given.count) if given.only is None else [given.only]
    begin = time.perf_counter()
    outcomes = run(TARGETS[given.target], seeds_of(given.target, given.files), given.seed, numbers)
    report = {
        "target": given.target,
        "mutations": len(numbers),
        "seed": given.seed,
        "minutes": round((time.perf_counter() - begin) / 60, 1),
        "outcomes": {name: dict(outcomes.counts[name]) for name in sorted(outcomes.counts)},
        "total": dict(sum(outcomes.counts.values(), Counter())),
        "slowest_s": round(outcomes.slowest_s, 3),
        "peak_growth_mb": {which: round(mb) for which, mb in outcomes.peak_mb.items()},
        "faults": outcomes.faults,
    }
    text = json.dumps(report, indent=1, sort_keys=True)
    print(text)
    if given.report:
        partial = given.report.with_suffix(f".{os.getpid()}")
        partial.write_text(text + "\n")
        partial.replace(given.report)
    return 1 if outcomes.faults else 0


if __name__ == "__main__":
    sys.exit(main())
