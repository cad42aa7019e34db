"""Keras and LiteRT, for ``gliomart bench --compare`` (entry-point group ``gliomart.engines``).

Both run the network that a model file was exported from, built anew from its card: a model file
does not hold the Keras network, and what its weights are does not change how long it takes.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from gliomart.bench.engines import Engine
from gliomart.errors import UsageError
from gliomart.host import extras
from gliomart.model.contents import PONS
from gliomart.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ai_edge_litert.interpreter import Interpreter
    from keras import KerasTensor
    from keras import Model as KerasModel
    from numpy.typing import NDArray

    from gliomart.model.card import ModelCard


def keras(model: Path, image: NDArray[np.float32], threads: int) -> list[Engine]:
    """Run the network in Keras on TensorFlow, in the three ways that Keras offers.

    Raises
    ------
    MissingExtraError
        TensorFlow or Keras is not installed.
    UsageError
        The network cannot be built from its card.
    """
    network = _network(Model(model, provider="cpu").card, threads)
    import tensorflow as tf

    batch = image[np.newaxis]
    compiled = tf.function(lambda image: network(image, training=False))

    def function() -> None:
        _as_arrays(compiled(tf.constant(batch)))

    def eager() -> None:
        _as_arrays(network(batch, training=False))

    def predict() -> None:
        network.predict(batch, verbose=0)

    return [
        Engine("Keras, tf.function", "fp32", function),
        Engine("Keras, model(x)", "fp32", eager),
        Engine("Keras, predict(x)", "fp32", predict),
    ]


def litert(model: Path, image: NDArray[np.float32], threads: int) -> list[Engine]:
    """Run the network in LiteRT, as it is and with what its converter quantises by itself.

    Raises
    ------
    MissingExtraError
        LiteRT, TensorFlow or Keras is not installed.
    UsageError
        The network cannot be built from its card.
    """
    with extras.needed("LiteRT", "bench", "ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    network = _network(Model(model, provider="cpu").card, threads)
    batch = image[np.newaxis]
    engines = []
    for precision in ("fp32", "int8 weights", "int8"):
        content = _converted(network, batch, precision)
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        engines.append(Engine("LiteRT", precision, _litert_run(interpreter, batch)))
    return engines


def _network(card: ModelCard, threads: int) -> KerasModel:
    """Build the network of a card, anomaly map included, on TensorFlow with so many threads."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from gliomart_training import backend

    with extras.needed("Keras", "training", "tensorflow", "keras"):
        backend.load_quietly()
        import tensorflow as tf

        from gliomart_training.networks import network as declared_by
    declared = declared_by(str(card.network["name"]))
    if declared.bases is not None or declared.settle is not None:
        raise UsageError(
            f"{card.network['name']} is made of more than its card tells, of other networks or of"
            " what healthy images gave, and is not built anew for other engines"
        )
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    from gliomart_training.brain_localiser import brain_localiser
    from gliomart_training.localiser import joined, pons_localiser, with_pons
    from gliomart_training.slabs import with_map

    size, channels = card.preprocessing.size, declared.depth(card.preprocessing)
    network = joined(declared.build(size, channels), brain_localiser(size), "brain")
    if card.has_output(PONS):
        network = with_pons(network, pons_localiser(size))
    (image,) = network.inputs
    outputs = network.output
    residual = declared.recipe.residual.with_options(card.network["residual"])
    return keras.Model(image, with_map(residual, image, outputs))


def _as_arrays(outputs: dict[str, KerasTensor]) -> None:
    """Wait for the outputs, as whoever uses them has to."""
    for value in outputs.values():
        value.numpy()


def _converted(network: KerasModel, batch: NDArray[np.float32], precision: str) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        signature = [tf.TensorSpec(batch.shape, tf.float32, name="image")]
        network.export(folder, "tf_saved_model", verbose=False, input_signature=signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "fp32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "int8":

            def images() -> Iterator[list[NDArray[np.float32]]]:
                yield [batch]

            converter.representative_dataset = images
        content: bytes = converter.convert()
    return content


def _litert_run(interpreter: Interpreter, batch: NDArray[np.float32]) -> Callable[[], None]:
    (place,) = (each["index"] for each in interpreter.get_input_details())
    outputs = [each["index"] for each in interpreter.get_output_details()]

    def run() -> None:
        interpreter.set_tensor(place, batch)
        interpreter.invoke()
        for output in outputs:
            interpreter.get_tensor(output)

    return run
