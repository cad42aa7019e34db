"""Every network goes from a folder of scans to results, each command in a process of its own."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

import processes
from samples import marked_scans

pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from gliomart import Detector
from gliomart_training import networks

# A localiser learns for minutes; here it only has to be there.
HASTY_PONS = """
from functools import partial
from gliomart_training import recipe
recipe.PonsRecipe = partial(recipe.PonsRecipe, steps=4, heads=1)
"""
COMMAND = """
import sys
from gliomart.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the pons marked, so that a localiser is trained."""
    folder = marked_scans(tmp_path_factory.mktemp("marked") / "scans")
    with (folder / "pons.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "cx", "cy", "rx", "ry"])
        for patient in range(3):
            table.writerows([f"images/p{patient}-{n}.png", 64, 80, 12, 10] for n in (3, 4))
    return folder


def _gliomart(*arguments: object, first: str = "") -> subprocess.CompletedProcess[str]:
    return processes.run(first + COMMAND, *arguments, env=processes.searched())


def _through_all(scans: Path, folder: Path, network: str, first: str = "") -> dict[str, object]:
    """Train, export and infer; returns what was found in the slices of the scans."""
    keras_file, model = folder / "own.keras", folder / "own.onnx"
    short = ("--epochs", 1, "--folds", 1)
    _gliomart("train", scans, "--network", network, "--out", keras_file, *short, first=first)
    _gliomart("export", keras_file, model, first=first)
    _gliomart("infer", scans / "images", "--model", model, "--out", folder / "out")
    results = json.loads((folder / "out" / "results.json").read_text())
    assert len(results["slices"]) == 30
    assert Detector(model, provider="cpu").card.network["name"] == network
    return results


# The first, which has a layer of its own, is always tested.
OFTEN, *SELDOM = networks.names()


@pytest.mark.parametrize(
    "network", [OFTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in SELDOM)]
)
def test_every_network_trains_exports_and_infers(network: str, scans: Path, tmp_path: Path) -> None:
    assert _through_all(scans, tmp_path, network)


@pytest.mark.slow
@pytest.mark.parametrize("network", networks.names())
def test_every_network_does_with_the_pons_as_well(
    network: str, marked: Path, tmp_path: Path
) -> None:
    assert _through_all(marked, tmp_path, network, first=HASTY_PONS)
    assert Detector(tmp_path / "own.onnx", provider="cpu").card.rules_of("pons") is not None
