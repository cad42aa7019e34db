"""Write anew the JSON Schemas in schema/ from the types of what gliomart writes and reads as JSON.

Run ``python docs/schemas.py`` after a change; tests compare what it would write with what is there,
and hold real files to it. Published schemas allow for keys that they do not name: what is new is
added without a new number.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from gliomart.bench.report import Report
from gliomart.model.card import ModelCard
from gliomart.outputs.documents import Results
from gliomart.outputs.journal import JournalEntry, JournalHead
from gliomart.outputs.report_slice import ReportSlice
from gliomart.site.drift_record import Record as DriftRecord
from gliomart_training.evaluation.documents import (
    Comparison,
    Evaluation,
    PonsEvaluation,
    SeveralEvaluation,
    StressEvaluation,
)
from gliomart_training.record import Record

FOLDER = Path(__file__).with_name("schema")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What each schema is of: its title, and the type of the content.
FILES: dict[str, tuple[str, Any]] = {
    "results.json": ("results.json", Results),
    "journal.json": ("A line of results.partial.jsonl", JournalHead | JournalEntry),
    "card.json": ("The card of a model; info --json prints it beside the file's sha256", ModelCard),
    "drift.json": ("A record of infer --drift; info --drift --json prints it", DriftRecord),
    "bench.json": ("bench --json", Report),
    "pictures.json": ("A file of report-pictures/", list[ReportSlice | None]),
    "evaluation.json": ("evaluate --json; accuracy.md says what figures mean", Evaluation),
    "several-evaluation.json": (
        "evaluate DIR DIR --json; data.md says what the total is of",
        SeveralEvaluation,
    ),
    "comparison.json": (
        "evaluate --compare --json; accuracy.md says what figures mean",
        Comparison,
    ),
    "pons-evaluation.json": (
        "evaluate --pons --json; brainstem.md says what figures mean",
        PonsEvaluation,
    ),
    "stress-evaluation.json": (
        "evaluate --stress --json; accuracy.md says what figures mean",
        StressEvaluation,
    ),
    "record.json": ("record.json of a run of train", Record),
}
_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}
_ATTRIBUTES = re.compile(r"^Attributes\n-{3,}\n(.*)", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^(\S.*)\n((?:(?: {4}.*)?\n)*(?: {4}.*)?)", re.MULTILINE)

_Schema = dict[str, Any]


def schema(name: str, *, closed: bool = False) -> _Schema:
    """Make the schema of a file.

    Parameters
    ----------
    name
        One of ``FILES``.
    closed
        Allow for no keys but those that are named, as tests do.
    """
    title, content = FILES[name]
    maker = _Maker(closed)
    made = maker.of(content)
    definitions = dict(sorted(maker.definitions.items()))
    if made.keys() == {"$ref"}:
        made = definitions.pop(made["$ref"].rpartition("/")[2])
    return {"$schema": _DIALECT, "title": title, **made, "$defs": definitions}


def written(name: str) -> str:
    """Make the content of a schema's file."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class _Maker:
    """Describes types; those with names of their own go into ``definitions``."""

    closed: bool
    definitions: dict[str, _Schema] = field(default_factory=dict)

    def of(self, type_: Any) -> _Schema:  # noqa: ANN401
        """Describe a type."""
        if type_ in {object, Any}:
            return {}
        if type_ in _PLAIN:
            return {"type": _PLAIN[type_]}
        if is_typeddict(type_) or is_dataclass(type_):
            return self._of_object(type_)
        made: dict[Any, Callable[..., _Schema]] = {
            Literal: lambda *values: {"enum": list(values)},
            NotRequired: self.of,
            Union: self._of_any,
            UnionType: self._of_any,
            list: self._of_array,
            tuple: self._of_tuple,
            dict: self._of_mapping,
            Mapping: self._of_mapping,
        }
        return made[get_origin(type_)](*get_args(type_))

    def _of_any(self, *types: Any) -> _Schema:  # noqa: ANN401
        return {"anyOf": [self.of(each) for each in types]}

    def _of_array(self, member: Any) -> _Schema:  # noqa: ANN401
        return {"type": "array", "items": self.of(member)}

    def _of_tuple(self, *members: Any) -> _Schema:  # noqa: ANN401
        if members[-1] is ...:
            return self._of_array(members[0])
        each = [self.of(member) for member in members]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}

    def _of_mapping(self, _: type, value: Any) -> _Schema:  # noqa: ANN401
        return {"type": "object", "additionalProperties": self.of(value)}

    def _of_object(self, type_: Any) -> _Schema:  # noqa: ANN401
        name = type_.__name__
        if name not in self.definitions:
            self.definitions[name] = {}  # its place, before those of its parts
            described = _descriptions(type_)
            types = get_type_hints(type_, include_extras=True)
            self.definitions[name] = {
                "description": _plain((inspect.getdoc(type_) or "").partition("\n")[0]),
                "type": "object",
                "properties": {
                    key: self.of(each)
                    | ({"description": described[key]} if key in described else {})
                    for key, each in types.items()
                },
                "required": [k for k, each in types.items() if get_origin(each) is not NotRequired],
            } | ({"additionalProperties": False} if self.closed else {})
        return {"$ref": f"#/$defs/{name}"}


def _descriptions(type_: type) -> dict[str, str]:
    """Read what docstrings say of each key, those of the types that it is made from included."""
    described: dict[str, str] = {}
    for base in (*reversed(getattr(type_, "__orig_bases__", ())), type_):
        if is_typeddict(base) and base is not type_:
            described |= _descriptions(base)
    attributes = _ATTRIBUTES.search(inspect.getdoc(type_) or "")
    for names, words in _ENTRY.findall(attributes[1] if attributes else ""):
        described |= dict.fromkeys(names.split(", "), _plain(" ".join(words.split())))
    return described


def _plain(text: str) -> str:
    return re.sub(r":\w+:`~?([^`]+)`", r"\1", text).replace("``", "")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in FILES:
        (FOLDER / each).write_text(written(each), encoding="utf-8")
