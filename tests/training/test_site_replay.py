"""The replay of a site's calibration on a data set."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from processes import finish
from samples import PONS_RULES, card, marked_scans, tiny_model

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "site_calibration.py"


def test_every_scenario_is_replayed_on_those_who_were_not_drawn(tmp_path: Path) -> None:
    scans, out = marked_scans(tmp_path / "scans"), tmp_path / "site.json"
    metadata = {"gliomart": card(pons=PONS_RULES).to_json()}
    model = tiny_model(tmp_path / "tiny.onnx", pons=True, metadata=metadata)
    options = ["--model", model, "--draws", "3", "--patients", "2", "--out", out]
    printed = finish([sys.executable, SCRIPT, scans, *options]).stdout
    found = json.loads(out.read_text())
    assert json.loads(printed) == found
    assert found["dataset"]["patients"] == 3
    assert (found["dataset"]["tumour_free_slices"], found["dataset"]["tumour_slices"]) == (18, 3)
    assert len(found["scenarios"]) == 6
    for figures in found["scenarios"].values():
        for figure in figures.values():
            assert 0 <= figure["p10"] <= figure["mean"] <= figure["p90"] <= 1
