from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="needs the extra: training")
from keras import ops  # noqa: E402

from gliomart.image.steps import Preprocessing  # noqa: E402
from gliomart_training import networks  # noqa: E402
from gliomart_training.batches import PreparedImages  # noqa: E402
from gliomart_training.network import Learning  # noqa: E402
from gliomart_training.networks import cevae, cevae_gradient  # noqa: E402
from gliomart_training.residual import ScaledResidual  # noqa: E402


def _brains() -> PreparedImages:
    """Two brains of fluid and of two tissues, in a head as bright as fat."""
    random = np.random.default_rng(0)
    plain = np.full((2, 64, 64), 0.9, np.float32)
    plain[:, 8:56, 8:24], plain[:, 8:56, 24:40], plain[:, 8:56, 40:56] = 0.1, 0.36, 0.48
    plain += 0.01 * random.standard_normal(plain.shape, np.float32)
    brain = np.zeros(plain.shape, bool)
    brain[:, 8:56, 8:56] = True
    return PreparedImages(plain, brain)


@pytest.mark.parametrize("channels", [("plain",), ("plain", "clahe")])
def test_tissue_is_told_by_healthy_brains_alone(channels: tuple[str, ...]) -> None:
    spec = Preprocessing(size=64, channels=channels)
    network = cevae.context_vae(64, len(channels))
    cevae.tell_tissues(network, Learning(_brains(), spec, cevae.RECIPE))
    (means,) = (weights[0, 0] for weights in network.get_layer("brightness").get_weights())
    assert means.shape == (4, len(channels))
    if channels == ("plain",):
        assert means[:3, 0] == pytest.approx([0.1, 0.36, 0.48], abs=0.01)
        classes = network.get_layer("tissue")(np.reshape([0.1, 0.36, 0.48, 0.9], (1, 4, 1, 1)))
        told = ops.convert_to_numpy(classes).reshape(4, 4).argmax(axis=1)
        assert told.tolist() == [0, 1, 2, 3]


def test_no_brain_at_all_leaves_the_tissues_where_they_begin() -> None:
    means, spread, shares = cevae.mixture(np.empty((0, 1)))
    assert means[:, 0] == pytest.approx([0.2, 0.38, 0.44])
    assert spread > 0
    assert shares.sum() == pytest.approx(1)


def test_the_written_gradient_is_that_of_automatic_differentiation() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares with TensorFlow's differentiation")
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    network, random = cevae.context_vae(64, 1), np.random.default_rng(0)
    # All weights, those of normalisation among them, are other than they begin.
    network.set_weights(
        [w + random.normal(0, 0.1, w.shape).astype(np.float32) for w in network.get_weights()]
    )
    heads = [network.get_layer(name).output for name in ("mean", "log_variance")]
    given = network.get_layer("cells").output
    forward = keras.Model(given, heads)
    written = keras.Model(given, cevae_gradient.divergence_gradient(network))
    cells = tf.constant(random.random((2, *forward.input_shape[1:]), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(cells)
        mean, log_variance = forward(cells, training=False)
        divergence = tf.reduce_sum(mean**2 + tf.exp(log_variance) - log_variance - 1) / 2
    expected = tape.gradient(divergence, cells).numpy()
    difference = np.abs(written(cells, training=False).numpy() - expected)
    assert np.isfinite(expected).all()
    assert np.quantile(np.abs(expected), 0.1) > 0
    # Where an activation is all but zero, its gradient passes in part.
    assert difference.max() < 0.1 * np.abs(expected).max()
    assert np.median(difference) < 1e-4 * np.median(np.abs(expected))


def test_the_gradient_is_an_output_that_is_saved_and_read(tmp_path: object) -> None:
    declared = networks.network("cevae-gradient")
    assert declared.settle is not None
    learning = Learning(_brains(), Preprocessing(size=64), declared.recipe)
    network = declared.settle(declared.build(64, 1), learning)
    file = f"{tmp_path}/network.keras"
    network.save(file)
    patches = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    images = patches.repeat(8, axis=1).repeat(8, axis=2)
    read = keras.models.load_model(file, compile=False)
    for name, values in network(images, training=False).items():
        again = ops.convert_to_numpy(read(images, training=False)[name])
        assert np.allclose(ops.convert_to_numpy(values), again, atol=1e-6), name
    residual = declared.recipe.residual
    outputs = network(images, training=False)
    bare = ScaledResidual().anomaly_map(images, outputs)
    assert not np.allclose(ops.convert_to_numpy(residual.anomaly_map(images, outputs)), bare)


def test_inference_draws_nothing_and_training_does() -> None:
    network = cevae.context_vae(64, 1)
    images = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    for training in (False, True):
        one, other = (network(images, training=training)["reconstruction"] for _ in range(2))
        same = np.array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
        assert same is not training
