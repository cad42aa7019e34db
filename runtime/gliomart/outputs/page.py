"""The report: one HTML page for people, which holds all it shows and asks nothing of the network.

Its words come from results.json, its pictures from :class:`ReportSlice`, a few ten kilobytes per
slice that can be kept until the run is over. Who was examined is left out unless it is asked for:
paths and DICOM identifiers often carry names, so short hashes stand in for them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from gliomart.errors import OutputError
from gliomart.image.grid import uncrop
from gliomart.outputs import pictures, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jinja2 import Environment
    from numpy.typing import NDArray

    from gliomart.findings.results import SliceResult
    from gliomart.model.card import ModelCard

# A page of this many slices has about 10 MB and opens at once.
MOST_PICTURES = 400
# Longest side in pixels; reconstruction and map have no more than this to show: the map is smooth.
_SOURCE_SIDE, _MODEL_SIDE, _MAP_SIDE = 352, 256, 128
_JPEG_QUALITY = 75
_HASH_DIGITS = 8
_BATCH = 4096  # parts of the page that are written at once, a few bytes each
_HEAT_STEPS = 33  # of the colour scale; in between it is linear
_AXIAL = 0.7  # cosine above which an axis is named after a direction of the patient


@dataclass(frozen=True)
class ReportSlice:
    """The pictures of one slice, ready for the page.

    Attributes
    ----------
    width, height
        Of the source, in pixels.
    source, reconstruction
        8-bit grey JPEG in Base64, on the source's grid at reduced size, both windowed as the
        overlays are.
    anomaly_map
        8-bit grey PNG in Base64; 255 stands for the card's ``display_limit`` and above.
    regions, pons
        Outlines as SVG path data, in source pixels; empty where there are none.
    """

    width: int
    height: int
    source: str
    reconstruction: str
    anomaly_map: str
    regions: str
    pons: str

    @classmethod
    def of(cls, result: SliceResult, card: ModelCard) -> ReportSlice:
        """Encode one slice.

        Parameters
        ----------
        result
            As it comes from the detector.
        card
            Of the model it comes from, calibrated.
        """
        assert card.calibration is not None  # noqa: S101  # no detector runs without one
        norm = result.normalisation
        height, width = result.slice.pixels.shape
        brain = norm.brain - norm.black
        assert result.reconstruction is not None  # noqa: S101
        expected = uncrop(result.reconstruction, norm.box, (height, width))
        expected = norm.black + expected * (brain / card.preprocessing.brain_level)
        strength = np.clip(result.anomaly_map / card.calibration.display_limit, 0, 1) * 255
        return cls(
            width=width,
            height=height,
            source=_jpeg(_fitted(pictures.window(result.slice.pixels, norm), _SOURCE_SIDE)),
            reconstruction=_jpeg(_fitted(pictures.window(expected, norm), _MODEL_SIDE)),
            anomaly_map=_text(pictures.png(_fitted(strength, _MAP_SIDE))),
            regions=_outline(result.mask),
            pons=_outline(result.pons.mask) if result.pons else "",
        )


def to_json(slices: Sequence[ReportSlice | None]) -> bytes:
    """Serialise the pictures of a series, to be kept until the report is written."""
    return json.dumps([each and asdict(each) for each in slices]).encode()


def from_json(content: bytes) -> list[ReportSlice | None]:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError, TypeError
        It is something else.
    """
    return [values and ReportSlice(**values) for values in json.loads(content)]


def report(
    document: dict[str, Any],
    slices: Iterable[ReportSlice | None],
    card: ModelCard,
    *,
    identify: bool = False,
) -> bytes:
    """Write the page as a whole; see :func:`parts`."""
    return b"".join(parts(document, slices, card, identify=identify))


def parts(
    document: dict[str, Any],
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
            entry | {"name": name(entry["source"])} for entry in document["not_analysed"]
        ],
        left_out=len(entries) - len(chosen),
        ignored=records.ignored(document),
        card=card,
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


def _series(
    entry: dict[str, Any],
    rows: Sequence[tuple[dict[str, Any], ReportSlice | None]],
    rate: float,
    name: Callable[[str], str],
) -> dict[str, Any]:
    """Put together what the page says of one series."""
    slices = [
        each
        | {
            "number": number,
            "name": name(each["source"]),
            "picture": asdict(picture) | _geometry(each, picture) if picture else None,
        }
        for number, (each, picture) in enumerate(rows, start=1)
    ]
    return entry | {
        "name": name(entry["id"]),
        "folder": name(entry["source"]),
        "slices": slices,
        "flagged_first": sorted(slices, key=_flagged_first),
        "most_anomalous": min(slices, key=least_likely_first)["number"],
        "flagged_slices": sum(each["flagged"] for each in slices),
        "plot": _plot(slices, rate),
    }


def least_likely_first(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Order entries of slices by how anomalous they are."""
    return entry["p_value"], -entry["score"]  # many share the smallest p-value


def _flagged_first(entry: dict[str, Any]) -> tuple[bool, tuple[float, float]]:
    """Order the flagged by how anomalous they are; the others, all alike, stay as they were."""
    return not entry["flagged"], least_likely_first(entry) if entry["flagged"] else (0.0, 0.0)


def _geometry(entry: dict[str, Any], picture: ReportSlice) -> dict[str, Any]:
    """Tell how a picture is to be shown: its aspect in mm, and the patient's sides at its edges."""
    geometry = entry["geometry"]
    rows, columns = geometry.get("spacing_mm") or (1.0, 1.0)
    right, down = _directions(geometry.get("orientation"))
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


def _plot(slices: Sequence[dict[str, Any]], rate: float) -> dict[str, Any]:
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

    heights = [each["geometry"]["position_lps_mm"] for each in slices]
    ends = ("first", "last")
    if heights[0] and heights[-1] and heights[0][2] != heights[-1][2]:
        ends = ("feet", "head") if heights[0][2] < heights[-1][2] else ("head", "feet")
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


def _naming(document: dict[str, Any], *, identify: bool) -> Callable[[str], str]:
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
    return environment


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"  # noqa: PLR2004


def _source(name: str) -> Any:  # noqa: ANN401  # Markup is imported where it is used
    from markupsafe import Markup

    return Markup(  # noqa: S704  # our own file, not anybody's input
        resources.files("gliomart.outputs").joinpath(name).read_text("utf-8")
    )


def _csp_hash(text: str) -> str:
    """Hash an inline block (Content Security Policy Level 3, 8.4)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _heat() -> dict[str, Any]:
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


def _fitted(levels: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Reduce (H, W) grey levels to at most ``side`` pixels a side, uint8."""
    height, width = levels.shape
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        levels = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    return np.rint(levels).astype(np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> str:
    encoded, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise OutputError("a picture could not be encoded as JPEG")
    return _text(content.tobytes())


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _outline(mask: NDArray[np.bool_]) -> str:
    """Draw a mask's outer contours, through the centres of its outermost pixels, as SVG path."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    paths = []
    for contour in contours:
        points = " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in contour[:, 0].tolist())
        paths.append(f"M{points}Z")
    return "".join(paths)
