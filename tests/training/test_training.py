from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra: training")

import gliomart_training  # noqa: E402
from gliomart.errors import DatasetError, OutputExistsError  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import dataset, fitting, networks, training  # noqa: E402
from gliomart_training.batches import ImageBatches, Variation, tumour_free_images  # noqa: E402
from gliomart_training.corruption import CORRUPTIONS  # noqa: E402
from gliomart_training.plan import Plan  # noqa: E402
from gliomart_training.recipe import BrainRecipe, PonsRecipe, Recipe  # noqa: E402
from untrained import as_given  # noqa: E402

SMALL = Preprocessing(size=64)


def _plan(data: Path, out: Path, **changes: object) -> Plan:
    plan = Plan(
        data=data,
        split="train",
        out=out,
        recipe=replace(networks.network("cae").recipe, epochs=2, batch_size=4),  # soonest compiled
        brain=BrainRecipe(steps=2, batch_size=4, heads=1),
        pons=PonsRecipe(),
        preprocessing=SMALL,
        variation=Variation(),
        folds=2,
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_network_learns(name: str, channels: int) -> None:
    keras.utils.set_random_seed(0)
    declared = networks.network(name)
    network = declared.build(64, channels)
    images = np.random.default_rng(0).random((4, 64, 64, channels), np.float32)
    one = (images[..., :1] > 0.5).astype(np.float32)
    one, given = as_given(one, declared), as_given(images, declared)
    slab = declared.slab
    seen = images if slab is None else np.stack([images] * slab.seen, axis=1)
    outputs = network(seen)
    assert outputs["brain"].shape == one.shape
    assert set(outputs) <= {"reconstruction", "brain"} | declared.outputs
    if "reconstruction" in outputs:
        assert outputs["reconstruction"].shape == given.shape
    if not (losses := declared.losses(replace(declared.recipe, cell=1))):
        return
    known = {"reconstruction": given, "brain": one, "lesion": one, "taught": given}
    network.compile(
        keras.optimizers.Adam(1e-3),
        {output: loss.function for output, loss in losses.items()},
        loss_weights={output: loss.weight for output, loss in losses.items()},
        jit_compile=False,
    )
    truth = {output: known[loss.truth or output] for output, loss in losses.items()}
    noisy = np.clip(seen + 0.3, 0, 1)
    history = [network.train_on_batch(noisy, truth)[0] for _ in range(8)]
    assert history[-1] < history[0]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", networks.names())
def test_the_weights_of_a_network_fit_every_size(name: str) -> None:
    small, large = networks.network(name).build(64, 1), networks.network(name).build(96, 1)
    large.set_weights(small.get_weights())


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_corruptions_stay_in_the_head_and_in_range(name: str) -> None:
    image = np.zeros((64, 64), np.float32)
    image[16:48, 16:48] = 0.4
    brain = np.zeros_like(image)
    brain[24:40, 24:40] = 1
    hidden = []
    for seed in range(40):
        seen, clean = CORRUPTIONS[name](image, brain, np.random.default_rng(seed))
        again, _ = CORRUPTIONS[name](image, brain, np.random.default_rng(seed))
        assert np.array_equal(seen, again)
        assert seen.dtype == clean.dtype == np.float32
        for changed in (seen, clean):
            assert changed.min() >= 0
            assert changed.max() <= 1
            assert np.abs(changed - image)[:12].max() < 1e-2
        hidden.append(np.abs(seen - clean))
        assert np.allclose(clean[28:36, 28:36], 0.4, atol=1e-3)
    if name == "none":
        assert np.max(hidden) == 0
    else:
        assert np.mean([h[24:40, 24:40].max() > 0.02 for h in hidden]) > 0.8
    if name == "brain":
        assert np.max([h[:19].max() for h in hidden]) < 1e-2


def test_batches_repeat_by_seed_and_epoch(dataset_folder: Path) -> None:
    images = tumour_free_images(dataset.load(dataset_folder, "train"), SMALL)
    assert images.plain.shape == images.brain.shape == (23, 64, 64)

    def batches(*, frozen: bool = False) -> ImageBatches:
        return ImageBatches(
            images, SMALL, Recipe(network="dae", batch_size=5, seed=3), Variation(), frozen=frozen
        )

    one, other, frozen = batches(), batches(), batches(frozen=True)
    assert len(one) == 4
    seen, truth = one[1]
    assert seen.shape == truth["reconstruction"].shape == truth["brain"].shape == (5, 32, 32, 1)
    assert np.array_equal(seen, other[1][0])
    assert not np.array_equal(seen, truth["reconstruction"])
    for batch in (other, frozen):
        batch.start(epoch=1)
    assert not np.array_equal(seen, other[1][0])
    assert np.array_equal(seen, frozen[1][0])
    one.start(epoch=1)
    assert np.array_equal(one[1][0], other[1][0])


def test_a_run_leaves_networks_pictures_and_a_record(
    dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _plan(dataset_folder, tmp_path / "m.keras")
    record = training.run(plan)
    assert sorted(patient for fold in record["folds"] for patient in fold) == ["p0", "p1", "p2"]
    assert record["slices"] == 23
    assert (plan.folder / training.RECORD).read_text() == json.dumps(record, indent=1)
    published = Path(__file__).parents[2] / "docs" / "schema" / "record.json"
    jsonschema.Draft202012Validator(json.loads(published.read_text())).validate(record)
    assert {path.name for path in plan.folder.iterdir()} == {
        "curves.png", "reconstructions.png", "scores.png", "record.json",
        "fold-1.autoencoder.keras", "fold-2.autoencoder.keras", "final.autoencoder.keras",
        "fold-1.with-brain.keras", "fold-2.with-brain.keras", "final.with-brain.keras",
        "fold-1.keras", "fold-2.keras", "final.keras",
        "fold-1.json", "fold-2.json", "final.json",
        "fold-1.brain.json", "fold-2.brain.json", "final.brain.json",
    }  # fmt: skip
    for fold in ("fold-1", "fold-2"):
        losses, scores = record["fits"][fold]["losses"], record["fits"][fold]["scores"]
        assert len(losses["val_loss"]) == len(losses[fitting.AVERAGE_PRECISION]) == 2
        assert len(scores["untouched"]) == len(scores["with lesions"]) > 0
    assert fitting.AVERAGE_PRECISION not in record["fits"]["final"]["losses"]
    assert record["fits"]["final"]["scores"] is None
    shown = capsys.readouterr().err
    assert re.search(r"^fold-1: epoch 2/2  loss \d\.\d+  held out: loss \d\.\d+"
                     r"  AP on lesions put in [01]\.\d{3}  left 00:00, for all \d\d:\d\d$",
                     shown, re.MULTILINE)  # fmt: skip
    assert "final: not validated, nobody is held out" in shown
    assert re.search(r"^final: epoch 2/2  loss \d\.\d+  left 00:00$", shown, re.MULTILINE)
    assert keras.models.load_model(plan.out, compile=False).name == "cae"
    with pytest.raises(OutputExistsError):
        training.run(plan)
    with pytest.raises(OutputExistsError, match="started differently"):
        training.run(replace(plan, folds=3), resume=True)


def test_an_interrupted_run_goes_on_and_ends_the_same(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _plan(dataset_folder, tmp_path / "whole.keras", folds=1)
    training.run(whole)
    cut = replace(whole, out=tmp_path / "cut.keras")

    start = ImageBatches.start

    def interrupted(self: ImageBatches, epoch: int) -> None:
        if not self.frozen and epoch == 1:
            raise KeyboardInterrupt
        start(self, epoch)

    monkeypatch.setattr(ImageBatches, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.run(cut)
    monkeypatch.undo()
    training.run(cut, resume=True)
    trained = [keras.models.load_model(plan.out, compile=False) for plan in (whole, cut)]
    for one, other in zip(*(network.get_weights() for network in trained), strict=True):
        assert np.allclose(one, other, atol=1e-5)
    history = json.loads((cut.folder / "fold-1.json").read_text())["losses"]
    assert len(history["loss"]) == len(history[fitting.AVERAGE_PRECISION]) == 2
    uncut = json.loads((whole.folder / "fold-1.json").read_text())["losses"]
    assert history[fitting.AVERAGE_PRECISION] == pytest.approx(
        uncut[fitting.AVERAGE_PRECISION], abs=1e-3
    )


def test_one_patient_alone_cannot_be_trained_on(dataset_folder: Path, tmp_path: Path) -> None:
    plan = _plan(dataset_folder, tmp_path / "m.keras", split="test", folds=1)
    with pytest.raises(DatasetError, match="one patient"):
        training.run(plan)


def test_networks_noise_and_losses_know_only_keras() -> None:
    """They have to train, unchanged, on any of Keras' backends."""
    folder = Path(gliomart_training.__file__).parent
    modules = (
        "batches", "brain_localiser", "corruption", "fitting", "layers", "localiser", "network",
        "optimiser", "pons_images", "recipe", "residual", "validation",
    )  # fmt: skip
    for file in (*(folder / f"{name}.py" for name in modules), *folder.glob("networks/*.py")):
        tree = ast.parse(file.read_text())
        imported = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert not imported & {"tensorflow", "jax", "torch"}, file
    recipes = {name: declared.recipe for name, declared in networks.every_network().items()}
    assert {name: recipe.network for name, recipe in recipes.items()} == {n: n for n in recipes}
    assert {recipe.corruption for recipe in recipes.values()} <= CORRUPTIONS.keys()
