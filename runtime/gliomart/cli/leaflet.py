"""A model's card as a leaflet for people: what it is for, what is known of it, and its limits."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gliomart.findings.judges import STRUCTURES
from gliomart.model.contents import BRAIN, VOLUME
from gliomart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gliomart.findings.results import Settings
    from gliomart.model.card import ModelCard
    from gliomart.model.contents import Calibration, SiteCalibration

_WIDEST = 100
_HASH_DIGITS = 12
# Figures of an evaluation: where they are in it, and what they are called.
_FIGURES = {
    ("method", "pixel_average_precision"): "pixel AP",
    ("method", "dice"): "Dice at the threshold",
    ("method", "slice_auroc"): "slice AUROC",
    ("method", "flag_sensitivity"): "slices with a tumour, flagged",
    ("false_alarm", "realised"): "tumour-free slices, flagged",
    ("series", "sensitivity"): "series with a tumour, flagged",
    ("series", "false_alarm"): "tumour-free series, flagged",
}


def leaflet(
    card: ModelCard,
    calibration: Calibration,
    settings: Settings,
    why_not: Mapping[str, str | None],
    width: int,
) -> str:
    """Lay a card out for people.

    Parameters
    ----------
    card, calibration, settings
        Of a model that is ready to run.
    why_not
        For every execution provider, why it cannot run here; None where it can.
    width
        Of the terminal, in cells.
    """
    sections = {
        "Purpose": _purpose(card),
        "Trained on": _training(card),
        "Calibration": _calibration(card, calibration),
        "Measured": _measured(card.metrics),
        "Limits": _limits(card, calibration),
        "Runs here on": _providers(settings, why_not),
        "File": _file(card, settings),
    }
    lines = [printable(f"{card.name} {card.version}")]
    for title, paragraphs in sections.items():
        lines += ["", title]
        for paragraph in paragraphs:
            lines += _wrapped(printable(paragraph), min(width, _WIDEST))
    return "\n".join(lines)


def _wrapped(paragraph: str, width: int) -> list[str]:
    return textwrap.wrap(
        paragraph, max(width, 40), initial_indent="  ", subsequent_indent="    "
    )  # fmt: skip


def _purpose(card: ModelCard) -> Iterator[str]:
    yield card.intended_use
    needed = " and ".join(_kinds(card, required=True))
    further = " and ".join(_kinds(card, required=False))
    beside = f", and beside it, as far as they are there, {further}" if further else ""
    together = ", neighbouring slices together" if card.family == VOLUME else ""
    yield (
        f"Made for {card.plane} {needed} of the head{together}{beside}. DICOM that says it"
        " is something else is refused by name; --force analyses it and marks the results."
    )


def _kinds(card: ModelCard, *, required: bool) -> list[str]:
    images = [image for image in card.images if image.required == required]
    return [f"{image.kind} ({image.modality})" for image in images]


def _training(card: ModelCard) -> Iterator[str]:
    training = card.training
    yield str(training.get("data", "The card does not say."))
    if card.saw_masks:
        yield "Tumour masks taught it, or a network that it is built on: for comparison alone."
    elif "saw_masks" in training:
        yield "No tumour mask taught it."
    yield from _built_on(training.get("built_on"))
    recipe, software = training.get("recipe"), training.get("software")
    if isinstance(recipe, dict):
        shown = ("network", "corruption", "epochs", "seed")
        yield "; ".join(f"{name} {recipe[name]}" for name in shown if name in recipe)
    if isinstance(software, dict):
        yield ", ".join(f"{name} {version}" for name, version in software.items() if version)


def _built_on(bases: object) -> Iterator[str]:
    for base in bases if isinstance(bases, list) else ():
        if isinstance(base, dict):
            seen = ", which saw masks" if base.get("saw_masks") else ""
            yield (
                f"Built on {base.get('network')}, seed {base.get('seed')}, as its"
                f" {base.get('role')}{seen}: {str(base.get('sha256'))[:_HASH_DIGITS]}."
            )


def _calibration(card: ModelCard, calibration: Calibration) -> Iterator[str]:
    yield (
        f"{len(calibration.slice_scores)} scores of tumour-free slices of {calibration.patients}"
        f" patients: {calibration.method}."
    )
    yield (
        f"{calibration.false_alarm_rate:.0%} of tumour-free slices, and of tumour-free series, are"
        " flagged where scans are like these (--false-alarm-rate changes it)."
    )
    for judge in card.judges:
        if judge.rules is None:
            yield f"The {judge.name} is found, and not judged."
            continue
        yield (
            f"The {judge.name} is judged by itself, against {len(judge.rules.slice_scores)} scores"
            f" of tumour-free sections and {len(judge.rules.series_scores)} of series."
        )
    if card.site is not None:
        yield from _site(card.site)


def _site(site: SiteCalibration) -> Iterator[str]:
    yield (
        f"Set by a site on {site.date}, on scans of its own: {site.patients} patients,"
        f" {site.series} series, {site.slices} slices."
    )
    for scanner in site.scanners:
        words = filter(None, (scanner.manufacturer, scanner.model))
        field = "" if scanner.field_strength_t is None else f" ({scanner.field_strength_t:g} T)"
        yield f"{' '.join(words) or 'A scanner without a name'}{field}: {scanner.series} series."
    if site.contaminated:
        yield f"Up to {site.contaminated:.0%} of the patients may not have been tumour-free."
    if site.kept:
        yield f"For want of patients as the model came: {', '.join(site.kept)}."
    yield f"The model's own calibration is kept: {site.model_calibration.method}."


def _measured(metrics: Mapping[str, object]) -> Iterator[str]:
    rows = {label: _figure(metrics, path) for path, label in _FIGURES.items()}
    if not any(rows.values()):
        yield "Nothing that the card tells of."
        return
    where = [str(_at(metrics, ("dataset", key)) or "") for key in ("folder", "split")]
    patients = _at(metrics, ("dataset", "counts", "patients"))
    yield f"On {', '.join(filter(None, where)) or 'data unnamed'}, {patients} patients:"
    width = max(map(len, rows))
    yield from (f"{label:{width}}  {figure}" for label, figure in rows.items() if figure)
    yield "In brackets 95 % intervals, from resampling patients. --json has every figure."


def _limits(card: ModelCard, calibration: Calibration) -> Iterator[str]:
    yield "It shows where a scan departs from those it learned from, not what is wrong there."
    if card.site is None:
        yield (
            "It was calibrated on these scans alone: other scanners and protocols may be flagged"
            " more often, or less. gliomart calibrate sets thresholds by tumour-free scans of your"
            " own."
        )
    else:
        yield (
            "Its thresholds are those of one site's scans: elsewhere, and after a change of scanner"
            " or protocol, others may be flagged more often, or less."
        )
        yield "The figures above were measured with the model's own thresholds."
    if len(calibration.series_scores) + 1 < 1 / calibration.false_alarm_rate:
        yield "It was calibrated on too few patients to judge a whole series."
    measured = [_at(card.metrics, ("model", key)) for key in ("name", "version")]
    if None not in measured and measured != [card.name, card.version]:
        yield f"The figures above were measured on {measured[0]} {measured[1]}, not on this model."
    if not card.has_output(BRAIN):
        yield "It does not tell brain from what surrounds it."
    known = [judge.name for judge in card.judges]
    for structure in STRUCTURES:
        if structure.name not in known:
            yield (
                f"It does not know where the {structure.name} is, and does not judge it by itself."
            )


def _providers(settings: Settings, why_not: Mapping[str, str | None]) -> Iterator[str]:
    yield settings.provider.effective
    yield from (f"not on {name}: {reason}" for name, reason in why_not.items() if reason)


def _file(card: ModelCard, settings: Settings) -> Iterator[str]:
    yield f"SHA-256 {settings.model_sha256}"
    yield f"licence of the weights: {card.licence}"


def _figure(metrics: Mapping[str, object], path: tuple[str, ...]) -> str | None:
    """Write a figure with its interval; None where the metrics have no such figure."""
    match _at(metrics, path):
        case {"value": float(value) | int(value), "interval": [float(low), float(high)]}:
            return f"{value:.3f} [{low:.3f}, {high:.3f}]"
        case {"value": float(value) | int(value)}:
            return f"{value:.3f}"
    return None


def _at(values: object, path: tuple[str, ...]) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
