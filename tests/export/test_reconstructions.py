"""Networks whose residual is scaled by that of healthy images, from training to export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samples import card, marked_scans

keras = pytest.importorskip("keras", reason="needs the extra: training")
pytest.importorskip("tf2onnx", reason="needs the extra: export")

from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_export import conversion  # noqa: E402
from gliomart_training import dataset, networks, training  # noqa: E402
from gliomart_training.bases import residual_of  # noqa: E402
from gliomart_training.batches import Variation, tumour_free_images  # noqa: E402
from gliomart_training.commands import _plan as plan_of  # noqa: E402
from gliomart_training.commands import train_parser  # noqa: E402
from gliomart_training.fitting import settled  # noqa: E402
from gliomart_training.network import Learning  # noqa: E402
from gliomart_training.network_file import load, save  # noqa: E402
from gliomart_training.plan import Plan  # noqa: E402
from gliomart_training.recipe import BrainRecipe, PonsRecipe  # noqa: E402
from gliomart_training.residual import ScaledResidual  # noqa: E402
from gliomart_training.similarity import structural_similarity  # noqa: E402

SMALL = Preprocessing(size=64)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return marked_scans(tmp_path_factory.mktemp("scans") / "scans")


@pytest.fixture(scope="module")
def learning(scans: Path) -> Learning:
    images = tumour_free_images(dataset.load(scans, None), SMALL)
    return Learning(images, SMALL, networks.network("cae").recipe)


def _made(name: str, learning: Learning) -> keras.Model:
    """Settle an untrained network."""
    keras.utils.set_random_seed(1)
    declared = networks.network(name)
    learning = replace(learning, recipe=declared.recipe)
    return settled(declared.build(64, 1), learning)


def _similarity_by_loops(one: np.ndarray, other: np.ndarray, window: int) -> np.ndarray:
    """Formula 13 of Wang et al., window by window."""
    side = one.shape[0] - window + 1
    found = np.empty((side, side))
    for row in range(side):
        for column in range(side):
            x = one[row : row + window, column : column + window].ravel()
            y = other[row : row + window, column : column + window].ravel()
            (vx, cov), (_, vy) = np.cov(x, y, ddof=0)
            found[row, column] = ((2 * x.mean() * y.mean() + 0.01**2) * (2 * cov + 0.03**2)) / (
                (x.mean() ** 2 + y.mean() ** 2 + 0.01**2) * (vx + vy + 0.03**2)
            )
    return found


def test_structural_similarity_is_that_of_the_paper() -> None:
    random = np.random.default_rng(0)
    one = random.random((16, 16))
    other = np.clip(0.7 * one + 0.3 * random.random((16, 16)) + 0.1, 0, 1)
    batch = [np.float32(image[np.newaxis, ..., np.newaxis]) for image in (one, other)]
    ours = keras.ops.convert_to_numpy(structural_similarity(*batch, window=5))
    assert ours.shape == (1, 12, 12, 1)
    assert np.allclose(ours[0, ..., 0], _similarity_by_loops(one, other, 5), atol=1e-4)
    same = keras.ops.convert_to_numpy(structural_similarity(batch[0], batch[0]))
    assert np.allclose(same, 1, atol=1e-5)


def test_a_residual_counts_in_units_of_what_healthy_images_leave() -> None:
    image = np.full((1, 64, 64, 1), 0.7, np.float32)
    healthy = np.empty((1, 64, 64, 2), np.float32)
    healthy[..., 0] = 0.05
    healthy[:, :, :32, 1], healthy[:, :, 32:, 1] = 0.04, 0.08
    healthy[:, :16, :, 1] = 0.001
    outputs = {
        "reconstruction": np.full_like(image, 0.4),
        "brain": np.ones_like(image),
        "healthy": healthy,
    }
    shown = keras.ops.convert_to_numpy(ScaledResidual().anomaly_map(image, outputs))[0, ..., 0]
    # 0.3 above the expected, 0.02 of it shared by the whole brain, 0.05 of it usual; the gate is 1
    assert shown[48, 16] == pytest.approx(0.23, abs=1e-3)
    assert shown[48, 48] == pytest.approx(0.115, abs=1e-3)
    assert shown[8, 16] == pytest.approx(0.46, abs=1e-3)


def test_what_healthy_images_leave_is_what_the_constant_tells(learning: Learning) -> None:
    made = _made("constant", learning)
    images = learning.images.plain[..., np.newaxis]
    outputs = made.predict(images, verbose=0)
    assert np.allclose(outputs["reconstruction"], 0.4)
    brain = learning.images.brain
    usual = (images[..., 0] - 0.4)[brain].mean()
    assert np.ptp(outputs["healthy"][..., 0]) < 1e-6
    assert outputs["healthy"][0, 0, 0, 0] == pytest.approx(usual, abs=0.03)
    assert outputs["healthy"][0, 0, 0, 1] > 0


def test_a_network_tells_from_its_features_what_healthy_images_leave(learning: Learning) -> None:
    made = _made("cae", learning)
    images = learning.images.plain[..., np.newaxis]
    outputs = made.predict(images, verbose=0)
    left, told = images - outputs["reconstruction"], outputs["healthy"]
    brain = learning.images.brain[..., np.newaxis].astype(np.float32)
    inside = keras.ops.convert_to_numpy(keras.ops.average_pool(brain, 4))[..., 0] >= 0.25
    cells = [keras.ops.convert_to_numpy(keras.ops.average_pool(v, 4))[inside] for v in (left, told)]
    away = cells[0][..., 0] - cells[1][..., 0]
    assert abs(away.mean()) < 0.005
    assert cells[1][..., 1].mean() == pytest.approx(np.abs(away).mean(), rel=0.2)


def test_how_bright_a_lesion_is_does_not_change_what_is_expected() -> None:
    network = networks.network("cae").build(64, 1)
    image = np.full((2, 64, 64, 1), 0.3, np.float32)
    image[0, 20:40, 20:40], image[1, 20:40, 20:40] = 0.45, 0.9
    expected = network.predict(image, verbose=0)["reconstruction"]
    assert np.allclose(expected[0], expected[1], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "cae",
        "constant",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("cevae", "cevae-gradient")),
    ],
)
def test_its_map_is_exported_and_keeps_parity(
    name: str, learning: Learning, tmp_path: Path
) -> None:
    save(_made(name, learning), tmp_path / "own.keras")
    made = load(tmp_path / "own.keras", SMALL)
    residual = networks.network(name).recipe.residual
    content = conversion.with_card(conversion.to_onnx(made, residual), card(preprocessing=SMALL))
    differences = conversion.parity(
        made, residual, content, learning.images.plain[:4, ..., np.newaxis]
    )
    assert set(differences) == {"reconstruction", "brain", "anomaly_map"}
    assert max(differences.values()) <= 1e-5


def test_the_control_is_looked_at_as_the_run_that_it_is_built_on(
    scans: Path, tmp_path: Path
) -> None:
    own = ScaledResidual(bright_at=0.3, least_spread=0.03)
    plan = Plan(
        data=scans,
        split=None,
        out=tmp_path / "own.keras",
        recipe=replace(networks.network("cae").recipe, epochs=1, residual=own),
        brain=BrainRecipe(steps=2, batch_size=4, heads=1),
        pons=PonsRecipe(),
        preprocessing=SMALL,
        variation=Variation(),
        folds=1,
    )
    training.run(plan)
    arguments = ["--network", "constant", "--from", str(plan.folder), "--folds", "1"]
    out = tmp_path / "control.keras"
    options = train_parser().parse_args([str(scans), *arguments, "--out", str(out)])
    asked = plan_of(options)
    assert asked.recipe.residual == own
    record = training.run(replace(asked, preprocessing=SMALL))
    assert residual_of(json.loads(json.dumps(record))) == own
    assert record["fits"]["final" if asked.folds > 1 else "fold-1"]["losses"] == {}
