"""One training run: folds, the final network, its record and its pictures.

Every patient is held out once: a network is trained for each fold without that fold's patients,
which later calibrates the model on patients it never saw, and the final network is trained on
all of them (as scikit-learn's cross-validation with ``refit`` does). Each network is
joined with a brain localiser and, where the dataset says where the pons is, with a pons localiser,
trained one after the other on the same patients.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gliomart.errors import DatasetError, OutputExistsError, UsageError
from gliomart.host.streams import say
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart_training import pictures
from gliomart_training.batches import ImageBatches, PreparedImages
from gliomart_training.brain_localiser import fit_brain_localiser
from gliomart_training.fitting import check, fit, settled
from gliomart_training.labelled import LabelledBatches
from gliomart_training.localiser import fit_localiser, joined
from gliomart_training.network_file import copy, load, save
from gliomart_training.networks import network
from gliomart_training.patients import doubts
from gliomart_training.plan import FINAL, PLAIN, Material, Plan, prepare
from gliomart_training.pons_images import PonsImages, pons_of, simulated_slices
from gliomart_training.record import RECORD, read_json
from gliomart_training.slabs import SlabBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import keras

    from gliomart_training.network import Learning
    from gliomart_training.plan import Job
    from gliomart_training.pons_images import SimulatedSlice
    from gliomart_training.record import Fit, History, LocaliserFit, Record

# A network before localisers were joined to it, and with that of the brain.
_AUTOENCODER, _WITH_BRAIN, _WHOLE = "{}.autoencoder.keras", "{}.with-brain.keras", "{}.keras"
# Held-out images, evenly spaced, that the loss is watched on after every epoch.
_VALIDATION = 64


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
    material = prepare(plan)
    # Known before the first fit, so that a run is never resumed with its patients dealt anew.
    record = material.described()
    _prepare_folder(plan, record, resume=resume, overwrite=overwrite)
    _tell_what_there_is(material, record)
    simulated = []
    if material.bases:
        say(f"brain and pons are told by the localisers of {printable(plan.bases[0].name)}")
    elif plan.preprocessing.channels[0] == PLAIN:
        simulated = simulated_slices(plan.brain.heads, plan.brain.seed, plan.preprocessing)
    else:
        say("the brain is told by the autoencoder: a localiser needs the plain image first")
    fits: dict[str, Fit] = {}
    for job in material.jobs():
        fits[job.name] = _fit(material, job, simulated)
        _draw(material, job, fits)
    if plan.folds == 1:
        copy(plan.folder / "fold-1.keras", plan.folder / f"{FINAL}.keras")
    record["fits"] = fits
    write_atomically(plan.folder / RECORD, json.dumps(record, indent=1).encode())
    copy(plan.folder / f"{FINAL}.keras", plan.out)
    return record


def _tell_what_there_is(material: Material, record: Record) -> None:
    refused = sum(len(patient.refused) for patient in material.patients)
    say(
        f"{material.slices} tumour-free slices of {len(material.patients)} patients to train on;"
        f" {refused} images could not be read"
    )
    if material.supervised:
        say(
            f"tumour masks teach it, in {material.marked_slices()} slices: it is for comparison"
            " alone, and is never built in"
        )
    elif record["saw_masks"]:
        say("tumour masks taught what it is built on: it is for comparison alone")
    for doubt in doubts(material.patients):
        say(printable(doubt))


def _fit(material: Material, job: Job, simulated: Sequence[SimulatedSlice]) -> Fit:
    """Train a network, and join it with localisers trained on the same patients."""
    plan = material.plan
    if material.bases:
        return _with_taken_localisers(material, job, _fit_autoencoder(material, job))
    files = [plan.folder / name.format(job.name) for name in (_AUTOENCODER, _WITH_BRAIN, _WHOLE)]
    outcome = _fit_autoencoder(material, job)
    if plan.preprocessing.channels[0] == PLAIN:
        outcome["brain"] = _fit_brain(material, job, simulated)
    else:
        copy(files[0], files[1])
    if material.pons:
        outcome["pons"] = _fit_pons(material, job, simulated)
    else:
        copy(files[1], files[2])
    return outcome


def _with_taken_localisers(material: Material, job: Job, outcome: Fit) -> Fit:
    """Join a network with the localisers of the first run that it builds on."""
    plan, run = material.plan, material.bases[0]
    trained = load(plan.folder / _AUTOENCODER.format(job.name), plan.preprocessing)
    if brain := run.localiser(job.name, "brain"):
        branch, outcome["brain"] = brain
        trained = joined(trained, branch, "brain")
    if pons := run.localiser(job.name, "pons"):
        branch, outcome["pons"] = pons
        trained = joined(trained, branch, "pons")
    save(trained, plan.folder / _WHOLE.format(job.name))
    return outcome


def _draw(material: Material, job: Job, fits: Mapping[str, Fit]) -> None:
    """Draw how the networks learned so far, and what the last of them gives of unseen slices."""
    plan = material.plan
    pictures.curves({name: fit["losses"] for name, fit in fits.items()}, plan.folder)
    pictures.scores([fit["scores"] for fit in fits.values() if fit["scores"]], plan.folder)
    unseen = material.with_lesions(job.held_out, plan.preprocessing.size)
    if unseen is not None:
        trained = load(plan.folder / f"{job.name}.keras", plan.preprocessing)
        pictures.reconstructions(trained, unseen, plan.folder)


def _fit_autoencoder(material: Material, job: Job) -> Fit:
    """Train one network without localisers, unless an earlier call finished it."""
    plan, name = material.plan, job.name
    network_file = plan.folder / _AUTOENCODER.format(name)
    losses_file = plan.folder / f"{name}.json"
    if network_file.exists() and losses_file.exists():
        return cast("Fit", read_json(losses_file))
    started = time.monotonic()
    learning = material.learning(job)
    if not len(learning.images):
        raise DatasetError(f"{name}: no tumour-free slice is left to train on")
    declared = network(plan.recipe.network)
    losses: History = {}
    if declared.losses(plan.recipe):
        trained, losses = _fit_by_steps(material, job, learning)
    else:
        trained = declared.build(plan.preprocessing.size, declared.depth(plan.preprocessing))
    made = settled(trained, learning)
    seconds = round(time.monotonic() - started, 1)
    save(made, network_file)
    whole = material.with_lesions(job.held_out, plan.preprocessing.size)
    outcome: Fit = {
        "losses": losses,
        "seconds": seconds,
        "slices": len(material.taught(lambda patient: patient not in job.held_out)),
        "scores": whole.scores(made) if whole else None,
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _fit_by_steps(material: Material, job: Job, learning: Learning) -> tuple[keras.Model, History]:
    """Train a network on batches, watching the patients whom its job holds out."""
    plan, name = material.plan, job.name
    seen = material.taught(lambda patient: patient not in job.held_out)
    if plan.recipe.heads:
        seen = PreparedImages.together([seen, material.heads], plan.preprocessing.size)
    unseen = material.taught(lambda patient: patient in job.held_out)
    if network(plan.recipe.network).slab is None:  # in slabs each needs those beside it
        unseen = unseen.thinned(_VALIDATION)
    batches = _batches(plan, seen, learning)
    validation = _batches(plan, unseen, learning, frozen=True) if len(unseen) else None
    lesions = material.with_lesions(job.held_out, batches.side)
    if lesions is None:
        whom = "nobody held out shows a brain" if job.held_out else "nobody is held out"
        say(f"{name}: not validated, {whom}")
    return fit(
        batches,
        validation,
        lesions,
        learning=learning,
        checkpoints=plan.folder / f"{name}.state",
        label=name,
        later=job.later,
    )


def _fit_brain(material: Material, job: Job, simulated: Sequence[SimulatedSlice]) -> LocaliserFit:
    """Train a brain localiser and join it to its autoencoder, unless an earlier call did."""
    plan, spec = material.plan, material.plan.preprocessing
    seen = [patient for patient in material.images if patient not in job.held_out]

    def train() -> tuple[keras.Model, list[float]]:
        images = [image for patient in seen for image in material.brains[patient]]
        return fit_brain_localiser(images, simulated, plan.brain, spec)

    stage = _Stage(plan, job.name, "brain", _AUTOENCODER, _WITH_BRAIN)
    return _joined(stage, train, sum(len(material.images[patient]) for patient in seen))


def _fit_pons(material: Material, job: Job, simulated: Sequence[SimulatedSlice]) -> LocaliserFit:
    """Train a pons localiser and join it to its network, unless an earlier call did."""
    plan, spec = material.plan, material.plan.preprocessing
    seen = [images for patient, images in material.pons.items() if patient not in job.held_out]
    marked = PonsImages.together(seen, spec)

    def train() -> tuple[keras.Model, list[float]]:
        heads = pons_of(simulated, spec)
        return fit_localiser(marked, heads, plan.pons, plan.variation, spec)

    return _joined(_Stage(plan, job.name, "pons", _WITH_BRAIN, _WHOLE), train, len(marked))


@dataclass(frozen=True)
class _Stage:
    """A localiser that is to be trained for a job, and the files without it and with it."""

    plan: Plan
    job: str
    name: str
    before: str
    after: str

    def file(self, pattern: str) -> Path:
        return self.plan.folder / pattern.format(self.job)


def _joined(
    stage: _Stage, train: Callable[[], tuple[keras.Model, list[float]]], slices: int
) -> LocaliserFit:
    """Train a localiser and join it to its network, unless an earlier call did."""
    joined_file, losses_file = stage.file(stage.after), stage.file(f"{{}}.{stage.name}.json")
    if joined_file.exists() and losses_file.exists():
        return cast("LocaliserFit", read_json(losses_file))
    started = time.monotonic()
    say(f"{stage.job}: learning where the {stage.name} is")
    branch, losses = train()
    say(f"{stage.job}: {stage.name} localiser, loss {losses[-1]:.5f}")
    trained = load(stage.file(stage.before), stage.plan.preprocessing)
    save(joined(trained, branch, stage.name), joined_file)
    outcome: LocaliserFit = {
        "losses": losses,
        "seconds": round(time.monotonic() - started, 1),
        "slices": slices,
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _batches(
    plan: Plan, images: PreparedImages, learning: Learning, *, frozen: bool = False
) -> ImageBatches:
    declared, recipe = network(plan.recipe.network), plan.recipe
    kind = LabelledBatches if declared.supervised else ImageBatches
    if declared.slab is not None:
        kind = SlabBatches
    losses = declared.losses(recipe)
    side = plan.variation.window_side(plan.preprocessing.size)
    return kind(
        images,
        plan.preprocessing,
        recipe,
        plan.variation,
        frozen=frozen,
        truths={name: loss.truth or name for name, loss in losses.items()},
        teacher=declared.taught(learning, side) if declared.taught else None,
    )


def _keep_data(plan: Plan) -> None:
    """Refuse a run's folder that would replace what the run is trained on or builds on."""
    read = [plan.data, *plan.bases]
    for place in read:
        if place.resolve().is_relative_to(plan.folder.resolve()):
            raise UsageError(f"{place}: lies in the run's own folder {plan.folder}")
    check_target(plan.out, read)


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
        earlier = cast("Record", read_json(file))
        if any(earlier.get(key) != value for key, value in json.loads(json.dumps(record)).items()):
            raise OutputExistsError(f"{plan.folder}: was started differently; give --overwrite")
    else:
        write_atomically(file, json.dumps(record, indent=1).encode())
