from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra: training")

from gliomart.errors import DatasetError  # noqa: E402
from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import (  # noqa: E402
    dataset,
    localiser,
    networks,
    training,
)
from gliomart_training import plan as runs  # noqa: E402
from gliomart_training.batches import Variation  # noqa: E402
from gliomart_training.localiser import (  # noqa: E402
    PonsBatches,
    fit_localiser,
    pons_localiser,
    with_pons,
)
from gliomart_training.plan import Plan  # noqa: E402
from gliomart_training.pons_images import (  # noqa: E402
    POOLING,
    PonsImages,
    marked_images,
    pons_of,
    simulated_slices,
)
from gliomart_training.recipe import BrainRecipe, PonsRecipe  # noqa: E402

SMALL = Preprocessing(size=64)
SIDE = SMALL.size // POOLING
RECIPE = PonsRecipe(steps=40, batch_size=8)
MARKED = (3, 4)


def mark_pons(folder: Path, patients: tuple[str, ...] = ("p0", "p2")) -> Path:
    """Mark a pons in slices 3 and 4 of these patients."""
    with (folder / "pons.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "cx", "cy", "rx", "ry", "level"])
        for patient in patients:
            for number in MARKED:
                table.writerow([f"images/{patient}/{number}.png", 64, 80, 12, 10, "mid"])
    return folder


@pytest.fixture
def marked_folder(dataset_folder: Path) -> Path:
    return mark_pons(dataset_folder)


def _marked(folder: Path) -> PonsImages:
    parts = [marked_images(p, SMALL) for p in dataset.load(folder, "train")]
    return PonsImages.together(parts, SMALL)


def test_a_table_marks_the_pons(marked_folder: Path) -> None:
    first, second, _ = dataset.load(marked_folder, "train")
    assert [n for n, e in enumerate(first.examples) if e.pons] == list(MARKED)
    assert not any(e.pons for e in second.examples)
    ellipse = first.examples[3].pons
    assert ellipse is not None
    mask = ellipse.mask((128, 128))
    assert mask.sum() == pytest.approx(np.pi * 12 * 10, rel=0.02)
    assert np.argwhere(mask).mean(axis=0) == pytest.approx((80, 64))


def test_only_slices_far_from_every_mark_are_clear(marked_folder: Path) -> None:
    first, second, _ = dataset.load(marked_folder, "train")
    # A tenth of ten slices is one.
    assert [n for n, clear in enumerate(first.clear_of_pons()) if clear] == [0, 1, 6, 7, 8, 9]
    assert not any(second.clear_of_pons())


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("images/p0/3.png,64,80,12,nan", "line 2"), ("images/p0/3.png,64,80,0,5", "line 2"),
        ("images/p0/3.png,64,80,wide,5", "line 2"), ("images/p0/3.png,64,80", "line 2"),
    ],
)  # fmt: skip
def test_what_is_no_ellipse_is_refused_by_line(dataset_folder: Path, row: str, says: str) -> None:
    (dataset_folder / "pons.csv").write_text(f"image,cx,cy,rx,ry\n{row}\n")
    with pytest.raises(DatasetError, match=says):
        dataset.load(dataset_folder, "train")
    (dataset_folder / "pons.csv").write_text("image,cx,cy\n")
    with pytest.raises(DatasetError, match="no column rx, ry"):
        dataset.load(dataset_folder, "train")


def _simulated(seed: int) -> PonsImages:
    return pons_of(simulated_slices(1, seed, SMALL), SMALL)


def test_marks_are_drawn_where_the_localiser_sees_them(marked_folder: Path) -> None:
    images = _marked(marked_folder)
    assert images.plain.shape == images.pons.shape == (len(images), SIDE, SIDE)
    assert images.shown.sum() == 4
    assert len(images) == 2 * (2 + 6)  # marked, and clear of it; nothing of the unmarked patient
    areas = images.pons[images.shown].sum(axis=(1, 2))
    # The head fills the frame: its height, .8 of the image's, is the whole of the grid's.
    assert areas == pytest.approx(np.pi * 12 * 10 * (SIDE / 128 / 0.84) ** 2, rel=0.15)


def test_slices_with_a_tumour_are_not_taken_for_clear(dataset_folder: Path) -> None:
    mark_pons(dataset_folder, ("p1",))  # whose tumour is in slice 6: 3 and above are near it
    images = _marked(dataset_folder)
    assert len(images) == 2 + 2
    assert images.shown.sum() == 2


def test_simulated_heads_show_their_pons_or_clearly_none() -> None:
    images = _simulated(RECIPE.seed)
    areas = images.pons.sum(axis=(1, 2))
    assert 0 < images.shown.sum() < len(images)
    assert areas[images.shown].min() >= 0.3 * areas.max()
    again = _simulated(RECIPE.seed)
    assert np.array_equal(images.plain, again.plain)
    other = _simulated(5)
    assert not np.array_equal(images.plain[:5], other.plain[:5])


def test_batches_repeat_by_seed_and_mix_what_they_should(marked_folder: Path) -> None:
    marked, simulated = _marked(marked_folder), _simulated(RECIPE.seed)
    recipe = replace(RECIPE, batch_size=200, shown=0.75)

    def batches(**changes: object) -> PonsBatches:
        changed = replace(recipe, **changes)  # type: ignore[arg-type]
        return PonsBatches(marked, simulated, Variation(), changed, SMALL.brain_level)

    seen, pons = batches()[0]
    assert seen.shape == pons.shape == (200, SIDE, SIDE, 1)
    assert seen.dtype == pons.dtype == np.float32
    assert pons.min() >= 0
    assert pons.max() <= 1 + 1e-6
    assert pons.any(axis=(1, 2, 3)).mean() == pytest.approx(0.75, abs=0.1)
    assert np.array_equal(seen, batches()[0][0])
    assert not np.array_equal(seen, batches()[1][0])
    assert not np.array_equal(seen, batches(seed=1)[0][0])
    assert not np.array_equal(seen, batches(corrupted=0.0)[0][0])


def test_bending_moves_image_and_pons_alike() -> None:
    image = np.zeros((32, 32), np.float32)
    image[10:20, 12:22] = 1
    bent, pons = localiser.bend(image, image, 2.0, np.random.default_rng(3))
    assert np.array_equal(bent, pons)
    assert not np.array_equal(bent, image)
    same, _ = localiser.bend(image, image, 0.0, np.random.default_rng(3))
    assert np.allclose(same, image)


def test_recolouring_changes_the_pons_and_nothing_far_from_it() -> None:
    image, pons = np.full((2, 32, 32), 0.4, np.float32)
    pons[:] = 0
    pons[12:20, 12:20] = 1
    changed = [
        localiser._recolour(image, pons, 0.3, np.random.default_rng(seed)) for seed in range(40)
    ]
    assert all(one.dtype == np.float32 for one in changed)
    assert all(np.allclose(one[:3], 0.4, atol=1e-3) for one in changed)
    inside = np.log([one[16, 16] / 0.4 for one in changed])
    assert 0.15 < inside.std() < 0.4
    assert np.allclose(localiser._recolour(image, pons, 0.0, np.random.default_rng(0)), image)


def test_a_localiser_learns_where_a_pons_is() -> None:
    random = np.random.default_rng(0)
    plain = np.full((24, SIDE, SIDE), 0.4, np.float32)
    pons = np.zeros_like(plain)
    for number, place in enumerate(random.integers(2, SIDE - 6, (16, 2))):
        here = np.s_[number, place[0] : place[0] + 4, place[1] : place[1] + 4]
        pons[here], plain[here] = 1, 0.8
    images = PonsImages(plain, pons)
    recipe = replace(RECIPE, steps=60, corrupted=0.0, simulated=0.0, bend=0.3)
    none = PonsImages.together([], SMALL)
    network, losses = fit_localiser(images, none, recipe, Variation(), SMALL)
    assert not network.compiled  # or no other backend could read what it is joined to
    assert len(losses) == 20
    assert losses[-1] < 0.5 * losses[0]
    found = network.predict(plain[..., np.newaxis], verbose=0)[..., 0]
    assert found[pons > 0].mean() > 0.5
    assert found[pons == 0].mean() < 0.1


def test_nothing_to_tell_apart_is_an_error(marked_folder: Path) -> None:
    marked = _marked(marked_folder)
    none = PonsImages.together([], SMALL)
    for chosen in (marked.shown, ~marked.shown):
        one_kind = PonsImages(marked.plain[chosen], marked.pons[chosen])
        with pytest.raises(DatasetError, match="slices with it and slices without"):
            fit_localiser(one_kind, none, RECIPE, Variation(), SMALL)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_localiser_joined_to_a_network_leaves_the_rest_as_it_was(channels: int) -> None:
    keras.utils.set_random_seed(0)
    network, branch = networks.network("dae").build(64, channels), pons_localiser(64)
    joined = with_pons(network, branch)
    image = np.random.default_rng(0).random((2, 64, 64, channels), np.float32)
    alone, together = network(image), joined(image)
    assert set(together) == {"reconstruction", "brain", "pons"}
    assert together["pons"].shape == (2, 64, 64, 1)
    for name, value in alone.items():
        assert np.array_equal(value, together[name])
    # The branch sees the first channel, which is the plain image.
    changed = image.copy()
    changed[..., 1:] = 0
    assert np.array_equal(joined(changed)["pons"], together["pons"])


def test_a_network_from_a_file_can_be_joined_to_a_new_localiser(tmp_path: Path) -> None:
    keras.backend.clear_session()
    keras.layers.AveragePooling2D(2)  # so that the file has the names that Keras comes to below
    networks.network("dae").build(64, 1).save(tmp_path / "m.keras")
    keras.backend.clear_session()
    network = keras.models.load_model(tmp_path / "m.keras", compile=False)
    joined = with_pons(network, pons_localiser(64))
    assert set(joined.output) == {"reconstruction", "brain", "pons"}


def _plan(data: Path, out: Path, preprocessing: Preprocessing = SMALL) -> Plan:
    return Plan(
        data=data,
        split="train",
        out=out,
        recipe=replace(networks.network("cae").recipe, epochs=1, batch_size=8),
        brain=BrainRecipe(steps=4, heads=1),
        pons=replace(RECIPE, steps=4),
        preprocessing=preprocessing,
        variation=Variation(),
        folds=1,
    )


def test_a_run_joins_a_localiser_to_its_network(marked_folder: Path, tmp_path: Path) -> None:
    plan = _plan(marked_folder, tmp_path / "m.keras")
    record = training.run(plan)
    assert record["pons"]["patients"] == 2
    assert record["pons"]["marked_slices"] == 4
    assert record["pons"]["recipe"]["steps"] == 4
    # Whoever is held out is held out of both.
    held_out = {"p0", "p2"} & set(record["folds"][0])
    assert record["fits"]["fold-1"]["pons"]["slices"] == 8 * (2 - len(held_out))
    joined = keras.models.load_model(plan.out, compile=False)
    assert set(joined.output) == {"reconstruction", "healthy", "brain", "pons"}
    alone = keras.models.load_model(plan.folder / "fold-1.autoencoder.keras", compile=False)
    image = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    assert np.array_equal(alone(image)["reconstruction"], joined(image)["reconstruction"])
    with_brain = keras.models.load_model(plan.folder / "fold-1.with-brain.keras", compile=False)
    assert np.array_equal(with_brain(image)["brain"], joined(image)["brain"])
    assert not np.array_equal(alone(image)["brain"], joined(image)["brain"])
    assert record["fits"]["fold-1"]["brain"]["slices"] == record["fits"]["fold-1"]["slices"]
    before = (plan.folder / "fold-1.keras").stat().st_mtime_ns
    training.run(plan, resume=True)
    assert (plan.folder / "fold-1.keras").stat().st_mtime_ns == before


def test_a_network_without_the_plain_image_learns_no_pons_and_says_so(
    marked_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _plan(marked_folder, tmp_path / "m.keras", replace(SMALL, channels=("clahe",)))
    assert runs._pons_images(dataset.load(marked_folder, "train"), plan) == {}
    assert "the pons is not learned" in capsys.readouterr().err
