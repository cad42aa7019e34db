"""The patients of a dataset, each with the model that analyses them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tqdm import tqdm

from gliomart.cli.terminal import is_terminal
from gliomart.detector import Detector
from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart.outputs.provenance import provenance
from gliomart.printable import printable
from gliomart_training import dataset
from gliomart_training.evaluation.cohort import Cohort
from gliomart_training.evaluation.outcomes import MODEL, observe
from gliomart_training.patients import count_masks, doubts
from gliomart_training.record import folds_of, read_record
from gliomart_training.truth.pictures import EVERY_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gliomart.findings.results import Settings
    from gliomart.providers import Requested
    from gliomart_training.dataset import Patient
    from gliomart_training.evaluation.documents import (
        Contents,
        Dataset,
        DatasetHead,
        Evaluated,
        PonsContents,
        PonsDataset,
    )
    from gliomart_training.evaluation.metrics import Resamples
    from gliomart_training.truth.marks import Choice


@dataclass(frozen=True)
class Candidate:
    """What is to be evaluated on what.

    Attributes
    ----------
    directory, split, choice
        Where the patients are from, and what marks their tumours, see
        :func:`gliomart_training.dataset.load`.
    model
        A model file; None for the built-in one.
    run
        Folder of an exported training run: instead of one model on a split, each fold's model on
        the patients that its training held out. Recipes are ranked by this, not by tests.
    provider
        As in :class:`gliomart.detector.Detector`.
    """

    directory: Path
    model: Path | None = None
    run: Path | None = None
    split: str | None = None
    provider: Requested = "auto"
    choice: Choice = EVERY_LABEL

    @classmethod
    def of(
        cls,
        directory: Path,
        path: Path,
        split: str | None,
        provider: Requested,
        choice: Choice = EVERY_LABEL,
    ) -> Candidate:
        """Take a model file, or the folder of a run, which has a split of its own."""
        if path.is_dir():
            return cls(directory, run=path, provider=provider, choice=choice)
        return cls(directory, model=path, split=split, provider=provider, choice=choice)

    @property
    def file(self) -> Path | None:
        """The run's folder, or the model file; None for the built-in one."""
        return self.run or self.model

    def panel(self) -> Panel:
        """Read the patients and open the models.

        Raises
        ------
        DatasetError
            The data cannot be read, or the run does not fit them.
        """
        if self.run is not None:
            return Panel.of_run(self)
        return Panel.of_model(self)


@dataclass(frozen=True)
class Panel:
    """The patients, and which model analyses whom.

    Attributes
    ----------
    directory, split
        Where the patients are from, see :func:`gliomart_training.dataset.load`.
    run
        Name of the training run whose folds analyse the patients they held out; None where one
        model analyses all.
    pairs
        Patients in order, each with their model.
    """

    directory: Path
    split: str | None
    run: str | None
    pairs: tuple[tuple[Patient, Detector], ...]

    @classmethod
    def of_model(cls, of: Candidate) -> Panel:
        """Let one model analyse a split."""
        detector = Detector(of.model, provider=of.provider)
        patients = dataset.load(of.directory, of.split, of.choice, detector.card)
        return cls(of.directory, of.split, None, tuple((patient, detector) for patient in patients))

    @classmethod
    def of_run(cls, of: Candidate) -> Panel:
        """Let each fold of a run analyse those patients of the run's split that it held out.

        Raises
        ------
        DatasetError
            The folder is not one of a finished run that was exported, or the dataset has none of
            its patients.
        """
        directory, run = of.directory, of.run
        assert run is not None  # noqa: S101  # who calls has seen to it
        record = read_record(run)
        if not (run / "fold-1.onnx").is_file():
            network = run.with_suffix(".keras")
            raise DatasetError(f"{run}: has not been exported; run gliomart export {network} first")
        loaded = dataset.load(directory, record["split"], of.choice)
        patients = {patient.id: patient for patient in loaded}
        pairs: list[tuple[Patient, Detector]] = []
        folds = folds_of(record, patients.keys())
        for number, fold in enumerate(folds, start=1):
            detector = Detector(run / f"fold-{number}.onnx", provider=of.provider)
            pairs += [(patients[patient], detector) for patient in fold if patient in patients]
        missing = [patient for fold in folds for patient in fold if patient not in patients]
        if not pairs:
            raise DatasetError(
                f"{directory}: holds none of the {len(missing)} patients that {run.name} held out,"
                f" such as {missing[0]}"
            )
        if missing:
            count = f"{len(missing)} of the {len(missing) + len(pairs)} patients"
            _tell(f"{directory}: lacks {count} that {run.name} held out, such as {missing[0]}")
        return cls(directory, record["split"], run.name, tuple(pairs))

    @property
    def patients(self) -> list[Patient]:
        """All of them, in order."""
        return [patient for patient, _ in self.pairs]

    @property
    def settings(self) -> Settings:
        """Those of the first model, for all."""
        return self.pairs[0][1].settings

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
            lacking = "no slice has a tumour mask (name masks in an index.csv, or see docs/data.md)"
        elif not any(example.tumour_free for example in examples):
            lacking = "no slice is far from every tumour mask"
        if lacking:
            raise DatasetError(f"{self.directory}: nothing to evaluate against, {lacking}")
        for doubt in doubts(self.patients):
            _tell(doubt)

    def progress(self, what: str = "evaluate") -> Iterable[tuple[Patient, Detector]]:
        """Go through everyone with a progress bar of this name."""
        hidden = not is_terminal(sys.stderr)
        bar: Iterable[tuple[Patient, Detector]] = tqdm(
            self.pairs, desc=what, unit="patient", disable=hidden
        )
        return bar

    def observe(self, resamples: Resamples, what: str = "evaluate") -> Cohort:
        """Analyse everyone; ``what`` is for the progress bar."""
        outcomes = [observe(patient, detector) for patient, detector in self.progress(what)]
        return Cohort(outcomes, resamples)

    def observe_changed(
        self, change: Callable[[Patient], Patient], resamples: Resamples, what: str
    ) -> Cohort:
        """Analyse everyone after a change, by the model alone."""
        outcomes = [
            observe(change(patient), detector, (MODEL,))
            for patient, detector in self.progress(what)
        ]
        return Cohort(outcomes, resamples)

    def provenance(self) -> Evaluated:
        """Tell as JSON values what was run."""
        return cast("Evaluated", provenance(self.settings))

    def dataset(self, contents: Contents) -> Dataset:
        """Tell as JSON values whom it was run on; ``contents`` counts what was there."""
        return {**self._dataset(), **contents}

    def pons_dataset(self, contents: PonsContents) -> PonsDataset:
        """Tell the same of an evaluation of the pons."""
        return {**self._dataset(), **contents}

    def _dataset(self) -> DatasetHead:
        return {
            "folder": self.directory.resolve().name,
            "split": self.split,
            "held_out_by": self.run,
            "masks": count_masks(self.patients),
        }


def _tell(message: str) -> None:
    say(printable(message))
