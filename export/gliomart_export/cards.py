"""The cards of exported models."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliomart.errors import UsageError
from gliomart.model.card import ModelCard
from gliomart.model.contents import SLICE, VOLUME, InputImage, Limits, Scoring
from gliomart.printable import printable
from gliomart_export import calibration
from gliomart_training.bases import saw_masks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gliomart.findings.calibration import PatientScores
    from gliomart_export.converter import Converter

INTENDED_USE = (
    "Research on unsupervised anomaly detection in brain MRI. Not a medical device, not cleared"
    " or approved by any authority, and not for diagnosis or any clinical decision."
)
FOR_COMPARISON = (
    "For comparison with unsupervised methods alone: tumour masks taught this model, or one that it"
    " is built on. "
) + INTENDED_USE


@dataclass(frozen=True)
class Description:
    """What whoever exports a model says of it; no record of its training does.

    Attributes
    ----------
    name, version
        Of the model; a name of None is made of the sequence and the network.
    modality, sequence, plane
        Of the images that it was trained for.
    trained_on
        The data in words; None gives the name of its folder.
    licence
        Of the weights.
    metrics
        Measured figures, see :func:`read_metrics`.
    """

    name: str | None = None
    version: str = "1"
    modality: str = "MR"
    sequence: str = "FLAIR"
    plane: str = "axial"
    trained_on: str | None = None
    licence: str = "not stated"
    metrics: Mapping[str, object] = field(default_factory=dict)


def read_metrics(file: Path) -> dict[str, object]:
    """Read figures that ``gliomart evaluate --out`` wrote, without the rows of single patients.

    Raises
    ------
    UsageError
        The file holds something else.
    """
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not the figures that evaluate --out writes") from error
    if not isinstance(metrics, dict):
        raise UsageError(f"{file}: not the figures that evaluate --out writes")
    return {name: value for name, value in metrics.items() if name != "patients"}


def uncalibrated(converter: Converter, description: Description) -> ModelCard:
    """Make the card of a model of which no scores are known yet."""
    run, outputs = converter.run, converter.outputs
    record = run.record
    network = record["recipe"]["network"]
    family = SLICE if run.declared.slab is None else VOLUME
    return ModelCard(
        name=description.name or f"{description.sequence.lower()}-{network}",
        version=description.version,
        family=family,
        network={
            "name": network,
            "residual": asdict(run.residual),  # type: ignore[call-overload]
            **asdict(converter.precision),
        },
        preprocessing=run.preprocessing,
        scoring=Scoring(neighbours=calibration.NEIGHBOURS[family]),
        calibration=calibration.UNCALIBRATED,
        judges=tuple(
            judge
            for judge in calibration.UNCALIBRATED_JUDGES
            if any(output.role == judge.name for output in outputs)
        ),
        site=None,
        images=(
            InputImage(description.modality, description.sequence),
            *(
                InputImage(description.modality, name, required=False)
                for name in run.declared.companions
            ),
        ),
        plane=description.plane,
        outputs=outputs,
        limits=Limits(),
        training={
            "data": description.trained_on or printable(Path(record["data"]).name),
            "split": record["split"],
            "patients": record["patients"],
            "slices": record["slices"],
            "recipe": record["recipe"],
            "variation": record["variation"],
            "pons": record["pons"],
            "software": record["software"],
            "built_on": record.get("built_on", []),
            "saw_masks": saw_masks(record),
        },
        metrics=description.metrics,
        parity={},
        licence=description.licence,
        intended_use=FOR_COMPARISON if saw_masks(record) else INTENDED_USE,
    )


def calibrated(card: ModelCard, folds: Sequence[Sequence[PatientScores]]) -> ModelCard:
    """Set thresholds by what tumour-free slices scored.

    Raises
    ------
    DatasetError
        There are none, or none that shows the pons.
    """
    judges = tuple(replace(judge, rules=calibration.calibrate_pons(folds)) for judge in card.judges)
    return replace(card, calibration=calibration.calibrate(folds), judges=judges)
