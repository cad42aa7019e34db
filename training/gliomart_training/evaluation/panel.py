"""The patients of a dataset, each with the model that is to judge them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart.outputs.provenance import provenance
from gliomart.printable import printable
from gliomart_training import dataset
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.outcomes import observe
from gliomart_training.patients import count_masks, doubts
from gliomart_training.record import folds_of, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from gliomart.findings.results import Settings
    from gliomart.providers import Requested
    from gliomart_training.dataset import Patient
    from gliomart_training.evaluation.metrics import Resamples


@dataclass(frozen=True)
class Panel:
    """Who is looked at, and by which model.

    Attributes
    ----------
    directory, split
        Where the patients are from, see :func:`gliomart_training.dataset.load`.
    run
        Name of the training run whose folds look at the patients they held out; None where one
        model looks at all.
    looks
        Patients in order, each with their model.
    """

    directory: Path
    split: str | None
    run: str | None
    looks: tuple[tuple[Patient, Detector], ...]

    @classmethod
    def of(
        cls,
        directory: Path,
        *,
        model: Path | None,
        held_out: Path | None,
        split: str | None,
        provider: Requested,
    ) -> Panel:
        """Take a model, or a run's folds where ``held_out`` names the run's folder."""
        if held_out is None:
            return cls.of_model(directory, model, split, provider)
        return cls.of_run(directory, held_out, provider)

    @classmethod
    def of_model(
        cls, directory: Path, model: Path | None, split: str | None, provider: Requested
    ) -> Panel:
        """Let one model, None for the built-in one, look at a split."""
        detector = Detector(model, provider=provider)
        patients = dataset.load(directory, split)
        return cls(directory, split, None, tuple((patient, detector) for patient in patients))

    @classmethod
    def of_run(cls, directory: Path, run: Path, provider: Requested) -> Panel:
        """Let each fold of a run look at those patients of the run's split that it held out.

        Raises
        ------
        DatasetError
            The folder is not one of a finished run that was exported, or the dataset has none of
            its patients.
        """
        record = read_record(run)
        if not (run / "fold-1.onnx").is_file():
            network = run.with_suffix(".keras")
            raise DatasetError(f"{run}: has not been exported; run gliomart export {network} first")
        patients = {patient.id: patient for patient in dataset.load(directory, record["split"])}
        looks: list[tuple[Patient, Detector]] = []
        folds = folds_of(record, patients.keys())
        for number, fold in enumerate(folds, start=1):
            detector = Detector(run / f"fold-{number}.onnx", provider=provider)
            looks += [(patients[patient], detector) for patient in fold if patient in patients]
        missing = [patient for fold in folds for patient in fold if patient not in patients]
        if not looks:
            raise DatasetError(
                f"{directory}: holds none of the {len(missing)} patients that {run.name} held out,"
                f" such as {missing[0]}"
            )
        if missing:
            count = f"{len(missing)} of the {len(missing) + len(looks)} patients"
            _tell(f"{directory}: lacks {count} that {run.name} held out, such as {missing[0]}")
        return cls(directory, record["split"], run.name, tuple(looks))

    @property
    def patients(self) -> list[Patient]:
        """All of them, in order."""
        return [patient for patient, _ in self.looks]

    @property
    def settings(self) -> Settings:
        """Those of the first model, for all."""
        return self.looks[0][1].settings

    def check(self) -> None:
        """Refuse patients whom nothing can be measured on, and say which masks are doubtful.

        Raises
        ------
        DatasetError
            There is no tumour mask, or no tumour-free slice, to evaluate against.
        """
        examples = [example for patient in self.patients for example in patient.examples]
        lacking = None
        if not any(example.mask and example.truth().any() for example in examples):
            lacking = "no slice has a tumour mask (name masks in an index.csv)"
        elif not any(example.tumour_free for example in examples):
            lacking = "no slice is far from every tumour mask"
        if lacking:
            raise DatasetError(f"{self.directory}: nothing to evaluate against, {lacking}")
        for doubt in doubts(self.patients):
            _tell(doubt)

    def observe(self, resamples: Resamples, what: str = "evaluate") -> Cohort:
        """Look at everyone; ``what`` is for the progress bar."""
        looks = tqdm(self.looks, desc=what, unit="patient", disable=not is_terminal(sys.stderr))
        return Cohort([observe(patient, detector) for patient, detector in looks], resamples)

    def described(self, contents: dict[str, Any]) -> dict[str, Any]:
        """Tell as JSON values what was run, and on what; ``contents`` counts what was there."""
        return {
            **provenance(self.settings),
            "dataset": {
                "folder": self.directory.resolve().name,
                "split": self.split,
                "held_out_by": self.run,
                "masks": count_masks(self.patients),
                **contents,
            },
        }


def _tell(message: str) -> None:
    say(printable(message))
