"""Networks that build on runs go from scans to figures, each command in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import processes
from samples import marked_scans

pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")
pytest.importorskip("sklearn", reason="needs the extra: evaluate")

from gliomart import Detector

COMMAND = """
import sys
from functools import partial
from gliomart_training import commands, recipe
commands.Preprocessing = partial(commands.Preprocessing, size=64)
commands._BRAIN_STEPS, recipe.BrainRecipe = 2, partial(recipe.BrainRecipe, heads=1)
from gliomart.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


@pytest.fixture(scope="module")
def runs(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs of the default network."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        _train(scans, folder / f"{seed}.keras", "dae", "--seed", seed)
    return [folder / f"{seed}.run" for seed in (0, 1)]


def _gliomart(*arguments: object) -> str:
    return processes.run(COMMAND, *arguments, env=processes.searched()).stdout


def _train(scans: Path, out: Path, network: str, *options: object) -> None:
    short = ("--epochs", 1, "--folds", 1, "--patients", 3)
    _gliomart("train", scans, "--network", network, "--out", out, *short, *options)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["features", "ensemble", "distilled"])
def test_a_network_that_builds_on_runs_goes_all_the_way(
    network: str, scans: Path, runs: list[Path], tmp_path: Path
) -> None:
    own, model, figures = (tmp_path / f"own.{kind}" for kind in ("keras", "onnx", "json"))
    bases = runs[:1] if network == "features" else runs
    _train(scans, own, network, "--from", *bases)
    _gliomart("export", own, model)
    _gliomart("infer", scans / "images", "--model", model, "--out", tmp_path / "out")
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["slices"]) == 30
    _gliomart("evaluate", scans, "--held-out", tmp_path / "own.run", "--out", figures)
    assert json.loads(figures.read_text())["patients"]
    card = Detector(model, provider="cpu").card
    role = {"features": "encoder", "ensemble": "member", "distilled": "teacher"}[network]
    roles = [each["role"] for each in card.training["built_on"]]  # type: ignore[index]
    assert roles == ["localisers", *[role] * len(bases)]
    assert not card.saw_masks
