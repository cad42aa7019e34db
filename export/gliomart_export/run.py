"""A finished training run, as export reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliomart.errors import DatasetError, ModelNotFoundError
from gliomart.image.sampling import evenly_spaced
from gliomart_training import dataset
from gliomart_training.bases import residual_of
from gliomart_training.batches import tumour_free_images
from gliomart_training.networks import network
from gliomart_training.record import RECORD, folds_of, preprocessing_of, read_record, run_folder
from gliomart_training.slabs import around, stacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gliomart.image.steps import Preprocessing
    from gliomart_training.dataset import Patient
    from gliomart_training.network import Network
    from gliomart_training.record import Record
    from gliomart_training.residual import AnomalyMap

_READ_OF_RECORD = {
    "data", "folds", "patients", "pons", "preprocessing", "recipe", "slices", "software", "split",
    "variation",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A network, how it was trained, and the patients that each fold's network never saw.

    Attributes
    ----------
    network
        File of the final network.
    record
        What training wrote down.
    preprocessing, residual
        What surrounds the network.
    groups
        Patients that were held out, fold by fold.
    """

    network: Path
    record: Record
    preprocessing: Preprocessing
    residual: AnomalyMap
    groups: Sequence[Sequence[Patient]]

    @property
    def declared(self) -> Network:
        """What the network declares of itself."""
        return network(self.record["recipe"]["network"])

    @property
    def fold_networks(self) -> list[Path]:
        """Files of the networks of the folds; their models are kept beside them."""
        folder = run_folder(self.network)
        return [folder / f"fold-{number}.keras" for number in range(1, len(self.groups) + 1)]

    def unseen_images(self, most: Sequence[int]) -> list[NDArray[np.float32]]:
        """Prepare some of the slices that were held out, evenly spaced.

        Parameters
        ----------
        most
            How many at most, for each array that is to be returned.

        Returns
        -------
        float32 (N, size, size, C) each, or slabs about them (N, seen, size, size, C).

        Raises
        ------
        DatasetError
            There is none that is tumour-free.
        """
        spec = self.preprocessing
        patients = [patient for group in self.groups for patient in group]
        unseen = tumour_free_images(patients, spec, self.declared.companions)
        if not len(unseen):
            raise DatasetError("no tumour-free slice of a held-out patient to compare on")
        slab = self.declared.slab

        def prepared(n: int) -> NDArray[np.float32]:
            return (
                unseen.input(n, spec) if slab is None else stacked(around(unseen, n, slab)[0], spec)
            )

        return [
            np.stack([prepared(n) for n in evenly_spaced(range(len(unseen)), count)])
            for count in most
        ]


def recorded(network_file: Path) -> Record:
    """Read the record of a network's run.

    Raises
    ------
    ModelNotFoundError
        There is no network, or no record beside it.
    DatasetError
        The record is not one of a finished run, or lacks what export needs.
    """
    if not network_file.is_file():
        what = "a folder, not a network" if network_file.is_dir() else "no such network"
        raise ModelNotFoundError(f"{network_file}: {what}; gliomart train makes one")
    folder = run_folder(network_file)
    if not (folder / RECORD).is_file():
        raise ModelNotFoundError(
            f"{folder / RECORD}: the run's record is missing; keep {folder.name} beside the network"
        )
    return read_record(folder, _READ_OF_RECORD)


def read_run(network_file: Path, record: Record, data: Path) -> Run:
    """Read the patients that a run held out from its data.

    Raises
    ------
    DatasetError
        The data cannot be read, or lack some of them; or no network is called as in the record.
    """
    by_id = {patient.id: patient for patient in dataset.load(data, record["split"])}
    return Run(
        network=network_file,
        record=record,
        preprocessing=preprocessing_of(record),
        residual=residual_of(record),
        groups=[_patients(by_id, ids) for ids in folds_of(record, by_id)],
    )


def _patients(by_id: Mapping[str, Patient], ids: Sequence[str]) -> list[Patient]:
    missing = [patient for patient in ids if patient not in by_id]
    if missing:
        raise DatasetError(
            f"{len(missing)} of the patients held out in training are not in the data, such as"
            f" {missing[0]}; give --data"
        )
    return [by_id[patient] for patient in ids]
