"""Pictures of a training: its losses, and how its networks reconstruct slices held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.image.sampling import evenly_spaced
from gliomart.outputs.figures import as_png, new_figure
from gliomart.outputs.folder import write_atomically
from gliomart_training.fitting import AVERAGE_PRECISION
from gliomart_training.validation import departures, in_the_middle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import keras
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from gliomart_training.record import History
    from gliomart_training.validation import WithLesions

CURVES, SCORES, RECONSTRUCTIONS = "curves.png", "scores.png", "reconstructions.png"
_SHOWN = 8


def curves(losses: dict[str, History], folder: Path) -> None:
    """Plot losses and average precision of several fits over their epochs; validation is dashed."""
    figure = new_figure(12, 4.5)
    left, right = figure.subplots(1, 2)
    for number, (name, history) in enumerate(losses.items()):
        for axes, kind, style, label in (
            (left, "loss", "-", f"{name} training"),
            (left, "val_loss", "--", f"{name} held out"),
            (right, AVERAGE_PRECISION, "--", f"{name} held out"),
        ):
            if kind in history:
                epochs = np.arange(1, len(history[kind]) + 1)
                axes.plot(epochs, history[kind], style, color=f"C{number}", marker=".", label=label)
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    right.set(xlabel="epoch", ylabel="average precision on lesions put in", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize=8)
    _write(figure, folder / CURVES)


def scores(fits: Sequence[dict[str, list[float]]], folder: Path) -> None:
    """Plot how held-out slices score, as they are and with lesions put in."""
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot(xlabel="score of the slice", ylabel="slices")
    together = {name: [s for fit in fits for s in fit[name]] for name in (fits[0] if fits else ())}
    highest = max((max(values) for values in together.values()), default=1.0)
    bins = np.linspace(0, highest or 1.0, 41).tolist()
    for (name, values), colour in zip(together.items(), ("C0", "C3"), strict=False):
        axes.hist(values, bins, color=colour, alpha=0.25)
        axes.hist(values, bins, color=colour, histtype="step", label=f"{name} ({len(values)})")
    axes.set_title("Slices of held-out patients")
    axes.grid(alpha=0.3)
    if together:
        axes.legend()
    _write(figure, folder / SCORES)


def reconstructions(network: keras.Model, unseen: WithLesions, folder: Path) -> None:
    """Show held-out slices with lesions put in, and the network's outputs for them."""
    chosen = evenly_spaced(range(len(unseen.seen)), _SHOWN)
    given = network.predict_on_batch(unseen.seen[chosen])
    outputs = {name: in_the_middle(values) for name, values in given.items()}
    batch, untouched = (in_the_middle(each[chosen]) for each in (unseen.seen, unseen.untouched))
    rows: dict[str, tuple[NDArray[np.float32], str, float, float]] = {
        "as it is": (untouched[..., 0], "gray", 0, 1),
        "lesions put in": (batch[..., 0], "gray", 0, 1),
    }
    if "reconstruction" in outputs:
        rebuilt = outputs["reconstruction"][..., 0]
        rows["reconstruction"] = (rebuilt, "gray", 0, 1)
        rows["difference"] = (batch[..., 0] - rebuilt, "RdBu_r", -0.3, 0.3)
    else:
        found = departures(outputs, batch)
        rows["departure"] = (found, "inferno", 0, max(float(found.max()), 1e-6))
    rows["brain"] = (outputs["brain"][..., 0], "gray", 0, 1)
    figure = new_figure(2 * len(chosen), 2.1 * len(rows))
    grid = figure.subplots(
        len(rows), len(chosen), squeeze=False, subplot_kw={"xticks": [], "yticks": []}
    )
    for line, (name, (images, colours, low, high)) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, cmap=colours, vmin=low, vmax=high)
    for axes, where in zip(grid[1], unseen.lesions[chosen], strict=True):
        if where.any():
            axes.contour(where, [0.5], colors="yellow", linewidths=0.6)
    _write(figure, folder / RECONSTRUCTIONS)


def _write(figure: Figure, path: Path) -> None:
    write_atomically(path, as_png(figure, dpi=110))
