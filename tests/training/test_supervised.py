"""What networks that learn from tumour masks are made of."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra: training")

from gliomart_training import networks  # noqa: E402
from gliomart_training.networks.acda import AsymmetricConvolution  # noqa: E402
from gliomart_training.networks.vae_segmenter import Drawn  # noqa: E402
from gliomart_training.residual import Marked, smoothed  # noqa: E402
from gliomart_training.supervised import dice_and_cross_entropy  # noqa: E402

RANDOM = np.random.default_rng(0)


def test_dice_is_taken_of_the_batch_and_cross_entropy_of_every_pixel() -> None:
    truth = np.zeros((2, 4, 4, 1), np.float32)
    truth[0, :2] = 1
    half = np.full_like(truth, 0.5)
    # 8 of 32 pixels are marked; half of each is found, and half of every other.
    expected = 1 - (2 * 4 + 1) / (8 + 16 + 1) + np.log(2)
    assert float(dice_and_cross_entropy(truth, half)) == pytest.approx(expected, abs=1e-4)
    assert float(dice_and_cross_entropy(truth, truth)) == pytest.approx(0, abs=1e-4)


def test_the_map_of_a_marked_lesion_lies_in_the_brain_and_knows_no_brightness() -> None:
    lesion, brain = RANDOM.random((2, 2, 32, 32, 1), np.float32)
    image = RANDOM.random((2, 32, 32, 1), np.float32)
    outputs = {"lesion": lesion, "brain": brain}
    found, dark = (np.asarray(Marked().anomaly_map(each, outputs)) for each in (image, 0 * image))
    assert np.array_equal(found, dark)
    assert np.allclose(found, np.asarray(smoothed(lesion * brain, 1.5)))


def test_three_convolutions_are_one_once_training_has_ended() -> None:
    layer = AsymmetricConvolution(5)
    image = RANDOM.normal(size=(2, 9, 9, 3)).astype(np.float32)
    layer.build(image.shape)
    for each in layer.normalisations:
        for weights in (each.gamma, each.beta, each.moving_mean, each.moving_variance):
            weights.assign(RANDOM.uniform(0.5, 2, weights.shape))
    branches = zip(layer.convolutions, layer.normalisations, strict=True)
    apart = sum(np.asarray(norm(one(image), training=False)) for one, norm in branches)
    assert np.allclose(np.asarray(layer(image, training=False)), apart, atol=1e-4)


def test_a_latent_is_drawn_in_training_alone_and_held_to_a_normal_one() -> None:
    layer = Drawn()
    mean, log_variance = RANDOM.normal(size=(2, 3, 4, 4, 6)).astype(np.float32)
    both = np.concatenate([mean, log_variance], axis=-1)
    assert np.array_equal(np.asarray(layer(both, training=False)), mean)
    divergence = (mean**2 + np.exp(log_variance) - log_variance - 1).mean() / 2
    assert float(layer.losses[0]) == pytest.approx(0.1 * divergence, rel=1e-4)
    one, other = (np.asarray(layer(both, training=True)) for _ in range(2))
    assert not np.array_equal(one, other)


def test_the_branch_that_draws_anew_is_there_for_training_alone() -> None:
    declared = networks.network("vae-segmenter")
    trained = declared.build(64, 1)
    assert set(trained.output) == {"lesion", "brain", "redrawn"}
    settled = declared.settle(trained, None)
    assert set(settled.output) == {"lesion", "brain"}
    assert not any(isinstance(layer, Drawn) for layer in settled.layers)
    image = RANDOM.random((1, 64, 64, 1), np.float32)
    found = [np.asarray(each(image, training=False)["lesion"]) for each in (trained, settled)]
    assert np.array_equal(*found)
