"""Write the figures of performance.md anew from the results in benchmarks/results.

``benchmarks/measure.sh`` runs it last; a test compares what it would write with what is there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gliomart import bench
from gliomart.bench.budgets import measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gliomart.bench.report import Comparison, EngineTimes, Report, Steadiness

PAGE = Path(__file__).with_name("performance.md")
BENCHMARKS = PAGE.parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"
# The load average lags behind by a minute or so.
_BUSY = 0.75
_PERCENTILES: tuple[Literal["p50", "p95", "p99"], ...] = ("p50", "p95", "p99")
_MARKED = re.compile(r"(<!-- (\w+): made by performance\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(page: str) -> str:
    """Put what every machine was measured at in its place."""
    return _MARKED.sub(lambda m: f"{m[1]}\n{PARTS[m[2]]()}\n{m[3]}", page)


def _machines() -> str:
    folders = sorted(file.parent for file in RESULTS.glob("*/slices-256.json"))
    return "\n".join(_machine(folder) for folder in folders)


def _machine(folder: Path) -> str:
    small, large, series, lean = (
        _read(folder / f"{name}.json")
        for name in ("slices-256", "slices-512", "series-176", "lean")
    )
    # With nothing installed but the runtime.
    small["import_ms"] = lean["import_ms"]
    small["cold_start_ms"] = lean["cold_start_ms"]
    small["peak_memory_mb"] = lean["peak_memory_mb"]
    whole = small.copy()
    whole["series"] = series["series"]
    picture = f"../{(folder / 'slices-256.png').relative_to(PAGE.parents[1]).as_posix()}"
    parts = [
        _heading(small),
        f"![Stages of a slice, and other engines]({picture})\n",
        _stages(small, large),
        _whole(small, series),
        *_comparison(small["comparison"]),
        _budgets(whole),
    ]
    return "\n".join(parts)


def _read(path: Path) -> Report:
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    return report


def _heading(report: Report) -> str:
    machine, model, versions = report["machine"], report["model"], report["versions"]
    where = f"{machine['processor']}, {machine['cores']} {'virtual ' * bool(machine['virtual'])}"
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"## {where}cores\n\n"
        f"{machine['system']}, {', '.join(f'`{name}`' for name in machine['instructions'])};"
        f" {libraries}; {report['provider']}.\n"
        f"Model `{model['name']}` {model['version']}, {model['precision']}"
        f" (SHA-256 `{model['sha256']}`).\n"
        f"{_quiet(machine['busy_before'])}\n"
    )


def _quiet(load_average: float | None) -> str:
    """Say whether anything else was running."""
    if load_average is None:
        return "Whether the machine was quiet is not known."
    if load_average > _BUSY:
        busy = f"Measured beside other work (load average {load_average} before it began)"
        return f"**{busy}: times are too long, to be measured again in a quiet hour.**"
    return f"The machine was quiet: load average {load_average} before the measurement began."


def _stages(small: Report, large: Report) -> str:
    names = {"slice": "**sum**"}
    rows = [
        (
            names.get(stage, stage),
            *(f"{report['ms'][stage][p]:.1f}" for report in (small, large) for p in _PERCENTILES),
        )
        for stage in small["ms"]
    ]
    rows += [
        (f"model alone, {provider}", *(f"{values[p]:.1f}" for p in _PERCENTILES), *"–––")
        for provider, values in small["model_ms"].items()
        if "not_measured" not in values
    ]
    head = (
        "milliseconds per slice",
        *(f"{size}² {p}" for size in (256, 512) for p in _PERCENTILES),
    )
    return _table(head, rows)


def _whole(small: Report, series: Report) -> str:
    long, load, energy = series["series"], small["load"], small["energy"]
    joules = energy["joules_per_slice"]
    overlays = f"overlays: {long['overlays'] or 'as infer does'}"
    pace = f"{long['slices_per_second']:.0f} slices per second"
    rows = [
        (f"series of {long['slices']} slices, {overlays}", f"{long['seconds']:.1f} s, {pace}"),
        ("`from gliomart import Detector`", f"{small['import_ms']['p50']:.0f} ms"),
        ("process start to first result", f"{small['cold_start_ms']['p50']:.0f} ms"),
        ("peak memory of that process", f"{small['peak_memory_mb']:.0f} MB"),
        *((f"{what} beside a busy process", _jitter(each)) for what, each in load.items()),
        ("energy per slice", f"not known: {energy['reason']}" if joules is None else f"{joules} J"),
    ]
    return _table(("", ""), rows)


def _jitter(load: Steadiness) -> str:
    times = f"p99 {load['loaded']['p99']:.1f} ms; idle p50 {load['idle']['p50']:.1f} ms"
    return f"{times}; ratio {load['p99_loaded_by_p50_idle']:.2f}"


def _comparison(comparison: Comparison) -> Iterator[str]:
    measured = comparison["by_threads"]
    found: dict[str, dict[str, EngineTimes]] = {}
    for threads, at in measured.items():
        for engine in at["engines"]:
            found.setdefault(f"{engine['name']}, {engine['precision']}", {})[threads] = engine
    ours = next(iter(found))
    head = ["engine"]
    for threads in measured:
        head += [f"ms, {threads} thread{'s' * (threads != '1')}", "times ours (5–95 %)"]
    rows = []
    for name, by_threads in found.items():
        cells = [f"**{name} (ours)**" if name == ours else name]
        for threads in measured:
            cells += _compared(by_threads.get(threads))
        rows.append(cells)
    yield f"{comparison['what']} {comparison['rounds']} rounds; milliseconds are medians.\n"
    yield _table(head, rows)
    missing = comparison["not_compared"]
    if missing:
        yield "".join(f"Not compared: {name}: {reason}\n" for name, reason in missing.items())
    yield _floor(comparison)


def _compared(engine: EngineTimes | None) -> list[str]:
    if engine is None:
        return ["–", "–"]
    ratio = engine["ratio"]
    spread = f"{ratio['p50']:.2f} ({ratio['p5']:.2f}–{ratio['p95']:.2f})"
    return [f"{engine['ms']['p50']:.1f}", spread]


def _floor(comparison: Comparison) -> str:
    names: dict[Literal["sgemm_gflops", "int8_gops", "copy_gb_per_s"], str] = {
        "sgemm_gflops": "float32 matrix product, GFLOP/s",
        "int8_gops": "8-bit matrix product, GOP/s",
        "copy_gb_per_s": "memory copy, read and written, GB/s",
    }
    floors = [at["floor"] for at in comparison["by_threads"].values()]
    rows = [(name, *(_or_dash(each[key]) for each in floors)) for key, name in names.items()]
    for precision, counted in comparison["operations"].items():
        count = f"{counted['all']:.2f} · 10⁹ operations, {counted['int8']:.2f} on integers"
        shares = (_or_dash(each["share"].get(precision)) for each in floors)
        rows.append((f"share that the model in {precision} reaches ({count})", *shares))
    head = ("the hardware's own pace", *(f"threads: {n}" for n in comparison["by_threads"]))
    return _table(head, rows)


def _budgets(report: Report) -> str:
    rows = []
    for budget in bench.read_budgets(BENCHMARKS / "budgets.toml"):
        value = measured(report, budget.figure)
        kept = "kept" if value <= budget.at_most else "**exceeded**"
        row = (f"`{budget.figure}`", f"{budget.at_most:g}", f"{value:.3g}", kept)
        rows.append((*row, budget.reason))
    return _table(("budget", "at most", "measured", "", "because"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in cells)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


PARTS = {"machines": _machines}


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
