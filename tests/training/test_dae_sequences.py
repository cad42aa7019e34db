"""T1 beside FLAIR: what it does to the anomaly map, and what it leaves as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("keras", reason="needs the extra: training")

import keras

from gliomart_training.networks.dae import denoising_unet
from gliomart_training.networks.dae_sequences import NETWORK, BesideT1, beside
from gliomart_training.residual import Residual

SIDE = 64
MAP = BesideT1()


def flair(seed: int = 0) -> NDArray[np.float32]:
    """Usual brain with noise, and a bright square in it."""
    image = np.random.default_rng(seed).normal(0.4, 0.01, (1, SIDE, SIDE, 1))
    image[:, 24:40, 24:40] = 0.7
    return image.astype(np.float32)


def anomaly_map(
    t1: float | None = None, t1c: float | None = None, rules: Residual = MAP
) -> NDArray[np.float32]:
    """Map of it with T1 and T1 after contrast of one brightness; None for none."""
    image = flair()
    further = [np.full_like(image, value or 0.0) for value in (t1, t1c)]
    outputs = {"reconstruction": np.full_like(image, 0.4), "brain": np.ones_like(image)}
    stacked = np.concatenate([image, *further], axis=-1)
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in outputs.items()}
    found = rules.anomaly_map(keras.ops.convert_to_tensor(stacked), tensors)
    return np.asarray(keras.ops.convert_to_numpy(found))


def test_without_other_sequences_the_map_is_that_of_flair() -> None:
    assert np.array_equal(anomaly_map(), anomaly_map(rules=Residual()))


def test_a_lesion_that_is_dark_on_t1_counts_more_and_one_that_is_not_less() -> None:
    alone = anomaly_map().max()
    assert anomaly_map(t1=0.2).max() == pytest.approx(alone * MAP.t1_gain, rel=0.1)
    assert anomaly_map(t1=0.45).max() < 0.8 * alone
    assert anomaly_map(t1=0.6).max() == pytest.approx(alone * MAP.t1_gain * MAP.least, rel=0.05)


def test_t1_decides_where_there_are_both_and_t1_after_contrast_where_it_is_alone() -> None:
    assert np.array_equal(anomaly_map(t1=0.2, t1c=0.9), anomaly_map(t1=0.2))
    alone = anomaly_map().max()
    assert anomaly_map(t1c=0.45).max() < alone
    for lesion in (0.2, 0.95):
        assert anomaly_map(t1c=lesion).max() == pytest.approx(alone * MAP.t1c_gain, rel=0.1)


def test_where_t1_ends_flair_counts_by_itself() -> None:
    image = flair()
    t1 = np.full_like(image, 0.45)
    t1[:, :, SIDE // 2 :] = 0
    stacked = np.concatenate([image, t1, np.zeros_like(image)], axis=-1)
    counted = keras.ops.convert_to_numpy(MAP.beside(keras.ops.convert_to_tensor(stacked)))
    assert (counted[:, :, SIDE // 2 :] == 1).all()
    assert (counted[:, :, : SIDE // 2] < 1).all()


@pytest.mark.parametrize(
    "options", [{"dark_width": 0.0}, {"least": 0.0}, {"least": 1.5}, {"t1_gain": 0.0}]
)
def test_options_that_make_no_map_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"wider than 0|above 0"):
        MAP.with_options(options)


def test_the_network_does_not_look_at_other_sequences() -> None:
    base = denoising_unet(SIDE, 1)
    built = beside(base, 3)
    image = np.concatenate([flair(), flair(1), flair(2)], axis=-1)
    expected = base.predict_on_batch(image[..., :1])
    given = built.predict_on_batch(image)
    assert np.allclose(given["reconstruction"][..., :1], expected["reconstruction"], atol=1e-6)
    assert np.array_equal(given["reconstruction"][..., 1:], image[..., 1:])
    assert np.allclose(given["brain"], expected["brain"], atol=1e-6)
    assert NETWORK.companions == ("T1", "T1C")
