"""The conformance statement says what the code does."""

from __future__ import annotations

import runpy
from pathlib import Path

from gliomart.findings import suitability
from gliomart.sources import codecs

PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"


def test_the_tables_are_those_of_the_code() -> None:
    made = runpy.run_path(str(PAGE.with_name("conformance.py")))
    page = PAGE.read_text(encoding="utf-8")
    assert made["rewritten"](page) == page
    for name in made["TABLES"]:
        assert f"<!-- {name}: made by conformance.py -->" in page


def test_every_syntax_and_every_code_is_in_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{syntax.uid}`" in page for syntax in codecs.SYNTAXES)
    assert all(f"`{code}`" in page for code in suitability.CODES)
