"""Write the reference in api.md anew from the docstrings of what is public.

Run ``python docs/api.py`` after a change; a test compares what it would write with what is there.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import gliomart
from gliomart import errors
from gliomart.image.geometry import PlaneName
from gliomart.model.familiar import Code
from gliomart.providers import Requested
from gliomart.sources.inventory import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).with_name("api.md")
CHAPTERS = {
    "entry": ("Detector", "Slice", "scan", "Inventory", "SeriesFiles", "SourceFile", "Budget"),
    "results": (
        "SliceResult", "SeriesResult", "StudyResult", "CompanionResult", "Rigid", "Refusal",
        "Region", "Verdict", "StructureFinding", "Section",
        "StructureVerdict", "Structure", "Concern", "Settings", "SiteThresholds", "ProviderChoice",
        "Milliseconds", "Normalisation", "Box", "ImagePlane",
    ),
    "card": (
        "ModelCard", "InputImage", "GraphOutput", "Limits", "Preprocessing", "Shading",
        "Scoring", "Scalp", "Calibration", "JudgeCard", "PonsCalibration", "Scales", "Signs",
        "SiteCalibration", "CalibratedScanner", "Familiar", "Unfamiliar", "ExpectedBrain",
    ),
}  # fmt: skip
_MARKED = re.compile(r"(<!-- (\w+): made by api\.py -->\n).*?(<!-- end -->)", re.DOTALL)
_SECTION = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\S.*)\n((?:(?: {4}.*)?\n)*(?: {4}.*)?)", re.MULTILINE)
_ALIASES = {
    name: " | ".join(f'"{choice}"' for choice in get_args(literal))
    for name, literal in {
        "Requested": Requested,
        "Kind": Kind,
        "PlaneName": PlaneName,
        "Code": Code,
    }.items()
} | dict.fromkeys(("Points", "Vector"), "NDArray[floating[Any]]")


def rewritten(page: str) -> str:
    """Put every chapter of the page in its place."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{MADE[m[2]]()}\n{m[3]}", page)


def _chapter(names: tuple[str, ...]) -> Callable[[], str]:
    return lambda: "\n".join(_described(name, getattr(gliomart, name)) for name in names)


def _described(name: str, thing: Any) -> str:  # noqa: ANN401
    """Describe a class with its members, or a function."""
    parts = [f"### {name}\n"]
    if inspect.isfunction(thing):
        return "\n".join([*parts, _call(name, thing), *_prose(thing, _annotations(thing))])
    fields = {n: _plain(str(annotation)) for n, annotation in _public(thing).items()}
    if dataclasses.is_dataclass(thing):
        parts += _prose(thing, fields, list_all=True)
    else:
        parts.append(_call(name, thing.__init__))
        parts += _prose(thing, _annotations(thing.__init__))
        parts.append("".join(f"- `{n}` (`{type_}`)\n" for n, type_ in fields.items()))
    for member, value in vars(thing).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if member.startswith("_") or not inspect.isfunction(function):
            continue
        if any(map(_internal, _annotations(function).values())):
            continue
        if isinstance(value, property):
            parts.append(f"**`{name}.{member}`** (`{_annotations(function)['return']}`)\n")
        else:
            parts.append(_call(f"{name}.{member}", function))
        parts += _prose(function, _annotations(function))
    return "\n".join(parts)


def _annotations(function: Any) -> dict[str, str]:  # noqa: ANN401
    return {name: _plain(str(type_)) for name, type_ in function.__annotations__.items()}


def _public(thing: type) -> dict[str, str]:
    """Attributes of a class, without those whose types are internal."""
    own = inspect.get_annotations(thing)
    return {n: a for n, a in own.items() if not _internal(str(a)) and not n.startswith("_")}


def _call(name: str, function: Any) -> str:  # noqa: ANN401
    """Write a signature; with its types, unless the parameters are described one by one."""
    signature = inspect.signature(function)
    described = function.__name__ == "__init__" or "Parameters\n" in (
        inspect.getdoc(function) or ""
    )
    shown = []
    for parameter in signature.parameters.values():
        text = str(parameter.replace(annotation=inspect.Parameter.empty))
        if parameter.name in {"self", "cls"}:
            continue
        if not described:
            text += f": {_plain(str(parameter.annotation))}"
        if parameter.kind == parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        shown.append(re.sub(r"=Budget\(.*\)", "=Budget()", text))
    result = _plain(str(signature.return_annotation))
    returns = "" if result == "None" else f" → `{result}`"
    return f"**`{name}({', '.join(shown)})`**{returns}\n"


def _prose(thing: object, types: dict[str, str], *, list_all: bool = False) -> Iterator[str]:
    """Turn a numpydoc docstring into Markdown; types come from the annotations."""
    text, *sections = _SECTION.split(inspect.getdoc(thing) or "")
    yield _markdown(text).strip() + "\n"
    named = set()
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title == "Examples":
            continue
        if title != "Attributes":
            yield f"*{title}*\n"
        lines = []
        for names, description in _ENTRY.findall(body):
            named.update(names.split(", "))
            if title == "Attributes" and not types.keys() & set(names.split(", ")):
                continue  # internal
            words = _markdown(" ".join(description.split()))
            lines.append(f"- {_typed(names, types)}: {words}\n" if words else f"- {names}\n")
        yield "".join(lines)
    if list_all and types.keys() - named:
        yield "".join(f"- {_typed(name, types)}\n" for name in types if name not in named)


def _typed(names: str, types: dict[str, str]) -> str:
    """Write ``a, b`` with the types of both, once where they are the same."""
    each = names.split(", ")
    if len({types.get(name) for name in each}) == 1:
        suffix = f" (`{types[each[0]]}`)" if each[0] in types else ""
        return ", ".join(f"`{name}`" for name in each) + suffix
    return ", ".join(f"`{name}` (`{types[name]}`)" for name in each)


def _plain(annotation: str) -> str:
    """Write an annotation as a caller would."""
    for alias, meaning in _ALIASES.items():
        annotation = re.sub(rf"\b{alias}\b", meaning, annotation)
    return annotation.replace("sources.", "").replace("np.", "").strip("'")


def _markdown(text: str) -> str:
    text = re.sub(r":\w+:`(?:gliomart\.(?:\w+\.)*)?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def _internal(annotation: str) -> bool:
    """Tell whether a type is one of gliomart's that are not public."""
    modules = [m for name, m in list(sys.modules.items()) if name.startswith("gliomart.")]
    ours = {n for m in modules for n, v in vars(m).items() if _is_ours(v)}
    return bool((ours - set(gliomart.__all__)) & set(re.findall(r"\w+", annotation)))


def _is_ours(value: object) -> bool:
    return inspect.isclass(value) and value.__module__.startswith("gliomart.")


def _errors() -> str:
    """One row for each error: its own base first, then the standard library's."""
    rows = ["| error | is also | `code` | exit status | |", "|---|---|---|---|---|"]
    for name, error in vars(errors).items():
        if inspect.isclass(error) and issubclass(error, errors.GliomartError):
            bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
            code = "the refusal's" if error is errors.InputRefusedError else f"`{error.code}`"
            summary = (inspect.getdoc(error) or "").splitlines()[0]
            rows.append(
                f"| `{name}` | {bases} | {code} | {error.exit_status} | {_markdown(summary)} |"
            )
    return "\n".join(rows) + "\n"


MADE = {name: _chapter(names) for name, names in CHAPTERS.items()} | {"errors": _errors}


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
