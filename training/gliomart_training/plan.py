"""What one training run trains, and on whom."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path  # noqa: TC003  # dataclasses resolve it
from typing import TYPE_CHECKING, NamedTuple

import keras

from gliomart._version import __version__, installed_version
from gliomart.errors import DatasetError, UsageError
from gliomart.host.streams import say
from gliomart.image.sampling import evenly_spaced
from gliomart_training import bases, dataset
from gliomart_training.bases import BaseRun
from gliomart_training.batches import (
    PreparedImages,
    Variation,
    simulated_images,
    tumour_free_images,
)
from gliomart_training.brain_localiser import BrainImage, brain_images
from gliomart_training.labelled import LabelledImages, labelled_images
from gliomart_training.network import Learning
from gliomart_training.networks import network
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
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

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
    bases
        Folders of the runs that it builds on; localisers are taken from the first.
    patients
        How many patients take part, the same for the same number; None for all.
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
    bases: tuple[Path, ...] = ()
    patients: int | None = None

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
    bases
        Runs that are built on.
    """

    plan: Plan
    patients: Sequence[Patient]
    images: Mapping[str, PreparedImages]
    pons: Mapping[str, PonsImages]
    groups: list[list[str]]
    bases: tuple[BaseRun, ...]

    @property
    def supervised(self) -> bool:
        """Whether the network learns from tumour masks."""
        return network(self.plan.recipe.network).supervised

    @cached_property
    def brains(self) -> dict[str, list[BrainImage]]:
        """What of every patient a brain localiser learns from; prepared once, when it is wanted."""
        spec = self.plan.preprocessing
        return {patient.id: brain_images(patient, spec) for patient in self.patients}

    @cached_property
    def labelled(self) -> dict[str, LabelledImages]:
        """All slices of every patient with their masks; of no use but to supervised networks."""
        assert self.supervised  # noqa: S101  # nothing else may learn from masks
        spec = self.plan.preprocessing
        return {patient.id: labelled_images(patient, spec) for patient in self.patients}

    @cached_property
    def heads(self) -> PreparedImages:
        """Simulated heads that the recipe asks for; prepared once, when they are wanted."""
        return simulated_images(self.plan.recipe.heads, self.plan.preprocessing)

    def taught(self, chosen: Callable[[str], bool]) -> PreparedImages:
        """Take what batches are made of, of the patients whose names are chosen."""
        size = self.plan.preprocessing.size
        if self.supervised:
            parts = [images for patient, images in self.labelled.items() if chosen(patient)]
            return LabelledImages.joined(parts, size)
        return self.of([patient for patient in self.images if chosen(patient)])

    def marked_slices(self, held_out: Collection[str] = ()) -> int:
        """Count the slices in which masks mark a tumour, of patients who are not held out."""
        return sum(each.marked for id_, each in self.labelled.items() if id_ not in held_out)

    def learning(self, job: Job) -> Learning:
        """Collect what the network of a job learns from beside batches."""
        plan = self.plan
        wanted = network(plan.recipe.network).bases
        return Learning(
            self.except_for(job.held_out),
            plan.preprocessing,
            plan.recipe,
            tuple(run.base(job.name) for run in self.bases) if wanted else (),
        )

    @property
    def slices(self) -> int:
        """How many tumour-free slices there are."""
        return sum(len(prepared) for prepared in self.images.values())

    def of(self, ids: Iterable[str]) -> PreparedImages:
        """Take the tumour-free slices of some patients."""
        size = self.plan.preprocessing.size
        return PreparedImages.together([self.images[patient] for patient in ids], size)

    def except_for(self, ids: Collection[str]) -> PreparedImages:
        """Take the tumour-free slices of all others."""
        return self.of([patient for patient in self.images if patient not in ids])

    def with_lesions(self, ids: Sequence[str], side: int) -> WithLesions | None:
        """Put lesions into slices of some patients; None where there are none to put them into."""
        images, plan = self.of(ids), self.plan
        which = evenly_spaced(images.showing_brain(_LEAST_BRAIN), _WITH_LESIONS)
        if not len(which):
            return None
        slab, seed = network(plan.recipe.network).slab, plan.recipe.seed
        made = WithLesions.of(images, which, plan.preprocessing, side, seed=seed, slab=slab)
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
        record: Record = {
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
        if not self.bases:
            return record | {"built_on": [], "saw_masks": self.supervised}
        bases.check_alike(self.bases, json.loads(json.dumps(record)))
        made_of = bases.built_on(plan.recipe.network, self.bases)
        saw_masks = self.supervised or any(base["saw_masks"] for base in made_of)
        localisers = self.bases[0].record
        return record | {
            "brain": localisers["brain"],
            "pons": localisers["pons"],
            "built_on": made_of,
            "saw_masks": saw_masks,
        }


def prepare(plan: Plan) -> Material:
    """Read and prepare what a plan is to be trained on.

    Raises
    ------
    DatasetError
        The dataset cannot be trained on.
    """
    runs = tuple(BaseRun.read(folder) for folder in plan.bases)
    bases.check(plan.recipe.network, runs)
    patients = dataset.load(plan.data, plan.split)
    if plan.patients is not None:
        patients = dataset.some(patients, plan.patients)
    further = network(plan.recipe.network).companions
    images = {p.id: tumour_free_images([p], plan.preprocessing, further) for p in patients}
    _check_companions(patients, plan, further)
    if not any(len(prepared) for prepared in images.values()):
        raise DatasetError(f"{plan.data}: no tumour-free slice to train on")
    groups = _held_out(patients, plan)
    pons = {} if runs else _pons_images(patients, plan)
    material = Material(plan, patients, images, pons, groups, runs)
    if material.supervised:
        _check_masks(material)
    return material


def _check_companions(patients: Sequence[Patient], plan: Plan, wanted: Sequence[str]) -> None:
    """See that the data have the further sequences that a network takes, and tell of how many."""
    if wanted and plan.preprocessing.channels != (PLAIN,):
        raise UsageError(f"{plan.recipe.network} takes plain images (--channels plain)")
    for name in wanted:
        having = sum(name in patient.companions for patient in patients)
        if not having:
            raise DatasetError(
                f"{plan.data}: {plan.recipe.network} takes {name} as well, and no patient has any;"
                f" an index.csv names it in a column {name.lower()}"
            )
        say(f"{name}: of {having} of {len(patients)} patients")


def _check_masks(material: Material) -> None:
    """See that every network is taught where a tumour is."""
    plan = material.plan
    learns = f"{plan.recipe.network} learns from masks of tumours"
    if not material.marked_slices():
        raise DatasetError(f"{plan.data}: {learns}, and none is marked")
    for job in material.jobs():
        if not material.marked_slices(job.held_out):
            raise DatasetError(
                f"{plan.data}: {learns}, and {job.name} holds out all patients with one"
            )


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
