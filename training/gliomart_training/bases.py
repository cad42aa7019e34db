"""Runs that another run builds on: on the same patients, dealt into the same folds.

Their localisers are taken over, so that networks that are compared look at the same brain. What a
network is made of, by its bases as well, is kept in its record: whatever saw a tumour mask, itself
or through one of them, is marked for good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gliomart.errors import DatasetError, ModelNotFoundError, UsageError
from gliomart_training.network import Base
from gliomart_training.network_file import load
from gliomart_training.networks import names, network
from gliomart_training.record import preprocessing_of, read_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import keras

    from gliomart_training.network import Bases, Network
    from gliomart_training.record import BuiltOn, LocaliserFit, Record
    from gliomart_training.residual import AnomalyMap

LOCALISERS = "localisers"
_READ_OF_RECORD = {"brain", "fold_count", "folds", "pons", "preprocessing", "recipe", "split"}
# A network is built for images of so many pixels a side to see what it gives.
_SMALL = 64


@dataclass(frozen=True)
class BaseRun:
    """A finished run that another one builds on.

    Attributes
    ----------
    folder
        The run's folder.
    record
        What its training wrote down.
    """

    folder: Path
    record: Record

    @classmethod
    def read(cls, folder: Path) -> BaseRun:
        """Read a finished run.

        Raises
        ------
        DatasetError
            The folder is not one of a finished run, or its record lacks what is needed of it; or no
            network is called as its network here.
        ModelNotFoundError
            One of its networks is missing.
        """
        run = cls(folder, read_record(folder, _READ_OF_RECORD))
        try:
            network(run.network)
        except KeyError:
            raise DatasetError(f"{folder}: no network is called {run.network!r} here") from None
        for job in run.record["fits"]:
            for file in (run.autoencoder(job), run.whole(job)):
                if not file.is_file():
                    raise ModelNotFoundError(f"{file}: is missing from the run; train it again")
        return run

    @property
    def network(self) -> str:
        """What its network is called."""
        return str(self.record["recipe"]["network"])

    def autoencoder(self, job: str) -> Path:
        """File of what it trained for a job of this name, without localisers."""
        return self.folder / f"{job}.autoencoder.keras"

    def whole(self, job: str) -> Path:
        """File of the same with them."""
        return self.folder / f"{job}.keras"

    def base(self, job: str) -> Base:
        """Load what it trained for a job of this name, without localisers.

        Raises
        ------
        ModelError
            It cannot be read.
        """
        trained = load(self.autoencoder(job), preprocessing_of(self.record))
        return Base(network(self.network), trained)

    def localiser(self, job: str, name: str) -> tuple[keras.Model, LocaliserFit] | None:
        """Take a localiser out of the network of a job; None where it has none of this name."""
        fit = cast("LocaliserFit | None", self.record["fits"][job].get(name))
        if fit is None:
            return None
        whole = load(self.whole(job), preprocessing_of(self.record))
        return whole.get_layer(f"{name}_localiser"), fit

    def described(self, role: str) -> BuiltOn:
        """Describe it for the record of what is built on it."""
        recipe = self.record["recipe"]
        last = "final" if self.record["fold_count"] > 1 else "fold-1"
        content = self.autoencoder(last).read_bytes()
        return {
            "role": role,
            "network": self.network,
            "seed": recipe["seed"],
            "sha256": hashlib.sha256(content).hexdigest(),
            "saw_masks": saw_masks(self.record),
        }


def residual_of(record: Record) -> AnomalyMap:
    """Tell how outputs of a run's network become its anomaly map.

    Raises
    ------
    DatasetError
        No network is called as in the record.
    """
    name, options = record["recipe"]["network"], record["recipe"].get("residual", {})
    try:
        declared = network(name)
        if declared.residual_of_base and (made_of := record.get("built_on")):
            name = made_of[0]["network"]
            declared = network(name)
    except KeyError:
        raise DatasetError(f"no network is called {name!r} here") from None
    return declared.recipe.residual.with_options(options)


def saw_masks(record: Record) -> bool:
    """Tell whether tumour masks taught a run's network, or one that it is built on.

    The network's own declaration counts whatever the record says. A record of before this was
    written down is of a network that saw none, unless it is declared supervised.
    """
    name = record["recipe"]["network"]
    supervised = name in names() and network(name).supervised
    bases = record.get("built_on", [])
    return supervised or record.get("saw_masks", False) or any(b["saw_masks"] for b in bases)


def check(name: str, runs: Sequence[BaseRun]) -> None:
    """See that a network of this name can be built on these runs.

    Raises
    ------
    UsageError
        There are too few of them, or too many; one is named twice, or lacks what it is needed for.
    """
    folders = [run.folder.resolve() for run in runs]
    for run in runs:
        if folders.count(run.folder.resolve()) > 1:
            raise UsageError(f"{run.folder}: is named twice (--from)")
    wanted = network(name).bases
    if wanted is None:
        if len(runs) > 1:
            raise UsageError(f"{name} takes localisers from one run, not from {len(runs)} (--from)")
        return
    if not wanted.fewest <= len(runs) <= wanted.most:
        raise UsageError(f"{name} is built on {_count(wanted)}, not on {len(runs)} (--from)")
    for run in runs:
        _check_part(run, wanted, name)


def _count(wanted: Bases) -> str:
    if wanted.fewest < wanted.most:
        return f"{wanted.fewest} to {wanted.most} finished runs"
    return f"{wanted.fewest} finished run{'s' * (wanted.fewest > 1)}"


def _check_part(run: BaseRun, wanted: Bases, name: str) -> None:
    """See that a run can be to a network of this name what its bases are."""
    declared, spec = network(run.network), preprocessing_of(run.record)
    if wanted.gives not in declared.build(_SMALL, declared.depth(spec)).output:
        raise UsageError(
            f"{run.folder}: {run.network} has no {wanted.gives} and is no {wanted.role} of {name}"
        )
    if wanted.role == "member" and _given(declared) != _given(network(name)):
        raise UsageError(
            f"{run.folder}: {run.network} does not give as many slices at a time as {name} does"
        )
    if wanted.role == "teacher" and declared.settle is not None:
        raise UsageError(
            f"{run.folder}: {run.network} is made for whole images and teaches no windows of them"
        )


def _given(declared: Network) -> int | None:
    return None if declared.slab is None else declared.slab.given


def check_alike(runs: Sequence[BaseRun], like: Record) -> None:
    """See that runs saw the patients of another, dealt alike and prepared alike.

    Raises
    ------
    DatasetError
        One did not.
    """
    for run in runs:
        for key in ("split", "folds", "preprocessing"):
            if run.record[key] != like[key]:
                raise DatasetError(
                    f"{run.folder}: differs in its {key} from the run that is to build on it; both"
                    " need the same data, --split, --folds, --patients and --channels"
                )


def built_on(name: str, runs: Sequence[BaseRun]) -> list[BuiltOn]:
    """Describe what a network of this name takes from each of its bases."""
    wanted = network(name).bases
    roles = [(LOCALISERS, run) for run in runs[:1]]
    if wanted is not None:
        roles += [(wanted.role, run) for run in runs]
    return [run.described(role) for role, run in roles]
