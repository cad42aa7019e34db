"""The report: one HTML page for people, which holds all it shows and asks nothing of the network.

Its words come from results.json, its pictures from :mod:`~.report_slice`. Who was
examined is left out unless it is asked for: paths and DICOM identifiers often carry names, so short
hashes stand in for them.
"""

from __future__ import annotations

import base64
import hashlib
import math
from dataclasses import asdict
from functools import cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, TypedDict

import cv2
import numpy as np

from gliomart.findings.judges import STRUCTURES
from gliomart.findings.suitability import CODES
from gliomart.outputs import drift_words, outcome, pictures
from gliomart.outputs.companions import OF_COMPANIONS, CompanionEntry
from gliomart.outputs.documents import Note, SeriesEntry, SliceEntry
from gliomart.outputs.records import least_likely_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jinja2 import Environment
    from markupsafe import Markup

    from gliomart.model.card import ModelCard
    from gliomart.outputs.documents import Results
    from gliomart.outputs.report_slice import ReportSlice

# A page of this many slices has about 10 MB and opens at once.
MOST_PICTURES = 400
_HASH_DIGITS = 8
_BATCH = 4096  # parts of the page that are written at once, a few bytes each
_HEAT_STEPS = 33  # of the colour scale; in between it is linear
_AXIAL = 0.7  # cosine above which an axis is named after a direction of the patient


def report(
    document: Results,
    slices: Iterable[ReportSlice | None],
    card: ModelCard,
    *,
    identify: bool = False,
) -> bytes:
    """Write the page as a whole; see :func:`parts`."""
    return b"".join(parts(document, slices, card, identify=identify))


def parts(
    document: Results,
    slices: Iterable[ReportSlice | None],
    card: ModelCard,
    *,
    identify: bool = False,
) -> Iterator[bytes]:
    """Write the page, a little at a time.

    Parameters
    ----------
    document
        The content of results.json.
    slices
        One for each of its ``slices``, in that order. Of more than ``MOST_PICTURES``, the page
        holds the pictures of those with the lowest p-values, and says so; of others, None will do.
    card
        Of the model.
    identify
        Show paths, UIDs and the reasons of refusals, any of which may tell who was examined,
        instead of short hashes.

    Yields
    ------
    UTF-8.
    """
    entries = document["slices"]
    by_anomaly = sorted(range(len(entries)), key=lambda i: least_likely_first(entries[i]))
    chosen = set(by_anomaly[:MOST_PICTURES])
    shown = [each if i in chosen else None for i, each in enumerate(slices)]
    name = _naming(document, identify=identify)
    rows = zip(entries, shown, strict=True)  # in series order
    rate = document["settings"]["false_alarm_rate"]
    series = [
        _series(entry, list(islice(rows, entry["slices"])), rate, name)
        for entry in document["series"]
    ]
    environment = _environment()
    style, script = _source("report.css"), _source("report.js")
    page = environment.get_template("report.html.j2").generate(
        document=document,
        series=series,
        not_analysed=[
            {**entry, "name": name(entry["source"])} for entry in document["not_analysed"]
        ],
        left_out=len(entries) - len(chosen),
        ignored=outcome.ignored(document),
        drift=_drift(document),
        card=card,
        structures=STRUCTURES,
        scale=card.calibration,
        heat=_heat(),
        rise=pictures.HEAT_RISE,
        opacity=pictures.HEAT_OPACITY,
        identify=identify,
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
    )
    while part := "".join(islice(page, _BATCH)):
        # File names that are not UTF-8 come with lone surrogates, which no encoding holds.
        yield part.encode("utf-8", "backslashreplace")


class _Drift(TypedDict):
    """What the page says of drift; see :mod:`gliomart.outputs.drift_words`."""

    noticed: list[str]
    not_counted: list[str]
    lost: bool


def _drift(document: Results) -> _Drift | None:
    """Put into words what a watch for drift found; None where there was none."""
    lost = any(missed["object"] == "drift" for missed in document.get("not_written", ()))
    if "drift" not in document and not lost:
        return None
    studies = document.get("drift", [])
    return {
        "lost": lost,
        "noticed": list(drift_words.noticed(studies)),
        "not_counted": list(drift_words.not_counted(studies)),
    }


class _Slice(SliceEntry):
    """What the page says of one slice."""

    number: int
    name: str
    picture: dict[str, object] | None


class _Plot(TypedDict):
    """Places of p-values; see :func:`_plot`."""

    points: list[dict[str, float | bool]]
    threshold: float
    ticks: list[dict[str, float | str]]
    ends: tuple[str, str]


class _Companion(CompanionEntry):
    """What the page says of a series that was to be seen beside another one."""

    name: str
    folder: str


class _Series(TypedDict):
    """What the page says of one series, beside its entry."""

    entry: SeriesEntry
    name: str
    folder: str
    companions: list[_Companion]
    notes: list[Note]
    slices: list[_Slice]
    flagged_first: list[_Slice]
    most_anomalous: int
    flagged_slices: int
    plot: _Plot


def _series(
    entry: SeriesEntry,
    rows: Sequence[tuple[SliceEntry, ReportSlice | None]],
    rate: float,
    name: Callable[[str], str],
) -> _Series:
    """Put together what the page says of one series."""
    slices: list[_Slice] = [
        {
            **each,
            "number": number,
            "name": name(each["source"]),
            "picture": asdict(picture) | _geometry(each, picture) if picture else None,
        }
        for number, (each, picture) in enumerate(rows, start=1)
    ]
    return {
        "entry": entry,
        "name": name(entry["id"]),
        "folder": name(entry["source"]),
        "companions": [
            {**each, "name": name(each["id"]), "folder": name(each["source"])}
            for each in entry["companions"]
        ],
        # What companions became is not said twice.
        "notes": [
            note
            for note in entry["notes"]
            if not (entry["companions"] and note["code"] in OF_COMPANIONS)
        ],
        "slices": slices,
        "flagged_first": sorted(slices, key=_flagged_first),
        "most_anomalous": min(slices, key=least_likely_first)["number"],
        "flagged_slices": sum(each["flagged"] for each in slices),
        "plot": _plot(slices, rate),
    }


def _flagged_first(entry: SliceEntry) -> tuple[bool, tuple[float, float]]:
    """Order the flagged by how anomalous they are; the others, all alike, stay as they were."""
    return not entry["flagged"], least_likely_first(entry) if entry["flagged"] else (0.0, 0.0)


def _geometry(entry: SliceEntry, picture: ReportSlice) -> dict[str, object]:
    """Tell how a picture is to be shown: its aspect in mm, and the patient's sides at its edges."""
    geometry = entry["geometry"]
    rows, columns = geometry["spacing_mm"] or (1.0, 1.0)
    right, down = _directions(geometry["orientation"])
    opposite = dict(zip("LRAPFH", "RLPAHF", strict=True)) | {"": ""}
    return {
        "aspect": picture.width * columns / (picture.height * rows),
        "edges": [opposite[right], right, opposite[down], down],
    }


def _directions(orientation: Sequence[float] | None) -> tuple[str, str]:
    """Name where rows and columns of an image lead in the patient (LPS axes); "" if unknown."""
    if orientation is None:
        return "", ""
    names = []
    for axis in (orientation[:3], orientation[3:]):
        largest = max(range(3), key=lambda i, axis=axis: abs(axis[i]))  # type: ignore[misc]
        along = axis[largest]
        names.append(("LPH" if along > 0 else "RAF")[largest] if abs(along) > _AXIAL else "")
    return names[0], names[1]


def _plot(slices: Sequence[_Slice], rate: float) -> _Plot:
    """Place each slice's p-value, on a logarithmic scale that ends at a power of ten.

    Returns
    -------
    Coordinates in [0, 1], from the left and from the top: of the slices, of the flag's threshold
    and of the scale's ticks; and what lies at the two ends.
    """
    decades = max(
        math.ceil(-math.log10(min([rate, *(each["p_value"] for each in slices)])) - 1e-9), 1
    )

    def height(p: float) -> float:
        return 1 + math.log10(p) / decades

    first, last = (slices[at]["geometry"]["position_lps_mm"] for at in (0, -1))
    ends = ("first", "last")
    if first and last and first[2] != last[2]:
        ends = ("feet", "head") if first[2] < last[2] else ("head", "feet")
    return {
        "points": [
            {
                "number": each["number"],
                "flagged": each["flagged"],
                "p_value": each["p_value"],
                "x": (each["number"] - 0.5) / len(slices),
                "y": height(each["p_value"]),
            }
            for each in slices
        ],
        "threshold": height(rate),
        "ticks": [{"label": f"{10.0**-n:g}", "y": height(10.0**-n)} for n in range(decades + 1)],
        "ends": ends,
    }


def _naming(document: Results, *, identify: bool) -> Callable[[str], str]:
    """Choose what stands for a path or UID.

    The hash is salted with the inputs' digest, so that nobody who has the page alone can try
    names against it; who has results.json can find the slice again.
    """
    if identify:
        return lambda text: text
    salt = document["inputs"]["digest"]

    def hashed(text: str) -> str:
        content = f"{salt}\0{text}".encode(errors="surrogatepass")
        return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]

    return hashed


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gliomart", "outputs"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["p"] = _p_value
    environment.globals["sentences"] = CODES
    return environment


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"  # noqa: PLR2004


def _source(name: str) -> Markup:
    from markupsafe import Markup

    return Markup(  # noqa: S704  # our own file, not anybody's input
        resources.files("gliomart.outputs").joinpath(name).read_text("utf-8")
    )


def _csp_hash(text: str) -> str:
    """Hash an inline block (Content Security Policy Level 3, 8.4)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _heat() -> dict[str, list[str] | list[dict[str, object]]]:
    """Sample the colour scale: a table per channel in [0, 1], and the legend's stops."""
    levels = np.linspace(0, 255, _HEAT_STEPS).round().astype(np.uint8)
    colours = cv2.applyColorMap(levels[np.newaxis], pictures.HEAT)[0, :, ::-1]
    return {
        "tables": [" ".join(f"{v / 255:.3f}" for v in channel) for channel in colours.T.tolist()],
        "stops": [
            {
                "offset": i / (_HEAT_STEPS - 1),
                "colour": "#" + bytes(colour).hex(),
                "opacity": min(1.0, pictures.HEAT_RISE * i / (_HEAT_STEPS - 1)),
            }
            for i, colour in enumerate(colours.tolist())
        ],
    }
