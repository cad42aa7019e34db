"""A sheet of simulated gliomas to look at, and what a model makes of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from gliomart.errors import DatasetError
from gliomart.outputs.pictures import overlay
from gliomart_training.evaluation.lesions import Row, with_lesions
from gliomart_training.evaluation.panel import Panel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.detector import Detector
    from gliomart.providers import Requested
    from gliomart_training.dataset import Patient

_PATIENTS = 5
_SHOWN = (
    Row("swollen and bright", 0.1, 0.3, None),
    Row("swollen and bright", 0.25, 0.3, None),
    Row("swollen and bright", 0.5, 0.3, None),
    Row("swollen and bright", 1.0, 0.3, None),
    Row("swollen and bright", 1.0, 0.6, None),
    Row("swollen", 0.0, 0.0, 1.5),
)
# Half the width of what is cut out, in widths of the pons.
_AROUND = 2.2


def draw(
    directory: Path,
    model: Path | None,
    *,
    split: str | None,
    provider: Requested,
    held_out: Path | None = None,
) -> bytes:
    """Draw the middle marked slice of some patients with several kinds of lesion; PNG.

    Each is shown as it is read and, below, as the model sees it: the pons it finds in green, what
    departs from the expected as heat, what it marks in cyan.

    Raises
    ------
    DatasetError
        The pons is nowhere marked.
    """
    from matplotlib.figure import Figure

    panel = Panel.of(directory, model=model, held_out=held_out, split=split, provider=provider)
    looks = [(p, d) for p, d in panel.looks if any(e.pons for e in p.examples)]
    if not looks:
        raise DatasetError(f"{directory}: no pons.csv marks the pons in it")
    chosen = np.unique(np.linspace(0, len(looks) - 1, _PATIENTS).round().astype(int))
    columns: tuple[Row | None, ...] = (None, *_SHOWN)
    figure = Figure(figsize=(2 * len(columns), 4 * len(chosen)), layout="constrained")
    axes = figure.subplots(2 * len(chosen), len(columns), squeeze=False)
    for place, (patient, detector) in enumerate(looks[index] for index in chosen):
        for column, row in enumerate(columns):
            plain, seen = _pictures(patient, detector, row)
            for offset, picture in enumerate((plain, seen)):
                one = axes[2 * place + offset, column]
                one.imshow(picture, cmap="gray", vmin=0, vmax=255)
                one.set_axis_off()
            if place == 0:
                axes[0, column].set_title(_title(row), fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=90)
    return stream.getvalue()


def _pictures(
    patient: Patient, detector: Detector, row: Row | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    marked = [n for n, example in enumerate(patient.examples) if example.pons is not None]
    middle = marked[len(marked) // 2]
    slices = patient.slices if row is None else with_lesions(patient, row)[0]
    source = slices[middle]
    result = next(
        r
        for r in detector.detect_series(slices).slices
        if (r.slice.source, r.slice.frame) == (source.source, source.frame)
    )
    pons = patient.examples[middle].pons
    assert pons is not None  # noqa: S101  # it is one of the marked
    half = round(2 * pons.rx * _AROUND)
    top, left = max(round(pons.cy) - half, 0), max(round(pons.cx) - half, 0)
    around = np.s_[top : round(pons.cy) + half, left : round(pons.cx) + half]
    white = result.normalisation.black + 2.2 * (
        result.normalisation.brain - result.normalisation.black
    )
    grey = 255 * (source.pixels - result.normalisation.black) / (white - result.normalisation.black)
    coloured = overlay(result, detector.calibration.display_limit)
    return grey[around], coloured[around][..., ::-1]


def _title(row: Row | None) -> str:
    return "untouched" if row is None else row.name.replace(", ", ",\n")
