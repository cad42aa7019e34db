"""Fitting one network to tumour-free images, resumable epoch by epoch.

Only ``keras`` and ``keras.ops``: the same code trains on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import TYPE_CHECKING, cast

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.errors import OutputError, TrainingError
from gliomart.host.streams import say
from gliomart.outputs.folder import write_atomically
from gliomart.printable import said
from gliomart_training.network_file import check_finite
from gliomart_training.networks import network
from gliomart_training.optimiser import adamw, jit_compile
from gliomart_training.record import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gliomart_training.batches import ImageBatches
    from gliomart_training.network import Learning, Loss
    from gliomart_training.recipe import Recipe
    from gliomart_training.record import History
    from gliomart_training.validation import WithLesions

DIVERGED = "training diverged (try a lower --learning-rate)"

AVERAGE_PRECISION = "val_average_precision"
# What is told of an epoch, of all that is kept.
_SHOWN = {
    "loss": ("loss", ".5f"),
    "val_loss": ("held out: loss", ".5f"),
    AVERAGE_PRECISION: ("AP on lesions put in", ".3f"),
}


def fit(
    batches: ImageBatches,
    validation: ImageBatches | None,
    lesions: WithLesions | None,
    *,
    learning: Learning,
    checkpoints: Path,
    label: str,
    later: int = 0,
) -> tuple[keras.Model, History]:
    """Train a network, or go on where an interrupted training left its checkpoint.

    Parameters
    ----------
    batches, validation
        Corrupted and clean images, of one size.
    lesions
        Of patients that the network is not trained on, of the same size; measured after every
        epoch.
    learning
        What to train and how, and what of it is not told by batches.
    checkpoints
        Folder for the state after every epoch; emptied when training is complete.
    label
        What progress calls this training.
    later
        How many trainings like it follow, for the time that is left.

    Raises
    ------
    TrainingError
        It diverged, in its last step as in any other, or an interrupted one left a broken state.
    OutputError
        Its state cannot be kept.

    Returns
    -------
    The trained network for whole images, and the losses of every epoch, with the average precision
    on lesions as ``val_average_precision``.
    """
    recipe = learning.recipe
    check(recipe)
    keras.utils.set_random_seed(recipe.seed)
    declared = network(recipe.network)
    channels = declared.depth(batches.spec)
    trainer = declared.build(batches.side, channels)
    if declared.start is not None:
        declared.start(trainer, learning)
    _compile(trainer, declared.losses(recipe), recipe, steps=recipe.epochs * len(batches))
    progress = _Progress(
        batches,
        lesions,
        epochs=recipe.epochs,
        file=checkpoints.with_suffix(".losses.json"),
        label=label,
        later=later,
    )
    _fit(
        trainer,
        batches,
        validation_data=validation,
        epochs=recipe.epochs,
        shuffle=False,  # the batches bring their own order
        verbose=0,
        callbacks=[
            _Restore(str(checkpoints)),
            keras.callbacks.TerminateOnNaN(raise_error=True),
            progress,
        ],
    )
    trained = declared.build(batches.spec.size, channels)
    trained.set_weights(trainer.get_weights())
    check_finite(trained, f"{DIVERGED}: not all weights of {label} are numbers")
    _check_outputs(trained)
    return trained, progress.history


def settled(network_as_trained: keras.Model, learning: Learning) -> keras.Model:
    """Make of a trained network, or of an untrained one that has no losses, what is saved."""
    settle = network(learning.recipe.network).settle
    return network_as_trained if settle is None else settle(network_as_trained, learning)


def _compile(
    trainer: keras.Model, losses: Mapping[str, Loss], recipe: Recipe, *, steps: int
) -> None:
    """Give a network its optimiser and its losses."""
    trainer.compile(
        optimizer=adamw(
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            steps=steps,
            averaged=True,
        ),
        loss={name: loss.function for name, loss in losses.items()},
        loss_weights={name: loss.weight for name, loss in losses.items()},
        jit_compile=jit_compile(),
    )
    # Built now, or a checkpoint's optimizer state would be passed over when training resumes.
    trainer.optimizer.build(trainer.trainable_variables)


def check(recipe: Recipe) -> None:
    """See that a recipe can train anything at all.

    Raises
    ------
    TrainingError
        Its learning rate is no finite number above zero, or it has no epochs or empty batches.
    """
    if not (math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0):
        raise TrainingError(
            f"nothing is learned at a rate of {recipe.learning_rate:g}: it has to be above zero"
        )
    if recipe.epochs < 1 or recipe.batch_size < 1:
        raise TrainingError(
            f"nothing is learned in {recipe.epochs} epochs with batches of {recipe.batch_size}"
        )


def _check_outputs(network: keras.Model) -> None:
    """See that a network gives numbers: finite weights may still be too large for that."""
    image = np.full((1, *network.input_shape[1:]), 0.5, np.float32)
    outputs = network(image, training=False)
    for name, values in outputs.items():
        if not np.isfinite(ops.convert_to_numpy(values)).all():
            raise TrainingError(f"{DIVERGED}: its {name} is not finite")


def _fit(trainer: keras.Model, batches: ImageBatches, **options: object) -> None:
    try:
        trainer.fit(batches, **options)
    except RuntimeError as error:
        if "NaN" not in str(error) and "Invalid loss" not in str(error):
            raise
        raise TrainingError(f"{DIVERGED}: its loss is not finite") from error
    except OSError as error:
        raise OutputError(f"the state of the training cannot be kept ({said(error)})") from error


class _Restore(keras.callbacks.BackupAndRestore):
    """Goes on from the state of an interrupted training, or says that it is broken."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        try:
            super().on_train_begin(logs)
        except Exception as error:
            raise TrainingError(
                f"{self.backup_dir}: the state of the interrupted training is broken; remove it,"
                f" and --resume begins this network again ({said(error)})"
            ) from error


class _Progress(keras.callbacks.Callback):
    """Starts epochs, shows progress on stderr, keeps the losses across interruptions."""

    def __init__(
        self,
        batches: ImageBatches,
        lesions: WithLesions | None,
        *,
        epochs: int,
        file: Path,
        label: str,
        later: int,
    ) -> None:
        super().__init__()
        self.batches, self.lesions, self.epochs = batches, lesions, epochs
        self.file, self.label, self.later = file, label, later
        self.history: History = {}

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self.bar = tqdm(
            total=self.epochs * len(self.batches),
            desc=self.label,
            unit="batch",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            disable=not is_terminal(sys.stderr),
        )
        self.first_epoch: int | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        if self.first_epoch is None:
            self.first_epoch, self.started = epoch, time.monotonic()
            self.bar.initial = self.bar.n = epoch * len(self.batches)
        self.batches.start(epoch)
        earlier = cast("History", read_json(self.file)) if epoch and self.file.exists() else {}
        self.history = {name: values[:epoch] for name, values in earlier.items()}

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        del batch, logs
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                raise TrainingError(f"{DIVERGED}: {name} of epoch {epoch + 1} is not finite")
            self.history.setdefault(name, []).append(float(value))
        if self.lesions is not None:
            found = self.lesions.average_precision(self.model)
            self.history.setdefault(AVERAGE_PRECISION, []).append(found)
        write_atomically(self.file, json.dumps(self.history).encode())
        with tqdm.external_write_mode(file=sys.stderr):  # the bar steps aside
            say(f"{self.label}: {self._told(epoch)}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        del logs
        self.bar.close()
        self.file.unlink(missing_ok=True)

    def _told(self, epoch: int) -> str:
        """Tell of the epoch that has just ended."""
        assert self.first_epoch is not None  # noqa: S101  # it has begun
        each = (time.monotonic() - self.started) / (epoch + 1 - self.first_epoch)
        left = each * (self.epochs - epoch - 1)
        parts = [f"epoch {epoch + 1}/{self.epochs}"]
        parts += [
            f"{name} {self.history[key][-1]:{layout}}"
            for key, (name, layout) in _SHOWN.items()
            if key in self.history
        ]
        parts.append(f"left {tqdm.format_interval(left)}")
        if self.later:
            whole = left + self.later * self.epochs * each
            parts[-1] += f", for all {tqdm.format_interval(whole)}"
        return "  ".join(parts)
