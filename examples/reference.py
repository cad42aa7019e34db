"""Write the reference vector anew, and the tables that docs/other-languages.md shows of it.

Run ``python examples/reference.py`` where what comes before or after the graph has changed, or the
built-in model. A test compares what it would write with what is there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gliomart import Box, Detector, Normalisation, Slice
from gliomart.findings.scoring import averaged, find_regions, p_value, slice_score, to_source
from gliomart.image.normalisation import SAMPLED_SLICES, estimate_normalisation
from gliomart.image.preprocess import prepare
from gliomart.image.sampling import evenly_spaced
from gliomart.image.steps import Shading
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from gliomart import Preprocessing, Scoring

REFERENCE = Path(__file__).with_name("reference.txt")
PAGE = Path(__file__).parents[1] / "docs" / "other-languages.md"
_MARKED = re.compile(r"(<!-- reference: made by reference\.py -->\n).*?(<!-- end -->)", re.DOTALL)

Row = tuple[str, tuple[float, ...]]

# Rows and columns of the model's grid, and of the sources.
_LOOKED_AT = ((128, 128), (60, 100), (153, 168), (200, 90), (128, 30), (10, 10), (250, 128))
_PIXELS = ((160, 136), (195, 175), (40, 136), (160, 45), (0, 0))
_ON_SOURCE = ((5, 10), (20, 8), (21, 9), (30, 20), (40, 35), (59, 43))
_IN_FIELD = ((16, 16), (7, 12), (25, 11), (1, 1))
_SPACING = (0.9, 0.8)
# Every second slice of a series of 13; of it and between them.
_SAMPLED = tuple(range(0, 13, 2))
_SEEN = (4, 5, 10)
# Of the maps of three slices in a row.
_NEIGHBOURS = (0.25, 0.5, 0.25)


def synthetic() -> NDArray[np.float32]:
    """Draw the image of the page: a head with a bright spot."""
    return _drawn(np.ones(()), np.ones(()))


def lit(number: int, *, uneven: bool = False) -> Slice:
    """Draw one of the 13 slices of the page, in the light of a coil behind and above the head.

    Where the series is uneven, slices differ in brightness two by two.
    """
    y, x = np.mgrid[:320, :272].astype(np.float64)
    height = number - 6
    light = np.exp((x - 136) / 700 + (y - 160) / 500 + height / 25)
    jump = 1.3 if uneven and number // 2 % 2 else 1.0
    return Slice(_drawn(np.sqrt(1 - (height / 12) ** 2), light * jump), spacing=_SPACING)


def windowed(number: int) -> Slice:
    """Export one of these slices with a window of its own: its brightest pixel is 1000."""
    drawn = lit(number)
    values = drawn.pixels.astype(np.float64)
    return replace(drawn, pixels=np.floor(1000 * values / values.max() + 0.5).astype(np.float32))


def _drawn(width: NDArray[np.float64], light: NDArray[np.float64]) -> NDArray[np.float32]:
    """Draw the head at so many times its size and brightness."""
    y, x = np.mgrid[:320, :272].astype(np.float64)
    u, v = (x - 136) / 100, (y - 160) / 128
    r = np.sqrt(u * u + v * v) / width
    spot = 260 * np.exp(-((x - 175) ** 2 + (y - 195) ** 2) / 392)
    brain = 400 + 40 * np.cos(9 * u) * np.cos(7 * v) + spot
    rings = [r > 1, r > 0.92, r > 0.86]
    return np.floor(np.select(rings, [0.0, 900.0, 60.0], brain) * light + 0.5).astype(np.float32)


def anomalies() -> NDArray[np.float32]:
    """Draw a small anomaly map with two spots that are kept, and one that is too small."""
    y, x = np.mgrid[:32, :32]
    drawn = np.zeros((32, 32))
    for row, column, width, height in ((9, 6, 2.2, 0.31), (20, 19, 3.1, 0.19), (26, 5, 0.6, 0.14)):
        squares = (y - row) ** 2 + (x - column) ** 2
        drawn = np.maximum(drawn, height * np.exp(-squares / (2 * width**2)))
    return drawn.round(4).astype(np.float32)


def rows() -> Iterator[Row]:
    """Everything that is compared, as a name and numbers."""
    detector = Detector(provider="cpu", force=True)  # a drawing looks altered
    card = detector.card
    source = Slice(synthetic(), spacing=_SPACING)
    spec = replace(card.preprocessing, shading=None)
    yield from _before_the_graph(source, spec)
    yield from _in_even_light(replace(card.preprocessing, shading=Shading()))
    yield from _after_the_graph(card.scoring)
    prepared = prepare(source, estimate_normalisation([source], spec), spec)
    outputs = Model(provider="cpu").run(prepared.image)
    for role in ("reconstruction", "anomaly_map", "brain"):
        yield from _at(role, outputs.by_role[role][0], _LOOKED_AT)
    result = detector.detect(source)
    yield "slice", (result.score, result.p_value)
    for region in result.regions:
        yield "slice_region", (*region.box, region.area_px)


def _before_the_graph(source: Slice, spec: Preprocessing) -> Iterator[Row]:
    """Prepare the image of the page, in the light that it has."""
    norm = estimate_normalisation([source], spec)
    yield "image", source.pixels.shape
    yield "spacing", _SPACING
    yield from _at("pixel", source.pixels, _PIXELS)
    yield "size", (spec.size,)
    yield "margin", (spec.margin,)
    yield "brain_level", (spec.brain_level,)
    yield "head", (spec.head_level, spec.minimum_head)
    yield "box", _edges(norm.box)
    yield "levels", (norm.black, norm.brain)
    yield from _at("input", prepare(source, norm, spec).plain, _LOOKED_AT)
    small = Normalisation(Box(-10, 120, 200, 180), norm.black, norm.brain)
    yield "small_box", _edges(small.box)
    yield from _at("small_input", prepare(source, small, spec).plain, _LOOKED_AT)


def _in_even_light(spec: Preprocessing) -> Iterator[Row]:
    """Prepare what is lit unevenly: an image, a series, and others whose slices disagree."""
    rules = spec.shading
    assert rules is not None  # noqa: S101  # the caller gives one
    yield "shading", (rules.side, rules.levels, rules.steps)
    yield "shading_limits", (rules.sharpness, rules.limit, rules.disagreement)
    yield "sampled", (100, *evenly_spaced(range(100), SAMPLED_SLICES))
    for name, drawn, numbers, seen in (
        ("alone", lit, (8,), (8,)),
        ("series", lit, _SAMPLED, _SEEN),
        ("uneven", partial(lit, uneven=True), _SAMPLED, _SEEN),
        ("windowed", windowed, _SAMPLED, _SEEN),
    ):
        slices = {n: drawn(n) for n in {*numbers, *seen}}
        norm = estimate_normalisation([slices[n] for n in numbers], spec, numbers)
        yield f"{name}_numbers", numbers
        for number in seen:
            yield from _at(f"{name}_pixel", slices[number].pixels, _PIXELS[:2], number)
        yield f"{name}_box", _edges(norm.box)
        yield f"{name}_levels", (norm.black, norm.brain)
        for number in seen:
            own = norm.at(number)
            assert own.field is not None  # noqa: S101  # there is a brain
            yield from _at(f"{name}_field", own.field.log[0], _IN_FIELD, number)
            prepared = prepare(slices[number], own, spec)
            yield from _at(f"{name}_input", prepared.plain, _LOOKED_AT[:4], number)


def _after_the_graph(rules: Scoring) -> Iterator[Row]:
    """Follow an anomaly map that is drawn by hand, as any model might have given it."""
    drawn, box, shape = anomalies(), Box(-4, 3, 40, 48), (60, 44)
    healthy = tuple((np.arange(1, 20) ** 2 / 1000).tolist())
    threshold, minimum_area = 0.06, 4.0
    score = slice_score(drawn, rules)
    on_source, pixels_per_pixel = to_source(drawn, box, shape)
    _, regions = find_regions(on_source, threshold, minimum_area * pixels_per_pixel, None)
    yield "top_fraction", (rules.top_fraction,)
    yield "pixel_threshold", (threshold,)
    yield "minimum_area_px", (minimum_area,)
    yield "healthy", healthy
    yield "map_box", _edges(box)
    yield "map_image", shape
    yield from (("map", tuple(map(float, line))) for line in drawn)
    yield "score", (score,)
    yield "p_value", (p_value(score, healthy),)
    yield from _at("source", on_source, _ON_SOURCE)
    for region in regions:
        yield "region", (*region.box, region.area_px, *region.centroid, region.peak)
    yield "neighbours", _NEIGHBOURS
    below, above = drawn[:, ::-1], drawn[::-1] * np.float32(0.5)
    for beside in ((below, drawn, above), (None, drawn, above), (below, drawn, None)):
        yield "series_slice", (slice_score(averaged(beside, _NEIGHBOURS), rules),)


def _at(
    name: str, image: NDArray[np.float32], places: Iterable[tuple[int, int]], *of: float
) -> Iterator[Row]:
    return ((name, (*of, y, x, float(image[y, x]))) for y, x in places)


def _edges(box: Box) -> tuple[float, ...]:
    return box.x, box.y, box.width, box.height


def to_text(vector: Iterable[Row]) -> str:
    """Write one row a line: a name, then numbers."""
    return "".join(f"{name} {' '.join(f'{v:.9g}' for v in values)}\n" for name, values in vector)


def from_text(text: str) -> list[Row]:
    """Read what :func:`to_text` wrote."""
    lines = (line.split() for line in text.splitlines())
    return [(name, tuple(map(float, values))) for name, *values in lines]


def rewritten(page: str, vector: Iterable[Row]) -> str:
    """Put what the page shows of the vector in its place."""
    shown = [row for row in vector if row[0] not in {"map", "healthy"}]
    table = "".join(
        f"| `{name}` | {', '.join(f'{value:.6g}' for value in values)} |\n"
        for name, values in shown
    )
    return _MARKED.sub(lambda m: f"{m[1]}\n| row | numbers |\n|---|---|\n{table}\n{m[2]}", page)


if __name__ == "__main__":
    made = list(rows())
    REFERENCE.write_text(to_text(made), encoding="utf-8")
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
