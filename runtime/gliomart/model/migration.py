"""Cards of earlier schemas, brought to this one."""

from __future__ import annotations

from typing import Any

_FOUR = 4


def migrated(values: dict[str, Any]) -> dict[str, Any]:
    """Bring parsed JSON of any earlier schema to this one, inventing nothing."""
    if values["schema"] != _FOUR:
        return values
    kept = {k: v for k, v in values.items() if k not in {"sequence", "modality", "pons"}}
    image = {"modality": values["modality"], "sequence": values["sequence"]}
    rules = dict(values["pons"]) if values["pons"] else None
    judge = rules and {
        "name": "pons", "minimum_area_px": rules.pop("minimum_area_px"), "rules": rules,
    }  # fmt: skip
    ranges = {"reconstruction": (None, None), "anomaly_map": (0, None), "brain": (0, 1)}
    ranges |= {"pons": (0, 1)} if judge else {}
    return kept | {
        "schema": 5,
        "family": "slice",
        "images": [{**image, "window": None, "required": True}],
        "limits": {
            "coarsest_pixel_mm": 1.5,
            "widest_step_mm": 10.0,
            "steepest_tilt_deg": 35.0,
            "widest_turned_step_mm": 2.0,
            "least_coverage_mm": 50.0,
        },
        "outputs": [
            {"name": name, "role": name, "minimum": low, "maximum": high}
            for name, (low, high) in ranges.items()
        ],
        "judges": [judge] if judge else [],
    }
