"""The structure of the packages, read from their source: ``python tests/architecture.py [ROOT]``.

Imports are counted wherever they stand: those for annotations alone, and those inside functions.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "gliomart": "runtime",
    "gliomart_training": "training",
    "gliomart_export": "export",
}
# From the lowest to the highest: what stands in one row may import what stands in rows below it,
# and, within its own room, any file that leads to no circle.
LAYERS = (
    ("_version", "printable", "equality"),
    ("errors",),
    ("host",),
    ("pipeline",),
    ("image",),
    ("sources", "providers"),
    ("model",),
    ("findings",),
    ("log",),
    ("families",),
    ("detector", "outputs"),
    ("site",),
    ("run",),
    ("bench",),
    ("cli",),
    ("__main__", ""),  # the face of the whole package
    ("gliomart_training",),
    ("gliomart_export",),
)
_LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
LONGEST_FUNCTION, MOST_PARAMETERS, LONGEST_MODULE = 50, 7, 400


class Function(NamedTuple):
    """A function: its dotted name, lines of code without the docstring, and parameters."""

    name: str
    lines: int
    parameters: int


@dataclass(frozen=True)
class Module:
    """One file: its text, the modules of ours that it imports, and its functions."""

    name: str
    text: str
    imports: frozenset[str]
    functions: tuple[Function, ...]

    @property
    def room(self) -> str:
        """The room that it stands in, or its own name where it stands in none."""
        package, _, rest = self.name.partition(".")
        return rest.partition(".")[0] if package == "gliomart" else package


def modules(root: Path = ROOT) -> dict[str, Module]:
    """Read all modules below a checkout, by dotted name."""
    paths = {}
    for package, home in PACKAGES.items():
        for path in sorted((root / home / package).rglob("*.py")):
            parts = path.relative_to(root / home).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: _read(name, path, paths.keys()) for name, path in paths.items()}


def _read(name: str, path: Path, known: object) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    imports = frozenset(_imported(tree, known)) - {name}
    if _only_hands_names_on(path, tree):
        imports = frozenset()  # a face: whoever asks for a name of it is counted with what he asks
    return Module(name, text, imports, tuple(_functions(name, tree)))


def _only_hands_names_on(path: Path, tree: ast.Module) -> bool:
    """Tell an ``__init__`` that defines nothing but how names are handed on."""
    defined = [n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return path.name == "__init__.py" and set(defined) <= {"__getattr__", "__dir__"}


def _imported(tree: ast.Module, known: object) -> Iterator[str]:
    assert hasattr(known, "__contains__")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known or node.module in known:
                    yield whole if whole in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def _functions(module: str, tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own = [argument for argument in named if argument.arg not in {"self", "cls"}]
        yield Function(f"{module}.{node.name}", lines, len(own))


def circles(found: dict[str, Module]) -> list[list[str]]:
    """Find files that import one another, directly or through others (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in found[name].imports:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1:
                result.append(sorted(part))

    for name in found:
        if name not in index:
            visit(name)
    return result


def upward(found: dict[str, Module]) -> list[str]:
    """Find imports of what stands higher, or beside the room that imports it."""
    return [
        f"{name} -> {other}"
        for name, module in found.items()
        for other in sorted(module.imports)
        if module.room != (room := found[other].room)
        and module.room in _LEVELS
        and _LEVELS[room] >= _LEVELS[module.room]
    ]


def counts(root: Path = ROOT) -> dict[str, object]:
    """Count what a redesign is held to."""
    found = modules(root)
    functions = [function for module in found.values() for function in module.functions]
    text = "\n".join(module.text for module in found.values())
    return {
        "files": len(found),
        "lines": text.count("\n"),
        "circles": [len(circle) for circle in circles(found)],
        "files over 400 lines": [
            m.name for m in found.values() if m.text.count("\n") > LONGEST_MODULE
        ],
        "functions over 50 lines": [f.name for f in functions if f.lines > LONGEST_FUNCTION],
        "parameter lists over 7": [f.name for f in functions if f.parameters > MOST_PARAMETERS],
        "upward arrows": upward(found) if "gliomart.findings.results" in found else "no rooms",
        "floors of imports": _floors(found),
        "Any": len(re.findall(r"\bAny\b", text)),
        "dict[str, Any]": text.count("dict[str, Any]"),
    }


def _floors(found: dict[str, Module]) -> int:
    """Count the floors of the house: the longest chain of imports, circles counted as one."""
    home = {name: name for name in found}
    for circle in circles(found):
        home |= dict.fromkeys(circle, circle[0])
    above: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in above:
            above[name] = 0
            members = [each for each in found if home[each] == name]
            below = {home[o] for each in members for o in found[each].imports} - {name}
            above[name] = 1 + max(map(floor, below), default=0)
        return above[name]

    return max(floor(home[name]) for name in found)


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    sys.stdout.write(json.dumps(counts(chosen), indent=1) + "\n")
