"""Results as entries of results.json; its keys are a contract (:mod:`~.documents`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, TypedDict, cast

from gliomart.findings.judges import STRUCTURES
from gliomart.outputs.companions import companion_entry
from gliomart.outputs.documents import SCHEMA
from gliomart.outputs.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gliomart.findings.photometry import Photometry
    from gliomart.findings.results import CompanionResult, Settings, SliceResult, Verdict
    from gliomart.findings.scoring import Region
    from gliomart.findings.structures import Structure, StructureFinding, StructureVerdict
    from gliomart.image.slices import Concern, Refusal, Slice
    from gliomart.outputs.documents import (
        Geometry,
        Header,
        Note,
        RefusalEntry,
        RegionEntry,
        Results,
        SeriesEntry,
        SeriesStructure,
        SliceEntry,
        SliceStructure,
    )
    from gliomart.outputs.drift import PhotometryEntry
    from gliomart.outputs.options import OutputOptions
    from gliomart.outputs.provenance import Provider
    from gliomart.outputs.written import Kind, MissingOutput
    from gliomart.sources import Inventory

# Parts of JSON text, a few bytes each, that are written at once.
_BATCH = 8192
_DIGITS = 6  # after the point, of scores and p-values


class Ranked(TypedDict):
    """What entries of slices and series are ordered by."""

    p_value: float
    score: float


@dataclass
class SeriesRecord:
    """What results.json says of one finished series; grows while the series is analysed.

    ``provider`` is what it was finished on; None of what was not analysed.
    """

    provider: Provider | None = None
    series: list[SeriesEntry] = field(default_factory=list)
    slices: list[SliceEntry] = field(default_factory=list)
    not_analysed: list[RefusalEntry] = field(default_factory=list)
    not_written: list[MissingOutput] = field(default_factory=list)


@dataclass(frozen=True)
class SeriesFindings:
    """What is known of an analysed series once its last slice is written.

    Attributes
    ----------
    id, source
        As of :class:`gliomart.sources.SeriesFiles`.
    sequence
        Of MR; None where nothing tells.
    slices
        Number of slices that were analysed.
    verdict
        On the series.
    structures
        On every structure that the model judges by itself, by its name.
    concerns, notes
        Of all its slices, each once.
    companions
        What became of the series that were to be seen beside it.
    """

    id: str
    source: str
    sequence: str | None
    slices: int
    verdict: Verdict
    structures: Mapping[str, StructureVerdict]
    concerns: tuple[Concern, ...]
    notes: tuple[Concern, ...]
    companions: tuple[CompanionResult, ...] = ()


def header(inventory: Inventory, settings: Settings, options: OutputOptions) -> Header:
    """Tell what results.json says before the first slice."""
    made_by = provenance(settings)
    return {
        "schema": SCHEMA,
        "software": made_by["software"],
        "model": made_by["model"],
        "provider": made_by["provider"],
        "settings": {
            "false_alarm_rate": settings.false_alarm_rate,
            "forced": settings.forced,
            "plane": settings.plane,
            "sequence": settings.sequence,
            "registered": settings.registered,
            "overlays": options.overlays,
            "maps": options.maps,
            "dicom": options.dicom,
            "identify": options.identify,
        },
        "inputs": {
            "roots": list(inventory.roots),
            "files": inventory.files,
            "ignored": inventory.ignored,
            "ignored_kinds": dict(inventory.ignored_kinds),
            "digest": inventory.digest(),
        },
    }


def document(header: Header, records: Sequence[SeriesRecord]) -> Results:
    """Assemble the whole of results.json; ``not_written`` is there only where something failed."""
    whole: Results = {
        "schema": header["schema"],
        "software": header["software"],
        "model": header["model"],
        "provider": _least_provider(header["provider"], records),
        "settings": header["settings"],
        "inputs": header["inputs"],
        "series": [entry for record in records for entry in record.series],
        "slices": [entry for record in records for entry in record.slices],
        "not_analysed": [entry for record in records for entry in record.not_analysed],
    }
    if missing := [entry for record in records for entry in record.not_written]:
        whole["not_written"] = missing
    return whole


def run_identity(header: Header) -> str:
    """Tell runs apart that cannot be continued by one another, whatever their provider came to.

    Returns
    -------
    SHA-256 in hexadecimal, of the header as canonical JSON.
    """
    parts = {
        "schema": header["schema"],
        "software": header["software"],
        "model": header["model"],
        "provider": header["provider"]["requested"],
        "settings": header["settings"],
        "inputs": header["inputs"],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def in_any_order(header: Header, inventory: Inventory) -> Header:
    """Describe the inputs of a run alike, in whatever order they were given."""
    inputs = header["inputs"]
    roots, digest = sorted(inputs["roots"]), inventory.digest(ordered=False)
    return {**header, "inputs": {**inputs, "roots": roots, "digest": digest}}


def _least_provider(now: Provider, records: Sequence[SeriesRecord]) -> Provider:
    """Describe what all series ran on; if not on the same, then on less than it began on."""
    ran_on = [record.provider for record in records if record.provider] or [now]
    least = next((provider for provider in ran_on if provider["degraded"]), ran_on[-1])
    differ = any(provider["effective"] != least["effective"] for provider in ran_on)
    return {**least, "degraded": least["degraded"] or differ}


def series_entry(findings: SeriesFindings, overview: str | None) -> SeriesEntry:
    """Describe one analysed series, before DICOM objects of it are written."""
    verdict, judged = findings.verdict, findings.structures
    structures = {
        structure.name: _series_structure(judged[structure.name])
        if structure.name in judged
        else None
        for structure in STRUCTURES
    }
    entry = {
        "id": findings.id,
        "source": findings.source,
        "sequence": findings.sequence,
        "slices": findings.slices,
        "score": rounded(verdict.score),
        "p_value": rounded(verdict.p_value),
        "flagged": verdict.flagged,
        **structures,
        "outside_intended_use": list(dict.fromkeys(c.code for c in findings.concerns)),
        "notes": [note_entry(note) for note in findings.notes],
        "companions": [companion_entry(each) for each in findings.companions],
        "overview": overview,
        "dicom": None,
    }
    return cast("SeriesEntry", entry)  # whose keys are named after structures


def _series_structure(verdict: StructureVerdict) -> SeriesStructure:
    return {
        "coverage": verdict.coverage,
        "slices": verdict.slices,
        "score": _rounded(verdict.score),
        "p_value": _rounded(verdict.p_value),
        "flagged": verdict.flagged,
        "fraction_anomalous": _rounded(verdict.fraction_anomalous),
    }


def slice_entry(
    result: SliceResult, paths: Mapping[Kind, str | None], write_ms: float
) -> SliceEntry:
    """Describe one analysed slice; ``paths`` are its overlay, map and mask."""
    shown, found = result.slice, result.structures
    structures = {
        structure.name: _slice_structure(found[structure.name]) if structure.name in found else None
        for structure in STRUCTURES
    }
    entry = {
        "series": shown.series,
        "source": shown.source,
        "sop_instance_uid": shown.sop_instance_uid,
        "frame": shown.frame,
        "geometry": _geometry(shown),
        "outside_intended_use": [concern.code for concern in result.concerns],
        "score": rounded(result.score),
        "p_value": rounded(result.p_value),
        "flagged": result.flagged,
        "regions": [_region(region) for region in result.regions],
        **structures,
        "overlay": paths["overlay"],
        "map": paths["map"],
        "mask": paths["mask"],
        "ms": {
            "read": round(result.ms.read, 3),
            "preprocess": round(result.ms.preprocess, 3),
            "infer": round(result.ms.infer, 3),
            "score": round(result.ms.score, 3),
            "write": round(write_ms, 3),
        },
    }
    return cast("SliceEntry", entry)  # whose keys are named after structures


def structures_of_series(entry: SeriesEntry) -> Iterator[tuple[Structure, SeriesStructure | None]]:
    """Find what a series shows of each structure; None where the model does not judge it."""
    values = cast("Mapping[str, SeriesStructure | None]", entry)
    return ((structure, values[structure.name]) for structure in STRUCTURES)


def structures_of_slice(entry: SliceEntry) -> Iterator[tuple[Structure, SliceStructure | None]]:
    """Find what a slice shows of each structure; None where the model does not judge it."""
    values = cast("Mapping[str, SliceStructure | None]", entry)
    return ((structure, values[structure.name]) for structure in STRUCTURES)


def photometry_entry(photometry: Photometry | None) -> PhotometryEntry | None:
    """Write out what is measured of a slice's brightness."""
    if photometry is None:
        return None
    return {
        "shading": _rounded(photometry.shading),
        "contrast": rounded(photometry.contrast),
        "range": rounded(photometry.range),
        "noise": rounded(photometry.noise),
    }


def _geometry(shown: Slice) -> Geometry:
    return {
        "position_lps_mm": _lengths(shown.position),
        "orientation": _shared(shown.orientation, 6),
        "spacing_mm": _shared(shown.spacing),
    }


def _region(region: Region) -> RegionEntry:
    return {
        "box": list(region.box),
        "area_px": region.area_px,
        "area_mm2": None if region.area_mm2 is None else round(region.area_mm2, 2),
        "centroid": [round(value, 3) for value in region.centroid],
        "centroid_lps_mm": _lengths(region.centroid_lps_mm),
        "peak": rounded(region.peak),
    }


def _slice_structure(found: StructureFinding) -> SliceStructure:
    return {
        "visible": found.visible,
        "score": _rounded(found.score),
        "p_value": _rounded(found.p_value),
        "flagged": found.flagged,
        "fraction_anomalous": _rounded(found.fraction_anomalous),
        "box": None if found.box is None else list(found.box),
    }


def _lengths(values: tuple[float, ...] | None, digits: int = 3) -> list[float] | None:
    return None if values is None else [round(value, digits) for value in values]


# One list for all slices of a series that have it in common, of which there may be many.
_shared = lru_cache(maxsize=16)(_lengths)


def least_likely_first(entry: Ranked) -> tuple[float, float]:
    """Order entries by how anomalous they are."""
    return entry["p_value"], -entry["score"]  # many share the smallest p-value


def rounded(value: float) -> float:
    """Round a score or a p-value as results.json has it."""
    return round(value, _DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def note_entry(note: Concern) -> Note:
    """Describe what has to be told of a series."""
    return {"code": note.code, "reason": note.reason}


def refusal_entry(refusal: Refusal) -> RefusalEntry:
    """Describe one input that was not analysed."""
    return {
        "source": refusal.source,
        "frame": refusal.frame,
        "code": refusal.code,
        "reason": refusal.reason,
    }


def missing_output(
    source: str | None, frame: int | None, kind: Kind, cause: tuple[str, str]
) -> MissingOutput:
    """Tell of an output that was not written; ``source`` is None of what is of the whole run."""
    code, reason = cause
    return {"source": source, "frame": frame, "object": kind, "code": code, "reason": reason}


def to_json(values: Results) -> Iterator[bytes]:
    """Serialise results.json, a little at a time."""
    parts = json.JSONEncoder(indent=1, ensure_ascii=False, allow_nan=False).iterencode(values)
    while batch := "".join(islice(parts, _BATCH)):
        yield batch.encode()
    yield b"\n"
