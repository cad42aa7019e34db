"""The reference vector for other languages: the Python runtime, C++ and C# agree with it."""

from __future__ import annotations

import math
import runpy
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gliomart import Preprocessing, Slice, scan
from gliomart.image.grid import crop
from gliomart.image.normalisation import SAMPLED_SLICES, estimate_normalisation
from gliomart.image.preprocess import normalise
from gliomart.image.steps import Shading
from gliomart.model.built_in import default_model
from gliomart.sources import read_series
from samples import GOLDEN, SHARED, needs_real_images

EXAMPLES = Path(__file__).parents[2] / "examples"
# What a network may differ by; a graph of another precision has the same names and shapes.
NETWORK = {"reconstruction": 0.02, "anomaly_map": 0.01, "brain": 0.1}
SCORE = 0.1  # of itself
# Rows of which a check says if one of their numbers is another.
COMPARED = (
    *("levels", "input", "small_input", "score", "p_value", "source", "region", "series_slice"),
    *("alone_field", "alone_input", "series_field", "series_input", "uneven_field", "uneven_input"),
    *("windowed_field", "windowed_input"),
)
# How bright a slice becomes, by its number and pixels, in a series that was changed.
CHANGED: dict[str, Callable[[int, NDArray[np.float32]], np.float32]] = {
    "as it is": lambda _number, _pixels: np.float32(1),
    "interleaved": lambda number, _pixels: np.float32(1.3 ** (number % 2)),
    "windowed": lambda _number, pixels: np.float32(255 / pixels.max()),
}
AGAIN = "where the built-in model was replaced, run: python examples/reference.py"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "reference.py"))


@pytest.fixture(scope="module")
def text() -> str:
    return (EXAMPLES / "reference.txt").read_text(encoding="utf-8")


def _grouped(rows: list[tuple[str, tuple[float, ...]]]) -> dict[str, list[tuple[float, ...]]]:
    grouped = defaultdict(list)
    for name, values in rows:
        grouped[name].append(values)
    return grouped


def test_the_runtime_agrees_with_the_vector(made: dict[str, Any], text: str) -> None:
    found, wanted = _grouped(list(made["rows"]())), _grouped(made["from_text"](text))
    assert set(found) | {"slice_region"} == set(wanted) | {"slice_region"}
    for name, rows in wanted.items():
        if name in {*NETWORK, "slice", "slice_region"}:
            continue
        for mine, row in zip(found[name], rows, strict=True):
            assert mine == pytest.approx(row, rel=1e-5, abs=1e-6), name


def test_the_network_agrees_with_the_vector(made: dict[str, Any], text: str) -> None:
    found, wanted = _grouped(list(made["rows"]())), _grouped(made["from_text"](text))
    for name, allowed in NETWORK.items():
        for mine, row in zip(found[name], wanted[name], strict=True):
            assert mine == pytest.approx(row, abs=allowed), f"{name}: {AGAIN}"
    (score, p_value), (old_score, _) = found["slice"][0], wanted["slice"][0]
    assert score == pytest.approx(old_score, rel=SCORE), AGAIN
    assert p_value < 0.05  # the spot is found, and is where it was drawn
    left, top, right, bottom, _ = found["slice_region"][0]
    assert left < 175 < right
    assert top < 195 < bottom


def test_the_page_shows_the_vector(made: dict[str, Any], text: str) -> None:
    page = made["PAGE"].read_text(encoding="utf-8")
    assert made["rewritten"](page, made["from_text"](text)) == page, AGAIN


def test_no_pixel_of_the_vector_is_decided_by_rounding(made: dict[str, Any]) -> None:
    rows = _grouped(list(made["rows"]()))
    threshold = rows["pixel_threshold"][0][0]
    assert min(abs(value - threshold) for line in rows["map"] for value in line) > 1e-5
    assert all(math.isfinite(value) for group in rows.values() for row in group for value in row)


def _disagreeing(text: str, name: str) -> str:
    """Change the last number of the first row of that name by a hundredth."""
    lines = text.splitlines()
    place = next(n for n, line in enumerate(lines) if line.split()[0] == name)
    *words, last = lines[place].split()
    lines[place] = " ".join([*words, str(float(last) + 0.01)])
    return "\n".join(lines)


def _check(command: list[str | Path], text: str, folder: Path) -> None:
    reference = folder / "reference.txt"
    reference.write_text(text)
    agreed = subprocess.run([*command, reference], capture_output=True, text=True, check=False)
    assert (agreed.returncode, agreed.stdout) == (0, "agrees with the reference\n")
    for name in COMPARED:
        reference.write_text(_disagreeing(text, name))
        differs = subprocess.run([*command, reference], capture_output=True, text=True, check=False)
        assert differs.returncode == 1, name


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_cpp_agrees_with_the_vector(text: str, tmp_path: Path) -> None:
    options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"]
    source, program = EXAMPLES / "cpp" / "check.cpp", tmp_path / "check"
    subprocess.run(["g++", *options, source, "-o", program], check=True)
    _check([program], text, tmp_path)


@pytest.mark.sampled(3)
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
@pytest.mark.parametrize(
    "study",
    [
        GOLDEN,
        pytest.param(SHARED / "dicom" / "flair_axial_lgg", marks=needs_real_images),
        pytest.param(SHARED / "dicom" / "t1_mprage_trio", marks=needs_real_images),
    ],
    ids=lambda study: study.name,
)
@pytest.mark.parametrize("changed", CHANGED, ids=list(CHANGED))
def test_cpp_prepares_whole_series_as_the_runtime_does(
    study: Path, changed: str, tmp_path: Path
) -> None:
    program = tmp_path / "normalisations"
    source = Path(__file__).with_name("normalisations.cpp")
    include = f"-I{EXAMPLES / 'cpp'}"
    subprocess.run(["g++", "-std=c++17", "-O2", include, source, "-o", program], check=True)
    spec = Preprocessing(shading=Shading())
    for files in scan([study]).series:
        read = read_series(files.files, files.source)
        slices = [item for item in read if isinstance(item, Slice)][:SAMPLED_SLICES]
        gain = CHANGED[changed]
        slices = [replace(s, pixels=s.pixels * gain(k, s.pixels)) for k, s in enumerate(slices)]
        height, width = slices[0].pixels.shape
        np.stack([item.pixels for item in slices]).tofile(tmp_path / "slices")
        numbers = (len(slices), height, width, *(slices[0].spacing or (1.0, 1.0)))
        numbers = (*numbers, spec.margin, spec.brain_level, spec.head_level)
        command = [program, tmp_path / "slices", *map(str, numbers), tmp_path / "prepared"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        norm = estimate_normalisation(slices, spec)
        box = norm.box
        assert [float(word) for word in said.split()] == pytest.approx(
            [box.x, box.y, box.width, box.height, norm.black, norm.brain], rel=1e-6
        )
        values = np.fromfile(tmp_path / "prepared", np.float32)
        as_lit, even = values[: 2 * len(slices) * spec.size**2].reshape(
            2, len(slices), spec.size, spec.size
        )
        assert norm.field is not None
        assert norm.field.expected is not None or changed == "as it is"
        assert values[as_lit.size + even.size :] == pytest.approx(norm.field.log.ravel(), abs=1e-5)
        unshaded = replace(norm, field=None)
        for number, item in enumerate(slices):
            cropped = crop(item.pixels, box, spec.size, norm.black)
            assert np.abs(as_lit[number] - normalise(cropped, unshaded, spec)).max() < 1e-4
            assert np.abs(even[number] - normalise(cropped, norm.at(number), spec)).max() < 1e-4


def test_cpp_gets_the_same_from_the_model(text: str, tmp_path: Path) -> None:
    """Where CPLUS_INCLUDE_PATH and LIBRARY_PATH, say, lead to ONNX Runtime's C++ library."""
    program = tmp_path / "session"
    compiler = ["g++", "-std=c++17", "-O2"]
    uses = "#include <nlohmann/json.hpp>\n#include <onnxruntime_cxx_api.h>\nint main() {}\n"
    trial = [*compiler, "-x", "c++", "-", "-lonnxruntime", "-o", program]
    if (
        shutil.which("g++") is None
        or subprocess.run(trial, input=uses, text=True, capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no ONNX Runtime for C++, or nlohmann-json")
    source = EXAMPLES / "cpp" / "session.cpp"
    subprocess.run([*compiler, source, "-lonnxruntime", "-o", program], check=True)
    command = [program, default_model()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line for line in text.splitlines() if line.startswith("slice")]
    for line, row in zip(said.splitlines(), rows, strict=True):
        (name, *mine), (wanted, *numbers) = line.split(), row.split()
        assert name == wanted
        assert [float(word) for word in mine] == pytest.approx(list(map(float, numbers)), rel=0.2)


@pytest.mark.skipif(shutil.which("mcs") is None, reason="there is no mcs (mono-mcs)")
def test_csharp_agrees_with_the_vector(text: str, tmp_path: Path) -> None:
    names = ("Check.cs", "Example.cs", "Gliomart.cs", "Shading.cs")
    sources = [EXAMPLES / "csharp" / name for name in names]
    program = tmp_path / "Check.exe"
    subprocess.run(["mcs", "-warnaserror", f"-out:{program}", *sources], check=True)
    _check(["mono", program], text, tmp_path)
