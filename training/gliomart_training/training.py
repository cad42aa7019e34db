"""One training run: folds, the final network, its record and its pictures.

Every patient is held out once: a network is trained for each fold without that fold's patients,
which later calibrates the model on patients it never saw, and the final network is trained on
all of them (as scikit-learn's cross-validation with ``refit`` does). Where the dataset says where
the pons is, each network is an autoencoder joined with a pons localiser, trained one after the
other on the same patients.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  # dataclasses resolve it
from typing import TYPE_CHECKING, NamedTuple, cast

import keras

from gliomart._version import __version__, installed_version
from gliomart.errors import DatasetError, OutputExistsError, UsageError
from gliomart.host.streams import say
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart_training import dataset, pictures
from gliomart_training.batches import HealthyBatches, HealthyImages, Variation, tumour_free_images
from gliomart_training.corruption import CORRUPTIONS
from gliomart_training.fitting import check, fit
from gliomart_training.localiser import fit_localiser, with_pons
from gliomart_training.network_file import copy, load, save
from gliomart_training.patients import count_masks, doubts
from gliomart_training.pons_images import PonsImages, marked_images, simulated_images
from gliomart_training.recipe import PonsRecipe, Recipe  # noqa: TC001  # dataclasses resolve it
from gliomart_training.record import RECORD, SCHEMA, read_json, run_folder
from gliomart_training.validation import WithLesions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gliomart.image.steps import Preprocessing
    from gliomart_training.dataset import Patient
    from gliomart_training.record import Fit, PonsData, PonsFit, Record

FINAL = "final"
# A network before a pons localiser was joined to it.
_AUTOENCODER = "{}.autoencoder.keras"
# With a single fold, this fraction of the patients is held out and the network trained on the
# others is the final one.
_HOLD_OUT_ONE_IN = 5
# Held-out images, evenly spaced, that the loss is watched on after every epoch.
_VALIDATION = 64
# Held-out images that lesions are put into, watched likewise, and how much brain they show.
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
    recipe, pons, preprocessing, variation
        How autoencoders and pons localisers are trained, what they see, how far it is varied.
    folds
        How many groups of patients are held out in turn; 1 holds out a fifth once.
    """

    data: Path
    split: str | None
    out: Path
    recipe: Recipe
    pons: PonsRecipe
    preprocessing: Preprocessing
    variation: Variation
    folds: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return run_folder(self.out)


def run(plan: Plan, *, resume: bool = False, overwrite: bool = False) -> Record:
    """Train everything that a plan asks for, or what of it is missing.

    Raises
    ------
    DatasetError
        The dataset cannot be trained on.
    TrainingError
        Nothing comes of it, or what an interrupted run left is broken.
    UsageError
        Its outputs would replace the dataset.
    OutputError
        A network cannot be written.
    OutputExistsError
        There is something at ``plan.out``, and neither option is given; or what is to be
        resumed was started differently.

    Returns
    -------
    The run's record, as written to ``record.json``.
    """
    check(plan.recipe)
    _keep_data(plan)
    material = _prepare(plan)
    # Known before the first fit, so that a run is never resumed with its patients dealt anew.
    record = _describe(material)
    _prepare_folder(plan, record, resume=resume, overwrite=overwrite)
    _tell_what_there_is(material)
    simulated = None
    if material.pons:
        simulated = simulated_images(plan.pons.heads, plan.pons.seed, plan.preprocessing)
    jobs = _jobs(material.groups, plan)
    fits: dict[str, Fit] = {}
    for job in jobs:
        fits[job.name] = _fit(material, job, simulated)
        _draw(material, job, fits)
    if plan.folds == 1:
        copy(plan.folder / "fold-1.keras", plan.folder / f"{FINAL}.keras")
    record["fits"] = fits
    write_atomically(plan.folder / RECORD, json.dumps(record, indent=1).encode())
    copy(plan.folder / f"{FINAL}.keras", plan.out)
    return record


@dataclass(frozen=True)
class _Material:
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


class _Job(NamedTuple):
    """One network to train: its name, whom it does not see, and how many follow."""

    name: str
    held_out: Sequence[str]
    later: int


def _jobs(groups: Sequence[Sequence[str]], plan: Plan) -> list[_Job]:
    held_out: dict[str, Sequence[str]] = {
        f"fold-{number}": group for number, group in enumerate(groups, start=1)
    }
    if plan.folds > 1:
        held_out[FINAL] = []
    last = len(held_out) - 1
    return [_Job(name, ids, last - n) for n, (name, ids) in enumerate(held_out.items())]


def _prepare(plan: Plan) -> _Material:
    patients = dataset.load(plan.data, plan.split)
    images = {p.id: tumour_free_images([p], plan.preprocessing) for p in patients}
    if not any(len(prepared) for prepared in images.values()):
        raise DatasetError(f"{plan.data}: no tumour-free slice to train on")
    groups = _held_out(patients, plan)
    return _Material(plan, patients, images, _pons_images(patients, plan), groups)


def _tell_what_there_is(material: _Material) -> None:
    refused = sum(len(patient.refused) for patient in material.patients)
    say(
        f"{material.slices} tumour-free slices of {len(material.patients)} patients to train on;"
        f" {refused} images could not be read"
    )
    for doubt in doubts(material.patients):
        say(printable(doubt))


def _fit(material: _Material, job: _Job, simulated: PonsImages | None) -> Fit:
    """Train an autoencoder, and join it with a localiser where simulated heads are given."""
    folder = material.plan.folder
    outcome = _fit_autoencoder(material, job)
    if simulated is None:
        copy(folder / _AUTOENCODER.format(job.name), folder / f"{job.name}.keras")
    else:
        outcome["pons"] = _fit_pons(material, job, simulated)
    return outcome


def _draw(material: _Material, job: _Job, fits: Mapping[str, Fit]) -> None:
    """Draw how the networks learned so far, and what the last of them gives of unseen slices."""
    plan = material.plan
    pictures.curves({name: fit["losses"] for name, fit in fits.items()}, plan.folder)
    pictures.scores([fit["scores"] for fit in fits.values() if fit["scores"]], plan.folder)
    unseen = material.with_lesions(job.held_out, plan.preprocessing.size)
    if unseen is not None:
        network = load(plan.folder / f"{job.name}.keras", plan.preprocessing)
        pictures.reconstructions(network, unseen, plan.folder)


def _fit_autoencoder(material: _Material, job: _Job) -> Fit:
    """Train one autoencoder, unless an earlier call finished it."""
    plan, name = material.plan, job.name
    network_file = plan.folder / _AUTOENCODER.format(name)
    losses_file = plan.folder / f"{name}.json"
    if network_file.exists() and losses_file.exists():
        return cast("Fit", read_json(losses_file))
    started = time.monotonic()
    seen = material.except_for(job.held_out)
    unseen = material.of(job.held_out).thinned(_VALIDATION)
    if not len(seen):
        raise DatasetError(f"{name}: no tumour-free slice is left to train on")
    batches = _batches(plan, seen)
    validation = _batches(plan, unseen, frozen=True) if len(unseen) else None
    lesions = material.with_lesions(job.held_out, batches.side)
    if lesions is None:
        whom = "nobody held out shows a brain" if job.held_out else "nobody is held out"
        say(f"{name}: not validated, {whom}")
    network, losses = fit(
        plan.recipe,
        batches,
        validation,
        lesions,
        checkpoints=plan.folder / f"{name}.state",
        label=name,
        later=job.later,
    )
    seconds = round(time.monotonic() - started, 1)
    save(network, network_file)
    whole = material.with_lesions(job.held_out, plan.preprocessing.size)
    outcome: Fit = {
        "losses": losses,
        "seconds": seconds,
        "slices": len(batches.images),
        "scores": whole.scores(network) if whole else None,
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _fit_pons(material: _Material, job: _Job, simulated: PonsImages) -> PonsFit:
    """Train one pons localiser and join it to its autoencoder, unless an earlier call did."""
    plan, name = material.plan, job.name
    network_file, losses_file = plan.folder / f"{name}.keras", plan.folder / f"{name}.pons.json"
    if network_file.exists() and losses_file.exists():
        return cast("PonsFit", read_json(losses_file))
    started = time.monotonic()
    seen = [images for patient, images in material.pons.items() if patient not in job.held_out]
    marked = PonsImages.together(seen, plan.preprocessing)
    say(f"{name}: learning where the pons is, {plan.pons.steps} batches")
    localiser, losses = fit_localiser(
        marked, simulated, plan.pons, plan.variation, plan.preprocessing
    )
    say(f"{name}: pons localiser, loss {losses[-1]:.5f}")
    autoencoder = load(plan.folder / _AUTOENCODER.format(name), plan.preprocessing)
    save(with_pons(autoencoder, localiser), network_file)
    outcome: PonsFit = {
        "losses": losses,
        "seconds": round(time.monotonic() - started, 1),
        "slices": len(marked),
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _pons_images(patients: Sequence[Patient], plan: Plan) -> dict[str, PonsImages]:
    """Prepare what a localiser learns from; nothing where the pons is nowhere marked."""
    if not any(example.pons for patient in patients for example in patient.examples):
        return {}
    if plan.preprocessing.channels[0] != "plain":
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


def _batches(plan: Plan, images: HealthyImages, *, frozen: bool = False) -> HealthyBatches:
    return HealthyBatches(
        images,
        plan.preprocessing,
        CORRUPTIONS[plan.recipe.corruption],
        plan.variation,
        batch_size=plan.recipe.batch_size,
        seed=plan.recipe.seed,
        frozen=frozen,
    )


def _describe(material: _Material) -> Record:
    """Everything about a run that is known before it starts."""
    plan = material.plan
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
        "patients": len(material.patients),
        "slices": material.slices,
        "masks": count_masks(material.patients),
        "folds": material.groups,
        "pons": _describe_pons(material.pons, plan),
    }


def _keep_data(plan: Plan) -> None:
    """Refuse a run's folder that would replace the data that it is trained on."""
    if plan.data.resolve().is_relative_to(plan.folder.resolve()):
        raise UsageError(f"{plan.data}: lies in the run's own folder {plan.folder}")
    check_target(plan.out, [plan.data])


def _prepare_folder(plan: Plan, record: Record, *, resume: bool, overwrite: bool) -> None:
    file = plan.folder / RECORD
    existing = [path for path in (plan.out, plan.folder) if path.exists()]
    if existing and overwrite:
        if plan.folder.is_dir() and any(plan.folder.iterdir()) and not file.exists():
            raise OutputExistsError(f"{plan.folder}: holds something other than a training run")
        with output_errors(plan.folder):
            if plan.folder.is_dir():
                shutil.rmtree(plan.folder)
            plan.out.unlink(missing_ok=True)
    elif existing and not resume:
        raise OutputExistsError(f"{existing[0]}: exists already; give --resume or --overwrite")
    with output_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        earlier = read_json(file)
        if any(earlier.get(key) != value for key, value in json.loads(json.dumps(record)).items()):
            raise OutputExistsError(f"{plan.folder}: was started differently; give --overwrite")
    else:
        write_atomically(file, json.dumps(record, indent=1).encode())


def _held_out(patients: Sequence[Patient], plan: Plan) -> list[list[str]]:
    if plan.folds > 1:
        return dataset.folds(patients, plan.folds)
    count = min(_HOLD_OUT_ONE_IN, len(patients))
    if count < 2:  # noqa: PLR2004
        raise DatasetError(
            "one patient alone cannot be split into training and calibration; add patients"
        )
    return dataset.folds(patients, count)[:1]
