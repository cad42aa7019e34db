"""A sheet of simulated gliomas, and what a model marks in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError
from gliomart.image.sampling import evenly_spaced
from gliomart.outputs.figures import as_png, new_figure
from gliomart.outputs.pictures import overlay
from gliomart_training.evaluation.lesions import Row, with_lesions
from gliomart_training.patients import results_of_examples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gliomart.detector import Detector
    from gliomart_training.evaluation.panel import Candidate
    from gliomart_training.patients import Patient

_PATIENTS = 5
_SHOWN = (
    Row("swollen and bright", 0.1, 0.3, None),
    Row("swollen and bright", 0.25, 0.3, None),
    Row("swollen and bright", 0.5, 0.3, None),
    Row("swollen and bright", 1.0, 0.3, None),
    Row("swollen and bright", 1.0, 0.6, None),
    Row("swollen", 0.0, 0.0, 1.5),
    Row("soft", 0.5, 0.35, 1.0),
)
# Half the width of what is cut out, in widths of the pons.
_AROUND = 2.2
# What is this many times as bright as the brain is drawn white.
_WHITE = 2.2


def draw(candidate: Candidate) -> bytes:
    """Draw the middle marked slice of some patients with several kinds of lesion; PNG.

    Each is shown as it is read and, below, as the model sees it: the pons it finds in green, what
    departs from the expected as heat, what it marks in cyan.

    Raises
    ------
    DatasetError
        The pons is nowhere marked.
    """
    marked = [(p, d) for p, d in candidate.panel().pairs if any(e.pons for e in p.examples)]
    if not marked:
        raise DatasetError(f"{candidate.directory}: no pons.csv marks the pons in it")
    chosen = evenly_spaced(marked, _PATIENTS)
    columns: tuple[Row | None, ...] = (None, *_SHOWN)
    figure = new_figure(2 * len(columns), 4 * len(chosen))
    axes = figure.subplots(2 * len(chosen), len(columns), squeeze=False)
    for place, (patient, detector) in enumerate(chosen):
        for column, row in enumerate(columns):
            for offset, picture in enumerate(_pictures(patient, detector, row)):
                one = axes[2 * place + offset, column]
                one.imshow(picture, cmap="gray", vmin=0, vmax=255)
                one.set_axis_off()
    for one, row in zip(axes[0], columns, strict=True):
        one.set_title(_title(row), fontsize=9)
    return as_png(figure, dpi=90)


def _pictures(
    patient: Patient, detector: Detector, row: Row | None
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Draw the middle marked slice around the pons: as it is read, and as the model sees it."""
    marked = [n for n, example in enumerate(patient.examples) if example.pons is not None]
    middle = marked[len(marked) // 2]
    slices = patient.slices if row is None else with_lesions(patient, row)[0]
    result = results_of_examples(patient, detector.detect_series(slices))[middle]
    pons = patient.examples[middle].pons
    assert pons is not None and result is not None  # noqa: S101, PT018  # marked, and analysed
    half = round(2 * pons.rx * _AROUND)
    top, left = max(round(pons.cy) - half, 0), max(round(pons.cx) - half, 0)
    around = np.s_[top : round(pons.cy) + half, left : round(pons.cx) + half]
    black, brain = result.normalisation.black, result.normalisation.brain
    grey = 255 * (slices[middle].pixels - black) / (_WHITE * (brain - black))
    coloured = overlay(result, detector.calibration.display_limit)
    return grey[around], coloured[around][..., ::-1]


def _title(row: Row | None) -> str:
    return "untouched" if row is None else row.name.replace(", ", ",\n")
