"""What the tests of the report share: a document with all that results.json can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gliomart import Detector
from gliomart.findings.results import SliceResult
from gliomart.image.slices import Slice
from gliomart.model.card import ModelCard
from gliomart.outputs.report_slice import ReportSlice
from samples import draw_head, tiny_model

HOSTILE = (
    """</script><script>alert(1)</script><img src=x onerror="alert(2)">'&"\n\u2028\u202e{{7*7}}"""
)


def analysed(folder: Path, lesions: list[float], shape: tuple[int, int] = (256, 256)) -> Any:
    """Analyse drawn heads, with lesions of these strengths; gives their results and the card."""
    detector = Detector(tiny_model(folder / "report.onnx", pons=True), provider="cpu")
    heads = [
        Slice(draw_head(shape, lesion=lesion, seed=seed), frame=seed, spacing=(1.0, 0.5))
        for seed, lesion in enumerate(lesions)
    ]
    return detector.detect_series(heads).slices, detector.card


def page_of(
    results: list[SliceResult], card: ModelCard, name: str = "study", series: int = 1
) -> tuple[dict[str, Any], list[ReportSlice]]:
    """Describe results as results.json does, the same slices in each of so many series."""
    shown = [ReportSlice.of(result, card) for result in results]
    flagged = [result.flagged for result in results]
    document = {
        "schema": 2,
        "software": {"name": "gliomart", "version": "0.1.0"},
        "model": {
            "name": card.name, "version": card.version, "sha256": "0123456789abcdef" * 4,
            "site": None,
        },
        "provider": {"requested": "auto", "effective": "CPUExecutionProvider", "degraded": False},
        "settings": {"false_alarm_rate": 0.05, "overlays": "flagged"},
        "inputs": {
            "roots": [name], "files": 9, "ignored": 1, "ignored_kinds": {".txt": 1},
            "digest": "d1" * 32,
        },
        "series": [
            {
                "id": f"{name}/{number}", "source": name, "slices": len(results), "score": 1.0,
                "p_value": 0.025 if any(flagged) else 0.5, "flagged": any(flagged),
                "pons": _pons_of_series(results), "outside_intended_use": [], "notes": [],
                "companions": [], "overview": name,
            }
            for number in range(series)
        ],
        "slices": [
            _slice_entry(result, f"{name}/{number}", at)
            for number in range(series)
            for at, result in enumerate(results)
        ],
        "not_analysed": [],
    }  # fmt: skip
    return document, shown * series


def _slice_entry(result: SliceResult, series: str, at: int) -> dict[str, Any]:
    return {
        "series": series, "source": f"{series}/{at}.dcm", "sop_instance_uid": f"1.2.3.{at}",
        "frame": None,
        "geometry": {
            "position_lps_mm": [-120.0, -120.0, 5.0 * at],
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            "spacing_mm": [1.0, 0.5],
        },
        "outside_intended_use": [],
        "score": result.score, "p_value": result.p_value, "flagged": result.flagged,
        "regions": [
            {
                "box": list(region.box), "area_px": region.area_px, "area_mm2": region.area_mm2,
                "centroid": [150.2, 128.4], "centroid_lps_mm": [-44.9, 8.4, 5.0 * at],
                "peak": region.peak,
            }
            for region in result.regions
        ],
        "pons": {
            name: getattr(result.pons, name)
            for name in ("visible", "score", "p_value", "flagged", "fraction_anomalous", "box")
        },
        "overlay": f"overlays/{at}.png", "map": None, "mask": None, "ms": {},
    }  # fmt: skip


def _pons_of_series(results: list[SliceResult]) -> dict[str, Any]:
    seen = sum(result.pons is not None and result.pons.visible for result in results)
    judged = {"score": 0.1, "p_value": 0.4, "flagged": False, "fraction_anomalous": 0.02}
    if not seen:
        return {"coverage": "pons not covered", "slices": 0, **dict.fromkeys(judged)}
    return {"coverage": "pons covered", "slices": seen, **judged}
