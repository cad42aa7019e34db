"""A report, laid out for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gliomart.bench.report import Comparison, Floor, Report, Steadiness


def table(report: Report) -> str:
    """Lay a report out as lines of plain text."""
    lines = [*_head(report), *_times(report), *_series(report)]
    if "load" in report:
        lines += _load(report["load"])
    if "comparison" in report:
        lines += _comparison(report["comparison"])
    return "\n".join(lines)


def _head(report: Report) -> Iterator[str]:
    study, machine, model = report["study"], report["machine"], report["model"]
    what = f"{model['name']} ({model['precision']}) on {report['provider']}"
    where = f"{machine['processor']}, {machine['cores']} cores"
    how = f"{study['slices']} slices of {study['name']}, {study['repeats']} passes"
    yield f"{what}; {where}; {how}"


def _times(report: Report) -> Iterator[str]:
    yield f"{'milliseconds':14}{'p50':>9}{'p95':>9}{'p99':>9}"
    rows = dict(report["ms"])
    slabs = report["slab"]["ms"] if "slab" in report else {}
    for what, by_provider in (("model", report["model_ms"]), ("slab", slabs)):
        for provider, values in by_provider.items():
            if "p50" in values:
                rows[f"{what}, {provider}"] = values
    rows["import"] = report["import_ms"]
    if "cold_start_ms" in report:
        rows["cold start"] = report["cold_start_ms"]
    for name, values in rows.items():
        yield f"{name:14}{values['p50']:9.2f}{values['p95']:9.2f}{values['p99']:9.2f}"
    if "slab" in report:
        seen, given = report["slab"]["seen"], report["slab"]["given"]
        yield f"a slab shows {seen} slices and gives {given}; model is its time by {given}, and"
        yield "the stages are those of slices one by one, each a slab by itself"


def _series(report: Report) -> Iterator[str]:
    series = report["series"]
    yield f"throughput    {series['slices_per_second']:9.1f} slices per second, scan to results"
    if "peak_memory_mb" in report:
        yield f"peak memory   {report['peak_memory_mb']:9.1f} MB, one slice from a cold start"
    energy = report["energy"]
    if energy["joules_per_slice"] is not None:
        yield f"energy        {energy['joules_per_slice']:9.3f} J per slice, model alone"


def _load(load: dict[str, Steadiness]) -> Iterator[str]:
    yield ""
    yield f"{'beside a busy process':22}{'idle p50':>10}{'p99':>9}{'loaded p50':>12}{'p99':>9}"
    for what, values in load.items():
        idle, loaded = values["idle"], values["loaded"]
        yield (
            f"{what:22}{idle['p50']:10.2f}{idle['p99']:9.2f}{loaded['p50']:12.2f}"
            f"{loaded['p99']:9.2f}   p99 loaded by p50 idle {values['p99_loaded_by_p50_idle']:.2f}"
        )


def _comparison(comparison: Comparison) -> Iterator[str]:
    for threads, measured in comparison["by_threads"].items():
        yield ""
        title = f"{threads} thread{'s' if threads != '1' else ''}, {comparison['rounds']} rounds"
        yield f"{title:32}{'p50 ms':>8}{'p99 ms':>8}   times ours (5-95 %)"
        for engine in measured["engines"]:
            name = f"{engine['name']}, {engine['precision']}"
            ms, ratio = engine["ms"], engine["ratio"]
            spread = f"({ratio['p5']:.2f}-{ratio['p95']:.2f})"
            yield f"{name:32}{ms['p50']:8.2f}{ms['p99']:8.2f}{ratio['p50']:8.2f} {spread}"
        yield from _floor(measured["floor"])
    yield ""
    yield comparison["what"]
    for precision, counted in comparison["operations"].items():
        on_integers = f"{counted['int8']:.2f} of them on integers"
        yield f"{precision}: {counted['all']:.2f} · 10⁹ operations per run, {on_integers}"
    for name, reason in comparison["not_compared"].items():
        yield f"not compared: {name}: {reason}"


def _floor(floor: Floor) -> Iterator[str]:
    rates = {
        "float32 product": (floor["sgemm_gflops"], "GFLOP/s"),
        "8-bit product": (floor["int8_gops"], "GOP/s"),
        "memory copy": (floor["copy_gb_per_s"], "GB/s"),
    }
    known = [f"{name} {rate:g} {unit}" for name, (rate, unit) in rates.items() if rate is not None]
    yield f"hardware: {', '.join(known)}"
    for precision, share in floor["share"].items():
        yield f"the model in {precision} reaches {share:.0%} of the products' rates"
