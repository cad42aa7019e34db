"""Every network goes from a folder of scans to results, each command in a process of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import processes
from samples import marked_scans

pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from gliomart import Detector, ModelCard
from gliomart_training import networks

# The commands as they are, but for the size of the images and how long a localiser learns: for as
# long as it takes to see a pons anywhere.
SMALL = """
from functools import partial
from gliomart_training import commands
commands.Preprocessing = partial(commands.Preprocessing, size=64)
"""
HASTY_PONS = """
from gliomart_training import recipe
recipe.PonsRecipe = partial(recipe.PonsRecipe, steps=8)
recipe.BrainRecipe = partial(recipe.BrainRecipe, heads=1)
"""
# What others are built on, by the output that they build on.
BASES = {"reconstruction": "dae", "lesion": "unet"}
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


def _gliomart(*arguments: object, first: str = "") -> None:
    processes.run(first + COMMAND, *arguments, env=processes.searched())


def _train(
    scans: Path, out: Path, network: str, first: str, *options: object, seed: int = 0
) -> None:
    short = ("--epochs", 1, "--folds", 1, "--seed", seed)
    _gliomart("train", scans, "--network", network, "--out", out, *short, *options, first=first)


def _sees_masks(network: str) -> bool:
    """Tell whether masks teach a network, or those that it is built on here."""
    declared = networks.network(network)
    return declared.supervised or (declared.bases is not None and declared.bases.gives == "lesion")


def _through_all(scans: Path, folder: Path, network: str, first: str = SMALL) -> ModelCard:
    """Train, export and infer; returns the card of the model."""
    keras_file, model = folder / "own.keras", folder / "own.onnx"
    declared, runs = networks.network(network), []
    if declared.bases is not None:
        runs = ["--from"]
        for seed in range(declared.bases.fewest):
            _train(scans, folder / f"{seed}.keras", BASES[declared.bases.gives], first, seed=seed)
            runs.append(folder / f"{seed}.run")
    _train(scans, keras_file, network, first, *runs)
    compared = ["--comparison"] if _sees_masks(network) else []
    _gliomart("export", keras_file, model, *compared)
    _gliomart("infer", scans / "images", "--model", model, "--out", folder / "out")
    assert len(json.loads((folder / "out" / "results.json").read_text())["slices"]) == 30
    return Detector(model, provider="cpu").card


# One, which has a layer of its own, is always tested.
OFTEN = "cae"
SELDOM = [name for name in networks.names() if name != OFTEN]


@pytest.mark.parametrize(
    "network", [OFTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in SELDOM)]
)
def test_every_network_trains_exports_and_infers(network: str, scans: Path, tmp_path: Path) -> None:
    card = _through_all(scans, tmp_path, network)
    assert card.network["name"] == network
    assert card.saw_masks == _sees_masks(network)
    assert card.judges == ()


@pytest.mark.slow
@pytest.mark.parametrize("network", networks.names())
def test_every_network_does_with_the_pons_as_well(
    network: str, marked: Path, tmp_path: Path
) -> None:
    card = _through_all(marked, tmp_path, network, first=SMALL + HASTY_PONS)
    assert card.network["name"] == network
    assert card.rules_of("pons") is not None
