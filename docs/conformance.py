"""Write the tables of dicom.md anew from the code that they describe.

Run ``python docs/conformance.py`` after a change; a test compares what it would write with what is
there.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.tag import BaseTag

from gliomart.findings import contrast, suitability
from gliomart.sources import (
    Budget,
    attributes,
    budget,
    codecs,
    dicom,
    header,
    loss,
    media,
    modality,
    traits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_READING = (header, attributes, traits, loss, dicom, modality, codecs, budget, media)
PAGE = Path(__file__).with_name("dicom.md")
_MARKED = re.compile(r"(<!-- (\w+): made by conformance\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(page: str) -> str:
    """Put every table of the page in its place."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in cells)


def _syntaxes() -> str:
    rows = [
        (
            syntax.name,
            f"`{syntax.uid}`",
            syntax.decoder,
            f"`{syntax.extra}`" if syntax.extra else "–",
        )
        for syntax in codecs.SYNTAXES
    ]
    return _table(("transfer syntax", "UID", "decoded by", "extra"), rows)


def _attributes() -> str:
    """Every keyword that the reading code names."""
    found = {tag for module in _READING for tag in _keywords(module)}
    rows = [(f"`{BaseTag(tag)}`".upper(), dictionary_description(tag)) for tag in sorted(found)]
    return _table(("tag", "attribute"), rows)


def _keywords(module: object) -> Iterator[int]:
    source = inspect.getsource(module)  # type: ignore[arg-type]
    for node in ast.walk(ast.parse(source)):
        word = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)
        tag = tag_for_keyword(word) if isinstance(word, str) else None
        if tag is not None and dictionary_description(tag):  # retired ones may have no name
            yield tag


def _codes() -> str:
    return _table(
        ("code", "refused because"), [(f"`{c}`", t) for c, t in suitability.CODES.items()]
    )


def _objects() -> str:
    rows = [(name, f"`{uid}`") for uid, name in suitability.SCANNER_IMAGES.items()]
    return _table(("SOP class", "UID"), rows)


def _sequences() -> str:
    rules = enumerate(suitability.SEQUENCE_RULES, start=1)
    return "".join(f"{n}. {_said(rule)}\n" for n, rule in rules)


def _contrast() -> str:
    return f"{_said(contrast.after_contrast)}\n"


def _said(rule: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(rule) or "").split())


def _limits() -> str:
    described = re.findall(
        r"^(\w+)\n    (.+(?:\n    .+)*)", inspect.getdoc(Budget) or "", re.MULTILINE
    )
    texts = {name: " ".join(text.split()) for name, text in described}
    rows = [(f"`{f.name}`", f"{f.default:,}", texts[f.name]) for f in dataclasses.fields(Budget)]
    return _table(("limit", "default", "of"), rows)


def _traits() -> str:
    rows = [
        (trait.name, ", ".join(dictionary_description(keyword) for keyword in trait.keywords), when)
        for several, when in (
            (traits.OF_SERIES, "always"),
            (traits.OF_IMAGES, "always, frame by frame"),
            (traits.OF_REPEATS, "where images are in each other's way"),
        )
        for trait in several
    ]
    return _table(("what", "from", "tells images apart"), rows)


TABLES = {
    "traits": _traits,
    "objects": _objects,
    "syntaxes": _syntaxes,
    "attributes": _attributes,
    "codes": _codes,
    "sequences": _sequences,
    "contrast": _contrast,
    "limits": _limits,
}


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
