"""The Python interface is what docs/api.md says, typed, and imported no earlier than used."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import gliomart
from gliomart import errors
from samples import PONS_RULES, card, draw_head

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
EXAMPLE = """
from __future__ import annotations

from io import BytesIO
from pathlib import Path

from gliomart import (
    Box,
    Detector,
    GliomartError,
    InputRefusedError,
    PonsVerdict,
    Refusal,
    Region,
    SeriesResult,
    SliceResult,
    Verdict,
    scan,
)
from gliomart.errors import ModelError


def largest(result: SliceResult) -> Region | None:
    return max(result.regions, key=lambda region: region.area_px, default=None)


def look(detector: Detector, content: bytes) -> SliceResult | Refusal:
    try:
        return detector.detect(BytesIO(content))
    except InputRefusedError as error:
        return Refusal("stream", None, error.code, error.reason)


def verdicts(detector: Detector, study: Path) -> list[tuple[Verdict | None, PonsVerdict | None]]:
    results: list[SeriesResult] = [detector.detect_series(s) for s in scan([study]).series]
    boxes: list[Box] = [slice_.normalisation.box for result in results for slice_ in result.slices]
    assert boxes
    return [(result.verdict, result.pons) for result in results]


reveal_type(Detector(provider="cpu", threads=1).warm_up())
status: int = ModelError.exit_status
family: type[Exception] = GliomartError
"""


def test_the_page_is_made_from_the_code() -> None:
    made = runpy.run_path(str(PAGE.with_name("api.py")))
    page = PAGE.read_text(encoding="utf-8")
    assert made["rewritten"](page) == page, "run: python docs/api.py"
    for name in made["MADE"]:
        assert f"<!-- {name}: made by api.py -->" in page


def test_the_page_leaves_nothing_out() -> None:
    made = runpy.run_path(str(PAGE.with_name("api.py")))
    described = {name for names in made["CHAPTERS"].values() for name in names}
    family = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.GliomartError)
    }
    assert described | (family & set(gliomart.__all__)) | {"__version__"} == set(gliomart.__all__)
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in family)
    for name in described:
        assert f"\n### {name}\n" in page


@pytest.mark.parametrize("name", gliomart.__all__)
def test_what_is_public_is_there_and_documented(name: str) -> None:
    thing = getattr(gliomart, name)
    assert name in dir(gliomart)
    if name != "__version__":
        assert inspect.getdoc(thing)
        assert thing.__module__.startswith("gliomart.")


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = gliomart.nonesuch


@pytest.mark.parametrize("module", ["gliomart", "gliomart.cli.parser"])
def test_importing_the_package_or_its_command_line_imports_next_to_nothing(module: str) -> None:
    code = (
        f"import sys, {module};"
        " print({'numpy', 'cv2', 'pydicom', 'logging', 'onnxruntime'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_strict_type_checking_passes_where_the_package_is_used_rightly(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(EXAMPLE)
    (tmp_path / "wrong.py").write_text("import gliomart\ngliomart.Detector(provider='abacus')\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "right.py", "wrong.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    summary, revealed, refused = sorted(ended.stdout.splitlines())
    assert 'Revealed type is "float"' in revealed
    assert refused.startswith('wrong.py:2: error: Argument "provider" to "Detector"')
    assert summary.startswith("Found 1 error in 1 file")


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("Frame", gliomart.Normalisation),
        ("Plane", gliomart.ImagePlane),
        ("Pons", gliomart.StructureFinding),
        ("PonsVerdict", gliomart.StructureVerdict),
    ],
)
def test_names_of_before_work_and_warn(name: str, now: type) -> None:
    with pytest.warns(DeprecationWarning, match=f"gliomart.{name} is called {now.__name__} now"):
        assert getattr(gliomart, name) is now
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_attributes_of_before_work_and_warn(model: Path) -> None:
    detector = gliomart.Detector(model, provider="cpu")
    result = detector.detect(draw_head())
    with pytest.warns(DeprecationWarning, match="normalisation"):
        assert result.frame is result.normalisation
    judged = card(pons=PONS_RULES)
    for name, value in {"modality": "MR", "sequence": "FLAIR", "pons": PONS_RULES}.items():
        with pytest.warns(DeprecationWarning, match=f"ModelCard.{name} is"):
            assert getattr(judged, name) == value
