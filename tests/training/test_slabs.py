"""Slabs of neighbouring slices: what networks learn from, and the map across slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("keras", reason="needs the extra: training")

import keras
from scipy import ndimage

from gliomart.image.steps import Preprocessing
from gliomart.model.contents import Slab
from gliomart_training import dataset, networks
from gliomart_training.batches import (
    PreparedImages,
    Variation,
    simulated_images,
    tumour_free_images,
)
from gliomart_training.corruption import bright_lesions, lesions_in_brain
from gliomart_training.layers import BesideNeighbours, MiddleSlices, SlicesApart, SlicesTogether
from gliomart_training.localiser import joined, pons_localiser
from gliomart_training.recipe import Recipe
from gliomart_training.residual import AcrossSlices, Residual
from gliomart_training.slabs import SlabBatches, around, with_map
from gliomart_training.validation import WithLesions

SIDE = 64
SPEC = Preprocessing(size=SIDE)
SLAB = Slab(seen=6, given=4)


def images(count: int = 9, breaks: tuple[int, ...] = (0, 4)) -> PreparedImages:
    """Images of the brightness of their number, in rows that begin at some of them."""
    plain = np.ones((count, SIDE, SIDE), np.float32) * np.arange(count)[:, None, None] / 10
    follows = np.array([n not in breaks for n in range(count)])
    return PreparedImages(plain, np.ones(plain.shape, bool), follows=follows)


def numbers(slab: NDArray[np.float32]) -> list[float]:
    return [round(float(plane.mean() * 10), 3) for plane in slab]


def test_slices_about_one_end_where_their_row_does() -> None:
    for index, expected in (
        (0, [0, 0, 0, 0, 1, 2]),
        (2, [0, 0, 1, 2, 3, 3]),
        (4, [4, 4, 4, 4, 5, 6]),
        (8, [5, 6, 7, 8, 8, 8]),
    ):
        assert numbers(around(images(), index, SLAB)[0]) == expected
    assert numbers(around(images(), 6, SLAB, step=0.5)[0]) == [4.5, 5, 5.5, 6, 6.5, 7]
    alone = PreparedImages(images().plain, images().brain)
    assert numbers(around(alone, 2, SLAB)[0]) == [2] * 6


def test_what_is_chosen_of_images_follows_on_what_it_followed_on() -> None:
    chosen = images().chosen([1, 2, 3, 4, 6, 7])
    assert chosen.follows is not None
    assert chosen.follows.tolist() == [False, True, True, False, False, True]
    together = PreparedImages.together([images(3, (0,)), images(2, (0,))], SIDE)
    assert together.follows is not None
    assert together.follows.tolist() == [False, True, True, False, True]


def test_tumour_free_slices_follow_where_no_other_lies_between(dataset_folder: Path) -> None:
    (patient, *_) = dataset.load(dataset_folder, "train")
    prepared = tumour_free_images([patient], SPEC)
    free = [n for n, example in enumerate(patient.examples) if example.tumour_free]
    assert prepared.follows is not None
    assert prepared.follows.tolist() == [n - 1 in free for n in free]


def test_simulated_heads_are_rows_of_their_own() -> None:
    heads = simulated_images(2, SPEC)
    assert heads.follows is not None
    assert (~heads.follows).sum() == 2
    assert len(heads) > 40
    assert (heads.brain.mean(axis=(1, 2)) > 0.05).mean() > 0.5
    inside = heads.plain[heads.brain]
    assert np.median(inside) == pytest.approx(SPEC.brain_level, abs=0.05)


@pytest.mark.parametrize("frozen", [True, False])
def test_batches_of_slabs_repeat_by_seed_and_epoch_and_give_the_middle(frozen: bool) -> None:
    heads = simulated_images(1, SPEC)
    recipe = Recipe(network="dae-volume", batch_size=2, seed=1)

    def batches() -> SlabBatches:
        return SlabBatches(heads, SPEC, recipe, Variation(), frozen=frozen)

    one, other = batches(), batches()
    seen, truth = one[0]
    sees, gives = one.slab
    assert seen.shape == (2, sees, one.side, one.side, 1)
    assert truth["reconstruction"].shape == truth["brain"].shape
    assert truth["brain"].shape == (2, gives, one.side, one.side, 1)
    assert np.array_equal(seen, other[0][0])
    assert len(one) == len(heads) // (2 * gives)
    for each in (one, other):
        each.start(epoch=3)
    assert np.array_equal(one[0][0], other[0][0])
    assert np.array_equal(one[0][0], seen) == frozen


def test_lesions_go_on_through_neighbouring_slices_and_noise_does_not() -> None:
    plain = np.full((8, SIDE, SIDE), 0.4, np.float32)
    brain = np.ones_like(plain)
    overlaps = []
    for seed in range(30):
        seen, where = bright_lesions(plain, brain, np.random.default_rng(seed))
        assert seen.shape == where.shape == plain.shape
        both = (where[:-1] & where[1:]).sum() / max((where[:-1] | where[1:]).sum(), 1)
        far = (where[0] & where[-1]).sum() / max((where[0] | where[-1]).sum(), 1)
        overlaps.append((both, far))
        again, _ = lesions_in_brain(plain, brain, np.random.default_rng(seed))
        assert again.dtype == np.float32
    near, far = np.mean(overlaps, axis=0)
    assert near > 0.6
    assert far < near - 0.2
    varied, moved = Variation().apply(plain, brain, 0.4, np.random.default_rng(0))
    assert varied.shape == moved.shape == plain.shape
    assert np.abs(np.diff(varied, axis=0)).max() < 0.2


def test_layers_of_slabs_do_as_arrays_do() -> None:
    slabs = np.random.default_rng(0).random((2, 5, 8, 8, 3), np.float32)
    apart = SlicesApart()(slabs)
    assert np.array_equal(np.asarray(SlicesTogether(5)(apart)), slabs)
    beside = np.asarray(BesideNeighbours(5)(apart)).reshape(2, 3, 8, 8, 9)
    for n in range(3):
        three = list(slabs[:, n : n + 3].swapaxes(0, 1))
        assert np.array_equal(beside[:, n], np.concatenate(three, axis=-1))
    middle = np.asarray(MiddleSlices(5, 3)(apart)).reshape(2, 3, 8, 8, 3)
    assert np.array_equal(middle, slabs[:, 1:4])


def test_the_map_across_slices_is_that_of_arrays() -> None:
    rules = AcrossSlices()
    maps = np.random.default_rng(1).random((2, 7, SIDE, SIDE, 1)).astype(np.float32) ** 4
    found = np.asarray(rules.across_slices(keras.ops.convert_to_tensor(maps)))
    near = ndimage.maximum_filter(maps, (1, 1, rules.beside_px, rules.beside_px, 1), mode="nearest")
    shown = np.maximum(near[:, :-2], near[:, 2:])
    own = maps[:, 1:-1]
    kept = rules.alone * own + (1 - rules.alone) * np.minimum(own, shown)
    middle = kept[:, 1:-1]
    lower = [np.minimum(each, middle) for each in (kept[:, :-2], kept[:, 2:])]
    expected = (1 - 2 * rules.across) * middle + rules.across * sum(lower)
    assert found.shape == (2, 3, SIDE, SIDE, 1)
    assert np.allclose(found, expected, atol=1e-6)
    assert (found <= maps[:, 2:-2] + 1e-6).all()
    pons = np.zeros_like(maps)
    pons[:, :, :20] = 1
    beside = np.asarray(rules.across_slices(*map(keras.ops.convert_to_tensor, (maps, pons))))
    assert np.allclose(beside[:, :, :20], maps[:, 2:-2, :20], atol=1e-6)
    assert np.array_equal(beside[:, :, 20:], found[:, :, 20:])


def test_what_one_slice_alone_shows_counts_less_and_a_slice_that_goes_on_as_by_itself() -> None:
    brain = np.ones((1, 7, SIDE, SIDE, 1), np.float32)
    image = np.full_like(brain, 0.4)
    image[:, :, 20:40, 20:40] = 0.7
    alone = np.full_like(brain, 0.4)
    alone[:, 3] = image[:, 3]
    outputs = {"reconstruction": np.full_like(brain, 0.4), "brain": brain}
    by_itself = np.asarray(
        Residual().anomaly_map(image[:, 3], {name: v[:, 3] for name, v in outputs.items()})
    )
    found = {
        name: np.asarray(with_map(AcrossSlices(), each, outputs)["anomaly_map"])
        for name, each in (("goes on", image), ("alone", alone))
    }
    assert found["goes on"].shape == (1, 3, SIDE, SIDE, 1)
    assert np.allclose(found["goes on"][:, 1], by_itself, atol=1e-6)
    assert found["alone"][0, 1].max() == pytest.approx(0.8 * 0.5 * by_itself.max(), rel=1e-4)
    outputs = {name: np.asarray(v) for name, v in with_map(Residual(), image, outputs).items()}
    assert outputs["anomaly_map"].shape == outputs["brain"].shape == brain.shape


@pytest.mark.parametrize("options", [{"alone": 1.5}, {"across": 0.6}, {"beside_px": 0}])
def test_options_that_make_no_map_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"whole pixels|is in"):
        AcrossSlices().with_options(options)


def test_a_localiser_sees_the_slices_of_a_slab_one_by_one() -> None:
    declared = networks.network("dae-volume")
    branch = pons_localiser(SIDE)
    network = joined(declared.build(SIDE, 1), branch, "pons")
    slab = declared.slab
    assert slab is not None
    seen = np.random.default_rng(0).random((2, slab.seen, SIDE, SIDE, 1), np.float32)
    found = np.asarray(network(seen)["pons"])
    one = joined(networks.network("dae").build(SIDE, 1), branch, "pons")
    for n in range(slab.given):
        expected = np.asarray(one(seen[:, n + slab.context])["pons"])
        assert np.allclose(found[:, n], expected, atol=1e-5)


def test_lesions_for_validation_lie_in_the_middle_of_slabs() -> None:
    heads = simulated_images(1, SPEC)
    which = heads.showing_brain(0.05)[:6]
    declared = networks.network("dae-across")
    slab = declared.slab
    assert slab is not None
    made = WithLesions.of(heads, which, SPEC, 32, seed=0, slab=slab)
    assert made.seen.shape == (6, slab.seen, 32, 32, 1)
    assert made.lesions.shape == made.brain.shape == (6, 32, 32)
    assert 0 <= made.average_precision(declared.build(32, 1)) <= 1
    changed = np.abs(made.seen - made.untouched)[:, slab.seen // 2, ..., 0]
    assert changed[~made.lesions].max() < 0.03
