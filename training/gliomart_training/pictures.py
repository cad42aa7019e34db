"""Pictures of a training: how its losses fell, and what its network makes of unseen slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.preprocess import stack_channels

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

    from gliomart.preprocess import Preprocessing
    from gliomart_training.fitting import History

_SHOWN = 8


def curves(losses: dict[str, History], path: Path) -> None:
    """Plot the losses of several fits over their epochs; validation is dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss", yscale="log")
    for number, (name, history) in enumerate(losses.items()):
        for kind, style in (("loss", "-"), ("val_loss", "--")):
            if kind in history:
                epochs = np.arange(1, len(history[kind]) + 1)
                label = f"{name} {'training' if kind == 'loss' else 'held out'}"
                axes.plot(epochs, history[kind], style, color=f"C{number}", label=label)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def reconstructions(
    network: keras.Model, unseen: NDArray[np.float32], spec: Preprocessing, path: Path
) -> None:
    """Show held-out slices (N, size, size), and what the network makes of them."""
    from matplotlib.figure import Figure

    chosen = np.linspace(0, len(unseen) - 1, _SHOWN).round().astype(int)
    batch = np.stack([stack_channels(unseen[i], spec) for i in chosen])
    outputs = network.predict_on_batch(batch)
    rebuilt = outputs["reconstruction"]
    rows = {
        "image": (batch[..., 0], "gray", 0, 1),
        "reconstruction": (rebuilt[..., 0], "gray", 0, 1),
        "difference": (batch[..., 0] - rebuilt[..., 0], "RdBu_r", -0.3, 0.3),
        "brain": (outputs["brain"][..., 0], "gray", 0, 1),
    }
    figure = Figure(figsize=(2 * _SHOWN, 2.1 * len(rows)), layout="constrained")
    for number, (name, (images, colours, low, high)) in enumerate(rows.items()):
        for column, image in enumerate(images):
            place = number * _SHOWN + column + 1
            axes = figure.add_subplot(len(rows), _SHOWN, place, xticks=[], yticks=[])
            axes.imshow(image, cmap=colours, vmin=low, vmax=high)
            if column == 0:
                axes.set_ylabel(name)
    figure.savefig(path, dpi=110)
