"""An evaluation, or a comparison, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart_training.evaluation.boundary import TOLERANCE_PX
from gliomart_training.evaluation.outcomes import THIRDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gliomart_training.evaluation.documents import (
        BootstrapEntry,
        Comparison,
        Evaluation,
        FigureEntry,
        PonsEvaluation,
        Side,
        StressEvaluation,
    )

    # What has one heading: a model, a dataset, and where intervals are from.
    Measured = Evaluation | PonsEvaluation | StressEvaluation

_LABELS = {
    "pixel_average_precision": "pixel AP",
    "dice": "Dice at the threshold",
    "dice_per_tumour_slice": "Dice per tumour slice",
    "boundary_f1": f"boundary F1 within {TOLERANCE_PX} px",
    "hausdorff_95_px": "95 % Hausdorff distance, px",
    "tumour_slices_outlined": "tumour slices outlined",
    "best_dice_oracle": "best Dice (oracle)",
    "slice_auroc": "slice AUROC",
    "slice_average_precision": "slice AP",
    "sensitivity_at_90_specificity": "sensitivity at 90 % specificity",
    "sensitivity_at_95_specificity": "sensitivity at 95 % specificity",
    "flag_sensitivity": "sensitivity of the flag",
}
_VERDICTS = {
    "realised": "false alarms, slices",
    "sensitivity": "sensitivity, series",
    "false_alarm": "false alarms, series",
}
# Figures in which a model is set against a baseline; of thirds the first two.
_LEADING = ("pixel_average_precision", "slice_auroc", "sensitivity_at_95_specificity")
_MISSING = "-"


def table(result: Evaluation) -> str:
    """Lay out what :func:`gliomart_training.evaluation.evaluation.evaluate` returns."""
    sections = (heading, _figures, _heights, _lead, _verdicts, _counts)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def comparison(result: Comparison) -> str:
    """Lay out what :func:`gliomart_training.evaluation.comparison.compare` returns."""
    sections = (_two_headings, _differences)
    return "\n\n".join("\n".join(section(result)) for section in sections)


def _two_headings(result: Comparison) -> Iterator[str]:
    for name, side in (("a", result["a"]), ("b", result["b"])):
        counts, nominal = side["dataset"]["counts"], side["false_alarm"]["nominal"]
        yield (
            f"{name.upper()}: {_what(side)}; {counts['analysed']} of {counts['slices']} slices"
            f" analysed, nominal false alarms {nominal:g}"
        )
    yield _how(result["a"], result["bootstrap"])


def _differences(result: Comparison) -> Iterator[str]:
    rows = [["", "A", "B", "B - A", "B better"]]
    labels = _LABELS | _VERDICTS
    for group, figures in result["figures"].items():
        third = f"{group}: " if group in THIRDS else ""
        for name in filter(figures.get, labels):
            pair = figures[name]
            better = _MISSING if pair["better"] is None else f"{pair['better']:.3f}"
            rows.append(
                [
                    third + labels[name],
                    figure_cell(pair["a"]),
                    figure_cell(pair["b"]),
                    figure_cell(pair["difference"], "+z.3f"),
                    better,
                ]
            )
    yield from aligned(rows)
    yield "(B better: fraction of the resamples; distances and false alarms are better low)"


def heading(result: Measured) -> Iterator[str]:
    """Tell what was run on what, and what intervals come from."""
    yield _what(result)
    yield _how(result, result["bootstrap"])


def _what(result: Measured | Side) -> str:
    model, data = result["model"], result["dataset"]
    split = f", split {data['split']}" if data["split"] else ""
    what = f"{model['name']} {model['version']} ({str(model['sha256'])[:12]})"
    if data["held_out_by"]:
        what = f"{data['held_out_by']}, each fold on the patients that it held out,"
    return f"{what} on {data['folder']}{split}"


def _how(result: Measured | Side, bootstrap: BootstrapEntry) -> str:
    return (
        f"{result['provider']['effective']}, gliomart {result['software']['version']};"
        f" 95 % intervals from {bootstrap['resamples']} resamples of"
        f" {result['dataset']['counts']['patients']} patients"
    )


def _figures(result: Evaluation) -> Iterator[str]:
    rows = [["", "model", *result["baselines"]]]
    for name, label in _LABELS.items():
        columns = [result["method"], *result["baselines"].values()]
        rows.append([label, *(figure_cell(column.get(name)) for column in columns)])
    yield from aligned(rows)
    rates = result["dataset"]["base_rates"]
    yield f"(AP of chance: {rates['pixels']:.3f} for pixels, {rates['slices']:.3f} for slices)"


def _heights(result: Evaluation) -> Iterator[str]:
    rows = [["", "model", *result["baselines"]]]
    for third, figures in result["heights"].items():
        for name in ("pixel_average_precision", "slice_auroc"):
            cells = [figure_cell(column[name]) for column in figures["columns"].values()]
            rows.append([f"{third}: {_LABELS[name]}", *cells])
    yield from aligned(rows)


def _lead(result: Evaluation) -> Iterator[str]:
    lead = result["less_baseline"]
    yield f"model less {lead['baseline']}, on the same resamples:"
    rows = [
        [f"  {third}{_LABELS[name]}", figure_cell(figures.get(name), "+z.3f")]
        for third, figures, names in (
            ("", lead["figures"], _LEADING),
            (f"{THIRDS[0]}: ", lead["heights"][THIRDS[0]], _LEADING[:2]),
        )
        for name in names
    ]
    yield from aligned(rows)


def _verdicts(result: Evaluation) -> Iterator[str]:
    alarm, beside, series = result["false_alarm"], result["beside_tumour"], result["series"]
    rows = [
        [_VERDICTS["realised"], figure_cell(alarm["realised"]), f"nominal {alarm['nominal']:g}"]
    ]
    for third, part in result["heights"].items():
        slices = f"{part['tumour_free_slices']} slices"
        rows.append([f"  {third}", figure_cell(part["false_alarm_rate"]), slices])
    rows.append(
        ["flagged beside a tumour", figure_cell(beside["flagged"]), f"{beside['slices']} slices"]
    )
    judged, others = series["judged"], series["not_judged"]
    counts = f"{judged['with_tumour']} judged, {others['with_tumour']} not"
    rows.append([_VERDICTS["sensitivity"], figure_cell(series["sensitivity"]), counts])
    counts = f"{judged['tumour_free']} judged, {others['tumour_free']} not"
    rows.append([_VERDICTS["false_alarm"], figure_cell(series["false_alarm"]), counts])
    yield from aligned(rows)


def _counts(result: Evaluation) -> Iterator[str]:
    counts, seconds = result["dataset"]["counts"], result["seconds"]
    codes = ", ".join(f"{code} {count}" for code, count in counts["refused"].items())
    yield f"{counts['patients']} patients, {counts['patients_with_tumour']} with a tumour"
    yield (
        f"{counts['slices']} slices, {counts['analysed']} analysed:"
        f" {counts['tumour_slices'] - counts['refused_tumour_slices']} tumour,"
        f" {counts['beside_tumour_slices']} beside a tumour,"
        f" {counts['tumour_free_slices']} tumour-free"
    )
    yield f"refused: {codes or 'none'}; with a tumour: {counts['refused_tumour_slices']}"
    yield f"{seconds['analysis'] + seconds['figures']:.0f} s"


def figure_cell(figure: FigureEntry | None, layout: str = ".3f") -> str:
    """Write a figure with its interval."""
    if figure is None or figure["value"] is None:
        return _MISSING
    if figure["interval"] is None:
        return f"{figure['value']:{layout}}"
    low, high = figure["interval"]
    return f"{figure['value']:{layout}} [{low:{layout}}, {high:{layout}}]"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay out rows of equal length in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
