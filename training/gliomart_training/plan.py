"""What one training run trains, and on whom."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path  # noqa: TC003  # dataclasses resolve it
from typing import TYPE_CHECKING, NamedTuple

import keras

from gliomart._version import __version__, installed_version
from gliomart.errors import DatasetError
from gliomart.host.streams import say
from gliomart_training import dataset
from gliomart_training.batches import HealthyImages, Variation, tumour_free_images
from gliomart_training.brain_localiser import BrainImage, brain_images
from gliomart_training.patients import count_masks
from gliomart_training.pons_images import PonsImages, marked_images
from gliomart_training.recipe import (  # noqa: TC001  # dataclasses resolve it
    BrainRecipe,
    PonsRecipe,
    Recipe,
)
from gliomart_training.record import SCHEMA, run_folder
from gliomart_training.validation import WithLesions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gliomart.image.steps import Preprocessing
    from gliomart_training.dataset import Patient
    from gliomart_training.record import PonsData, Record

FINAL = "final"
# The channel that localisers look at, which then is the first.
PLAIN = "plain"
# With a single fold, this fraction of the patients is held out and the network trained on the
# others is the final one.
_HOLD_OUT_ONE_IN = 5
# Held-out images that lesions are put into, evenly spaced, and how much brain they show.
_WITH_LESIONS, _LEAST_BRAIN = 32, 0.05


@dataclass(frozen=True)
class Plan:
    """What one run trains.

    Attributes
    ----------
    data, split
        Dataset folder, and the split of its index.
    out
        Where the final network goes; the run's folder lies beside it (``.run`` for ``.keras``).
    recipe, brain, pons, preprocessing, variation
        How autoencoders and localisers of brain and pons are trained, what they see, how far it is
        varied.
    folds
        How many groups of patients are held out in turn; 1 holds out a fifth once.
    """

    data: Path
    split: str | None
    out: Path
    recipe: Recipe
    brain: BrainRecipe
    pons: PonsRecipe
    preprocessing: Preprocessing
    variation: Variation
    folds: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return run_folder(self.out)


class Job(NamedTuple):
    """One network to train: its name, whom it does not see, and how many follow."""

    name: str
    held_out: Sequence[str]
    later: int


@dataclass(frozen=True)
class Material:
    """What a plan's networks are trained on.

    Attributes
    ----------
    patients
        All of them.
    images
        Their tumour-free slices.
    pons
        Slices that show the pons or are clear of it; nothing where no localiser is trained.
    groups
        Whom each fold holds out.
    """

    plan: Plan
    patients: Sequence[Patient]
    images: Mapping[str, HealthyImages]
    pons: Mapping[str, PonsImages]
    groups: list[list[str]]

    @cached_property
    def brains(self) -> dict[str, list[BrainImage]]:
        """What of every patient a brain localiser learns from; prepared once, when it is wanted."""
        spec = self.plan.preprocessing
        return {patient.id: brain_images(patient, spec) for patient in self.patients}

    @property
    def slices(self) -> int:
        """How many tumour-free slices there are."""
        return sum(len(prepared) for prepared in self.images.values())

    def of(self, ids: Iterable[str]) -> HealthyImages:
        """Take the tumour-free slices of some patients."""
        size = self.plan.preprocessing.size
        return HealthyImages.together([self.images[patient] for patient in ids], size)

    def except_for(self, ids: Collection[str]) -> HealthyImages:
        """Take the tumour-free slices of all others."""
        return self.of([patient for patient in self.images if patient not in ids])

    def with_lesions(self, ids: Sequence[str], side: int) -> WithLesions | None:
        """Put lesions into slices of some patients; None where there are none to put them into."""
        unseen = self.of(ids).showing_brain(_LEAST_BRAIN).thinned(_WITH_LESIONS)
        if not len(unseen):
            return None
        plan = self.plan
        made = WithLesions.of(unseen, plan.preprocessing, side, plan.recipe.seed)
        return made if made.lesions.any() else None

    def jobs(self) -> list[Job]:
        """List the networks to train: one for each fold, and the final one."""
        held_out: dict[str, Sequence[str]] = {
            f"fold-{number}": group for number, group in enumerate(self.groups, start=1)
        }
        if self.plan.folds > 1:
            held_out[FINAL] = []
        last = len(held_out) - 1
        return [Job(name, ids, last - n) for n, (name, ids) in enumerate(held_out.items())]

    def described(self) -> Record:
        """Everything about a run that is known before it starts."""
        plan = self.plan
        libraries = ("keras", "tensorflow", "jax", "torch", "numpy")
        return {
            "schema": SCHEMA,
            "software": {
                "gliomart": __version__,
                "backend": keras.backend.backend(),
                **{name: installed_version(name) for name in libraries},
            },
            "data": str(plan.data.resolve()),
            "split": plan.split,
            "recipe": dataclasses.asdict(plan.recipe),
            "preprocessing": dataclasses.asdict(plan.preprocessing),
            "variation": dataclasses.asdict(plan.variation),
            "fold_count": plan.folds,
            "patients": len(self.patients),
            "slices": self.slices,
            "masks": count_masks(self.patients),
            "folds": self.groups,
            "brain": dataclasses.asdict(plan.brain),
            "pons": _describe_pons(self.pons, plan),
        }


def prepare(plan: Plan) -> Material:
    """Read and prepare what a plan is to be trained on.

    Raises
    ------
    DatasetError
        The dataset cannot be trained on.
    """
    patients = dataset.load(plan.data, plan.split)
    images = {p.id: tumour_free_images([p], plan.preprocessing) for p in patients}
    if not any(len(prepared) for prepared in images.values()):
        raise DatasetError(f"{plan.data}: no tumour-free slice to train on")
    groups = _held_out(patients, plan)
    return Material(plan, patients, images, _pons_images(patients, plan), groups)


def _pons_images(patients: Sequence[Patient], plan: Plan) -> dict[str, PonsImages]:
    """Prepare what a localiser learns from; nothing where the pons is nowhere marked."""
    if not any(example.pons for patient in patients for example in patient.examples):
        return {}
    if plan.preprocessing.channels[0] != PLAIN:
        say("the pons is not learned: it needs the plain image as first channel")
        return {}
    return {patient.id: marked_images(patient, plan.preprocessing) for patient in patients}


def _describe_pons(pons: Mapping[str, PonsImages], plan: Plan) -> PonsData | None:
    if not pons:
        return None
    return {
        "recipe": dataclasses.asdict(plan.pons),
        "patients": sum(bool(images.shown.any()) for images in pons.values()),
        "marked_slices": sum(int(images.shown.sum()) for images in pons.values()),
        "clear_slices": sum(int((~images.shown).sum()) for images in pons.values()),
    }


def _held_out(patients: Sequence[Patient], plan: Plan) -> list[list[str]]:
    if plan.folds > 1:
        return dataset.folds(patients, plan.folds)
    count = min(_HOLD_OUT_ONE_IN, len(patients))
    if count < 2:  # noqa: PLR2004
        raise DatasetError(
            "one patient alone cannot be split into training and calibration; add patients"
        )
    return dataset.folds(patients, count)[:1]
