"""Fitting one network to tumour-free images, resumable epoch by epoch.

Only ``keras`` and ``keras.ops``: the same code trains on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from tqdm import tqdm

from gliomart.errors import TrainingError
from gliomart.outputs.folder import write_atomically
from gliomart_training.corruption import CORRUPTIONS
from gliomart_training.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gliomart_training.batches import HealthyBatches

History = dict[str, list[float]]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out of a training, the data aside.

    Attributes
    ----------
    network
        A name in ``networks.NETWORKS``; its corruption goes by the same name.
    epochs, batch_size, learning_rate, weight_decay
        Of AdamW with a cosine schedule, from a linear warm-up over the first twentieth.
    loss
        Keras' name of the loss between reconstruction and clean image. With the mean absolute
        error a denoiser stays at the identity: most pixels carry no noise.
    seed
        Of weights, order, variation and corruption.
    """

    network: str = "dae"
    epochs: int = 24
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    loss: str = "mse"
    seed: int = 0


RECIPES = {name: Recipe(network=name) for name in NETWORKS}


def fit(
    recipe: Recipe,
    batches: HealthyBatches,
    validation: HealthyBatches | None,
    checkpoints: Path,
    label: str,
) -> tuple[keras.Model, History]:
    """Train a network, or go on where an interrupted training left its checkpoint.

    Parameters
    ----------
    recipe
        What to train and how.
    batches, validation
        Clean images; the corruption happens inside the training graph.
    checkpoints
        Folder for the state after every epoch; emptied when training is complete.
    label
        What the progress bar calls this training.

    Returns
    -------
    The trained network without its corruption, image in and reconstruction out, and the losses
    of every epoch.
    """
    keras.utils.set_random_seed(recipe.seed)
    size, channels = batches.spec.size, len(batches.spec.channels)
    network = NETWORKS[recipe.network](size, channels)
    image = keras.Input((size, size, channels))
    corruption = CORRUPTIONS[recipe.network](recipe.seed)
    trainer = keras.Model(image, network(corruption(image)))
    steps = recipe.epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(steps - steps // 20, 1),
        warmup_target=recipe.learning_rate,
        warmup_steps=steps // 20,
    )
    trainer.compile(
        optimizer=keras.optimizers.AdamW(
            schedule,
            weight_decay=recipe.weight_decay,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=0.995,
        ),
        loss=recipe.loss,
        # XLA on a CPU trains this 2.4 times slower than TensorFlow's own kernels.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    # Built now, or a checkpoint's optimizer state would be passed over when training resumes.
    trainer.optimizer.build(trainer.trainable_variables)

    def start(epoch: int) -> None:
        batches.start(epoch)
        corruption.start(epoch)

    progress = _Progress(start, label, recipe.epochs, len(batches), checkpoints)
    _fit(
        trainer,
        batches,
        validation_data=validation,
        epochs=recipe.epochs,
        shuffle=False,  # the batches bring their own order
        verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(str(checkpoints)),
            keras.callbacks.TerminateOnNaN(raise_error=True),
            progress,
        ],
    )
    return network, progress.history


def _fit(trainer: keras.Model, batches: HealthyBatches, **options: Any) -> None:  # noqa: ANN401
    try:
        trainer.fit(batches, **options)
    except RuntimeError as error:
        if "NaN" not in str(error) and "Invalid loss" not in str(error):
            raise
        reason = "training diverged: its loss is not finite; try a lower --learning-rate"
        raise TrainingError(reason) from error


class _Progress(keras.callbacks.Callback):
    """Starts epochs, shows progress on stderr, keeps the losses across interruptions."""

    def __init__(
        self, start: Callable[[int], None], label: str, epochs: int, batches: int, folder: Path
    ) -> None:
        super().__init__()
        self.start, self.label, self.epochs, self.batches = start, label, epochs, batches
        self.file = folder.with_suffix(".losses.json")
        self.history: History = {}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self.bar = tqdm(
            total=self.epochs * self.batches,
            desc=self.label,
            unit="batch",
            file=sys.stderr,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        self.start(epoch)
        earlier = json.loads(self.file.read_text()) if epoch and self.file.exists() else {}
        self.history = {name: values[:epoch] for name, values in earlier.items()}
        self.bar.n = epoch * self.batches

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        del batch, logs
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        write_atomically(self.file, json.dumps(self.history).encode())
        shown = "  ".join(f"{name} {values[-1]:.5f}" for name, values in self.history.items())
        self.bar.set_postfix_str(shown)
        if self.bar.disable:
            line = f"{self.label}: epoch {epoch + 1}/{self.epochs}  {shown}"
            print(line, file=sys.stderr, flush=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self.bar.close()
        self.file.unlink(missing_ok=True)
