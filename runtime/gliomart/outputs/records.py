"""Results as the JSON and CSV that other programs read; the keys are a contract (schema 1)."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from gliomart._version import __version__
from gliomart.findings.judges import STRUCTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gliomart.findings.results import Settings, SliceResult, Verdict
    from gliomart.findings.structures import StructureFinding, StructureVerdict
    from gliomart.image.slices import Concern, Refusal
    from gliomart.sources import Inventory

SCHEMA = 1
# Parts of JSON text, a few bytes each, that are written at once.
_BATCH = 8192
# Why a DICOM object is not there though nothing went wrong: see gliomart.outputs.dicom.
NOT_MISSED = ("nothing-to-show", "not-dicom")
# Why an input was not analysed though it was there and could have been: something failed.
LOST = ("vanished", "changed", "out-of-memory", "internal-error", "unwritable")
# What results tell of a structure in a slice, and in a series.
_FINDING = ("visible", "score", "p_value", "flagged", "fraction_anomalous", "box")
_VERDICT = ("coverage", "slices", "score", "p_value", "flagged", "fraction_anomalous")
_COLUMNS = (
    "source", "frame", "series", "analysed", "score", "p_value", "flagged",
    "regions", "area_px", "area_mm2", "peak",
    "pons_visible", "pons_score", "pons_p_value", "pons_flagged",
    "outside_intended_use", "code", "reason",
)  # fmt: skip


# How a formula may begin, in characters of full width as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass
class SeriesRecord:
    """One finished series as JSON values; grows while the series is analysed.

    ``provider`` is what it was finished on; None of what was refused before anything ran.
    """

    provider: dict[str, Any] | None = None
    series: list[dict[str, Any]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    not_analysed: list[dict[str, Any]] = field(default_factory=list)
    not_written: list[dict[str, Any]] = field(default_factory=list)


def provenance(settings: Settings) -> dict[str, Any]:
    """Tell what software, model and provider a result comes from."""
    return {
        "software": {"name": "gliomart", "version": __version__},
        "model": {
            "name": settings.model_name,
            "version": settings.model_version,
            "sha256": settings.model_sha256,
        },
        "provider": asdict(settings.provider),
    }


def header(
    inventory: Inventory,
    settings: Settings,
    *,
    overlays: str,
    maps: bool,
    dicom: bool,
    identify: bool,
) -> dict[str, Any]:
    """Everything in results.json that is known before the first slice."""
    return {
        "schema": SCHEMA,
        **provenance(settings),
        "settings": {
            "false_alarm_rate": settings.false_alarm_rate,
            "forced": settings.forced,
            "plane": settings.plane,
            "overlays": overlays,
            "maps": maps,
            "dicom": dicom,
            "identify": identify,
        },
        "inputs": {
            "roots": list(inventory.roots),
            "files": inventory.files,
            "ignored": inventory.ignored,
            "ignored_kinds": dict(inventory.ignored_kinds),
            "digest": inventory.digest(),
        },
    }


def document(header: dict[str, Any], records: list[SeriesRecord]) -> dict[str, Any]:
    """Assemble the whole of results.json; ``not_written`` is there only where something failed."""
    missing = [entry for record in records for entry in record.not_written]
    return {
        **header,
        "provider": _least_provider(header["provider"], records),
        "series": [entry for record in records for entry in record.series],
        "slices": [entry for record in records for entry in record.slices],
        "not_analysed": [entry for record in records for entry in record.not_analysed],
    } | ({"not_written": missing} if missing else {})


def what_makes_a_run(header: dict[str, Any]) -> dict[str, Any]:
    """Tell what has to be equal for a run to be continued: not what its provider came to."""
    return {**header, "provider": header["provider"]["requested"]}


def _least_provider(now: dict[str, Any], records: list[SeriesRecord]) -> dict[str, Any]:
    """Describe what all series ran on; if not on the same, then on less than it began on."""
    ran_on = [record.provider for record in records if record.provider] or [now]
    least = next((provider for provider in ran_on if provider["degraded"]), ran_on[-1])
    differ = any(provider["effective"] != least["effective"] for provider in ran_on)
    return {**least, "degraded": least["degraded"] or differ}


def series_entry(
    identity: str,
    source: str,
    slices: int,
    verdict: Verdict,
    *,
    structures: Mapping[str, StructureVerdict],
    concerns: Iterable[Concern],
    notes: Iterable[Concern],
    overview: str | None,
) -> dict[str, Any]:
    """Describe one analysed series; a structure is None where the model does not judge it."""
    return {
        "id": identity,
        "source": source,
        "slices": slices,
        "score": round(verdict.score, 6),
        "p_value": round(verdict.p_value, 6),
        "flagged": verdict.flagged,
        **_by_structure(structures, _VERDICT),
        "outside_intended_use": list(dict.fromkeys(concern.code for concern in concerns)),
        "notes": [asdict(note) for note in dict.fromkeys(notes)],
        "overview": overview,
        "dicom": None,
    }


def dicom_entry(written: list[str], not_written: list[dict[str, str]]) -> dict[str, Any]:
    """Tell which DICOM objects of a series were written, and which not, by a code and a reason."""
    return {"written": written, "not_written": not_written}


def missing_output(
    source: str | None, frame: int | None, kind: str, code: str, reason: str
) -> dict[str, Any]:
    """Tell of an output that was not written; ``source`` is None of what is of the whole run."""
    return {"source": source, "frame": frame, "object": kind, "code": code, "reason": reason}


def failed(document: dict[str, Any]) -> str:
    """Say how much failed of a run of which the rest was written; nothing where nothing did."""
    lost = Counter(e["code"] for e in document["not_analysed"] if e["code"] in LOST)
    objects = sum(
        missing.get("code") not in NOT_MISSED
        for series in document["series"]
        for missing in (series["dicom"] or {}).get("not_written", [])
    )
    counts = [
        (lost.total(), "input", f"analysed ({', '.join(sorted(lost))})"),
        (len(document.get("not_written", [])), "output", "written"),
        (objects, "DICOM object", "written"),
    ]
    return ", ".join(
        f"{count} {what}{'s' if count > 1 else ''} could not be {done}"
        for count, what, done in counts
        if count
    )


def slice_entry(
    result: SliceResult, paths: dict[str, str | None], write_ms: float
) -> dict[str, Any]:
    """Describe one analysed slice; ``paths`` are its overlay, map and mask."""
    times = {**asdict(result.ms), "write": write_ms}
    return {
        "series": result.slice.series,
        "source": result.slice.source,
        "sop_instance_uid": result.slice.sop_instance_uid,
        "frame": result.slice.frame,
        "geometry": {
            "position_lps_mm": _lengths(result.slice.position),
            "orientation": _shared(result.slice.orientation, 6),
            "spacing_mm": _shared(result.slice.spacing),
        },
        "outside_intended_use": [concern.code for concern in result.concerns],
        "score": round(result.score, 6),
        "p_value": round(result.p_value, 6),
        "flagged": result.flagged,
        "regions": [
            {
                "box": list(region.box),
                "area_px": region.area_px,
                "area_mm2": None if region.area_mm2 is None else round(region.area_mm2, 2),
                "centroid": _lengths(region.centroid),
                "centroid_lps_mm": _lengths(region.centroid_lps_mm),
                "peak": round(region.peak, 6),
            }
            for region in result.regions
        ],
        **_by_structure(result.structures, _FINDING),
        **paths,
        "ms": {stage: round(value, 3) for stage, value in times.items()},
    }


def _by_structure(
    judged: Mapping[str, StructureFinding | StructureVerdict], names: Sequence[str]
) -> dict[str, Any]:
    """Describe every structure that some judge knows; None where the model has no such judge."""
    return {
        structure.name: _rounded({name: getattr(found, name) for name in names})
        if (found := judged.get(structure.name))
        else None
        for structure in STRUCTURES
    }


def _lengths(values: tuple[float, ...] | None, digits: int = 3) -> list[float] | None:
    return None if values is None else [round(value, digits) for value in values]


# One list for all slices of a series that have it in common, of which there may be many.
_shared = lru_cache(maxsize=16)(_lengths)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}


def refusal_entry(refusal: Refusal) -> dict[str, Any]:
    """Describe one input that was not analysed."""
    return asdict(refusal)


def ignored(document: dict[str, Any], most: int | None = None) -> str:
    """Say how many files were no images, and of which kinds; the most frequent ones first.

    Parameters
    ----------
    document
        The content of results.json.
    most
        How many kinds to name; all where it is None.
    """
    kinds = document["inputs"]["ignored_kinds"]
    if not kinds:
        return ""
    by_count = sorted(kinds.items(), key=lambda each: (-each[1], each[0]))
    named = [f"{count} {kind}" for kind, count in by_count[:most]]
    if rest := sum(count for _, count in by_count[len(named) :]):
        named.append(f"{rest} of other kinds")
    count = document["inputs"]["ignored"]
    return f"{count} other file{'s' if count > 1 else ''} ignored ({', '.join(named)})"


def to_json(values: dict[str, Any]) -> Iterator[bytes]:
    """Serialise results.json, a little at a time."""
    parts = json.JSONEncoder(indent=1, ensure_ascii=False, allow_nan=False).iterencode(values)
    while batch := "".join(islice(parts, _BATCH)):
        yield batch.encode()
    yield b"\n"


def to_csv(document: dict[str, Any]) -> bytes:
    """Serialise results.csv: one row per slice, analysed or not.

    Text that a spreadsheet would take for a formula starts with an apostrophe, which makes it text
    (OWASP, *CSV Injection*); results.json has it as it is.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _COLUMNS, restval="")
    writer.writeheader()
    for entry in document["slices"]:
        regions = entry["regions"]
        in_mm2 = [region["area_mm2"] for region in regions if region["area_mm2"] is not None]
        writer.writerow(
            {
                name: _as_text(entry[name])
                for name in ("source", "frame", "series", "score", "p_value", "flagged")
            }
            | {
                "analysed": True,
                "regions": len(regions),
                "area_px": sum(region["area_px"] for region in regions),
                "area_mm2": round(sum(in_mm2), 2) if len(in_mm2) == len(regions) else "",
                "peak": max((region["peak"] for region in regions), default=""),
            }
            | {"outside_intended_use": " ".join(entry["outside_intended_use"])}
            | {
                f"pons_{name}": (entry["pons"] or {}).get(name)
                for name in ("visible", "score", "p_value", "flagged")
            }
        )
    for entry in document["not_analysed"]:
        writer.writerow({"analysed": False} | {k: _as_text(v) for k, v in entry.items()})
    return stream.getvalue().encode()


def _as_text(value: Any) -> Any:  # noqa: ANN401
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
