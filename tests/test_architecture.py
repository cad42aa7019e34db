"""The structure of the packages: which way imports run, and how large things may be."""

from __future__ import annotations

from pathlib import Path

import pytest

import architecture
from architecture import LAYERS, LONGEST_FUNCTION, LONGEST_MODULE, MOST_PARAMETERS

HOUSE = architecture.modules()
FUNCTIONS = [function for module in HOUSE.values() for function in module.functions]


def test_every_module_stands_in_a_room_that_has_a_layer() -> None:
    rooms = {room for layer in LAYERS for room in layer}
    assert {module.room for module in HOUSE.values()} <= rooms
    assert rooms <= {module.room for module in HOUSE.values()}


def test_no_import_runs_up() -> None:
    assert architecture.upward(HOUSE) == []


def test_no_import_runs_in_a_circle() -> None:
    assert architecture.circles(HOUSE) == []


def test_no_function_is_too_long() -> None:
    assert [f for f in FUNCTIONS if f.lines > LONGEST_FUNCTION] == []


def test_no_function_takes_too_many_parameters() -> None:
    wide = [f.name for f in FUNCTIONS if f.parameters > MOST_PARAMETERS]
    assert wide == ["gliomart.detector.__init__"]  # its keywords are a promise to embedders


def test_no_module_is_too_long() -> None:
    lengths = {module.name: module.text.count("\n") for module in HOUSE.values()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_a_scanner_carries_less_than_a_megabyte_of_code_that_it_never_runs() -> None:
    never_run = [m for m in HOUSE.values() if m.room in {"gliomart_training", "gliomart_export"}]
    assert 0 < sum(len(module.text.encode()) for module in never_run) < 1e6


def _tree(root: Path, **texts: str) -> dict[str, architecture.Module]:
    """Write a small runtime, ``room__module="text"``, and read it."""
    package = root / "runtime" / "gliomart"
    for name, text in texts.items():
        path = package.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return architecture.modules(root)


@pytest.mark.parametrize(
    "text",
    [
        "from gliomart.cli.parser import parser\n",
        "import gliomart.cli.parser\n",
        "def lazy():\n    from gliomart.cli.parser import parser\n",
        "def lazy():\n    from gliomart.cli import parser\n",
        "if TYPE_CHECKING:\n    from gliomart.cli.parser import Parser\n",
    ],
    ids=["plain", "module", "lazy", "lazy module", "annotation"],
)
def test_an_import_of_a_higher_room_is_found(tmp_path: Path, text: str) -> None:
    found = _tree(tmp_path, image__grid=text, cli__parser="")
    assert architecture.upward(found) == ["gliomart.image.grid -> gliomart.cli.parser"]


def test_an_import_of_a_neighbour_in_the_same_layer_is_found(tmp_path: Path) -> None:
    found = _tree(tmp_path, sources__read="import gliomart.providers.run\n", providers__run="")
    assert architecture.upward(found) == ["gliomart.sources.read -> gliomart.providers.run"]


def test_an_import_of_a_lower_room_or_the_same_is_none(tmp_path: Path) -> None:
    text = "from gliomart.image import grid\nfrom gliomart.cli import other\n"
    found = _tree(tmp_path, cli__parser=text, cli__other="", image__grid="")
    assert (architecture.upward(found), architecture.circles(found)) == ([], [])


def test_a_circle_of_lazy_and_annotation_imports_is_found(tmp_path: Path) -> None:
    found = _tree(
        tmp_path,
        image__a="def lazy():\n    from gliomart.image import b\n",
        image__b="if TYPE_CHECKING:\n    from gliomart.image.c import C\n",
        image__c="import gliomart.image.a\n",
    )
    assert architecture.circles(found) == [[f"gliomart.image.{name}" for name in "abc"]]


def test_lengths_and_parameters_are_counted_without_docstring_and_self(tmp_path: Path) -> None:
    code = [
        "class A:",
        " def f(self, a, *, b):",
        '  """Two',
        '  lines."""',
        "  a += b",
        "  return a",
    ]
    (function,) = _tree(tmp_path, image__a="\n".join(code))["gliomart.image.a"].functions
    assert function == ("gliomart.image.a.f", 2, 2)
