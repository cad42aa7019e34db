"""results.csv: one row per slice, analysed or not, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from gliomart.findings.judges import STRUCTURES
from gliomart.outputs.records import structures_of_slice

if TYPE_CHECKING:
    from gliomart.outputs.documents import Results, SliceEntry

_Cell = str | float | bool | None

_OF_STRUCTURE = ("visible", "score", "p_value", "flagged")
_COLUMNS = (
    "source", "frame", "series", "analysed", "score", "p_value", "flagged",
    "regions", "area_px", "area_mm2", "peak",
    *(f"{each.name}_{column}" for each in STRUCTURES for column in _OF_STRUCTURE),
    "outside_intended_use", "code", "reason",
)  # fmt: skip
# How a formula may begin, in characters of full width as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_csv(document: Results) -> bytes:
    """Serialise results.csv.

    Text that a spreadsheet would take for a formula starts with an apostrophe, which makes it text
    (OWASP, *CSV Injection*); results.json has it as it is.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(map(_row, document["slices"]))
    for entry in document["not_analysed"]:
        writer.writerow(
            {
                "analysed": False,
                "source": as_text(entry["source"]),
                "frame": entry["frame"],
                "code": as_text(entry["code"]),
                "reason": as_text(entry["reason"]),
            }
        )
    return stream.getvalue().encode()


def _row(entry: SliceEntry) -> dict[str, _Cell]:
    regions = entry["regions"]
    in_mm2 = [region["area_mm2"] for region in regions if region["area_mm2"] is not None]
    row: dict[str, _Cell] = {
        "source": as_text(entry["source"]),
        "frame": entry["frame"],
        "series": as_text(entry["series"]),
        "analysed": True,
        "score": entry["score"],
        "p_value": entry["p_value"],
        "flagged": entry["flagged"],
        "regions": len(regions),
        "area_px": sum(region["area_px"] for region in regions),
        "area_mm2": round(sum(in_mm2), 2) if len(in_mm2) == len(regions) else "",
        "peak": max((region["peak"] for region in regions), default=""),
        "outside_intended_use": " ".join(entry["outside_intended_use"]),
    }
    for structure, found in structures_of_slice(entry):
        if found is not None:
            values: tuple[_Cell, ...] = (
                found["visible"],
                found["score"],
                found["p_value"],
                found["flagged"],
            )
            named = zip(_OF_STRUCTURE, values, strict=True)
            row |= {f"{structure.name}_{column}": value for column, value in named}
    return row


def as_text(value: str) -> str:
    """Write text so that no spreadsheet takes it for a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value
